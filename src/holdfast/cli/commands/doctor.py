"""``holdfast doctor``: check everything that a support person would ask."""

from __future__ import annotations

import typer

from holdfast.cli import options
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.session import session_of


def doctor(context: typer.Context, *, as_json: options.Json = False) -> None:
    """Check the engine, filesystems, space, clock, database and snapshots. Fails if something is wrong."""
    session = session_of(context, as_json=as_json)
    report = session.client.get("/api/doctor")
    session.output.document(report)
    for finding in report["findings"]:
        session.output.say(f"{finding['level']:<8} {finding['check']}: {finding['message']}")
        if finding["mend"]:
            session.output.say(f"         mend: {finding['mend']}")
    if report["level"] == "error":
        raise typer.Exit(ExitCode.FAILED)
