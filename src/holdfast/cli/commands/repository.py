"""``holdfast repository``: where snapshots are kept."""

from __future__ import annotations

import typer

from holdfast.cli.commands import (
    repositories,
    repository_damaged,
    repository_key,
    repository_take_over,
    repository_verify,
)


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Where snapshots are kept.")
    group.command("add")(repositories.add)
    group.command("list")(repositories.list_repositories)
    group.command("show")(repositories.show)
    group.command("test")(repositories.try_out)
    group.command("snapshots")(repositories.snapshots)
    group.command("prune")(repositories.prune)
    group.command("remove")(repositories.remove)
    group.command("verify")(repository_verify.verify)
    group.command("damaged")(repository_damaged.damaged)
    group.command("delete-damaged")(repository_damaged.delete_damaged)
    group.add_typer(repository_key.commands(), name="key")
    group.command("take-over")(repository_take_over.take_over)
    return group
