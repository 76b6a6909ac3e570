"""Running Alembic from inside the program, on a connection that is already open."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from holdfast.domain.errors import Failed


def configuration(scripts: str) -> Config:
    """Alembic's configuration, without a file. ``scripts`` is the directory that holds ``env.py``."""
    config = Config()
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection, current: str = "none", copy: Path | None = None) -> None:
    """Apply all revisions that the database lacks, in the connection's own transaction.

    Args:
        current: the revision that it is at.
        copy: where it was copied to.

    Raises:
        Failed: ``upgrade_failed``.
        DBAPIError: the disk is full.
    """
    with as_file(files("holdfast.store.migrations")) as scripts:
        config = configuration(str(scripts))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError) and "disk is full" in str(error.orig):
                raise
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise Failed(
                "upgrade_failed",
                f"The database can't be upgraded from schema {current}: {cause}. It is as it was before.",
                next_step="Start the version of before again, which goes on with it, and report this with the message"
                f"{'' if copy is None else f' and {copy}, the copy from before the upgrade'}.",
            ) from error
