"""``holdfast workload``: list, look at, start, stop and delete workloads."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.schedule import trouble
from holdfast.cli.commands.status import last_deployment
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.listing import every_page
from holdfast.cli.output import Output, ago, both, exact
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import follow
from holdfast.domain.units import format_duration

_UPDATED: Final = {
    "deployed": "another image was deployed",
    "already_there": "there was nothing newer than what runs",
    "left_alone": "nothing was changed",
}
"""What an update came to, by its operation's result. What failed is told by its schedule."""


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="List, look at, start, stop and delete workloads.")
    group.command("list")(list_workloads)
    group.command("show")(show)
    group.command("start")(start)
    group.command("stop")(stop)
    group.command("delete")(delete)
    return group


def list_workloads(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List all workloads and how they are doing, newest first."""
    session = session_of(context, as_json=as_json)
    found = list(every_page(session.client, "/api/statuses"))
    session.output.document({"items": found})
    session.output.table(
        ("name", "project", "stage", "condition", "image", "last deployment", "changed", "busy with"),
        [
            (
                w["name"],
                w["project"],
                w["stage"],
                _condition(w),
                w["image"],
                last_deployment(w),
                ago(w["updated_at"]),
                w["busy"],
            )
            for w in found
        ],
    )
    problems = (w[kind] for w in found for kind in ("engine_problem", "edge_problem"))
    for problem in dict.fromkeys(each["message"] for each in problems if each):
        session.output.say(problem)


def show(context: typer.Context, workload: options.WorkloadName, *, as_json: options.Json = False) -> None:
    """Show a workload's configuration, and what its updates by a schedule did last."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(f"/api/workloads/{workload}")
    session.output.document(document)
    _describe(session.output, document)
    if "updates" in document["config"] and not session.output.as_json:
        _describe_updates(session, document)


def start(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Start a stopped workload, at the version that it had."""
    session = session_of(context, as_json=as_json)
    operation = session.client.send("POST", f"/api/workloads/{workload}/start")
    follow(session, operation, detach=detach, done=f"{workload} is running.")


def stop(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Stop a workload. It stays stopped, also when the host starts again."""
    session = session_of(context, as_json=as_json)
    operation = session.client.send("POST", f"/api/workloads/{workload}/stop")
    follow(session, operation, detach=detach, done=f"{workload} is stopped.")


def delete(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also remove the data of its volumes, absolute ones excepted.")
    ] = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Delete a workload. Its data stays unless --delete-data is given; its snapshots stay in any case."""
    session = session_of(context, as_json=as_json)
    name = session.client.get(f"/api/workloads/{workload}")["name"]
    fate = "the data of its volumes is removed for good, its snapshots stay" if delete_data else "its data stays"
    confirm_by_name(session, name, f"The workload {name} and its instances are removed; {fate}.", yes=yes)
    operation = session.client.send("DELETE", f"/api/workloads/{workload}", params={"delete_data": delete_data})
    follow(session, operation, detach=detach, done=f"{name} is deleted; {fate}.")


def _condition(workload: dict[str, Any]) -> str:
    return f"{workload['condition']}, not as configured" if workload["pending"] else str(workload["condition"])


def _configured(workload: dict[str, Any]) -> str:
    return f"{both(workload['configured_at'])} by {workload['configured_by']}" if workload["configured_by"] else ""


def _describe_updates(session: Session, workload: dict[str, Any]) -> None:
    """When it is looked for another image, and what the last look led to."""
    updates = workload["config"]["updates"]
    tags = f", to tags like {updates['tags']}" if "tags" in updates else ""
    schedules = session.client.get("/api/schedules")["items"]
    found = [each for each in schedules if each["kind"] == "update" and each["name"] == workload["name"]]
    if not found:  # it is stopped, or was never deployed
        session.output.say(f"updates: {updates['schedule']}{tags}; none until it was deployed and runs")
        return
    (schedule,) = found
    session.output.say(
        f"updates: {schedule['cron']} {schedule['time_zone']}{tags}; the next one {exact(schedule['next_at'])}"
    )
    for line in trouble(schedule):
        session.output.say(f"updates: {line}")
    last = schedule["last"]
    if last is None or not last["operation_id"]:
        return
    outcome = session.client.get(f"/api/operations/{last['operation_id']}")["outcome"]
    if what := _UPDATED.get(str(outcome.get("result"))):
        tag = f" ({outcome['tag']})" if outcome.get("tag") else ""
        why = f", since {outcome['why']}" if outcome.get("why") else ""
        session.output.say(f"the last update, {both(last['started_at'])}: {what}{tag}{why}")


def _describe(output: Output, workload: dict[str, Any]) -> None:
    output.facts(
        [
            ("name", workload["name"]),
            ("id", workload["id"]),
            ("project", workload["project"]),
            ("stage", workload["stage"]),
            ("image", workload["image"]),
            ("desired", workload["desired"]),
            ("strategy", workload["strategy"]),
            ("stop grace", format_duration(workload["stop_grace_seconds"])),
            ("created", both(workload["created_at"])),
            ("changed", both(workload["updated_at"])),
            ("configured", _configured(workload)),
            ("revision", workload["revision"]),
        ]
    )
    output.table(
        ("volume", "scope", "source", "read only"),
        [
            (v["target"], v["scope"], v.get("source"), v.get("read_only", False))
            for v in workload["config"].get("volumes", [])
        ],
    )
