"""``holdfast login``, ``logout`` and ``password``: who one is, for all commands."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.secret_input import ask_password
from holdfast.cli.session import session_of
from holdfast.cli.stored_sessions import store_session
from holdfast.domain.errors import InvalidInput, Unauthorized


def login(
    context: typer.Context,
    username: Annotated[
        str | None, typer.Option("--username", "-u", help="The user's name; asked for without.")
    ] = None,
    password_file: options.PasswordFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Sign in: the commands of this user of this host act as that one, until they sign out or for a month.

    Tokens that are named by an option or a variable go before it.
    """
    session = session_of(context, as_json=as_json)
    if username is None and not session.output.is_terminal:
        raise InvalidInput("username_missing", "Nobody can be asked here.", next_step="Say --username.")
    name = username or str(typer.prompt("Username", err=True))
    password = ask_password(session, f"Password of {name}", password_file)
    caller, cookie = session.anonymous.sign_in(name, password)
    store_session(session.anonymous.url, cookie, session.env)
    session.output.document(caller)
    session.output.say(f"Signed in at {session.anonymous.url} as {caller['name']} ({caller['role']}).")


def logout(
    context: typer.Context,
    *,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="End all sessions of one's own.")] = False,
    as_json: options.Json = False,
) -> None:
    """Sign out here, or everywhere. Tokens go on."""
    session = session_of(context, as_json=as_json)
    client = session.signed_in
    if client is None:
        session.output.document({"ended": 0})
        session.output.say("Nobody was signed in here.")
        return
    try:
        answer = client.send("DELETE", "/api/sessions" if everywhere else "/api/session")
    except Unauthorized:
        answer = {"ended": 0}  # it was over already
    store_session(client.url, None, session.env)
    session.output.document(answer or {"ended": 1})
    session.output.say("Signed out everywhere." if everywhere else "Signed out.")


def password(
    context: typer.Context,
    current_file: Annotated[
        str | None, typer.Option("--current-file", help="A file whose first line is the present password.")
    ] = None,
    password_file: options.PasswordFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Give oneself another password. All other sessions end."""
    session = session_of(context, as_json=as_json)
    document = {
        "current": ask_password(session, "Present password", current_file),
        "password": ask_password(session, "New password", password_file, new=True),
    }
    session.client.send("PUT", "/api/password", document=document)
    session.output.document({"changed": True})
    session.output.say("Changed. All other sessions have ended.")
