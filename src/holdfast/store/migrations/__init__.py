"""The schema's history, one revision a file in ``versions``, and how a database gets to the newest one.

A new database is made from the tables as they are now; a test proves that the revisions lead to the same. Alembic, a
tenth of a server's memory, is imported only where an older database has to be brought up to date.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select

from holdfast.domain.errors import Failed
from holdfast.store.tables import metadata

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


def migrate(connection: Connection) -> None:
    """Bring the database to the newest schema, inside of the connection's transaction: wholly or not at all.

    Raises:
        Failed: ``schema_newer``; a newer version of Holdfast wrote it. Nothing was changed.
    """
    current = revision(connection)
    if current == HEAD:
        return
    if current is None:
        metadata.create_all(connection, checkfirst=False)
        _VERSION.create(connection)
        connection.execute(insert(_VERSION).values(version_num=HEAD))
        return
    if current not in REVISIONS:
        raise Failed(
            "schema_newer",
            f"The database was written by a newer version of Holdfast (schema {current}, this one knows {HEAD}).",
            next_step="Start the newer version again, or go back to a backup from before it. Nothing was changed.",
            details={"found": current, "known": HEAD},
        )
    from holdfast.store.migrations.upgrade import upgrade

    upgrade(connection)
