from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from holdfast.domain.errors import Damaged, Failed
from holdfast.domain.restore import Identity
from holdfast.store import migrations
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.migrations.upgrade import configuration, upgrade
from holdfast.store.tables import metadata, snapshots
from holdfast.store.tokens import FoundToken, TokenStore, WaysIn

INSERT = insert(snapshots)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


def row(number: int) -> dict[str, object]:
    return {"id": f"s{number:03}", "workload_id": "w", "pinned": False, "damaged": "[]"}


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def ids(database: Database) -> list[str]:
    return [found.id for found in await database.rows(select(snapshots.c.id).order_by(snapshots.c.id))]


async def test_every_connection_is_durable_and_checks_foreign_keys(database: Database) -> None:
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    found = await database.read(
        lambda connection: [connection.execute(text(f"PRAGMA {pragma}")).scalar() for pragma in pragmas]
    )
    assert found == ["wal", 2, 1, 5000]


async def test_the_files_are_for_their_owner_only(database: Database, tmp_path: Path) -> None:
    assert modes(tmp_path)["state.db"] == modes(tmp_path)["state.db-wal"] == 0o600


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def schema(connection: Connection) -> dict[str, object]:
    """All that there is of tables, whatever the order in which it came."""
    found = inspect(connection)
    triggers = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"))
    return {"triggers": [tuple(trigger) for trigger in triggers]} | {
        table: [
            found.get_pk_constraint(table),
            *sorted(repr(column) for column in found.get_columns(table)),
            *sorted(repr(index) for index in found.get_indexes(table)),
            *sorted(repr(unique) for unique in found.get_unique_constraints(table)),
            *sorted(repr(key) for key in found.get_foreign_keys(table)),
            connection.execute(text("SELECT * FROM alembic_version")).all(),
        ]
        for table in found.get_table_names()
    }


async def test_migrations_build_exactly_the_tables_that_a_new_database_has(database: Database, tmp_path: Path) -> None:
    with create_engine(f"sqlite:///{tmp_path / 'migrated.db'}").begin() as connection:
        upgrade(connection)
        assert differences(connection) == []
        migrated = schema(connection)
    assert await database.read(differences) == []
    assert await database.read(schema) == migrated
    assert "workloads" in migrated


async def test_the_token_of_an_installation_without_accounts_goes_on(tmp_path: Path) -> None:
    with create_engine(f"sqlite:///{tmp_path / 'state.db'}").begin() as connection:
        config = configuration(str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")
        row = {"id": "t", "hash": "ab", "name": "admin", "role": "admin", "created_at": "2026-11-23T09:00:00.000000Z"}
        connection.execute(text("INSERT INTO tokens VALUES (:id, :hash, :name, :role, :created_at)"), row)
    database = Database.at(tmp_path / "state.db")
    await database.open()
    assert await TokenStore(database).find("ab") == FoundToken(token=None, user_role=None)
    assert await TokenStore(database).ways_in() == WaysIn(first=True, admin=False)
    await database.close()


async def test_a_database_without_tables_of_ours_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    database = Database.at(tmp_path / "state.db")
    await database.open()
    assert await ids(database) == []
    await database.close()


def test_the_known_revisions_are_those_of_the_files() -> None:
    scripts = ScriptDirectory.from_config(configuration(str(Path(migrations.__file__).parent)))
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == migrations.REVISIONS
    assert scripts.get_current_head() == migrations.HEAD


async def test_opening_again_finds_what_was_written(database: Database, tmp_path: Path) -> None:
    await database.change(INSERT, **row(1))
    await database.close()
    again = Database.at(tmp_path / "state.db")
    await again.open()
    assert await ids(again) == ["s001"]
    await again.close()


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database, tmp_path: Path) -> None:
    await database.change(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    again = Database.at(tmp_path / "state.db")
    with pytest.raises(Failed) as caught:
        await again.open()
    await again.close()
    assert caught.value.code == "schema_newer"


async def test_an_unusable_place_is_an_error_of_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "state.db", tmp_path):
        database = Database.at(path)
        with pytest.raises(Failed) as caught:
            await database.open()
        await database.close()
        assert caught.value.code == "database_failed"


async def test_a_file_that_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 1000)
    database = Database.at(tmp_path / "state.db")
    with pytest.raises(Failed) as caught:
        await database.open()
    await database.close()
    assert caught.value.code == "database_failed"


