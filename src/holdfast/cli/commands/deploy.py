"""``holdfast deploy``: run a workload at a version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import show_changes
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import follow


def deploy(
    context: typer.Context,
    workload: options.WorkloadName,
    image: Annotated[str | None, typer.Option("--image", help="The image to run, from now on.")] = None,
    *,
    accept_volumes: Annotated[
        bool,
        typer.Option("--accept-volumes", help="Take the volumes' directories as they are, though they were exchanged."),
    ] = False,
    dry_run: options.DryRun = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Run a workload as it is configured, at the newest version of its image."""
    session = session_of(context, as_json=as_json)
    if dry_run:
        _foresee(session, workload, session.client.get(f"/api/workloads/{workload}/deploy", image=image))
        return
    wanted = {"image": image, "accept_volumes": accept_volumes}
    operation = session.client.send("POST", f"/api/workloads/{workload}/deploy", document=wanted)
    follow(session, operation, detach=detach, done=f"{workload} is deployed.")


def _foresee(session: Session, workload: str, plan: dict[str, Any]) -> None:
    """What a deploy would change. Of secrets only the names."""
    output = session.output
    output.document(plan)
    output.say(f"{workload} would run {plan['image']}, at the newest version that its registry has.")
    show_changes(output, plan)
    if not plan["changes"]:
        output.say("Its configuration is as it was deployed last.")
    for problem in plan["problems"]:
        output.say(f"It would be refused: {problem['message']}")
        output.say(f"next: {problem['next_step']}")
    output.say("Nothing was changed.")
