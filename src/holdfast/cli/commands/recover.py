"""``holdfast recover``: finish interrupted restores on a data directory whose server is not running; or fill an empty
one from a backup, and bring every workload back with its data."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, places
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.passphrase import PassphraseFile, read_passphrase
from holdfast.cli.session import Session, session_of
from holdfast.domain.errors import InvalidInput
from holdfast.domain.ids import is_id

if TYPE_CHECKING:
    from holdfast.bootstrap.backup import Recovered
    from holdfast.bootstrap.bringing_back import BroughtBack
    from holdfast.config import Settings


def recover(
    context: typer.Context,
    config: Config = None,
    data_dir: DataDir = None,
    backup: Annotated[
        str | None,
        typer.Option(
            "--backup",
            metavar="FILE",
            help="Fill the empty data directory from this backup. With --directory or --s3: the id of one there, the "
            "newest without it.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    directory: places.Directory = None,
    s3: places.S3 = None,
    endpoint: places.Endpoint = "",
    region: places.Region = places.REGION,
    access_key_id: places.AccessKeyId = "",
    secret_file: places.SecretFile = None,
    certificate: places.Certificate = None,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            metavar="NAME",
            help="Then bring every workload back with its data, from this second repository; primary: from repository/ "
            "in the data directory. On its own, for what was filled before.",
            callback=options.repository_name,
        ),
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Decide and finish interrupted restores without a server; or bring Holdfast back on a new machine.

    Works on the data directory, under its lock. From a backup (--backup), or from the second repository that it was
    copied to (--directory, --s3), and with --repository the data of all workloads, too.
    """
    session = session_of(context, as_json=as_json)
    settings = settings_from(session, config, data_dir)
    filled: Recovered | None = None
    if directory is not None or s3 is not None:
        place = places.place_of(directory, s3, endpoint, region, access_key_id, certificate)
        secret = "" if s3 is None else places.secret_of(session, secret_file)
        if backup is not None and not is_id(backup):
            raise InvalidInput(
                "backup_unnamed", f"{backup} is no backup's id.", next_step="Leave it out for the newest."
            )
        passphrase = read_passphrase(session, passphrase_file, new=False)

        from holdfast.bootstrap.backup import recover_from_place  # the whole engine: only where it is needed

        filled = recover_from_place(settings, place, secret, backup, passphrase)
    elif backup is not None:
        if not Path(backup).is_file():
            raise InvalidInput("file_unreadable", f"There is no file {backup}.", next_step="Check the path.")
        passphrase = read_passphrase(session, passphrase_file, new=False)

        from holdfast.bootstrap.backup import recover_from_backup  # likewise

        filled = recover_from_backup(settings, Path(backup), passphrase)
    if filled is not None:
        _tell_filled(session, settings, filled, then=repository)
    if repository is not None:
        _bring_back(session, settings, repository, filled)
    elif filled is None:
        _finish(session, settings)


def _finish(session: Session, settings: Settings) -> None:
    from holdfast import bootstrap  # likewise

    report = list(bootstrap.recover_offline(settings))
    session.output.document({"restores": report})
    for line in report:
        session.output.say(line)
    if report:
        session.output.note("next: start the server; it goes on from here.")
    else:
        session.output.say("No restore is unfinished.")


def _tell_filled(session: Session, settings: Settings, filled: Recovered, *, then: str | None) -> None:
    session.output.say(f"{settings.data_dir} is what it was at {filled.backup.made_at}.")
    session.output.facts(
        [("workloads", ", ".join(filled.workloads)), ("second repositories", ", ".join(filled.repositories))]
    )
    if then is None:
        session.output.document(_document(filled))
        session.output.note(
            "next: bring the data back: holdfast recover --repository NAME. Or start the server, and restore each "
            "workload by hand: holdfast restore NAME SNAPSHOT --from REPOSITORY --create-missing"
        )


def _document(filled: Recovered | None) -> dict[str, object]:
    if filled is None:
        return {}
    return {
        "backup": filled.backup.backup_id,
        "created_at": filled.backup.made_at,
        "workloads": filled.workloads,
        "repositories": filled.repositories,
    }


def _bring_back(session: Session, settings: Settings, repository: str, filled: Recovered | None) -> None:
    from holdfast.bootstrap.bringing_back import bring_back  # likewise
    from holdfast.log_setup import configure_logging

    configure_logging(settings.log_format)

    async def all_of_them() -> list[BroughtBack]:
        found = []
        async for each in bring_back(settings, repository):
            session.output.say(f"{each.workload}: {each.result.replace('_', ' ')}{each.why and f': {each.why}'}")
            found.append(each)
        return found

    found = asyncio.run(all_of_them())
    session.output.document(_document(filled) | {"brought_back": [each._asdict() for each in found]})
    if all(each.well for each in found):
        session.output.note("next: start the server. The old machine's must not run beside it.")
        return
    session.output.note("next: start the server, and mend what is not back: holdfast status, holdfast doctor.")
    raise typer.Exit(ExitCode.FAILED)
