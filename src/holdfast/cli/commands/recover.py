"""``holdfast recover``: finish interrupted restores on a data directory whose server is not running; or fill an empty
one from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.passphrase import PassphraseFile, read_passphrase
from holdfast.cli.session import Session, session_of

if TYPE_CHECKING:
    from holdfast.config import Settings


def recover(
    context: typer.Context,
    config: Config = None,
    data_dir: DataDir = None,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", help="Fill the empty data directory from this backup.", exists=True, dir_okay=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Decide and finish interrupted restores without a server; with --backup, bring Holdfast back on a new machine.

    Works on the data directory, under its lock.
    """
    session = session_of(context, as_json=as_json)
    settings = settings_from(session, config, data_dir)
    if backup is not None:
        _from_backup(session, settings, backup, passphrase_file)
        return

    from holdfast import bootstrap  # the whole engine: loaded only by the commands that need it

    report = list(bootstrap.recover_offline(settings))
    session.output.document({"restores": report})
    for line in report:
        session.output.say(line)
    if report:
        session.output.note("next: start the server; it goes on from here.")
    else:
        session.output.say("No restore is unfinished.")


def _from_backup(session: Session, settings: Settings, file: Path, passphrase_file: Path | None) -> None:
    passphrase = read_passphrase(session, passphrase_file, new=False)

    from holdfast.bootstrap.backup import recover_from_backup  # the whole engine: likewise

    backup, workloads, repositories = recover_from_backup(settings, file, passphrase)
    session.output.document(
        {"backup": backup.backup_id, "created_at": backup.made_at, "workloads": workloads, "repositories": repositories}
    )
    session.output.say(f"{settings.data_dir} is what it was at {backup.made_at}.")
    session.output.facts([("workloads", ", ".join(workloads)), ("second repositories", ", ".join(repositories))])
    session.output.note(
        "next: start the server, then bring each workload's data back: holdfast snapshot list NAME --from REPOSITORY, "
        "and holdfast restore NAME SNAPSHOT --from REPOSITORY --create-missing"
    )
