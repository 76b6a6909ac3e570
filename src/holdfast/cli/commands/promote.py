"""``holdfast promote``: one workload gets the image that another one runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import completions, options
from holdfast.cli.commands.apply import show_changes
from holdfast.cli.output import Output, both
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow


def promote(
    context: typer.Context,
    workload: options.WorkloadName,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="WORKLOAD",
            help="The workload that gets it.",
            callback=options.name,
            autocompletion=completions.workloads,
        ),
    ],
    *,
    accept_volumes: Annotated[
        bool,
        typer.Option("--accept-volumes", help="Take the volumes' directories as they are, though they were exchanged."),
    ] = False,
    dry_run: options.DryRun = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Have another workload run the image that WORKLOAD runs, by its digest. No data and no configuration goes over."""
    session = session_of(context, as_json=as_json)
    path = f"/api/workloads/{workload}/promote"
    plan = session.client.get(path, to=to)
    _show(session.output, plan)
    if dry_run:
        session.output.document(plan)
        session.output.say("Nothing was changed.")
        return
    wanted = {"to": to, "deployment": plan["deployment"]["id"], "accept_volumes": accept_volumes}
    operation = session.client.send("POST", path, document=wanted)
    follow(session, operation, detach=detach, done=f"{plan['to']} runs what {plan['source']} runs.")


def _show(output: Output, plan: dict[str, Any]) -> None:
    then = plan["deployment"]
    output.say(f"{plan['source']} runs {then['image']} since {both(then['started_at'])}, and is healthy.")
    output.say(f"{plan['to']} gets {plan['digest']}; its data stays.")
    show_changes(output, plan)
    if not plan["changes"]:
        output.say(f"{plan['to']} is configured with it already.")
