"""``holdfast repository``: where snapshots are kept."""

from __future__ import annotations

import typer

from holdfast.cli.commands import repository_key


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Where snapshots are kept.")
    group.add_typer(repository_key.commands(), name="key")
    return group
