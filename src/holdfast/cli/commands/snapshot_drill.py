"""``holdfast snapshot drill``: prove that a snapshot can be restored."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from holdfast.cli import completions, options
from holdfast.cli.output import both
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow


def drill(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: Annotated[
        str | None,
        typer.Argument(
            metavar="SNAPSHOT", help="The snapshot's id; the newest if left out.", autocompletion=completions.snapshots
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="What has to end with 0 in the restored copy, in place of the workload's snapshots.drill.command. "
            "Split as a shell does, run without one.",
        ),
    ] = None,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Restore a snapshot into a throw-away copy, see whether it lives, and remove it. The workload is not touched."""
    session = session_of(context, as_json=as_json)
    base = f"/api/workloads/{workload}/snapshots"
    if snapshot is None:
        newest = session.client.get(base, limit=1)["items"]
        if not newest:
            raise typer.BadParameter(f"{workload} has no snapshot yet: take one first")
        snapshot = str(newest[0]["id"])
        session.output.say(f"The newest snapshot is {snapshot}, taken {both(newest[0]['created_at'])}.")
    body = {} if command is None else {"command": _words(command)}
    operation = session.client.send("POST", f"{base}/{snapshot}/drill", document=body)
    ended = follow(session, operation, detach=detach, done="Proved: it was restored, and lives.")
    outcome = ended["outcome"]
    if outcome.get("removed") is False:
        session.output.say("The copy could not be removed; it is tried again when the server starts.")


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise typer.BadParameter(f"the command can't be read: {error}") from error
    if not words:
        raise typer.BadParameter("the command names no program")
    return words
