"""Without a server: recovery and export on the data directory itself, under its lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from typing import Final

from holdfast.bootstrap.backups import state_swap_of
from holdfast.bootstrap.data_directory import (
    LOCK_WAIT,
    installation_of,
    live_roots_of,
    make_directories,
    store_settings_of,
    worker_settings_of,
)
from holdfast.bootstrap.seams import Seams
from holdfast.config import Settings
from holdfast.domain.errors import NotFound
from holdfast.domain.recovery import Direction, RecoveryPlan
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.stores import open_stores
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.state_records import require_settled
from holdfast.services.swap_recovery import SwapRecovery
from holdfast.services.workers import Workers
from holdfast.store.database import Database
from holdfast.store.workloads import WorkloadStore


def recover_offline(settings: Settings) -> list[str]:
    """Decide interrupted restores and finish their exchanges, without a server and without an engine.

    Returns:
        A line for each restore that is not over. What is left to do with containers is done by the next server.

    Raises:
        Busy: ``data_dir_in_use``; a server runs, and does this itself.
    """
    return asyncio.run(_recover_offline(settings))


def in_words(direction: Direction, plan: RecoveryPlan) -> str:
    """How things stand with a restore that was interrupted, to go on after its name.

    Args:
        direction: the one that its journal named.
        plan: what is left to be done of it.
    """
    if plan.record is not None:
        return f"{_HELD[direction]} A container still has the data: the server does that once it has stopped it."
    return _WORDS[direction]


_OLD: Final = "the data is what it was before"
_NEW: Final = "the restored data is in place"
_TIDY: Final = "The server removes what it left beside the volumes."
_WORDS: Final[Mapping[Direction, str]] = {
    Direction.ABORT: f"was interrupted before it changed anything: {_OLD}. The server starts what ran. {_TIDY}",
    Direction.FORWARD: f"is finished as far as the data goes: {_NEW}. The server starts the workload on it and watches "
    "whether it becomes healthy.",
    Direction.TRIAL_PENDING: f"was interrupted while the workload was tried: {_NEW}. The server starts the workload on "
    "it and watches whether it becomes healthy; if too much time has passed, it asks you.",
    Direction.BACKWARD: f"was taken back: {_OLD}. The server starts what ran before it.",
    Direction.ABORTED: f"was called off: {_OLD}. {_TIDY}",
    Direction.REVERTED: f"was taken back: {_OLD}. {_TIDY}",
    Direction.CONFIRMED: f"succeeded: {_NEW}. {_TIDY}",
    Direction.DONE: "is over.",
}
_HELD: Final[Mapping[Direction, str]] = {
    Direction.ABORT: "is to be called off.",
    Direction.FORWARD: "is to put the restored data in place.",
    Direction.BACKWARD: "is to put the data from before back.",
}


async def _recover_offline(settings: Settings) -> list[str]:
    fs = Fs()
    make_directories(settings, fs)
    with (
        DataLock.acquire(settings.data_dir, LOCK_WAIT) as lock,
        live_roots_of(settings, fs) as roots,
    ):
        state_swap_of(settings, Seams()).finish()
        database = Database.at(settings.database_file)
        await database.open()
        try:
            installation = installation_of(settings, fs)
            workers = Workers(worker_settings_of(settings, installation), count=1, keep=[lock.fileno()])
            files = RestoreFiles(fs=fs, roots=roots, journal_dir=settings.journal_dir, workers=workers)
            swaps = SwapRecovery(files=files, registry=RestoreRegistry(), workloads=WorkloadStore(database))
            decided = await swaps.decide()
        finally:
            await database.close()
    told = [
        f"{each.facts.workload_name}: restore {each.facts.restore_id} {in_words(each.found, each.plan)}"
        for each in decided.unfinished
    ]
    told += [f"{facts.workload_name}: {failure.message}" for facts, failure in decided.blocked]
    return told + decided.unreadable


def export_offline(settings: Settings, workload: str, snapshot_id: str, write: Callable[[bytes], object]) -> None:
    """Export a snapshot from the data directory, under its lock, while no server runs.

    Args:
        workload: the workload's id or name, as the snapshot recorded it.

    Raises:
        Busy: ``data_dir_in_use``; ask the server instead.
        NotFound: ``snapshot_unknown``.
    """
    fs = Fs()
    with (
        DataLock.acquire(settings.data_dir, LOCK_WAIT),
        LiveRoots(fs, [str(settings.volumes_base)]) as roots,
        ExitStack() as stack,
    ):
        require_settled(settings)
        store = stack.enter_context(
            closing(open_stores(fs, roots, store_settings_of(settings, installation_of(settings, fs))))
        )
        manifest = store.manifest(snapshot_id)
        if workload not in (manifest.workload_id, manifest.workload_name):
            raise NotFound(
                "snapshot_unknown",
                f"The workload {workload} has no snapshot {snapshot_id}.",
                next_step=f"It is a snapshot of {manifest.workload_name}.",
            )
        store.export(snapshot_id, write, QuietJob())
