"""The records of a restore's journal: what each one says, and in which order they come.

Pure; :mod:`holdfast.engine.journal` reads and writes them, :mod:`holdfast.domain.recovery` decides by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, TypeAlias

from holdfast.domain.restore import (
    Children,
    ContainerFacts,
    Identity,
    RecordType,
    RestoreFacts,
    RestoreResult,
    TreeSide,
    VolumeFacts,
)
from holdfast.domain.stopping import UncleanStop


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingRecord:
    """Written before the first directory is made."""

    type: ClassVar[RecordType] = RecordType.STAGING
    facts: RestoreFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRecord:
    """Every staged tree is complete, verified and flushed.

    Attributes:
        staged: volume index → identity of its staged tree.
        parents: volume index → identity of the directory that holds it, of those that had to be made.
        wrappers: volume index → identity of the wrapper, of those that lie in their volumes.
    """

    type: ClassVar[RecordType] = RecordType.STAGED
    staged: dict[int, Identity]
    parents: dict[int, Identity] = field(default_factory=dict)
    wrappers: dict[int, Identity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRecord:
    """Written before the first container is touched: all of them, as they were."""

    type: ClassVar[RecordType] = RecordType.PREPARED
    containers: tuple[ContainerFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRecord:
    """Written before an empty directory gets the place of a missing one, with every container stopped.

    Attributes:
        made: volume index → identity of the directory, which waits in the wrapper.
    """

    type: ClassVar[RecordType] = RecordType.MADE
    made: dict[int, Identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeRecord:
    """The safety snapshot is durable.

    Attributes:
        unclean_stops: what did not end well when it was stopped for it.
    """

    type: ClassVar[RecordType] = RecordType.SAFE
    snapshot_id: str
    unclean_stops: tuple[UncleanStop, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecord:
    """From here recovery goes forward.

    Attributes:
        children: volume index → what is swapped, of the volumes where that is done name by name.
    """

    type: ClassVar[RecordType] = RecordType.COMMIT
    children: dict[int, Children] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedRecord:
    """Every volume is exchanged, durably."""

    type: ClassVar[RecordType] = RecordType.SWAPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """The restored data is on trial. ``deadline``: RFC 3339 UTC, until when the health gate may be repeated."""

    type: ClassVar[RecordType] = RecordType.TRIAL
    deadline: str
    deployment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedRecord:
    """The restored data stays."""

    type: ClassVar[RecordType] = RecordType.CONFIRMED
    result: RestoreResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BackwardRecord:
    """The old data comes back. Written only with the containers stopped.

    Attributes:
        children: as COMMIT's, looked at anew, if containers ran since.
    """

    type: ClassVar[RecordType] = RecordType.BACKWARD
    why: str
    children: dict[int, Children] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertedRecord:
    """Every volume is the old tree again, durably."""

    type: ClassVar[RecordType] = RecordType.REVERTED


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortedRecord:
    """The restore ended with every volume being the old tree, and none left exchanged."""

    type: ClassVar[RecordType] = RecordType.ABORTED
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneRecord:
    """Nothing is left to tidy up; the journal may be removed."""

    type: ClassVar[RecordType] = RecordType.DONE


Record: TypeAlias = (
    StagingRecord
    | StagedRecord
    | PreparedRecord
    | MadeRecord
    | SafeRecord
    | CommitRecord
    | SwappedRecord
    | TrialRecord
    | ConfirmedRecord
    | BackwardRecord
    | RevertedRecord
    | AbortedRecord
    | DoneRecord
)

_R: Final = RecordType
TRANSITIONS: Final[Mapping[RecordType | None, frozenset[RecordType]]] = {
    None: frozenset({_R.STAGING}),
    _R.STAGING: frozenset({_R.STAGED, _R.ABORTED}),
    _R.STAGED: frozenset({_R.PREPARED, _R.ABORTED}),
    # MADE: only where a live directory was missing.
    _R.PREPARED: frozenset({_R.MADE, _R.SAFE, _R.ABORTED}),
    _R.MADE: frozenset({_R.SAFE, _R.ABORTED}),
    _R.SAFE: frozenset({_R.COMMIT, _R.ABORTED}),
    # ABORTED: the append of COMMIT failed, yet it may be on disk; nothing was exchanged.
    _R.COMMIT: frozenset({_R.SWAPPED, _R.BACKWARD, _R.ABORTED}),
    # CONFIRMED without a trial: the workload was stopped before and stays so, or it could not be deployed.
    _R.SWAPPED: frozenset({_R.TRIAL, _R.CONFIRMED, _R.BACKWARD}),
    # TRIAL again: a redeploy that died was repeated, as another deployment.
    _R.TRIAL: frozenset({_R.TRIAL, _R.CONFIRMED, _R.BACKWARD}),
    _R.CONFIRMED: frozenset({_R.DONE}),
    _R.BACKWARD: frozenset({_R.REVERTED}),
    _R.REVERTED: frozenset({_R.DONE}),
    _R.ABORTED: frozenset({_R.DONE}),
    _R.DONE: frozenset(),
}
"""What may follow what; ``None`` stands for the empty journal."""


def allowed_next(records: Sequence[Record]) -> frozenset[RecordType]:
    """Which records may be appended to ``records``."""
    return TRANSITIONS[records[-1].type if records else None]


def out_of_order(records: Sequence[Record]) -> str | None:
    """The first place where ``records`` leave the legal order, in words; ``None`` if they keep it."""
    for number, record in enumerate(records):
        if record.type not in allowed_next(records[:number]):
            before = records[number - 1].type if number else "the beginning"
            return f"record {number + 1} is {record.type}, which can't follow {before}"
    return None


def volumes_of(records: Sequence[Record]) -> tuple[VolumeFacts, ...]:
    """The restore's volumes, with the identities of what was made for them as soon as STAGED and MADE named them."""
    facts = next((record.facts for record in records if isinstance(record, StagingRecord)), None)
    if facts is None:
        return ()
    staged = next((record for record in records if isinstance(record, StagedRecord)), StagedRecord(staged={}))
    made = next((record.made for record in records if isinstance(record, MadeRecord)), {})
    children = _children_of(records)
    return tuple(
        replace(
            volume,
            staged_identity=staged.staged.get(volume.index, volume.staged_identity),
            parent_identity=staged.parents.get(volume.index, volume.parent_identity),
            live_identity=made.get(volume.index, volume.live_identity),
            wrapper_identity=staged.wrappers.get(volume.index, volume.wrapper_identity),
            children=children.get(volume.index),
        )
        for volume in facts.volumes
    )


_SETTLED: Final[Mapping[RecordType, TreeSide | None]] = {
    _R.COMMIT: None,
    _R.SWAPPED: TreeSide.NEW,
    _R.BACKWARD: None,
    _R.REVERTED: TreeSide.OLD,
    _R.ABORTED: TreeSide.OLD,
}
"""Which side the volumes are on, durably and wholly, from a record on; ``None``: they may be on their way."""


def _children_of(records: Sequence[Record]) -> dict[int, Children]:
    """What was written down last of the volumes that are swapped name by name, and where they have got to."""
    found: dict[int, Children] = {}
    settled: TreeSide | None = None
    for record in records:
        if isinstance(record, CommitRecord | BackwardRecord):
            found |= record.children
        settled = _SETTLED.get(record.type, settled)
    return {index: replace(children, settled=settled) for index, children in found.items()}
