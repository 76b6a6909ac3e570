"""``holdfast operation``: what is and was going on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.output import Output, ago, both, exact, failure_lines, log_lines
from holdfast.cli.session import session_of
from holdfast.cli.watch import Watcher, conclude, outcome_in_words, unclean_stops
from holdfast.domain.operation import OperationState
from holdfast.domain.units import format_size

_Id = Annotated[str, typer.Argument(metavar="OPERATION", help="The operation's id.", callback=options.identifier)]


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Look at, watch and cancel operations.")
    group.command("list")(list_operations)
    group.command("show")(show)
    group.command("watch")(watch)
    group.command("cancel")(cancel)
    return group


def list_operations(
    context: typer.Context,
    workload: Annotated[str | None, typer.Option("--workload", help="Only those of this workload.")] = None,
    limit: options.Limit = 20,
    *,
    as_json: options.Json = False,
) -> None:
    """List operations, newest first."""
    session = session_of(context, as_json=as_json)
    page = session.client.get("/api/operations", limit=limit, workload=workload)
    session.output.document(page)
    session.output.table(
        ("id", "kind", "state", "step", "result", "by", "created"),
        [
            (o["id"], o["kind"], o["state"], _step(o), _result(o), o["actor"], ago(o["created_at"]))
            for o in page["items"]
        ],
    )


def show(context: typer.Context, operation: _Id, *, as_json: options.Json = False) -> None:
    """Show an operation: its steps, its log and its outcome."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(f"/api/operations/{operation}")
    session.output.document(document)
    _describe(session.output, document)


def watch(context: typer.Context, operation: _Id, *, as_json: options.Json = False) -> None:
    """Watch an operation until it has ended; the exit code says how."""
    session = session_of(context, as_json=as_json)
    document = Watcher(session.client, session.output).watch(session.client.get(f"/api/operations/{operation}"))
    conclude(session.output, document, f"The {document['kind']} succeeded.")


def cancel(context: typer.Context, operation: _Id, *, as_json: options.Json = False) -> None:
    """Ask an operation to stop and to leave things as they were."""
    session = session_of(context, as_json=as_json)
    document = session.client.send("POST", f"/api/operations/{operation}/cancel")
    session.output.document(document)
    session.output.say(f"Asked {document['kind']} {operation} to stop.")


def _step(operation: dict[str, Any]) -> str:
    if operation["waiting_for"]:
        return str(operation["waiting_for"])
    return str(operation["steps"][-1]["name"]) if operation["steps"] else ""


def _result(operation: dict[str, Any]) -> str:
    """The outcome in a word: what came of it, or why it failed."""
    return str(operation["outcome"].get("result") or (operation["error"] or {}).get("code") or "")


def _progress(operation: dict[str, Any]) -> str:
    """How far the present step is; empty where nothing is counted, or nothing runs any more."""
    progress = operation["progress"]
    if OperationState(operation["state"]).ended:
        return ""
    done, total = progress["done_bytes"], progress["total_bytes"]
    amount = f"{format_size(done)} of {format_size(total)}" if total else format_size(done) if done else ""
    return ", ".join(part for part in (amount, progress["note"]) if part)


def _describe(output: Output, operation: dict[str, Any]) -> None:
    output.facts(
        [
            ("id", operation["id"]),
            ("kind", operation["kind"]),
            ("state", operation["state"]),
            ("workload", operation["workload_id"]),
            ("by", operation["actor"]),
            ("queued", operation["waiting_for"]),
            ("progress", _progress(operation)),
            ("created", both(operation["created_at"])),
            ("started", both(operation["started_at"])),
            ("finished", both(operation["finished_at"])),
            ("result", outcome_in_words(operation)),
            ("not stopped well", "; ".join(unclean_stops(operation))),
        ]
    )
    for step in operation["steps"]:
        output.say(f"  step {step['name']}: {both(step['started_at'])}")
    for line in operation["log"]:
        output.say(f"  {exact(line['at'])} {line['level']}: {line['message']}")
    error = operation["error"]
    if error is None or not error["details"].get("logs"):  # else they are part of the error
        for text in log_lines(operation["outcome"].get("instance_logs")):
            output.say(text)
    if error:
        for text in failure_lines(error["message"], error["next_step"], error["details"]):
            output.say(text)
