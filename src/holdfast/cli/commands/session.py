"""``holdfast session``: where somebody is signed in."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.output import ago, exact
from holdfast.cli.session import session_of


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Where one is signed in. Needs `holdfast login`.")
    group.command("list")(list_sessions)
    group.command("end")(end)
    return group


def list_sessions(
    context: typer.Context,
    user: Annotated[
        str | None, typer.Option("--user", help="Those of this user; for admins.", callback=options.user_name)
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List one's own sessions, newest first."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/sessions", user=user)
    session.output.document(document)
    session.output.table(
        ("signed in", "from", "with", "used", "ends", "id"),
        [
            (
                ago(found["created_at"]) + (" (this one)" if found["current"] else ""),
                found["address"],
                found["agent"],
                ago(found["used_at"]),
                exact(found["expires_at"]),
                found["id"],
            )
            for found in document["items"]
        ],
    )


def end(
    context: typer.Context,
    session_id: Annotated[
        str, typer.Argument(metavar="SESSION", help="Its id, as listed.", callback=options.identifier)
    ],
    *,
    as_json: options.Json = False,
) -> None:
    """Sign out of one session of one's own. All of them end with `holdfast logout --everywhere`."""
    session = session_of(context, as_json=as_json)
    session.client.send("DELETE", f"/api/sessions/{session_id}")
    session.output.document({"ended": session_id})
    session.output.say("Signed out there.")
