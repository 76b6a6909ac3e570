"""``holdfast logs``: what a workload's instances wrote."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.moments import moment
from holdfast.cli.new_file import new_file
from holdfast.cli.output import json_text, shown
from holdfast.cli.session import Session, session_of
from holdfast.domain.errors import InvalidInput
from holdfast.domain.units import format_size


def logs(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay, and write each new line, through redeploys.")
    ] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, max=10_000, help="How many of the last lines.")] = 200,
    since: Annotated[
        str | None, typer.Option("--since", help="Only from then on: 10m, 2h, or an RFC 3339 time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only up to then, given likewise.")] = None,
    search: Annotated[
        str, typer.Option("--search", "-s", help="Only lines that hold this text; case does not count.")
    ] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Begin each line with its time.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Do not say which instance wrote a line.")] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Write all lines that there are to this file; - for stdout. Never replaced."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show what a workload's instances wrote, removed ones included.

    With --follow, --json writes one document a line.
    """
    session = session_of(context, as_json=as_json)
    path = f"/api/workloads/{workload}/logs"
    chosen = {"since": moment(since), "until": moment(until), "search": search or None}
    if target is not None:
        _download(session, f"{path}/download", chosen, target, follow=follow)
        return
    if not follow:
        lines = session.client.get(path, tail=tail, **chosen)
        session.output.document(lines)
        for line in lines["items"]:
            _show(session, line, timestamps=timestamps, plain=plain)
        return
    with session.client.events(path, follow=True, tail=tail, **chosen) as events:
        for _, line in events:
            if as_json:
                typer.echo(json_text(line))
            _show(session, line, timestamps=timestamps, plain=plain)


def _download(session: Session, path: str, chosen: dict[str, str | None], target: str, *, follow: bool) -> None:
    if follow or (target == "-" and (session.output.as_json or sys.stdout.isatty())):
        raise InvalidInput(
            "output_ambiguous",
            "What is downloaded is all that there is: it can't be followed, nor go to the terminal or between JSON.",
            next_step="Name a file with -o, without --follow; or leave out -o.",
        )
    with session.client.download(path, **chosen) as (_, chunks), new_file(target) as file:
        written = sum(file.write(chunk) for chunk in chunks)
    session.output.document({"file": target, "bytes": written})
    if target != "-":
        session.output.say(f"Wrote {format_size(written)} to {target}.")


def _show(session: Session, line: dict[str, Any], *, timestamps: bool, plain: bool) -> None:
    if session.output.as_json:
        return
    text = shown(line["text"].rstrip("\r\n"))
    marked = text if plain else f"{shown(line['instance'])} | {text}"
    typer.echo(f"{line['at']} {marked}" if timestamps else marked, err=line["stream"] != "stdout")
