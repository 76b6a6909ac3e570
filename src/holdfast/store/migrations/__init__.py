"""The schema's history, one revision a file in ``versions``, and how a database gets to the newest one.

Alembic is imported only where there is something to do: most starts find the schema as it should be.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, text

from holdfast.domain.errors import Failed

REVISIONS: Final = ("0001",)
"""All revisions, oldest first. A test compares them with the files."""

HEAD: Final = REVISIONS[-1]


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; ``None`` for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def migrate(connection: Connection) -> None:
    """Bring the database to the newest schema, inside of the connection's transaction: wholly or not at all.

    Raises:
        Failed: ``schema_newer``; a newer version of Holdfast wrote it. Nothing was changed.
    """
    current = revision(connection)
    if current == HEAD:
        return
    if current is not None and current not in REVISIONS:
        raise Failed(
            "schema_newer",
            f"The database was written by a newer version of Holdfast (schema {current}, this one knows {HEAD}).",
            next_step="Start the newer version again, or go back to a backup from before it. Nothing was changed.",
            details={"found": current, "known": HEAD},
        )
    from holdfast.store.migrations.upgrade import upgrade

    upgrade(connection)
