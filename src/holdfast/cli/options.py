"""Options and arguments that several commands share, in the same words."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from holdfast.cli import completions
from holdfast.cli.output import shown
from holdfast.domain.accounts import USER_NAME
from holdfast.domain.ids import is_id

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout; messages go to stderr.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")]
CreateMissing = Annotated[
    bool, typer.Option("--create-missing", help="Make the directory of a volume that is missing.")
]
AcceptReplaced = Annotated[
    bool,
    typer.Option(
        "--accept-replaced", help="Restore onto a directory that is another one than the one last seen there, too."
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Start the operation and do not watch it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")]


def name(text: str | None) -> str | None:
    """A workload's name or id: what becomes part of an address is nothing else."""
    if text is not None and not re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", text):
        raise typer.BadParameter(
            f"{shown(text)} can't be a workload's name: names are 1 to 63 lower-case letters, digits and dashes."
        )
    return text


def identifier(text: str | None) -> str | None:
    """An id, likewise."""
    if text is not None and not is_id(text):
        raise typer.BadParameter(f"{shown(text)} is no id: ids have 26 lower-case letters and digits.")
    return text


def repository_name(text: str | None) -> str | None:
    """A repository's name, likewise."""
    if text is not None and not re.fullmatch("[a-z0-9][a-z0-9-]{0,62}", text):
        raise typer.BadParameter(
            f"{shown(text)} can't be a repository's name: names are 1 to 63 lower-case letters, digits and dashes."
        )
    return text


def channel_name(text: str | None) -> str | None:
    """A channel's name, likewise."""
    if text is not None and not re.fullmatch("[a-z0-9][a-z0-9-]{0,62}", text):
        raise typer.BadParameter(
            f"{shown(text)} can't be a channel's name: names are 1 to 63 lower-case letters, digits and dashes."
        )
    return text


def user_name(text: str | None) -> str | None:
    """A user's or a token's name, likewise."""
    if text is not None and not re.fullmatch(USER_NAME, text):
        raise typer.BadParameter(
            f"{shown(text)} can't be a name: names are 1 to 63 lower-case letters, digits, '.', '_' and '-'."
        )
    return text


UserName = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", callback=user_name)]
PasswordFile = Annotated[
    str | None,
    typer.Option("--password-file", help="A file whose first line is the password; - for stdin, as without it."),
]
ChannelName = Annotated[str, typer.Argument(metavar="NAME", help="The channel's name.", callback=channel_name)]
RepositoryName = Annotated[
    str, typer.Argument(metavar="NAME", help="The second repository's name.", callback=repository_name)
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="NAME", help="In this second repository, not in the primary one.", callback=repository_name
    ),
]
WorkloadName = Annotated[
    str,
    typer.Argument(
        metavar="WORKLOAD",
        help="The workload's name or id.",
        callback=name,
        autocompletion=completions.workloads,
    ),
]
SnapshotArgument = Annotated[
    str,
    typer.Argument(
        metavar="SNAPSHOT", help="The snapshot's id.", callback=identifier, autocompletion=completions.snapshots
    ),
]
