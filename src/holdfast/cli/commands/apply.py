"""``holdfast apply``: make a workload's configuration what a file says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.output import Output, shown
from holdfast.cli.session import session_of
from holdfast.domain.errors import InvalidInput, TooLarge

_AT_ONCE: Final = frozenset({"hooks", "snapshots"})
"""Keys that make no other containers."""
_MAX_BYTES: Final = 1 << 20


def apply(
    context: typer.Context,
    file: Annotated[str, typer.Option("--file", "-f", help="The workload's YAML or JSON file; - for stdin.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    if_match: Annotated[
        str | None,
        typer.Option(
            "--if-match",
            metavar="REVISION",
            help="Only if the configuration still has this revision: the one that 'workload show' told.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Create a workload, or change its configuration. Shows the difference. What runs changes with the next deploy."""
    session = session_of(context, as_json=as_json)
    text = read_file(file)
    kind = "application/json" if file.endswith(".json") else "application/yaml"
    preview = session.client.send_text("POST", "/api/workloads/preview", text, kind)
    name = preview["name"]
    show_changes(session.output, preview)
    if dry_run:
        session.output.document(preview)
        session.output.say("Nothing was changed.")
        return
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    applied = session.client.send_text("PUT", f"/api/workloads/{name}", text, kind, headers)
    session.output.document(applied)
    if applied["created"]:
        session.output.say(f"Created {name}. Deploy it with: holdfast deploy {name}")
    elif applied["changes"] and all(change["path"].split(".")[0] in _AT_ONCE for change in applied["changes"]):
        session.output.say(f"Changed {name}. The next snapshot goes by it; nothing has to be deployed.")
    elif applied["changes"]:
        session.output.say(f"Changed {name}. Deploy the change with: holdfast deploy {name}")
    else:
        session.output.say(f"{name} is as the file says already.")


def show_changes(output: Output, preview: dict[str, Any]) -> None:
    """The difference, one changed value a line."""
    for change in preview["changes"]:
        before, after = change["before"], change["after"]
        if before is None:
            output.say(f"+ {change['path']}: {shown(after)}")
        elif after is None:
            output.say(f"- {change['path']}: {shown(before)}")
        else:
            output.say(f"~ {change['path']}: {shown(before)} → {shown(after)}")


def read_file(file: str) -> bytes:
    """A workload's configuration, as it is in a file or, for ``-``, on stdin.

    Raises:
        InvalidInput: ``file_unreadable``.
        TooLarge: ``file_too_large``.
    """
    try:
        if file == "-":
            text = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as source:
                text = source.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            "file_unreadable", f"{file} can't be read: {error.strerror}.", next_step="Check the path."
        ) from error
    if len(text) > _MAX_BYTES:
        raise TooLarge(
            "file_too_large", f"{file} is larger than 1 MiB.", next_step="Check that it is a workload's configuration."
        )
    return text
