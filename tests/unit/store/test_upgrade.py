"""From every earlier schema to the present one, with data: nothing is lost, and there is a way back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    create_engine,
    insert,
    inspect,
    select,
    text,
)

from holdfast.domain.errors import Failed
from holdfast.store import migrations
from holdfast.store.database import Database
from holdfast.store.migrations import HEAD, REVISIONS
from holdfast.store.migrations.upgrade import configuration
from holdfast.store.upgrade_copies import KEPT, copy_of

EARLIER = REVISIONS[:-1]
Rows = Mapping[str, list[dict[str, object]]]


def lead_to(connection: Connection, revision: str) -> None:
    config = configuration(str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def fill(connection: Connection) -> None:
    """A row in each table that has none yet. Each text is "[]": JSON, and the key that other tables refer to."""
    for table in reflected(connection).sorted_tables:
        if connection.execute(select(table)).first() is None:
            connection.execute(insert(table).values({column.name: value_of(column) for column in table.columns}))


def value_of(column: Column[Any]) -> object:
    if isinstance(column.type, LargeBinary):
        return b"[]"
    return 1 if isinstance(column.type, Boolean | Float | Integer) else "[]"


def rows(connection: Connection) -> Rows:
    """What is in it, but for what Alembic keeps."""
    tables = reflected(connection).sorted_tables
    return {
        table.name: [dict(row._mapping) for row in connection.execute(select(table))]
        for table in tables
        if table.name != "alembic_version"
    }


def rows_of(file: Path) -> Rows:
    with create_engine(f"sqlite:///{file}").connect() as connection:
        return rows(connection)


def shape(connection: Connection) -> dict[str, list[str]]:
    found = inspect(connection)
    return {table: sorted(repr(column) for column in found.get_columns(table)) for table in found.get_table_names()}


def revision_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(revision)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database of every earlier schema, with a row in each table: ``0001.db`` …"""
    directory = tmp_path_factory.mktemp("earlier")
    file = directory / "state.db"
    engine = create_engine(f"sqlite:///{file}")
    for revision in EARLIER:
        with engine.begin() as connection:
            lead_to(connection, revision)
            fill(connection)
        shutil.copy(file, directory / f"{revision}.db")
    engine.dispose()
    yield directory
    shutil.rmtree(directory)


async def opened(file: Path) -> None:
    database = Database.at(file)
    try:
        await database.open()
    finally:
        await database.close()


async def refused(file: Path) -> Failed:
    with pytest.raises(Failed) as caught:
        await opened(file)
    return caught.value


@pytest.mark.parametrize("revision", EARLIER)
async def test_it_is_upgraded_from_every_earlier_schema_with_all_that_is_in_it_and_copied_before(
    revision: str, earlier: Path, tmp_path: Path
) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / f"{revision}.db", file)
    before = rows_of(file)

    database = Database.at(file)
    await database.open()
    after, upgraded = await database.read(rows), await database.read(shape)
    violations = await database.read(lambda connection: connection.execute(text("PRAGMA foreign_key_check")).all())
    await database.close()

    new = Database.at(tmp_path / "new.db")
    await new.open()
    assert upgraded == await new.read(shape)
    await new.close()
    assert violations == []
    for table, kept in before.items():
        for old, now in zip(kept, after[table], strict=True):
            assert old.items() <= now.items(), f"{table} was changed"
    copy = copy_of(file, revision)
    assert (revision_of(copy), rows_of(copy)) == (revision, before)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert names(tmp_path) == ["new.db", "state.db", copy.name]


async def test_what_runs_while_the_database_is_as_it_should_be_makes_no_copy(tmp_path: Path) -> None:
    for _ in range(2):
        await opened(tmp_path / "state.db")
    assert names(tmp_path) == ["state.db"]


async def test_the_copy_is_on_disk_under_its_name_before_anything_is_upgraded(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / f"{EARLIER[-1]}.db", file)
    copy, flushed = copy_of(file, EARLIER[-1]), []
    flush = os.fsync

    def see(fd: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{fd}"), copy.exists(), revision_of(file)))
        flush(fd)

    monkeypatch.setattr(os, "fsync", see)
    await opened(file)
    assert flushed == [(f"{copy}.part", False, EARLIER[-1]), (str(tmp_path), True, EARLIER[-1])]


async def test_an_upgrade_that_fails_leaves_all_as_it_was_and_says_where_the_copy_is(
    earlier: Path, tmp_path: Path
) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / "0013.db", file)
    with closing(sqlite3.connect(file)) as connection:
        # A table that the upgrade has yet to make, after others: it fails in the middle.
        connection.execute("CREATE TABLE audit_head (id INTEGER)")
    before = rows_of(file)
    for _ in range(2):
        error = await refused(file)
        assert error.code == "upgrade_failed"
        assert "already exists" in error.message
        assert str(copy_of(file, "0013")) in error.next_step
        assert (revision_of(file), rows_of(file)) == ("0013", before)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE audit_head")
    await opened(file)
    assert revision_of(file) == HEAD


async def test_without_a_copy_nothing_is_upgraded(earlier: Path, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / "0012.db", file)
    copy_of(file, "0012").mkdir()
    error = await refused(file)
    assert error.code == "upgrade_copy_failed"
    assert "Is a directory" in error.message
    assert revision_of(file) == "0012"
    assert names(tmp_path) == ["state.db", copy_of(file, "0012").name]


async def test_a_damaged_database_is_not_upgraded(earlier: Path, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / "0012.db", file)
    with closing(sqlite3.connect(file)) as connection:
        index, size = connection.execute(
            "SELECT rootpage, (SELECT page_size FROM pragma_page_size) "
            "FROM sqlite_master WHERE name LIKE 'ix_snapshots%'"
        ).fetchone()
    with file.open("r+b") as damaged:
        damaged.seek((index - 1) * size)
        page = damaged.read(size)
        damaged.seek((index - 1) * size)
        damaged.write(page.replace(b"[]", b"{}"))
    error = await refused(file)
    assert error.code == "upgrade_copy_failed"
    assert "missing from index" in error.message
    assert revision_of(file) == "0012"


async def test_the_newest_few_copies_stay_and_always_the_one_just_made(earlier: Path, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / "0001.db", file)
    for revision in ("0009", "0007", "0008", "0010"):
        copy_of(file, revision).write_bytes(b"")
    (tmp_path / "state.schema-mine.db").write_bytes(b"")
    await opened(file)
    left = set(names(tmp_path)) - {"state.db", "state.schema-mine.db"}
    assert left == {copy_of(file, revision).name for revision in ("0001", "0009", "0010")}
    assert len(left) == KEPT


async def test_a_newer_database_names_the_copy_to_go_back_to(earlier: Path, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    shutil.copy(earlier / "0012.db", file)
    await opened(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    shutil.copy(file, copy_of(file, "9998"))
    before = file.read_bytes()
    error = await refused(file)
    assert error.code == "schema_newer"
    assert str(copy_of(file, "0012")) in error.next_step
    assert file.read_bytes() == before
    os.replace(copy_of(file, "0012"), file)
    await opened(file)
    assert revision_of(file) == HEAD
