"""``holdfast rollback``: run an earlier version again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import show_changes
from holdfast.cli.output import Output, both
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow


def rollback(
    context: typer.Context,
    workload: options.WorkloadName,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DEPLOYMENT",
            help="The deployment to return to (see deployment list); what ran before this version if not given.",
            callback=options.identifier,
        ),
    ] = None,
    *,
    accept_volumes: Annotated[
        bool,
        typer.Option("--accept-volumes", help="Take the volumes' directories as they are, though they were exchanged."),
    ] = False,
    dry_run: options.DryRun = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Return to an earlier deployment, its image and its configuration. The data stays: see restore for that."""
    session = session_of(context, as_json=as_json)
    path = f"/api/workloads/{workload}/rollback"
    plan = session.client.get(path, deployment=to)
    _show(session.output, plan)
    if dry_run:
        session.output.document(plan)
        session.output.say("Nothing was changed.")
        return
    wanted = {"deployment": plan["deployment"]["id"], "accept_volumes": accept_volumes}
    operation = session.client.send("POST", path, document=wanted)
    follow(session, operation, detach=detach, done=f"{workload} runs {plan['deployment']['image']} again.")


def _show(output: Output, plan: dict[str, Any]) -> None:
    then = plan["deployment"]
    short = then["image_id"].removeprefix("sha256:")[:12]
    output.say(f"Back to the deployment {then['id']} of {both(then['started_at'])}: {then['image']} ({short}).")
    show_changes(output, plan)
    if not plan["image_here"]:
        output.say(
            f"Its image is no longer on this host and is pulled first: {then['digest']}."
            if then["digest"]
            else "Its image is no longer on this host, and no registry gave it a digest: load it first."
        )
