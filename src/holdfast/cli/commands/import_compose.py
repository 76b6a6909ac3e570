"""``holdfast import``: workload files from what other programs run by. Nothing is applied."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.apply import read_file
from holdfast.cli.new_file import new_file
from holdfast.cli.output import Output, shown
from holdfast.cli.session import session_of
from holdfast.domain.compose_variables import Variables, mentioned
from holdfast.domain.errors import Conflict, Failed, InvalidInput

_ROUTE: Final = "/api/import/compose"


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Propose workload files from what other programs run by.")
    group.callback()(_group)  # so that its one command keeps its name
    group.command("compose")(import_compose)
    return group


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
    session.output.document(proposal)
    if output is None:
        for index, workload in enumerate(proposal["workloads"]):
            if index:
                session.output.say("---")
            session.output.say(workload["yaml"].rstrip())
    else:
        _write(session.output, Path(output), proposal["workloads"], force=force)
    for finding in proposal["findings"]:
        place = f"{finding['path']}: " if finding["path"] else ""
        session.output.note(f"{place}{finding['message']} {finding['next_step']}")


def _write(output: Output, directory: Path, workloads: list[dict[str, Any]], *, force: bool) -> None:
    """A file for each workload: all that can be told beforehand is, so that not half of them are written.

    Raises:
        Conflict: ``file_exists``.
        Failed: ``file_not_written``.
    """
    files = {directory / f"{options.name(workload['name'])}.yaml": workload for workload in workloads}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise Conflict(
            "file_exists",
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already. Nothing was written.",
            next_step="Name another directory with --output, or replace them with --force.",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            "file_not_written", f"{directory} can't be made: {error.strerror}.", next_step="Check the path and space."
        ) from error
    for path, workload in files.items():
        with new_file(str(path), replace=force) as target:
            target.write(workload["yaml"].encode())
        count = len(workload["findings"])
        told = f", with {count} {'thing' if count == 1 else 'things'} to look at" if count else ""
        mend = "" if workload["valid"] else "; it can't be applied before they are mended"
        output.say(f"Wrote {path}{told}{mend}.")


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


def _group() -> None:
    """Propose workload files from what other programs run by."""
