"""``holdfast schedule list``: what happens by itself, and whether it did."""

from __future__ import annotations

from typing import Any

import typer

from holdfast.cli import options
from holdfast.cli.output import ago, exact
from holdfast.cli.session import session_of

AILING = ("overdue", "failed", "missed")


def commands() -> typer.Typer:
    """``holdfast schedule``."""
    app = typer.Typer(
        no_args_is_help=True, help="See what happens by itself: snapshots, prunes, verifications, copies."
    )
    app.command("list")(list_schedules)
    return app


def list_schedules(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the schedules: what is next, how the last run went, what is overdue."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/schedules")
    session.output.document(document)
    found = document["items"]
    if not found:
        session.output.note('Nothing is scheduled. A workload says when with snapshots.schedule, such as "0 3 * * *".')
        return
    session.output.table(
        ("what", "health", "schedule", "next", "last success"),
        [(s["words"], s["health"], f"{s['cron']} {s['time_zone']}", exact(s["next_at"]), _succeeded(s)) for s in found],
    )
    for schedule in found:
        for line in trouble(schedule):
            session.output.say(f"{schedule['words']}: {line}")


def trouble(schedule: dict[str, Any]) -> list[str]:
    """What somebody has to know of a schedule, in words; nothing while all is well."""
    lines = []
    if schedule["health"] == "overdue":
        lines.append(f"one was due at {exact(schedule['next_at'])}, and has not begun")
    if schedule["waiting_for"]:
        lines.append(schedule["waiting_for"])
    last = schedule["last"]
    if schedule["failures"] and last is not None and last["message"]:
        times = f" ({schedule['failures']} times in a row)" if schedule["failures"] > 1 else ""
        lines.append(f"the one of {exact(last['due_at'])} {last['result']}{times}: {last['message']}")
    return lines


def in_brief(schedule: dict[str, Any] | None) -> str:
    """How a workload's snapshots are doing, for a table."""
    if schedule is None:
        return "by hand"
    word = schedule["health"]
    return f"{word.upper() if word in AILING else word}, last {_succeeded(schedule)}"


def _succeeded(schedule: dict[str, Any]) -> str:
    return ago(schedule["succeeded_at"]) if schedule["succeeded_at"] else "never"
