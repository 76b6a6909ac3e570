"""Running Alembic from inside the program, on a connection that is already open."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def configuration(scripts: str) -> Config:
    """Alembic's configuration, without a file. ``scripts`` is the directory that holds ``env.py``."""
    config = Config()
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection) -> None:
    """Apply all revisions that the database lacks, in the connection's own transaction."""
    with as_file(files("holdfast.store.migrations")) as scripts:
        config = configuration(str(scripts))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
