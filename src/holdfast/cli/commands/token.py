"""``holdfast token``: what programs call the API with."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.output import ago, exact
from holdfast.cli.session import Session, session_of
from holdfast.domain.accounts import Role, TokenScope
from holdfast.domain.errors import InvalidInput, NotFound
from holdfast.domain.units import parse_duration


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Tokens: what programs call the API with.")
    group.command("list")(list_tokens)
    group.command("create")(create)
    group.command("remove")(remove)
    return group


def list_tokens(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="Those of this user.", callback=options.user_name)] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List one's own tokens; for admins those of all users."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/tokens", user=user)
    session.output.document(document)
    session.output.table(
        ("token", "role", "scopes", "made", "expires", "id"),
        [
            (
                f"{token['user']}/{token['name']}",
                token["role"],
                ", ".join(token["scopes"]) or "all",
                ago(token["created_at"]),
                exact(token["expires_at"]) if token["expires_at"] else "never",
                token["id"],
            )
            for token in document["items"]
        ],
    )


def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.", callback=options.user_name)],
    role: Annotated[
        Role | None, typer.Option("--role", help="What it may do; at most one's own role, which it is without.")
    ] = None,
    scopes: Annotated[
        list[TokenScope] | None,
        typer.Option("--scope", help="A part of the API that it is confined to; all without it. May be repeated."),
    ] = None,
    lasts: Annotated[str, typer.Option("--for", help="How long it lasts: 12h, 90d, or never.")] = "90d",
    *,
    as_json: options.Json = False,
) -> None:
    """Make a token of one's own. It is written to stdout, this once. Needs `holdfast login`."""
    session = session_of(context, as_json=as_json)
    document = {
        "name": name,
        "role": role.value if role is not None else None,
        "scopes": [scope.value for scope in scopes or ()],
        "expires_in": _seconds(lasts),
    }
    made = session.client.send("POST", "/api/tokens", document=document)
    session.output.document(made)
    until = f"until {exact(made['expires_at'])}" if made["expires_at"] else "until it is removed"
    session.output.note(f"Made {made['user']}/{made['name']} ({made['role']}), {until}. It is not shown again:")
    session.output.say(made["token"])


def remove(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As listed: user/name, or its id.")],
    *,
    as_json: options.Json = False,
) -> None:
    """End a token at once."""
    session = session_of(context, as_json=as_json)
    found = _found(session, token)
    session.client.send("DELETE", f"/api/tokens/{found['id']}")
    session.output.document({"removed": found["id"]})
    session.output.say(f"Removed {found['user']}/{found['name']}.")


def _found(session: Session, wanted: str) -> dict[str, Any]:
    for token in session.client.get("/api/tokens")["items"]:
        if wanted in (token["id"], f"{token['user']}/{token['name']}"):
            found: dict[str, Any] = token
            return found
    raise NotFound(
        "token_not_there",
        "There is no such token.",
        next_step="Look at what there is with `holdfast token list`.",
    )


def _seconds(lasts: str) -> float | None:
    if lasts == "never":
        return None
    try:
        return parse_duration(lasts)
    except ValueError as error:
        raise InvalidInput("duration_invalid", f"--for: {error}", next_step="Give it as 12h, 90d, or never.") from error
