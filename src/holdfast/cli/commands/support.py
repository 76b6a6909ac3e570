"""``holdfast support``: what somebody needs who helps from afar."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

import typer

from holdfast import __version__
from holdfast.cli import options
from holdfast.cli.session import session_of
from holdfast.domain.errors import Conflict, Failed, HoldfastError
from holdfast.domain.times import now

if TYPE_CHECKING:
    from holdfast.cli.client import Client

_MANY: Final = 100

_DOCUMENTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "version": ("/api/version", {}),
    "doctor": ("/api/doctor", {}),
    "ready": ("/readyz", {}),
    "statuses": ("/api/statuses", {"limit": _MANY}),
    "workloads": ("/api/workloads", {"limit": _MANY}),
    "operations": ("/api/operations", {"limit": _MANY}),
    "snapshots": ("/api/snapshots", {"limit": _MANY}),
    "schedules": ("/api/schedules", {}),
    "previews": ("/api/previews", {}),
    "images": ("/api/images", {}),
    "disk": ("/api/disk", {}),
    "notifications": ("/api/notifications/channels", {}),
    "registries": ("/api/registries", {}),
    "repositories": ("/api/repositories", {}),
    "sources": ("/api/sources", {}),
}
"""What is asked for: by the file's name the path, and how much of it."""

_OF_PROGRAMS: Final = frozenset({"instance_logs", "logs", "output"})
"""Under which names the server tells what a container, or a command in one, wrote."""


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="What somebody needs who helps from afar.")
    group.command("bundle")(bundle)
    return group


def bundle(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The ZIP file to write; it must not be there yet.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Write one file with what the server says of itself: findings, states, operations, figures.

    Secrets, tokens, passwords, the values of environment variables and what a container wrote before it failed are not
    in it; names, images, paths, commands, labels and the operations' own logs are. Look into it before you pass it on:
    it is JSON, nothing else.
    """
    session = session_of(context, as_json=as_json)
    session.client.get("/api/version")  # without a server, or without a right to look, there is nothing to write
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict("file_exists", f"{file} is there already.", next_step="Choose another name.") from error
    except OSError as error:
        raise Failed(
            "file_unwritable", f"{file} can't be written: {error.strerror}.", next_step="Choose another place."
        ) from error
    with os.fdopen(descriptor, "wb") as opened, ZipFile(opened, "w", ZIP_DEFLATED) as archive:
        problems = _fill(archive, session.client)
    session.output.document({"file": str(file), "missing": sorted(problems)})
    for name, problem in problems.items():
        session.output.note(f"{name} is missing: {problem['message']}")
    session.output.say(f"Wrote {file}. Look into it before you pass it on.")


def _fill(archive: ZipFile, client: Client) -> dict[str, dict[str, Any]]:
    """Ask for everything; what can't be had is told instead, and keeps nothing else out."""
    problems: dict[str, dict[str, Any]] = {}
    took: dict[str, float] = {}
    for name, (path, params) in _DOCUMENTS.items():
        began = time.monotonic()
        try:
            _write(archive, f"{name}.json", _without_values(client.get(path, **params)))
        except HoldfastError as error:
            problems[name] = {"code": error.code, "message": error.message}
        took[name] = round(time.monotonic() - began, 3)
    try:
        with client.download("/metrics") as (_, pieces):
            archive.writestr("metrics.txt", b"".join(pieces))
    except HoldfastError as error:
        problems["metrics"] = {"code": error.code, "message": error.message}
    about = {
        "made_at": now(),
        "command_line": __version__,
        "python": sys.version,
        "system": platform.platform(),
        "seconds": took,
        "missing": problems,
    }
    _write(archive, "about.json", about)
    return problems


def _write(archive: ZipFile, name: str, document: Any) -> None:
    archive.writestr(name, json.dumps(document, indent=1, ensure_ascii=False))


def _without_values(document: Any) -> Any:
    """The same without the values of environment variables, and without what programs wrote: both hold secrets."""
    if isinstance(document, list):
        return [_without_values(item) for item in document]
    if not isinstance(document, dict):
        return document
    return {key: _without_value(key, value) for key, value in document.items()}


def _without_value(key: str, value: Any) -> Any:
    if key == "env" and isinstance(value, dict):
        return dict.fromkeys(value, "…")
    return "…" if key in _OF_PROGRAMS and value else _without_values(value)
