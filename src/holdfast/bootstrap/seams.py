"""Where tests reach into the assembly: what is made by whom, unless they say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.config import Settings
from holdfast.domain import edge as edge_kinds
from holdfast.domain.backup import GUESS_COST
from holdfast.edge.caddy import ExistingCaddy, OwnCaddy
from holdfast.edge.caddy_config import Listen
from holdfast.edge.port import Edge
from holdfast.engine.fs import Fs
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.health_gate import Clock, SystemClock
from holdfast.services.health_watch import PAUSE as HEALTH_PAUSE
from holdfast.services.passwords import PasswordCost
from holdfast.services.removal_watch import PAUSE
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.workers import COMMAND, Workers
from holdfast.store.database import Database


def edge_of(settings: Settings, installation: str) -> Edge | None:
    """The edge that the settings ask for."""
    if settings.edge == edge_kinds.OFF:
        return None
    if settings.edge != edge_kinds.OWN:
        return ExistingCaddy(installation, settings.edge)
    address = f"[{settings.edge_listen}]" if ":" in settings.edge_listen else settings.edge_listen
    listen = Listen(
        address=address,
        http_port=settings.edge_http_port,
        https_port=settings.edge_https_port,
        tls=settings.edge_tls,
    )
    return OwnCaddy(installation, settings.edge_dir, listen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What tests put in place of the real thing; each default is the real thing.

    Attributes:
        database: makes the database of a file.
        runtime: makes the container runtime from the settings.
        edge: makes the edge that the settings ask for, with the installation's id; ``None`` for none.
        files: makes the restore's file operations, the seam at which crashes are placed.
        workers: makes the workers.
        worker_command: how a worker process is started.
        password_cost: what hashing one password costs.
        backup_cost: what each guess at a backup's passphrase costs.
        removal_pause: seconds from the removal of an instance by hand to the look at its workload.
        health_pause: seconds from something that happens to a container to the look how workloads are.
    """

    fs: Fs = field(default_factory=Fs)
    database: Callable[[Path], Database] = Database.at
    clock: Clock = field(default_factory=SystemClock)
    runtime: Callable[[Settings], ContainerRuntime] = lambda settings: DockerRuntime(
        settings.docker_host, settings.engine_timeout, log_bytes=settings.container_log_bytes
    )
    edge: Callable[[Settings, str], Edge | None] = edge_of
    files: Callable[..., RestoreFiles] = RestoreFiles
    workers: Callable[..., Workers] = Workers
    worker_command: Sequence[str] = COMMAND
    password_cost: PasswordCost = field(default_factory=PasswordCost)
    backup_cost: int = GUESS_COST
    removal_pause: float = PAUSE
    health_pause: float = HEALTH_PAUSE
