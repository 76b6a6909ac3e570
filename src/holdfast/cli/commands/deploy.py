"""``holdfast deploy``: run a workload at a version."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.session import session_of
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
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Run a workload as it is configured, at the newest version of its image."""
    session = session_of(context, as_json=as_json)
    wanted = {"image": image, "accept_volumes": accept_volumes}
    operation = session.client.send("POST", f"/api/workloads/{workload}/deploy", document=wanted)
    follow(session, operation, detach=detach, done=f"{workload} is deployed.")
