"""``holdfast import``: workload files from what other programs run by."""

from __future__ import annotations

import typer

from holdfast.cli.commands.import_compose import import_compose
from holdfast.cli.commands.import_container import import_container


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Propose workload files from what other programs run by.")
    group.command("compose")(import_compose)
    group.command("container")(import_container)
    return group
