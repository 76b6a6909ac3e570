"""Previews: copies of a workload for a branch, a pull request or a person, each with data of its own, for a while.

Invariant: none of a preview's volumes is one of its parent's. Whatever the scope there, each is a directory or a volume
of the engine's below the preview's own name; and so is its project, and with it its network.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.clone import LikeSource
from holdfast.domain.workload import (
    NAMED_SCOPES,
    Domain,
    PreviewPolicy,
    RevertData,
    Scope,
    SnapshotPolicy,
    UpdatePolicy,
    Volume,
    WorkloadSpec,
)

PLACEHOLDER: Final = "{preview}"
"""In a domain's name and in variables: what is each preview's own."""
DOMAIN_PLACEHOLDER: Final = "{domain}"
STAGE: Final = "preview"
MAX_KEY: Final = 255
MAX_SHORT: Final = 40
"""Characters of what is each preview's own in names."""

_MAX_NAME: Final = 63
_MARK: Final = 6
_OTHERS: Final = re.compile("[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What is on record of a preview beside its workload.

    Attributes:
        workload_id: empty until that is made.
        parent_id, parent: id and name of the workload that it is a copy of.
        key: the branch, the pull request (``pr-17``) or whatever a person called it; one of a parent each.
        seed: the snapshot that its data came from; empty where it began empty.
        expires: seconds after which it is removed, counted anew with each update.
        expires_at: when that is, unless it is updated before.
        last_snapshot: whether its data is captured before it is removed.
    """

    workload_id: str = ""
    parent_id: str
    parent: str
    key: str
    seed: str = ""
    expires: float
    expires_at: str
    last_snapshot: bool
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewCopy(LikeSource):
    """The workload of a preview, by its parent.

    Attributes:
        short: what is its own in its name and its domain.
        image: what it runs instead of the parent's image; ``None`` for that.
        made: its configuration where it was made before, and is gone on with.
    """

    short: str
    image: str | None = None
    made: WorkloadSpec | None = None

    @classmethod
    def of(cls, parent: WorkloadSpec, key: str, *, image: str | None = None) -> PreviewCopy:
        """The copy of ``parent`` for ``key``."""
        short = short_of(key)
        name = f"{parent.name[: _MAX_NAME - 1 - len(short)].rstrip('-')}-{short}"
        return cls(name=name, project=name, stage=STAGE, short=short, image=image)

    def spec(self, source: WorkloadSpec, *, image: str | None = None) -> WorkloadSpec:
        """The configuration of the preview.

        No host port is published twice: the engine chooses one for each. No schedule comes along, and no label and no
        network of others: they tell other programs what to do with the workload's containers, a proxy whose requests to
        send there for example.
        """
        if self.made is not None:
            return self.made.without_values
        policy = source.previews
        domain = self._domain(policy)
        filled = {
            name: value.replace(PLACEHOLDER, self.short).replace(DOMAIN_PLACEHOLDER, domain.name if domain else "")
            for name, value in policy.env
        }
        return replace(
            LikeSource.spec(self, source, image=self.image or image),
            env=tuple(sorted((dict(source.env) | filled).items())),
            secrets=tuple(secret for secret in source.without_values.secrets if secret.name not in filled),
            labels=(),
            networks=(),
            ports=tuple(replace(port, host_port=0) for port in source.ports),
            domains=() if domain is None else (domain,),
            volumes=tuple(_own(volume, number) for number, volume in enumerate(source.volumes)),
            snapshots=SnapshotPolicy(quiesce=source.snapshots.quiesce, before_deploy=False),
            updates=UpdatePolicy(),
            revert_data=RevertData.ASK,
            previews=PreviewPolicy(),
        )

    def _domain(self, policy: PreviewPolicy) -> Domain | None:
        if policy.domain is None:
            return None
        return replace(policy.domain, name=policy.domain.name.replace(PLACEHOLDER, self.short))


def short_of(key: str) -> str:
    """What stands for ``key`` in names and domains: itself if it can, else something like it that no other key has."""
    short = _OTHERS.sub("-", key.lower()).strip("-")
    if short == key and len(short) <= MAX_SHORT:
        return short
    mark = hashlib.sha256(key.encode()).hexdigest()[:_MARK]
    return f"{short[: MAX_SHORT - 1 - _MARK].rstrip('-')}-{mark}".lstrip("-")


def _own(volume: Volume, number: int) -> Volume:
    """The volume of a preview in the place of one of its parent's."""
    if not volume.captured:
        return volume
    scope = Scope.NAMED if volume.scope in NAMED_SCOPES else Scope.STAGE
    return replace(volume, scope=scope, source=f"volume-{number}", engine_volume="")
