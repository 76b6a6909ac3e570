"""``holdfast logs``: what a workload's instances wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.output import json_text, shown
from holdfast.cli.session import Session, session_of
from holdfast.domain.errors import InvalidInput
from holdfast.domain.times import parse, rfc3339
from holdfast.domain.units import parse_duration


def logs(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and write each new line.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, max=10_000, help="How many of the last lines.")] = 200,
    since: Annotated[
        str | None, typer.Option("--since", help="Only from then on: 10m, 2h, or an RFC 3339 time.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Begin each line with its time.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what a workload's instances wrote. With --follow, --json writes one document a line."""
    session = session_of(context, as_json=as_json)
    path = f"/api/workloads/{workload}/logs"
    start = _moment(since) if since else None
    if not follow:
        lines = session.client.get(path, tail=tail, since=start)
        session.output.document(lines)
        for line in lines["items"]:
            _show(session, line, timestamps=timestamps)
        return
    with session.client.events(path, follow=True, tail=tail, since=start) as events:
        for _, line in events:
            if as_json:
                typer.echo(json_text(line))
            _show(session, line, timestamps=timestamps)


def _show(session: Session, line: dict[str, Any], *, timestamps: bool) -> None:
    if session.output.as_json:
        return
    text = shown(line["text"].rstrip("\r\n"))
    typer.echo(f"{line['at']} {text}" if timestamps else text, err=line["stream"] == "stderr")


def _moment(text: str) -> str:
    try:
        if text[:4].isdigit() and "-" in text:
            return rfc3339(parse(text))
        return rfc3339(datetime.now(UTC) - timedelta(seconds=parse_duration(text)))
    except ValueError as error:
        raise InvalidInput(
            "since_invalid",
            f"{text!r} is neither a duration nor a time.",
            next_step="Give it as 10m, 2h, or 2026-11-23T09:00:00Z.",
        ) from error
