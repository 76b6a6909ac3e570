"""``holdfast import compose``: workload files from a compose file. Nothing is applied."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import read_file
from holdfast.cli.output import shown
from holdfast.cli.proposals import show_proposals
from holdfast.cli.session import session_of
from holdfast.domain.compose_variables import Variables, mentioned
from holdfast.domain.errors import InvalidInput

_ROUTE: Final = "/api/import/compose"


def import_compose(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The compose file; - for stdin.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Write a file for each workload there.")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Propose workload files from a compose file: one for each service. Nothing is applied.

    What can't be carried over is named in comments. The file .env beside it, env files and the variables of the
    environment that the file mentions are read here; the values of secrets are not written anywhere.
    """
    session = session_of(context, as_json=as_json)
    text = _decoded(file, read_file(file))
    directory = Path.cwd() if file == "-" else Path(file).absolute().parent
    variables = mentioned(text, {**_dot_env(directory), **session.env})
    body: dict[str, Any] = {
        "text": text,
        "folder": directory.name,
        "directory": str(directory),
        "variables": variables,
        "env_files": {},
    }
    proposal = session.client.send("POST", _ROUTE, document=body)
    body["env_files"] = _env_files(text, proposal["env_files"], directory, variables)
    if body["env_files"]:
        proposal = session.client.send("POST", _ROUTE, document=body)
    show_proposals(session.output, proposal, output, force=force)


def _env_files(text: str, named: list[dict[str, Any]], directory: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The texts of the env files that the compose file names. What it doesn't name is not read, whoever asks for it.

    Raises:
        InvalidInput: ``file_unreadable``, ``text_not_utf8``.
    """
    found: dict[str, str] = {}
    for entry in named:
        written = entry["written"]
        path = Variables(variables).filled(written, "env_file")[0]
        if written not in text or path != entry["path"]:
            continue
        place = directory / Path(path).expanduser()
        if entry["required"] or place.exists():
            found[path] = _decoded(str(place), read_file(str(place)))
    return found


def _dot_env(directory: Path) -> dict[str, str]:
    """The variables of the file ``.env`` there; none if there is no such file."""
    place = directory / ".env"
    if not place.exists():
        return {}
    from dotenv import dotenv_values  # only who imports a file needs it

    text = _decoded(str(place), read_file(str(place)))
    return {
        name: value
        for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items()
        if value is not None
    }


def _decoded(file: str, text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "text_not_utf8",
            f"{shown(file)} is not UTF-8 (at byte {error.start}).",
            next_step="Save it as UTF-8.",
        ) from error
