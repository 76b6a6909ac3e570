"""``holdfast snapshot``: take, list, look at, verify, pin and delete snapshots."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.commands import archive, prune, snapshot_copy, snapshot_drill, snapshot_files
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import Output, ago, both
from holdfast.cli.safety import tell_of_safety
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.units import format_duration, format_size
from holdfast.domain.workload import Quiesce


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Take, list, look into, verify, drill, pin, delete, copy, export and import snapshots.",
    )
    group.command("create")(create)
    group.command("copy")(snapshot_copy.copy)
    group.command("list")(list_snapshots)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("drill")(snapshot_drill.drill)
    group.command("delete")(delete)
    group.command("prune")(prune.prune)
    group.command("pin")(pin)
    group.command("unpin")(unpin)
    group.command("files")(snapshot_files.files)
    group.command("get")(snapshot_files.get)
    group.command("diff")(snapshot_files.diff)
    group.command("export")(archive.export)
    group.command("import")(archive.import_archive)
    return group


def create(
    context: typer.Context,
    workload: options.WorkloadName,
    quiesce: Annotated[
        Quiesce | None,
        typer.Option("--quiesce", help="How the workload is held meanwhile; as it declares itself if left out."),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Why it is taken.")] = "",
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Take a snapshot of all volumes of a workload."""
    session = session_of(context, as_json=as_json)
    operation = session.client.send(
        "POST", f"/api/workloads/{workload}/snapshots", document={"quiesce": quiesce and quiesce.value, "note": note}
    )
    ended = follow(session, operation, detach=detach, done="The snapshot is taken and durable.")
    if snapshot_id := ended["outcome"].get("snapshot_id"):
        session.output.say(str(snapshot_id))


def list_snapshots(
    context: typer.Context,
    workload: Annotated[
        str | None,
        typer.Argument(help="The workload's name or id; without it all are listed.", callback=options.name),
    ] = None,
    limit: options.Limit = 50,
    source: options.From = None,
    *,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="The workload may be one that was deleted: find it by its name of then.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List a workload's snapshots, or those of all, newest first."""
    session = session_of(context, as_json=as_json)
    if source is not None:
        page = session.client.get(f"/api/repositories/{source}/snapshots", workload=workload, limit=limit)
    elif workload is None or deleted:
        page = session.client.get("/api/snapshots", limit=limit, workload=workload)
    else:
        page = session.client.get(f"/api/workloads/{workload}/snapshots", limit=limit)
    session.output.document(page)
    table(session.output, page["items"], with_workload=workload is None)
    if not page["items"] and source is not None:
        session.output.note(f"{source} holds no snapshots" + (f" of {workload}." if workload else "."))
    if page["next_cursor"] is not None:
        session.output.note(f"There are more than {limit}; see --limit.")
    if workload is not None and not deleted and source is None:
        tell_of_safety(session, workload)


def _path(workload: str, snapshot: str, source: str | None) -> str:
    """Where a snapshot is, in the primary repository or in a second one."""
    if source is None:
        return f"/api/workloads/{workload}/snapshots/{snapshot}"
    return f"/api/repositories/{source}/snapshots/{snapshot}"


def show(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    source: options.From = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Show a snapshot: what it holds, how it was taken, whether it was verified."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(_path(workload, snapshot, source))
    session.output.document(document)
    _describe(session.output, document)


def verify(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    source: options.From = None,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Read all of a snapshot back and compare it with what was captured."""
    session = session_of(context, as_json=as_json)
    operation = session.client.send("POST", f"{_path(workload, snapshot, source)}/verify")
    follow(session, operation, detach=detach, done="The snapshot is whole.")


def delete(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    source: options.From = None,
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Delete a snapshot for good."""
    session = session_of(context, as_json=as_json)
    path = _path(workload, snapshot, source)
    document = session.client.get(path)
    where = f" from {source}; the primary repository's stays" if source else " for good"
    what = f"The snapshot of {both(document['created_at'])} is removed{where}."
    confirm_by_name(session, document["workload_name"], what, yes=yes)
    session.client.send("DELETE", path)
    session.output.document({"deleted": snapshot})
    session.output.say(f"Deleted {snapshot}.")


def pin(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    *,
    as_json: options.Json = False,
) -> None:
    """Keep a snapshot from being deleted."""
    _set_pinned(context, workload, snapshot, pinned=True, as_json=as_json)


def unpin(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    *,
    as_json: options.Json = False,
) -> None:
    """Let a snapshot be deleted; a safety snapshot is the way back from a restore."""
    _set_pinned(context, workload, snapshot, pinned=False, as_json=as_json)


def _set_pinned(context: typer.Context, workload: str, snapshot: str, *, pinned: bool, as_json: bool) -> None:
    session = session_of(context, as_json=as_json)
    document = session.client.send(
        "PATCH", f"/api/workloads/{workload}/snapshots/{snapshot}", document={"pinned": pinned}
    )
    session.output.document(document)
    session.output.say(f"{snapshot} is {'pinned' if pinned else 'no longer pinned'}.")


def table(output: Output, snapshots: list[dict[str, Any]], *, with_workload: bool = False) -> None:
    """Snapshots, one a line."""
    whose = ("workload",) if with_workload else ()
    output.table(
        ("id", *whose, "taken", "reason", "consistency", "size", "files", "verified", "pinned", "note"),
        [
            (
                s["id"],
                *((s["workload_name"],) if with_workload else ()),
                ago(s["created_at"]),
                s["reason"],
                _consistency(s),
                format_size(s["bytes"]),
                s["files"],
                "DAMAGED" if s["damaged"] else ago(s["verified_at"]),
                s["pinned"],
                s["note"],
            )
            for s in snapshots
        ],
    )


def _consistency(s: dict[str, Any]) -> str:
    """How the writers were held, and whether they ended well if they were stopped for it."""
    if s["stopped_cleanly"] is not False:
        return str(s["consistency"])
    how = dict.fromkeys(stop["brief"] for stop in s["unclean_stops"])
    return f"{s['consistency']}, but {', '.join(how) or 'not cleanly'}"


def _describe(output: Output, s: dict[str, Any]) -> None:
    output.facts(
        [
            ("id", s["id"]),
            ("workload", s["workload_name"]),
            ("taken", both(s["created_at"])),
            ("by", s["actor"]),
            ("reason", s["reason"]),
            ("note", s["note"]),
            ("consistency", _consistency(s)),
            ("size", f"{format_size(s['bytes'])} in {s['files']} files, {format_size(s['stored_bytes'])} stored"),
            ("duration", format_duration(s["duration_seconds"])),
            ("image", s["image"]),
            ("pinned", s["pinned"]),
            ("safety of", s["safety_for"]),
            ("verified", both(s["verified_at"])),
            ("proved", both(s["proved_at"])),
        ]
    )
    output.table(
        ("volume", "scope", "size", "files", "directories", "links"),
        [
            (v["target"], v["scope"], format_size(v["bytes"]), v["files"], v["directories"], v["links"])
            for v in s["volumes"]
        ],
    )
    for stop in s["unclean_stops"]:
        output.say(f"warning: {stop['words']}")
    for warning in s["warnings"]:
        output.say(f"warning: {warning['message']}")
    for damage in s["damaged"]:
        output.say(f"damaged: {damage}")
