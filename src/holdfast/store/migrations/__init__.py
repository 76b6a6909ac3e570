"""The schema's history, one revision a file in ``versions``, and how a database gets to the newest one.

A new database is made from the tables as they are now; a test proves that the revisions lead to the same. Alembic, a
tenth of a server's memory, is imported only where an older database has to be brought up to date.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    create_mock_engine,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import ExecutableDDLElement

from holdfast.domain.errors import Failed
from holdfast.store.tables import KEEPS_AUDIT, metadata
from holdfast.store.upgrade_copies import keep_copy, newest_copy

REVISIONS: Final = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0017",
    "0018",
)
"""All revisions, oldest first. A test compares them with the files."""

HEAD: Final = REVISIONS[-1]

_VERSION: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table."""


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; ``None`` for an empty one."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar()


@cache
def _of_a_new_database(dialect: str) -> tuple[str, ...]:
    """What makes all tables. To put it together takes several times as long as to execute it."""
    statements: list[str] = []

    def keep(statement: ExecutableDDLElement, *_arguments: object, **_options: object) -> None:
        statements.append(str(statement.compile(dialect=recorder.dialect)))

    recorder = create_mock_engine(f"{dialect}://", keep)
    metadata.create_all(recorder, checkfirst=False)
    _VERSION.create(recorder, checkfirst=False)
    if dialect == "sqlite":
        statements.extend(KEEPS_AUDIT)
    return tuple(statements)


def migrate(connection: Connection, file: Path | None = None) -> None:
    """Bring the database to the newest schema, inside of the connection's transaction: wholly or not at all.

    Args:
        file: where it is; it is copied there before it is upgraded, see :mod:`holdfast.store.upgrade_copies`.

    Raises:
        Failed: ``schema_newer``, ``upgrade_copy_failed``, ``upgrade_failed``. Nothing was changed.
    """
    current = revision(connection)
    if current == HEAD:
        return
    if current is None:
        for statement in _of_a_new_database(connection.dialect.name):
            connection.exec_driver_sql(statement)
        connection.execute(insert(_VERSION).values(version_num=HEAD))
        return
    if current not in REVISIONS:
        raise _newer(current, file)
    from holdfast.store.migrations.upgrade import upgrade

    copy = keep_copy(file, current) if file is not None else None
    upgrade(connection, current, copy)


def _newer(found: str, file: Path | None) -> Failed:
    copy = newest_copy(file, REVISIONS) if file is not None else None
    back = "bring a backup from before it back" if copy is None else f"go back to {copy}, from before its upgrade"
    return Failed(
        "schema_newer",
        f"The database was written by a newer version of Holdfast (schema {found}, this one knows {HEAD}). "
        "Nothing was changed.",
        next_step=f"Start the newer version again. To stay with this one, {back}: see docs/how-to/upgrade.md.",
        details={"found": found, "known": HEAD},
    )
