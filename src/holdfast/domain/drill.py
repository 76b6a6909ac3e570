"""Drills: a snapshot is restored into a throw-away copy of its workload, to prove that it can be.

The copy stands apart from everything: a name, a project and so a network of its own that leads to no other, no
published port, no domain, no schedule, and for each volume of the snapshot a directory of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.clone import LikeSource
from holdfast.domain.workload import (
    SUPPORTED_SCOPES,
    RestartPolicy,
    Scope,
    SnapshotPolicy,
    UpdatePolicy,
    Volume,
    WorkloadSpec,
)

LABEL_DRILL: Final = "holdfast.drill"
DRILL_VARIABLE: Final = "HOLDFAST_DRILL"
"""Tells a program, or its hook, that it runs on a copy: what it would do to others is better left undone."""
"""Label of a throw-away copy: the operation that made it. Nobody else can give it: its beginning is reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrowAway(LikeSource):
    """A copy of a workload for one drill.

    Attributes:
        operation_id: the drill.
        targets: the container paths of the snapshot's volumes.
    """

    operation_id: str
    targets: tuple[str, ...]

    @classmethod
    def of(cls, operation_id: str, stage: str, targets: tuple[str, ...]) -> ThrowAway:
        """The copy for a drill."""
        name = drill_name(operation_id)
        return cls(name=name, project=name, stage=stage, ports=(), operation_id=operation_id, targets=targets)

    def spec(self, source: WorkloadSpec, *, image: str | None = None) -> WorkloadSpec:
        """The configuration of the copy."""
        own = tuple(
            Volume(target=target, scope=Scope.STAGE, source=f"volume-{number}")
            for number, target in enumerate(self.targets)
        )
        others = tuple(
            volume
            for volume in source.volumes
            if volume.scope not in SUPPORTED_SCOPES and volume.target not in self.targets
        )
        return replace(
            LikeSource.spec(self, source, image=image),
            volumes=own + others,
            networks=(),
            env=(*(each for each in source.env if each[0] != DRILL_VARIABLE), (DRILL_VARIABLE, "1")),
            labels=(*source.labels, (LABEL_DRILL, self.operation_id)),
            hooks=replace(source.hooks, pre_snapshot=(), post_snapshot=()),
            snapshots=SnapshotPolicy(before_deploy=False),
            updates=UpdatePolicy(),
            restart=RestartPolicy.NO,
            max_instances=1,
        )


def drill_name(operation_id: str) -> str:
    """The name of the copy that a drill makes."""
    return f"drill-{operation_id}"


def is_throw_away(spec: WorkloadSpec) -> bool:
    """Whether a workload is the copy of a drill."""
    return any(name == LABEL_DRILL for name, _ in spec.labels)
