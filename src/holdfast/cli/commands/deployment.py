"""``holdfast deployment``: what was deployed, and how that ended."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import show_changes
from holdfast.cli.output import ago, both
from holdfast.cli.session import session_of


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Look back at deployments.")
    group.command("list")(list_deployments)
    group.command("show")(show)
    return group


def list_deployments(
    context: typer.Context, workload: options.WorkloadName, limit: options.Limit = 20, *, as_json: options.Json = False
) -> None:
    """List a workload's deployments, newest first. To return to one that succeeded: holdfast rollback --to."""
    session = session_of(context, as_json=as_json)
    page = session.client.get(f"/api/workloads/{workload}/deployments", limit=limit)
    session.output.document(page)
    session.output.table(
        ("id", "state", "reason", "image", "image id", "configuration", "when", "data before"),
        [
            (
                d["id"],
                d["state"],
                d["reason"],
                d["image"],
                d["image_id"].removeprefix("sha256:")[:12],
                d["config_hash"][:8],
                ago(d["started_at"]),
                d["snapshot_id"] or "-",
            )
            for d in page["items"]
        ],
    )


def show(
    context: typer.Context,
    workload: options.WorkloadName,
    deployment: Annotated[str, typer.Argument(metavar="DEPLOYMENT", callback=options.identifier, help="Its id.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Show a deployment, and what it changed of the configuration. Of secrets only the names."""
    session = session_of(context, as_json=as_json)
    found = session.client.get(f"/api/workloads/{workload}/deployments/{deployment}")
    session.output.document(found)
    session.output.facts(
        [
            ("deployment", found["id"]),
            ("state", found["state"]),
            ("reason", found["reason"]),
            ("image", found["image"]),
            ("image id", found["image_id"]),
            ("digest", found["digest"]),
            ("snapshot right before", found["snapshot_id"]),
            ("started", both(found["started_at"])),
            ("ended", both(found["finished_at"]) if found["finished_at"] else None),
            ("error", found["error"]["message"] if found["error"] else None),
            ("compared with", found["before"] or "nothing: it was the first"),
        ]
    )
    show_changes(session.output, found)
