"""``holdfast snapshot copy``: send snapshots to a second repository."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import completions, options
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import InvalidInput
from holdfast.domain.units import format_size, parse_size


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text.removesuffix("/s"))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--limit-rate") from error


def copy(
    context: typer.Context,
    workload: options.WorkloadName,
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="The second repository.", callback=options.repository_name)
    ],
    snapshot: Annotated[
        str | None,
        typer.Argument(
            metavar="SNAPSHOT", help="Which one.", callback=options.identifier, autocompletion=completions.snapshots
        ),
    ] = None,
    limit_rate: Annotated[
        str | None,
        typer.Option(
            "--limit-rate", metavar="SIZE", help="Send at most so much a second, for example 10MiB; 0: no bound."
        ),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All snapshots that are missing there.")] = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Copy snapshots to a second repository. Only what is missing there is sent; what was cut off goes on."""
    session = session_of(context, as_json=as_json)
    if (snapshot is None) is not everything:
        raise InvalidInput(
            "snapshot_missing",
            "Either one snapshot is copied, or all.",
            next_step=f"Name one of: holdfast snapshot list {workload}. Or say --all.",
        )
    operation = session.client.send(
        "POST",
        f"/api/repositories/{to}/copies",
        document={"workload": workload, "snapshot": snapshot, "limit_rate": _rate(limit_rate)},
    )
    ended = follow(session, operation, detach=detach, done=f"{to} has everything.")
    outcome = ended["outcome"]
    session.output.facts(
        [
            ("copied", len(outcome["copied"])),
            ("there already", outcome["existed"] or None),
            ("sent", format_size(outcome["sent_bytes"])),
        ]
    )
