"""``holdfast backup``: Holdfast's own state in one file that a passphrase opens; not the workloads' data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.new_file import new_file
from holdfast.cli.output import both
from holdfast.cli.passphrase import PassphraseFile, read_passphrase
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import HoldfastError, InvalidInput, Unauthorized
from holdfast.domain.ids import is_id
from holdfast.domain.units import format_size

if TYPE_CHECKING:
    from holdfast.config import Settings

BackupArgument = Annotated[str, typer.Argument(metavar="BACKUP", help="The backup's id.", callback=options.identifier)]
_PASSPHRASES = {
    "not_set": "No passphrase is set, so that the server makes none: holdfast backup passphrase",
    "unreadable": "The passphrase can't be opened, so that the server makes none: holdfast backup passphrase",
}


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Back up Holdfast's own state: database, secrets, keys. The workloads' data is in snapshots.",
    )
    group.command("create")(create)
    group.command("list")(list_backups)
    group.command("verify")(verify)
    group.command("download")(download)
    group.command("delete")(delete)
    group.command("restore")(restore)
    group.command("passphrase")(passphrase)
    return group


def create(
    context: typer.Context,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Write it to this file, on this very machine and from its data directory; also while no server runs. "
            "Nothing is replaced.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Have the server make a backup and keep it; with --output, write one to a file. It is read back."""
    session = session_of(context, as_json=as_json)
    if output is not None:
        _create_file(session, output, passphrase_file, settings_from(session, config, data_dir))
        return
    if passphrase_file is not None or config is not None or data_dir is not None:
        raise InvalidInput(
            "output_missing",
            "A passphrase and a data directory are for a backup that is written to a file of this machine.",
            next_step="Name it with --output; or set the server's passphrase: holdfast backup passphrase.",
        )
    operation = session.client.send("POST", "/api/backups")
    ended = follow(session, operation, detach=detach, done="The backup is made, and was read back.")
    outcome = ended["outcome"]
    session.output.facts([("backup", outcome["backup_id"]), ("size", format_size(outcome["bytes"]))])


def _create_file(session: Session, output: str, passphrase_file: Path | None, settings: Settings) -> None:
    if output == "-":
        raise InvalidInput(
            "output_not_readable",
            "A backup is read back once it is written, which stdout can't be.",
            next_step="Name a file with --output.",
        )
    words = read_passphrase(session, passphrase_file, new=True)

    from holdfast.services import state_backup  # the whole engine: loaded only by the commands that need it

    with new_file(output, private=True) as file:
        state_backup.create_backup(settings, words, file)
    try:
        facts, entries = state_backup.verify_backup(Path(output), words)
    except HoldfastError:
        Path(output).unlink()
        raise
    size = Path(output).stat().st_size
    session.output.document({"file": output, "bytes": size, "id": facts.id, "audit_head": facts.audit_head})
    session.output.say(f"Wrote {format_size(size)} to {output} and read it back: {len(entries)} files.")
    session.output.note("Keep it, and the passphrase, where this machine's loss does not reach.")


def list_backups(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the backups that the server keeps, newest first."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/backups")
    session.output.document(document)
    session.output.table(
        ("id", "made at", "size", "reason", "version", "audit head"),
        [
            (b["id"], both(b["created_at"]), format_size(b["bytes"]), b["reason"], b["holdfast"], b["audit_head"][:20])
            for b in document["items"]
        ],
    )
    for name in document["unreadable"]:
        session.output.note(f"warning: {name} is no backup, or damaged.")
    if told := _PASSPHRASES.get(document["passphrase"]):
        session.output.note(told)


