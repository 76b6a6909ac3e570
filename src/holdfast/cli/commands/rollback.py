"""``holdfast rollback``: run an earlier version again, on the data as it is or on the data of then."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import show_changes
from holdfast.cli.commands.restore import rehearse
from holdfast.cli.output import Output, both
from holdfast.cli.safety import tell_of_safety
from holdfast.cli.session import Session, session_of
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
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Bring the data back as well: as that version left it. 'undo' takes it back."),
    ] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Return to an earlier deployment, its image and its configuration. The data stays, unless asked for."""
    session = session_of(context, as_json=as_json)
    path = f"/api/workloads/{workload}/rollback"
    plan = session.client.get(path, deployment=to, **({"with_data": True} if with_data else {}))
    _show(session.output, plan)
    if with_data:
        _with_data(session, path, plan, accept_volumes=accept_volumes, dry_run=dry_run, yes=yes, detach=detach)
        return
    if dry_run:
        session.output.document(plan)
        session.output.say("Nothing was changed.")
        return
    wanted = {"deployment": plan["deployment"]["id"], "accept_volumes": accept_volumes}
    operation = session.client.send("POST", path, document=wanted)
    follow(session, operation, detach=detach, done=f"{workload} runs {plan['deployment']['image']} again.")


def _with_data(
    session: Session,
    path: str,
    plan: dict[str, Any],
    *,
    accept_volumes: bool,
    dry_run: bool,
    yes: bool,
    detach: bool,
) -> None:
    """It is a restore: rehearsed, confirmed by the workload's name, and to be undone."""
    then, snapshot = plan["deployment"], plan["snapshot"]
    name = session.client.get(f"/api/workloads/{then['workload_id']}")["name"]
    wanted = {"deployment": then["id"], "with_data": True, "accept_volumes": accept_volumes}
    what = (
        f"This replaces the version that runs and the live data of {name}. What was written since "
        f"{both(snapshot['created_at'])} is kept in a safety snapshot."
    )
    rehearse(session, path, wanted, name, dry_run=dry_run, yes=yes, what=what)
    operation = session.client.send("POST", path, document=wanted, headers={"X-Confirm-Restore": snapshot["id"]})
    follow(session, operation, detach=detach, done=f"{name} is back.")
    tell_of_safety(session, name)


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
    if snapshot := plan["snapshot"]:
        output.say(f"Its data, as it left it: the snapshot {snapshot['id']}, taken {both(snapshot['created_at'])}.")
