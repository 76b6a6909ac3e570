"""``holdfast snapshot prune``: delete the snapshots that workloads no longer keep, and free what nothing needs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import completions, options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import Output, both
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.units import format_size

_WHAT = "Snapshots that their workload's snapshots.keep lets go are deleted for good; --dry-run shows which."


def prune(
    context: typer.Context,
    workload: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="Delete snapshots of this workload only; else of all.",
            autocompletion=completions.workloads,
        ),
    ] = None,
    *,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Delete the snapshots that workloads no longer keep, and free what no snapshot needs."""
    session = session_of(context, as_json=as_json)
    if not dry_run:
        confirm_by_name(session, workload or "prune", _WHAT, yes=yes)
    operation = session.client.send(
        "POST", "/api/repository/prune", document={"workload": workload, "dry_run": dry_run}
    )
    ended = follow(
        session, operation, detach=detach, done="Nothing was changed. A prune would do this:" if dry_run else "Pruned."
    )
    _describe(session.output, ended["outcome"])


def _describe(output: Output, outcome: dict[str, Any]) -> None:
    if outcome["snapshots"]:
        output.table(
            ("snapshot", "workload", "taken", "verdict"),
            [
                (s["id"], s["workload"], both(s["taken_at"]), ", ".join(s["reasons"]) if not s["deleted"] else "goes")
                for s in outcome["snapshots"]
            ],
        )
    output.facts(
        [
            ("snapshots that go", outcome["deleted_snapshots"]),
            ("packs deleted", outcome["deleted_packs"]),
            ("packs written anew", outcome["rewritten_packs"]),
            ("freed", format_size(max(0, outcome["freed_bytes"]))),
            ("left to the next", outcome["postponed_packs"] or None),
        ]
    )