def verify(
    context: typer.Context,
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help="A file on this machine; or the id of a kept one.")],
    passphrase_file: PassphraseFile = None,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Read a backup to its end, and tell what is in it. A kept one is read by the server."""
    session = session_of(context, as_json=as_json)
    if is_id(backup) and not Path(backup).exists():
        given = None if passphrase_file is None else sendable(read_passphrase(session, passphrase_file, new=False))
        operation = session.client.send(
            "POST", f"/api/backups/{backup}/verify", document=None if given is None else {"passphrase": given}
        )
        follow(session, operation, detach=detach, done="It is whole.")
        return
    if not Path(backup).is_file():
        raise InvalidInput(
            "file_unreadable", f"There is no file {backup}, and it is no backup's id.", next_step="Check the name."
        )
    words = read_passphrase(session, passphrase_file, new=False)

    from holdfast.services import state_backup  # the whole engine: loaded only by the commands that need it

    facts, entries = state_backup.verify_backup(Path(backup), words)
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


def download(
    context: typer.Context,
    backup: BackupArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write; - for stdout. Never replaced.")
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Write a backup that the server keeps to a file. It stays sealed."""
    session = session_of(context, as_json=as_json)
    target = output or f"holdfast-{backup}.backup"
    with session.client.download(f"/api/backups/{backup}/file") as (_, chunks), new_file(target, private=True) as file:
        written = sum(file.write(chunk) for chunk in chunks)
    if target != "-":
        session.output.document({"file": target, "bytes": written, "id": backup})
        session.output.say(f"Wrote {format_size(written)} to {target}.")


def delete(
    context: typer.Context, backup: BackupArgument, *, yes: options.Yes = False, as_json: options.Json = False
) -> None:
    """Delete a backup that the server keeps, for good."""
    session = session_of(context, as_json=as_json)
    found = _kept(session, backup)
    made = "" if found is None else f" of {both(found['created_at'])}"
    confirm_by_name(session, backup, f"The backup{made} is removed for good.", yes=yes)
    session.client.send("DELETE", f"/api/backups/{backup}")
    session.output.document({"deleted": backup})
    session.output.say(f"Deleted {backup}.")


def restore(
    context: typer.Context,
    backup: BackupArgument,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            help="A file whose first line is the backup's passphrase, where it is not the one that is set.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    *,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Bring the state in a backup back: workloads, secrets, users, tokens, the audit log. Workloads' data stays.

    The server starts anew for it; what is there is backed up first.
    """
    session = session_of(context, as_json=as_json)
    found = _kept(session, backup)
    made = f"of {both(found['created_at'])} " if found else ""
    given = None if passphrase_file is None else sendable(read_passphrase(session, passphrase_file, new=False))
    confirm_by_name(
        session,
        backup,
        f"The state in the backup {made}takes the place of Holdfast's own, which is backed up first. The server starts "
        "anew; workloads run on, and their data stays as it is.",
        yes=yes,
    )
    operation = session.client.send(
        "POST",
        f"/api/backups/{backup}/restore",
        document=None if given is None else {"passphrase": given},
        headers={"X-Confirm-Restore": backup},
    )
    try:
        ended = follow(session, operation, detach=detach, done="The state in the backup is in place.")
    except Unauthorized:
        session.output.document(operation)
        session.output.say("The server has started anew, and does not know who you are any more.")
        session.output.note(f"next: holdfast login, then: holdfast operation show {operation['id']}")
        return
    session.output.facts([("safety backup", ended["outcome"]["safety_backup_id"])])
    session.output.note("See holdfast status and the server's log for what differs from what runs now.")


def passphrase(
    context: typer.Context, passphrase_file: PassphraseFile = None, *, as_json: options.Json = False
) -> None:
    """Set the passphrase of the backups that the server makes from now on. Those that are there keep theirs."""
    session = session_of(context, as_json=as_json)
    words = sendable(read_passphrase(session, passphrase_file, new=True))
    session.client.send("PUT", "/api/backups/passphrase", document={"passphrase": words})
    session.output.document({"passphrase": "set"})
    session.output.say("The passphrase is set.")
    session.output.note("Keep it where the loss of this machine does not reach: without it no backup opens.")


def sendable(words: str) -> str:
    """A passphrase as it can be sent.

    Raises:
        InvalidInput: ``passphrase_not_text``.
    """
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "passphrase_not_text",
            "A passphrase that is sent to the server has to be text in UTF-8.",
            next_step="Nothing was changed. Choose another one.",
        ) from error
    return words


def _kept(session: Session, backup: str) -> dict[str, Any] | None:
    items: list[dict[str, Any]] = session.client.get("/api/backups")["items"]
    return next((item for item in items if item["id"] == backup), None)
