"""``holdfast env``: a workload's environment out of a file."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import read_file, show_changes
from holdfast.cli.session import session_of
from holdfast.domain.errors import InvalidInput


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Take over a workload's environment from a file.")
    group.callback()(_group)  # so that its one command keeps its name
    group.command("import")(import_env)
    return group


def import_env(
    context: typer.Context,
    workload: options.WorkloadName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The .env file; - for stdin.")],
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="NAME", help="A variable of the file that is a secret; may be repeated."),
    ] = None,
    *,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Take over the variables of a .env file. Those that it does not name stay as they are."""
    session = session_of(context, as_json=as_json)
    try:
        text = read_file(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "text_not_utf8", f"{file} is not UTF-8 (at byte {error.start}).", next_step="Save it as UTF-8."
        ) from error
    document = {"text": text, "secrets": secret or [], "dry_run": dry_run}
    applied = session.client.send("POST", f"/api/workloads/{workload}/env", document=document)
    session.output.document(applied)
    show_changes(session.output, applied)
    if dry_run:
        session.output.say("Nothing was changed.")
    elif applied["changes"]:
        session.output.say(f"Changed {workload}. Deploy the change with: holdfast deploy {workload}")
    else:
        session.output.say(f"{workload} has all of that already.")


def _group() -> None:
    """Take over a workload's environment from a file."""
