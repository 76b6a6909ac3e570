"""``holdfast audit``: what was done, by whom; and whether the log of it is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.moments import moment
from holdfast.cli.new_file import new_file
from holdfast.cli.session import Session, session_of
from holdfast.domain.audit import AuditReport, Head, Verifier, parse_head, parse_line
from holdfast.domain.errors import Damaged, InvalidInput
from holdfast.domain.units import format_size

_MAX_LINE: Final = 64 * 1024


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Look at what was done, by whom, and check the log of it.")
    group.command("list")(list_lines)
    group.command("export")(export)
    group.command("verify")(verify)
    return group


def list_lines(
    context: typer.Context,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this action, e.g. restore_snapshot.")] = None,
    subject: Annotated[
        str | None, typer.Option("--on", metavar="NAME", help="Only what was done to what has this name or id.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="Only what ended so: done, accepted, or an error's code.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="From then on: 10m, 2h, or a time.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Up to then, likewise.")] = None,
    limit: options.Limit = 50,
    *,
    as_json: options.Json = False,
) -> None:
    """List what was done, by whom, and how it ended, newest first."""
    session = session_of(context, as_json=as_json)
    page = session.client.get(
        "/api/audit",
        limit=limit,
        actor=actor,
        action=action,
        subject=subject,
        outcome=outcome,
        since=moment(since),
        until=moment(until),
    )
    session.output.document(page)
    session.output.table(
        ("line", "at", "by", "from", "action", "on", "outcome"),
        [
            (
                line["number"],
                line["at"][:19],
                line["actor"] or "(nobody known)",
                line["address"],
                line["action"],
                " ".join(f"{name}={value}" for name, value in line["subject"].items()),
                line["outcome"],
            )
            for line in page["items"]
        ],
    )


def export(
    context: typer.Context,
    target: Annotated[
        str, typer.Option("--output", "-o", help="The file to write; - for stdout. Never replaced.")
    ] = "audit.jsonl",
    *,
    as_json: options.Json = False,
) -> None:
    """Write the whole log to a file, a JSON document a line."""
    session = session_of(context, as_json=as_json)
    if target == "-" and as_json:
        raise InvalidInput(
            "output_ambiguous", "The log and the JSON document can't both go to stdout.", next_step="Name a file."
        )
    with session.client.download("/api/audit/export") as (_, chunks), new_file(target, private=True) as file:
        written = sum(file.write(chunk) for chunk in chunks)
    session.output.document({"file": target, "bytes": written})
    if target != "-":
        session.output.say(f"Wrote {format_size(written)} to {target}.")


def verify(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="What was exported; the server's own log if none is named.", dir_okay=False)
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head", metavar="NUMBER:HASH", help="Where the log ended once, as it was noted; may be repeated."
        ),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Read the data directory itself; for when no server runs.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Find out whether a line of the log was changed, removed or put in."""
    session = session_of(context, as_json=as_json)
    known = [parse_head(text) for text in heads or ()]
    if file is not None:
        report = _verify_file(file, known)
    elif offline:
        report = _verify_offline(session, known, config, data_dir)
    else:
        report = _verify_online(session, known)
    found = [finding._asdict() for finding in report.findings]
    if found:
        raise Damaged(
            "audit_damaged",
            f"The audit log is not as it was written: {'; '.join(each['message'] for each in found)}.",
            next_step="Compare it with earlier exports and with backups, to see what was there. Keep it as it is.",
            details={"findings": found, "head": str(report.head)},
        )
    session.output.document({"head": str(report.head), "lines": report.head.number})
    session.output.say(f"All {report.head.number} lines are whole. The head: {report.head}")


def _verify_online(session: Session, known: Sequence[Head]) -> AuditReport:
    head = parse_head(session.client.get("/api/audit", limit=1)["head"])
    verifier = Verifier([head, *known])
    with session.client.download("/api/audit/export") as (_, chunks):
        for line in _lines(chunks):
            verifier.look(parse_line(line))
    return verifier.report()


def _verify_file(file: Path, known: Sequence[Head]) -> AuditReport:
    verifier = Verifier(known)
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            while line := opened.readline(_MAX_LINE):
                verifier.look(parse_line(line))
    except OSError as error:
        raise InvalidInput(
            "file_unreadable", f"{file} can't be read: {error.strerror}.", next_step="Check the path."
        ) from error
    return verifier.report()


def _verify_offline(session: Session, known: Sequence[Head], config: str | None, data_dir: str | None) -> AuditReport:
    settings = settings_from(session, config, data_dir)

    from holdfast.bootstrap import audit  # the database: loaded only by the commands that need it

    return audit.verify_audit_offline(settings, known)


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in whole)
    if rest:
        yield rest.decode()
