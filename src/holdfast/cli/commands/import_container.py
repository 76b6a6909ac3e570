"""``holdfast import container``: workload files from containers that others made."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.proposals import show_proposals
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow

_ROUTE: Final = "/api/import/containers"


def import_container(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Containers of the server's host, or their ids.")
    ],
    project: Annotated[
        str | None,
        typer.Option(
            "--project", help="The project of all of them; else Compose's, or each its own.", callback=options.name
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Write a file for each workload there.")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Have the workloads take the containers' place, on their data.")
    ] = False,
    accept_left_out: Annotated[
        bool, typer.Option("--accept-left-out", help="Take over without what can't be carried over.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the old containers there after a take-over, stopped and renamed.")
    ] = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Propose workload files from containers that others made, on the data that they have.

    Nothing is applied, unless they are to be taken over.
    What can't be carried over is named in comments. The values of secrets are not written anywhere. Only admins may.

    With --take-over workloads take the containers' place: these are stopped, a first snapshot is taken, and they are
    removed, without their volumes, once all workloads are healthy. Until then they are put back whatever happens.
    """
    if take_over and output is not None:
        raise typer.BadParameter("--output writes files to be applied, --take-over does it at once: say one of them.")
    if not take_over and (accept_left_out or keep or yes or detach):
        raise typer.BadParameter("--accept-left-out, --keep, --yes and --detach go with --take-over.")
    session = session_of(context, as_json=as_json)
    wanted = {"containers": names, "project": project}
    proposal = session.client.send("POST", _ROUTE, document=wanted)
    if not take_over:
        show_proposals(session.output, proposal, output, force=force)
        return
    containers = [workload["container"] for workload in proposal["workloads"]]
    for workload in proposal["workloads"]:
        for finding in workload["findings"]:
            session.output.note(f"{finding['path'] or workload['name']}: {finding['message']} {finding['next_step']}")
    told = f"Stops {', '.join(containers)}, and has workloads take the place, on the same data."
    confirm_by_name(session, containers[0], told, yes=yes)
    operation = session.client.send(
        "POST",
        f"{_ROUTE}/take-over",
        document={**wanted, "accept_left_out": accept_left_out, "keep": keep},
        headers={"X-Confirm-Take-Over": ",".join(containers)},
    )
    done = ", ".join(workload["name"] for workload in proposal["workloads"])
    follow(session, operation, detach=detach, done=f"Holdfast has taken over: {done}.")
