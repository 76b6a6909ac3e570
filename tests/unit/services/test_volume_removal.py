"""Removing data with a real worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.restore import RootRef
from holdfast.engine.requests import WorkerSettings
from holdfast.services.locks import DrainBarrier
from holdfast.services.operations import Operations
from holdfast.services.volume_removal import WorkerDataRemover
from holdfast.services.workers import Workers
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore
from holdfast.testing.stores import store_settings


@pytest.fixture
async def operations(tmp_path: Path) -> AsyncIterator[Operations]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    operations = Operations(OperationStore(database), DrainBarrier())
    yield operations
    await operations.close(5)
    await database.close()


async def remove(operations: Operations, base: Path, *relative: str) -> Operation:
    settings = WorkerSettings(roots=(str(base),), stores=store_settings(base.parent))
    remover = WorkerDataRemover(Workers(settings, count=1))
    refs = [RootRef(root=str(base), relative=each) for each in relative]
    started = await operations.start(OperationKind.DELETE, None, "ann", lambda ctx: remover.remove(refs, ctx))
    return await operations.wait(started.id)


async def test_directories_are_removed_with_what_is_in_them_and_nothing_else(
    operations: Operations, tmp_path: Path
) -> None:
    base = tmp_path / "volumes"
    for name in ("notes/data/deep", "notes/other", "wiki/data"):
        (base / name).mkdir(parents=True)
    (tmp_path / "outside").write_text("kept")
    (base / "notes" / "data" / "link").symlink_to(tmp_path / "outside")
    ended = await remove(operations, base, "notes/data", "wiki/data")
    assert ended.state is OperationState.SUCCEEDED
    assert sorted(path.relative_to(base).as_posix() for path in base.rglob("*")) == ["notes", "notes/other"]
    assert (tmp_path / "outside").read_text() == "kept"


async def test_what_was_never_made_is_no_obstacle(operations: Operations, tmp_path: Path) -> None:
    base = tmp_path / "volumes"
    (base / "wiki" / "data").mkdir(parents=True)
    ended = await remove(operations, base, "notes/data", "wiki/data")
    assert (ended.state, ended.error) == (OperationState.SUCCEEDED, None)
    assert not (base / "wiki" / "data").exists()


async def test_nothing_is_removed_through_a_symlink(operations: Operations, tmp_path: Path) -> None:
    base = tmp_path / "volumes"
    base.mkdir()
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    (base / "notes").symlink_to(tmp_path / "elsewhere")
    ended = await remove(operations, base, "notes/data")
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "volume_is_symlink"
    assert (tmp_path / "elsewhere" / "data").is_dir()
