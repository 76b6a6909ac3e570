"""``holdfast repository key export`` and ``import``: the key without which a repository is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.new_file import new_file
from holdfast.cli.passphrase import PassphraseFile, read_passphrase
from holdfast.cli.session import Session, session_of
from holdfast.domain.errors import ConfirmationMissing, InvalidInput

_DEFAULT_FILE: Final = "holdfast-repository-key.json"
_MAX_BYTES: Final = 1024 * 1024


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="The key of the repository, to be kept where the repository is not.")
    group.command("export")(export)
    group.command("import")(import_key)
    return group


def export(
    context: typer.Context,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write; - for stdout. Never replaced.")
    ] = _DEFAULT_FILE,
    passphrase_file: PassphraseFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Write the repository's key to a file that a passphrase opens."""
    session = session_of(context, as_json=as_json)
    if output == "-" and as_json:
        raise InvalidInput(
            "output_ambiguous", "The key and the JSON document can't both go to stdout.", next_step="Name a file."
        )
    if output == "-" and session.output.shows_results and not yes and not _agreed(session):
        raise ConfirmationMissing(
            "confirmation_missing",
            "The key was not shown.",
            next_step="Name a file with --output, or say --yes if it is meant.",
        )
    settings = settings_from(session, config, data_dir)
    passphrase = read_passphrase(session, passphrase_file, new=True)

    from holdfast.bootstrap import repository_key  # the whole engine: loaded only by the commands that need it

    sealed = repository_key.export_repository_key(settings, passphrase)
    with new_file(output, private=True) as file:
        file.write(sealed)
    session.output.document({"file": output})
    if output != "-":
        session.output.say(f"Wrote {output}. Keep it, and the passphrase, where this machine's loss does not reach.")


def import_key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What was exported.", exists=True, dir_okay=False, readable=True)],
    passphrase_file: PassphraseFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let another key that is there give way; it is kept beside.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put an exported key in its place, while no server runs."""
    session = session_of(context, as_json=as_json)
    settings = settings_from(session, config, data_dir)
    with file.open("rb") as opened:
        data = opened.read(_MAX_BYTES)
    passphrase = read_passphrase(session, passphrase_file, new=False)

    from holdfast.bootstrap import repository_key  # the whole engine: loaded only by the commands that need it

    imported = repository_key.import_repository_key(settings, data, passphrase, replace=replace)
    session.output.document(imported._asdict())
    session.output.say("The key is in its place." if imported.changed else "This key was there already.")
    if imported.former:
        session.output.say(f"The former key was kept as {settings.keys_dir / imported.former}.")


def _agreed(session: Session) -> bool:
    if not session.output.is_terminal:
        return False
    return typer.confirm("The key will be shown on this terminal, sealed with the passphrase. Go on?", err=True)
