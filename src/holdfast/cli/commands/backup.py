"""``holdfast backup``: Holdfast's own state in one file that a passphrase opens; not the workloads' data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.new_file import new_file
from holdfast.cli.passphrase import PassphraseFile, read_passphrase
from holdfast.cli.session import session_of
from holdfast.domain.errors import HoldfastError, InvalidInput
from holdfast.domain.units import format_size

_DEFAULT_FILE: Final = "holdfast.backup"


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Back up Holdfast's own state: database, secrets, keys. The workloads' data is in snapshots.",
    )
    group.command("create")(create)
    group.command("verify")(verify)
    return group


def create(
    context: typer.Context,
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write. Never replaced.")] = _DEFAULT_FILE,
    passphrase_file: PassphraseFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Write a backup of the data directory on this machine to a file, and read it back. Also while the server runs."""
    session = session_of(context, as_json=as_json)
    if output == "-":
        raise InvalidInput(
            "output_not_readable",
            "A backup is read back once it is written, which stdout can't be.",
            next_step="Name a file with --output.",
        )
    settings = settings_from(session, config, data_dir)
    passphrase = read_passphrase(session, passphrase_file, new=True)

    from holdfast.bootstrap import backup  # the whole engine: loaded only by the commands that need it

    with new_file(output, private=True) as file:
        backup.create_backup(settings, passphrase, file)
    try:
        facts, entries = backup.verify_backup(Path(output), passphrase)
    except HoldfastError:
        Path(output).unlink()
        raise
    size = Path(output).stat().st_size
    session.output.document({"file": output, "bytes": size, "id": facts.id, "audit_head": facts.audit_head})
    session.output.say(f"Wrote {format_size(size)} to {output} and read it back: {len(entries)} files.")
    session.output.note("Keep it, and the passphrase, where this machine's loss does not reach.")


def verify(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The backup.", exists=True, dir_okay=False, readable=True)],
    passphrase_file: PassphraseFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Read a backup to its end, and tell what is in it."""
    session = session_of(context, as_json=as_json)
    passphrase = read_passphrase(session, passphrase_file, new=False)

    from holdfast.bootstrap import backup  # the whole engine: loaded only by the commands that need it

    facts, entries = backup.verify_backup(file, passphrase)
    told = {
        "id": facts.id,
        "created_at": facts.created_at,
        "holdfast": facts.holdfast,
        "schema": facts.schema,
        "installation": facts.installation,
        "audit_head": facts.audit_head,
    }
    session.output.document({**told, "files": [entry._asdict() for entry in entries]})
    session.output.facts([*told.items(), ("files", len(entries))])
    session.output.say("It is whole.")
