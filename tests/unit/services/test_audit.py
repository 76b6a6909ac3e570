"""The audit log in the database: nothing is lost, nothing is there twice, and nothing changes any more."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.bootstrap.audit import verify_audit_offline
from holdfast.config import Settings
from holdfast.domain.audit import AuditEntry, AuditLine, Verifier, parse_head
from holdfast.domain.errors import Failed, NoSpace, NotFound, Unavailable
from holdfast.services.audit import Audit
from holdfast.store.audit import AuditFilter, AuditStore
from holdfast.store.database import Database

ENTRY = AuditEntry(
    at="2026-11-26T09:00:00.000000Z",
    actor="ann",
    address="192.0.2.7",
    action="deploy_workload",
    subject={"workload": "notes"},
    status=202,
    outcome="accepted",
    operation_id="o",
)
REFUSED = dataclasses.replace(ENTRY, actor="ben", status=403, outcome="role_insufficient", operation_id=None)


class FullStore(AuditStore):
    """A store whose disk is full for a while."""

    full = False

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        if self.full:
            raise NoSpace("database_no_space", "The filesystem is full.", next_step="Free some space.")
        await super().append(entries)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> FullStore:
    return FullStore(database)


@pytest.fixture
def audit(store: FullStore) -> Audit:
    return Audit(store)


async def all_lines(audit: Audit) -> list[AuditLine]:
    return [line async for line in await audit.export()]


async def entries(audit: Audit, **wanted: str) -> list[AuditEntry]:
    return [line.entry for line in (await audit.list(AuditFilter(**wanted), 50, None)).items]


async def test_lines_follow_each_other_across_restarts(audit: Audit, database: Database) -> None:
    await audit.record(ENTRY)
    again = Audit(AuditStore(database))
    await asyncio.gather(*(again.record(REFUSED) for _ in range(3)))
    lines = await all_lines(again)
    assert [line.entry for line in lines] == [ENTRY, REFUSED, REFUSED, REFUSED]
    verifier = Verifier([await again.head()])
    for line in lines:
        verifier.look(line)
    assert verifier.report().findings == ()


async def test_lines_are_listed_newest_first_in_pages(audit: Audit) -> None:
    for number in range(5):
        await audit.record(dataclasses.replace(ENTRY, actor=str(number)))
    first = await audit.list(AuditFilter(), 3, None)
    assert [line.number for line in first.items] == [5, 4, 3]
    assert first.next_cursor == "3"
    rest = await audit.list(AuditFilter(), 3, 3)
    assert [line.number for line in rest.items] == [2, 1]
    assert rest.next_cursor is None


async def test_lines_are_found_by_who_what_on_what_when_and_how_it_ended(audit: Audit) -> None:
    odd = dataclasses.replace(ENTRY, subject={"notes": 'a"b%', "file": "ünï_"}, at="2026-11-27T00:00:00.000000Z")
    for entry in (ENTRY, REFUSED, odd):
        await audit.record(entry)
    assert await entries(audit, actor="ben") == await entries(audit, outcome="role_insufficient") == [REFUSED]
    assert await entries(audit, action="deploy_workload", subject="notes") == [REFUSED, ENTRY]
    assert await entries(audit, subject='a"b%') == await entries(audit, subject="ünï_") == [odd]
    assert await entries(audit, subject="%") == await entries(audit, subject="note") == []
    assert await entries(audit, since=odd.at) == [odd]
    assert await entries(audit, until=ENTRY.at) == [REFUSED, ENTRY]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
async def test_the_database_itself_refuses_to_change_a_line(audit: Audit, database: Database, statement: str) -> None:
    await audit.record(ENTRY)
    with pytest.raises(Exception, match="append-only"):
        await database.change(text(statement))
    assert [line.entry for line in await all_lines(audit)] == [ENTRY]


async def test_a_line_that_cant_be_written_is_told_waits_and_lets_nothing_else_begin(
    audit: Audit, store: FullStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.full = True
    await audit.record(ENTRY)
    told = capsys.readouterr().out
    assert "audit_unwritable" in told
    assert "deploy_workload" in told
    with pytest.raises(Unavailable) as caught:
        await audit.require_writable()
    assert caught.value.code == "audit_unwritable"
    assert caught.value.next_step == "Free some space."
    store.full = False
    await audit.require_writable()
    await audit.record(REFUSED)
    assert [line.entry for line in await all_lines(audit)] == [ENTRY, REFUSED]


async def test_what_is_refused_while_nothing_can_be_written_fills_no_memory(
    audit: Audit, store: FullStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.services.audit.MOST_WAITING", 3)
    store.full = True
    unwritable = dataclasses.replace(REFUSED, status=503, outcome="audit_unwritable")
    for entry in (REFUSED, unwritable, REFUSED, unwritable, REFUSED, ENTRY):
        await audit.record(entry)
    store.full = False
    await audit.require_writable()
    assert [line.entry for line in await all_lines(audit)] == [REFUSED, unwritable, REFUSED, ENTRY], (
        "what was done waits"
    )


async def test_what_waits_is_written_at_the_end(audit: Audit, store: FullStore) -> None:
    store.full = True
    await audit.record(ENTRY)
    await audit.close()
    store.full = False
    await audit.close()
    assert [line.entry for line in await all_lines(audit)] == [ENTRY]


async def test_who_is_cancelled_leaves_one_line(audit: Audit, database: Database) -> None:
    recording = asyncio.ensure_future(audit.record(ENTRY))
    await asyncio.sleep(0)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    await audit.record(REFUSED)
    assert [line.entry for line in await all_lines(audit)] == [ENTRY, REFUSED]


class TestOffline:
    """On the data directory alone."""

    @pytest.fixture
    async def settings(self, audit: Audit, tmp_path: Path) -> Settings:
        for number in range(4):
            await audit.record(dataclasses.replace(ENTRY, actor=str(number)))
        return Settings(data_dir=tmp_path)

    def tamper(self, settings: Settings, *statements: str) -> None:
        with sqlite3.connect(settings.database_file) as connection:
            connection.executescript("DROP TRIGGER audit_not_changed; DROP TRIGGER audit_not_removed;")
            for statement in statements:
                connection.execute(statement)

    async def test_a_whole_log_is_found_whole(self, settings: Settings, audit: Audit) -> None:
        report = await asyncio.to_thread(verify_audit_offline, settings, [])
        assert report.findings == ()
        assert report.head == await audit.head()

    @pytest.mark.parametrize(
        "statements",
        [
            {"UPDATE audit SET outcome = 'done' WHERE number = 1": 1, "DELETE FROM audit WHERE number = 3": 3},
            {"UPDATE audit SET subject = 'nonsense' WHERE number = 2": 2, "DELETE FROM audit WHERE number = 4": 4},
            {"UPDATE audit SET number = 9 WHERE number = 4": 4},
        ],
    )
    async def test_what_was_done_to_lines_is_found(self, settings: Settings, statements: dict[str, int]) -> None:
        await asyncio.to_thread(self.tamper, settings, *statements)
        report = await asyncio.to_thread(verify_audit_offline, settings, [])
        assert [finding.number for finding in report.findings][: len(statements)] == list(statements.values())

    async def test_a_head_that_was_noted_counts(self, settings: Settings) -> None:
        report = await asyncio.to_thread(verify_audit_offline, settings, [parse_head(f"3:{'a' * 64}")])
        assert [finding.number for finding in report.findings] == [3]

    def test_without_a_database_nothing_is_made(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound) as caught:
            verify_audit_offline(Settings(data_dir=tmp_path), [])
        assert caught.value.code == "database_missing"
        assert list(tmp_path.iterdir()) == []

    def test_what_is_no_database_of_holdfasts_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "state.db").touch()
        with pytest.raises(Failed) as caught:
            verify_audit_offline(Settings(data_dir=tmp_path), [])
        assert caught.value.code == "database_failed"
