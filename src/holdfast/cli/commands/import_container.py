"""``holdfast import container``: workload files from containers that others made."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.proposals import show_proposals
from holdfast.cli.session import session_of

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
    as_json: options.Json = False,
) -> None:
    """Propose workload files from containers that others made, on the data that they have. Nothing is applied.

    What can't be carried over is named in comments. The values of secrets are not written anywhere. Only admins may.
    """
    session = session_of(context, as_json=as_json)
    proposal = session.client.send("POST", _ROUTE, document={"containers": names, "project": project})
    show_proposals(session.output, proposal, output, force=force)
