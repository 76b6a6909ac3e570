"""Hold files: what a capture paused, stopped or hooked, on disk before it is done, so that it is undone whatever dies.

One small file per capture in ``<data>/holds``, named by the operation. It is written before the first container is
touched and removed after the last one is as it was; whatever is found at start is let go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.domain.errors import Damaged
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.workload import Quiesce
from holdfast.engine.fs import Fs
from holdfast.engine.operation_files import OperationFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class HookedContainer:
    """A container in which a pre_snapshot hook was about to run, or ran.

    Attributes:
        exec_id: by which the engine knows the hook.
        post_snapshot: the command that undoes it; empty: none.
        timeout: seconds that this gets.
    """

    id: str
    name: str
    exec_id: str
    post_snapshot: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Containers that a capture holds still, as they were before.

    Attributes:
        hooked: those whose hooks began, in this order.
    """

    operation_id: str
    quiesce: Quiesce
    containers: tuple[ContainerFacts, ...]
    hooked: tuple[HookedContainer, ...] = ()


class HoldFiles(OperationFiles[Hold]):
    """The directory of hold files."""

    def __init__(self, fs: Fs, directory: Path) -> None:
        super().__init__(fs, directory, Hold)

    def _damaged(self, path: Path) -> Damaged:
        return Damaged(
            "hold_damaged",
            f"The hold file {path} can't be read; a container may still be paused or stopped.",
            next_step="Look at the workloads' containers, start or unpause them, then remove the file.",
            details={"file": str(path)},
        )
