"""``holdfast registry``: the logins that images are pulled with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.output import both, shown
from holdfast.cli.session import Session, session_of
from holdfast.domain.errors import HoldfastError, InvalidInput
from holdfast.domain.registry import MAX_PASSWORD, registry_host


def _host(text: str) -> str:
    """What becomes part of an address is nothing else than a host."""
    try:
        return registry_host(text)
    except HoldfastError as error:
        raise typer.BadParameter(f"{shown(text)}: {error.message} {error.next_step}") from error


_Host = Annotated[
    str, typer.Argument(metavar="REGISTRY", help="Its host and port, as images name it; docker.io.", callback=_host)
]


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Keep the logins of registries that give private images.")
    group.command("add")(add)
    group.command("list")(list_registries)
    group.command("remove")(remove)
    return group


def add(
    context: typer.Context,
    registry: _Host,
    username: Annotated[str, typer.Option("--username", help="The name to log in with.")],
    password_file: Annotated[
        str | None,
        typer.Option(
            "--password-file", help="A file whose first line is the password or token; - for stdin, as without it."
        ),
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Add a registry's login, or replace it. It is tried out at once; the password is asked for, or read from stdin."""
    session = session_of(context, as_json=as_json)
    document = {"registry": registry, "username": username, "password": _password(session, registry, password_file)}
    added = session.client.send("POST", "/api/registries", document=document)
    session.output.document(added)
    session.output.say(f"Added {added['registry']}: its images are pulled as {added['username']}.")


def list_registries(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the registries that Holdfast logs in to. Passwords are never shown."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/registries")
    session.output.document(document)
    session.output.table(
        ("registry", "username", "state", "set at"),
        [
            (r["registry"], r["username"], "set" if r["readable"] else "unreadable: add it again", both(r["set_at"]))
            for r in document["items"]
        ],
    )


def remove(context: typer.Context, registry: _Host, *, as_json: options.Json = False) -> None:
    """Forget a registry's login. What was pulled stays."""
    session = session_of(context, as_json=as_json)
    session.client.send("DELETE", f"/api/registries/{registry}")
    session.output.document({"removed": registry})
    session.output.say(f"Forgot the login for {registry}.")


def _password(session: Session, registry: str, file: str | None) -> str:
    """The password, from anywhere but the command line, which others on the machine can read."""
    if file is None and session.output.is_terminal:
        return str(typer.prompt(f"Password or token for {registry}", hide_input=True, err=True))
    try:
        if file in (None, "-"):
            line = sys.stdin.buffer.readline(MAX_PASSWORD + 2)
        else:
            with Path(str(file)).open("rb") as source:
                line = source.readline(MAX_PASSWORD + 2)
    except OSError as error:
        raise InvalidInput(
            "file_unreadable", f"{file} can't be read: {error.strerror}.", next_step="Check the path."
        ) from error
    return line.rstrip(b"\r\n").decode("utf-8", "replace")
