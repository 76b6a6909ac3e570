"""Where tests reach into the assembly: what is made by whom, unless they say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.config import Settings
from holdfast.engine.fs import Fs
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.health_gate import Clock, SystemClock
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.workers import COMMAND, Workers
from holdfast.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What tests put in place of the real thing; each default is the real thing.

    Attributes:
        database: makes the database of a file.
        runtime: makes the container runtime from the settings.
        files: makes the restore's file operations, the seam at which crashes are placed.
        workers: makes the workers.
        worker_command: how a worker process is started.
    """

    fs: Fs = field(default_factory=Fs)
    database: Callable[[Path], Database] = Database.at
    clock: Clock = field(default_factory=SystemClock)
    runtime: Callable[[Settings], ContainerRuntime] = lambda settings: DockerRuntime(
        settings.docker_host, settings.engine_timeout
    )
    files: Callable[..., RestoreFiles] = RestoreFiles
    workers: Callable[..., Workers] = Workers
    worker_command: Sequence[str] = COMMAND
