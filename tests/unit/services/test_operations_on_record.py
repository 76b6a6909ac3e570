"""What the audit log has of operations, whoever or whatever started them: how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert

from holdfast.domain.audit import AuditEntry
from holdfast.domain.errors import Conflict, Failed, HoldfastError
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.schedule import ACTOR as SCHEDULE
from holdfast.services.locks import DrainBarrier
from holdfast.services.operations import OperationContext, Operations
from holdfast.store.audit import AuditFilter, AuditStore, append
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore
from holdfast.store.tables import workloads


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def operations(database: Database) -> Operations:
    return Operations(OperationStore(database), DrainBarrier())


async def entries(database: Database) -> list[AuditEntry]:
    return [line.entry for line in reversed(await AuditStore(database).list(AuditFilter(), limit=100))]


async def ended(
    operations: Operations,
    kind: OperationKind,
    *,
    actor: str = "webhook b1",
    outcome: dict[str, object] | None = None,
    error: HoldfastError | None = None,
) -> Operation:
    async def run(_ctx: OperationContext) -> dict[str, object]:
        if error is not None:
            raise error
        return outcome or {}

    return await operations.wait((await operations.start(kind, "w1", actor, run)).id)


async def test_what_nobody_asked_for_by_a_request_is_on_record_once_it_ended(
    database: Database, operations: Operations
) -> None:
    done = await ended(operations, OperationKind.DEPLOY, outcome={"deployment_id": "d1", "digest": "sha256:1"})
    assert await entries(database) == [
        AuditEntry(
            at=str(done.finished_at),
            actor="webhook b1",
            address="",
            action="deploy_ended",
            subject={"workload": "w1", "deployment_id": "d1"},
            status=0,
            outcome="done",
            operation_id=done.id,
        )
    ]


async def test_a_workload_is_named_by_its_name_also_once_it_is_gone(database: Database, operations: Operations) -> None:
    await database.write(
        lambda connection: connection.execute(
            insert(workloads),
            {"id": "w1", "name": "notes", "spec": "{}", "desired": "", "created_at": "", "updated_at": ""},
        )
    )
    await ended(operations, OperationKind.STOP)
    await database.write(lambda connection: connection.execute(delete(workloads)))
    await ended(operations, OperationKind.DELETE, outcome={"workload": "notes"})
    assert [entry.subject["workload"] for entry in await entries(database)] == ["notes", "notes"]


async def test_how_it_failed_is_on_record(database: Database, operations: Operations) -> None:
    await ended(operations, OperationKind.RESTORE, error=Conflict("volume_changed", "It changed.", next_step="Look."))
    (entry,) = await entries(database)
    assert (entry.action, entry.outcome) == ("restore_ended", "volume_changed")


async def test_what_a_death_of_the_server_cut_off_is_on_record(database: Database, operations: Operations) -> None:
    never = asyncio.Event()

    async def run(_ctx: OperationContext) -> None:
        await never.wait()

    await operations.start(OperationKind.ROLLBACK, "w1", "ann", run)
    await operations.close(0)
    await Operations(OperationStore(database), DrainBarrier()).recover_unfinished()
    (entry,) = await entries(database)
    assert (entry.actor, entry.action, entry.outcome) == ("ann", "rollback_ended", "interrupted")


@pytest.mark.parametrize(
    ("kind", "actor", "outcome"),
    [
        (OperationKind.RESTORE, "ann", {"result": "dry_run"}),
        (OperationKind.PRUNE, "ann", {"dry_run": True, "deleted_snapshots": 3}),
        (OperationKind.SNAPSHOT, SCHEDULE, {"snapshot_id": "s1", "deleted_snapshots": 0}),
        (OperationKind.VERIFY, SCHEDULE, {}),
    ],
)
async def test_dry_runs_and_what_a_schedule_does_day_by_day_fill_no_log(
    database: Database, operations: Operations, kind: OperationKind, actor: str, outcome: dict[str, object]
) -> None:
    await ended(operations, kind, actor=actor, outcome=outcome)
    assert await entries(database) == []


async def test_what_a_schedule_takes_away_or_fails_at_is_on_record(database: Database, operations: Operations) -> None:
    gone = {"snapshot_id": "s9", "deleted_snapshots": 2}
    await ended(operations, OperationKind.SNAPSHOT, actor=SCHEDULE, outcome=gone)
    await ended(operations, OperationKind.PRUNE, actor=SCHEDULE, outcome={"dry_run": False, "deleted_snapshots": 1})
    await ended(operations, OperationKind.VERIFY, actor=SCHEDULE, error=Conflict("snapshot_damaged", "", next_step=""))
    told = [(entry.action, entry.outcome, entry.subject.get("deleted_snapshots")) for entry in await entries(database)]
    assert told == [
        ("snapshot_ended", "done", "2"),
        ("prune_ended", "done", "1"),
        ("verify_ended", "snapshot_damaged", None),
    ]


async def test_an_end_and_its_line_are_on_disk_together_or_neither_is(
    database: Database, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def once(connection: Connection, lines: Sequence[AuditEntry]) -> None:
        if not refused:
            refused.append(lines[0].action)
            raise Failed("database_failed", "The disk is full.", next_step="Free some space.")
        append(connection, lines)

    monkeypatch.setattr("holdfast.store.operations.append", once)

    async def run(_ctx: OperationContext) -> None:
        pass

    operation = await operations.start(OperationKind.STOP, "w1", "ann", run)
    async for seen in operations.events(operation.id):
        if "waiting for the disk" in seen.waiting_for:
            break
    on_disk = await OperationStore(database).get(operation.id)
    assert on_disk is not None
    assert not on_disk.state.ended
    await operations.wait(operation.id)
    assert [entry.action for entry in await entries(database)] == refused == ["stop_ended"]