async def test_a_failure_inside_of_a_write_undoes_it(database: Database) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(INSERT, row(1))
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await database.write(fail)
    assert await ids(database) == []


async def test_a_broken_constraint_undoes_the_write(database: Database) -> None:
    def insert_twice(connection: Connection) -> None:
        connection.execute(INSERT, row(1))
        connection.execute(INSERT, row(1))

    with pytest.raises(IntegrityError):
        await database.write(insert_twice)
    assert await ids(database) == []


async def test_writers_queue_and_readers_do_not_wait_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite's own patience would end after seconds, however long the writer before takes
    monkeypatch.setattr("holdfast.store.database._PRAGMAS", ("journal_mode=WAL", "busy_timeout=0"))
    database = Database.at(tmp_path / "state.db")
    await database.open()
    begun, go = threading.Event(), threading.Event()

    def write(connection: Connection) -> None:
        connection.execute(INSERT, row(0))
        begun.set()
        go.wait(30)

    first = asyncio.create_task(database.write(write))
    await asyncio.to_thread(begun.wait, 30)
    others = [asyncio.create_task(database.change(INSERT, **row(number))) for number in range(1, 30)]
    try:
        assert await asyncio.wait_for(ids(database), 20) == []
    finally:
        go.set()
    await asyncio.gather(first, *others)
    assert len(await ids(database)) == 30
    await database.close()


async def test_cancelled_writers_leave_the_database_usable_and_whole(database: Database) -> None:
    async def write_two(number: int) -> None:
        await database.write(lambda connection: connection.execute(INSERT, [row(2 * number), row(2 * number + 1)]))

    for number in range(40):
        task = asyncio.create_task(write_two(number))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    found = await ids(database)
    assert all(f"s{int(name[1:]) ^ 1:03}" in found for name in found)
    await write_two(100)
    assert "s201" in await ids(database)


async def test_who_is_cancelled_goes_on_only_when_the_thread_is_done_with_the_connection(database: Database) -> None:
    begun, go = threading.Event(), threading.Event()
    told = []

    def work(_connection: Connection) -> None:
        begun.set()
        go.wait(30)
        told.append("worked")

    async def ask() -> None:
        try:
            await database.read(work)
        finally:
            told.append("went on")

    task = asyncio.create_task(ask())
    await asyncio.to_thread(begun.wait, 30)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert told == []
    go.set()
    await asyncio.wait([task])
    assert told == ["worked", "went on"]
    assert task.cancelled()


async def test_no_thread_outlives_it(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    assert any(thread.name.startswith("database") for thread in threading.enumerate())
    await database.close()
    assert not any(thread.name.startswith("database") for thread in threading.enumerate())


async def test_an_upsert_makes_a_row_once_and_changes_it_afterwards(database: Database) -> None:
    for pinned in (False, True):
        values = {"workload_id": "w", "pinned": pinned, "damaged": "[]"}
        await database.write(partial(upsert, table=snapshots, key={"id": "s"}, values=values))
    rows = await database.rows(select(snapshots.c.id, snapshots.c.pinned))
    assert [tuple(found) for found in rows] == [("s", True)]


@pytest.mark.parametrize("new", [True, False])
async def test_neither_a_new_database_nor_one_as_it_should_be_loads_alembic_or_an_orm(
    new: bool, tmp_path: Path
) -> None:
    if not new:
        database = Database.at(tmp_path / "state.db")
        await database.open()
        await database.close()
    program = (
        "import asyncio, pathlib, sys\n"
        "from holdfast.store.database import Database\n"
        "async def main():\n"
        "    database = Database.at(pathlib.Path(sys.argv[1]))\n"
        "    await database.open()\n"
        "    await database.close()\n"
        "asyncio.run(main())\n"
        "sys.exit(any(name in sys.modules for name in ('alembic', 'sqlalchemy.orm')))\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(tmp_path / "state.db")], check=False
    )
    assert done.returncode == 0


def test_a_record_survives_its_way_through_json() -> None:
    identity = Identity(handle_type=1, handle="00ff")
    assert decode(Identity, encode(identity)) == identity


@pytest.mark.parametrize("damaged", ["", "{", '{"handle_type": "x", "handle": "00"}', "[]"])
def test_a_damaged_record_is_named_as_such(damaged: str) -> None:
    with pytest.raises(Damaged) as caught:
        decode(Identity, damaged)
    assert caught.value.code == "state_damaged"
