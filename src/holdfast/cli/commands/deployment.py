"""``holdfast deployment``: what was deployed, and how that ended."""

from __future__ import annotations

import typer

from holdfast.cli import options
from holdfast.cli.output import ago
from holdfast.cli.session import session_of


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Look back at deployments.")
    group.callback()(_group)  # so that its one command keeps its name
    group.command("list")(list_deployments)
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


def _group() -> None:
    """Look back at deployments."""
