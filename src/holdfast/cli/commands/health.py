"""``holdfast health``: how a workload was over time."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.moments import moment
from holdfast.cli.output import exact
from holdfast.cli.session import session_of
from holdfast.domain.times import parse
from holdfast.domain.units import format_duration


def health(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", help="From then on: 30m, 2d, or an RFC 3339 time; all that is kept if not given."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Up to then, given likewise; now if not given.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show how a workload was over time, in the last month at most.

    Healthy: it runs, and its image's own health check, if it has one, does not fail. Down: it should run, and doesn't.
    Unknown: Holdfast or the container engine was away.
    """
    session = session_of(context, as_json=as_json)
    found = session.client.get(f"/api/workloads/{workload}/health", since=moment(since), until=moment(until))
    session.output.document(found)
    ends = [*(item["at"] for item in found["items"][1:]), found["until"]]
    session.output.table(
        ("since", "for", "state"),
        [
            (
                exact(item["at"]),
                format_duration((parse(end) - parse(item["at"])).total_seconds()),
                item["state"],
            )
            for item, end in zip(found["items"], ends, strict=True)
        ],
    )
