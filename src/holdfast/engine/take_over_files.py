"""Files of take-overs: which containers of others were stopped and renamed for them, and how those were before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.domain.errors import Damaged
from holdfast.domain.restore import ContainerFacts
from holdfast.engine.fs import Fs
from holdfast.engine.operation_files import OperationFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """What a take-over has to finish, or to undo.

    Attributes:
        containers: as they were before, each with the workload that takes its place; in the order of deployment.
        keep: the old containers stay, stopped, once it has succeeded.
        committed: every workload proved healthy: from here it is finished, before it is undone.
    """

    operation_id: str
    containers: tuple[ContainerFacts, ...]
    keep: bool
    committed: bool = False


class TakeOverFiles(OperationFiles[TakeOver]):
    """The directory of such files."""

    def __init__(self, fs: Fs, directory: Path) -> None:
        super().__init__(fs, directory, TakeOver)

    def _damaged(self, path: Path) -> Damaged:
        return Damaged(
            "take_over_damaged",
            f"The file {path} of a take-over can't be read; containers may still be stopped and renamed.",
            next_step="Look at the containers (docker ps --all): start those that are to run, then remove the file.",
            details={"file": str(path)},
        )
