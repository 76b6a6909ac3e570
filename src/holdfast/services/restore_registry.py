"""Which workloads have a restore in flight, and which wait for a person's decision.

In memory; recovery fills it from the journals before anything is served, so that it says the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.errors import Busy, Conflict
from holdfast.domain.recovery import Direction
from holdfast.domain.told import Told


class Decision(StrEnum):
    """What a person may say about a restore that waits for them."""

    KEEP = "keep"
    """The restored data stays; what was displaced is removed."""
    REVERT = "revert"
    """The data from before the restore comes back."""
    RELEASE = "release"
    """The tree of a reverted restore, kept for looking at, may go."""


DECIDABLE: Final[Mapping[Direction, tuple[Decision, ...]]] = {
    Direction.TRIAL_PENDING: (Decision.KEEP, Decision.REVERT),
    Direction.BACKWARD: (Decision.REVERT,),
}
"""What a person may choose, by how far the journal got; where nothing is named, only a restart goes on."""


RESTART: Final = "Restart Holdfast: recovery finishes it by its journal."


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """A restore that stopped where only a person can say how to go on.

    Attributes:
        restore_id: names its journal; ``None`` if the journal can't be read.
        told: what happened, what is where, and what to do.
        choices: what a person may choose; nothing where something has to be mended first.
    """

    restore_id: str | None
    workload_ids: tuple[str, ...]
    told: Told
    choices: tuple[Decision, ...] = ()

    @property
    def why(self) -> str:
        """What happened, what is where, and what to do, in sentences."""
        return f"{self.told.message} {self.told.next_step}".rstrip()


class RestoreRegistry:
    """One restore per workload, by compare-and-swap."""

    def __init__(self) -> None:
        self._in_flight: dict[str, str] = {}
        self._undecided: dict[str, Undecided] = {}
        self._notices: list[str] = []

    def begin(self, workload_id: str, restore_id: str) -> None:
        """Claim a workload for a restore.

        Raises:
            Busy: ``restore_in_flight``.
            Conflict: ``restore_undecided``.
        """
        self.require_decided(workload_id)
        holder = self._in_flight.setdefault(workload_id, restore_id)
        if holder != restore_id:
            raise Busy(
                "restore_in_flight",
                f"A restore of this workload is in flight ({holder}).",
                next_step="Watch that one; start another when it has ended.",
                details={"restore_id": holder},
            )

    def end(self, workload_id: str, restore_id: str) -> None:
        """Give the claim back. Idempotent."""
        if self._in_flight.get(workload_id) == restore_id:
            del self._in_flight[workload_id]

    def in_flight(self, workload_id: str) -> str | None:
        """The restore that is in flight for this workload, if any."""
        return self._in_flight.get(workload_id)

    def set_undecided(self, undecided: Undecided) -> None:
        """From now on only a decision touches these workloads."""
        for workload_id in undecided.workload_ids:
            self._undecided[workload_id] = undecided

    def decided(self, workload_ids: Iterable[str]) -> None:
        """The decision was carried out."""
        for workload_id in workload_ids:
            self._undecided.pop(workload_id, None)

    def undecided(self, workload_id: str) -> Undecided | None:
        """What a person has to decide for this workload, if anything."""
        return self._undecided.get(workload_id)

    def all_undecided(self) -> tuple[Undecided, ...]:
        """Everything that waits for a person."""
        return tuple({id(item): item for item in self._undecided.values()}.values())

    def notice(self, why: str) -> None:
        """Something that recovery found, that only a person can mend, and that keeps nobody off any workload."""
        self._notices.append(why)

    def notices(self) -> tuple[str, ...]:
        """All that was noticed, in words."""
        return tuple(self._notices)

    def require_decided(self, workload_id: str) -> None:
        """Raises ``Conflict`` (``restore_undecided``) while a restore of this workload waits for a person."""
        pending = self._undecided.get(workload_id)
        if pending is not None:
            raise Conflict(
                "restore_undecided",
                f"A restore of this workload waits for your decision: {pending.why}",
                next_step="Do as it says; until then nothing else starts or changes the workload.",
                details={"restore_id": pending.restore_id},
            )

    def pending(self, workload_id: str) -> str | None:
        """Why a restore of this workload waits for a person, in words; ``None`` if none does."""
        undecided = self._undecided.get(workload_id)
        return None if undecided is None else undecided.why

    def unfinished(self, workload_id: str) -> bool:
        """Whether a restore of this workload is in flight, or waits for a person."""
        return workload_id in self._in_flight or workload_id in self._undecided
