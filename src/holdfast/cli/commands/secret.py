"""``holdfast secret``: set, list and remove what a workload's containers know and nobody is shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import show_changes
from holdfast.cli.output import both
from holdfast.cli.session import Session, session_of
from holdfast.domain.environment import MAX_SECRET_BYTES, is_env_name
from holdfast.domain.errors import InvalidInput

_STATES: Final = {
    "set": "set",
    "not_set": "not set",
    "unreadable": "unreadable: set it again, or put the key back",
    "unused": "not in the configuration",
}


def _name(text: str) -> str:
    """What becomes part of an address is nothing else than a name."""
    if not is_env_name(text):
        raise typer.BadParameter("letters, digits, '_', '.' and '-', beginning with a letter or '_'.")
    return text


_Name = Annotated[str, typer.Argument(metavar="NAME", help="The variable's name.", callback=_name)]


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Set, list and remove secrets of a workload.")
    group.command("set")(set_secret)
    group.command("list")(list_secrets)
    group.command("remove")(remove)
    return group


def set_secret(
    context: typer.Context,
    workload: options.WorkloadName,
    name: _Name,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="The file that holds the value; - for stdin, as without it.")
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Set a secret: from a file, from stdin, or asked for on a terminal. Never from the command line.

    One line break at the end of a file or of stdin is no part of the value.
    """
    session = session_of(context, as_json=as_json)
    document = {"value": _value(session, name, file)}
    applied = session.client.send("PUT", f"/api/workloads/{workload}/secrets/{name}", document=document)
    session.output.document(applied)
    if applied["changes"]:
        session.output.say(f"Set {name}. {workload} gets it with: holdfast deploy {workload}")
    else:
        session.output.say(f"{name} has this value already.")


def list_secrets(context: typer.Context, workload: options.WorkloadName, *, as_json: options.Json = False) -> None:
    """List a workload's secrets: names, and when their values were set. Values are never shown."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(f"/api/workloads/{workload}/secrets")
    session.output.document(document)
    session.output.table(
        ("name", "state", "set at"),
        [(secret["name"], _STATES[secret["state"]], both(secret["set_at"])) for secret in document["items"]],
    )


def remove(
    context: typer.Context, workload: options.WorkloadName, name: _Name, *, as_json: options.Json = False
) -> None:
    """Take a secret out of a workload. Its values stay, sealed, only where a rollback would need them."""
    session = session_of(context, as_json=as_json)
    applied = session.client.send("DELETE", f"/api/workloads/{workload}/secrets/{name}")
    session.output.document(applied)
    show_changes(session.output, applied)
    session.output.say(f"Removed {name}. What runs has it until: holdfast deploy {workload}")


def _value(session: Session, name: str, file: str | None) -> str:
    """The value, from anywhere but the command line, which others on the machine can read."""
    if file is None and session.output.is_terminal:
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    try:
        if file in (None, "-"):
            value = sys.stdin.buffer.read(MAX_SECRET_BYTES + 3)
        else:
            with Path(str(file)).open("rb") as source:
                value = source.read(MAX_SECRET_BYTES + 3)
    except OSError as error:
        raise InvalidInput(
            "file_unreadable", f"{file} can't be read: {error.strerror}.", next_step="Check the path."
        ) from error
    for line_break in (b"\r\n", b"\n"):
        if value.endswith(line_break):
            value = value.removesuffix(line_break)
            break
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "secret_malformed",
            f"The value of {name} is no UTF-8, so that no variable can hold it.",
            next_step="Nothing was changed. Encode it, in base64 for example, if the program can read that.",
        ) from error
