"""``holdfast clone``: bring the data of one workload into another one, or into a new one.

As with a restore: the dry run and what it found, the question, the clone, its outcome.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import completions, options
from holdfast.cli.commands.apply import read_file
from holdfast.cli.commands.restore import choose, no_snapshots, rehearse
from holdfast.cli.safety import tell_of_safety
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import NotFound
from holdfast.domain.ids import is_id
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.snapshot import SnapshotReason


def clone(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A snapshot's id; or a workload's name, also of a deleted one: then a list is offered.",
            callback=options.name,
            autocompletion=completions.workloads,
        ),
    ],
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="WORKLOAD",
            help="Replace the data of this workload.",
            callback=options.name,
            autocompletion=completions.workloads,
        ),
    ] = None,
    as_name: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Make a workload of this name, configured like the source.",
            callback=options.name,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", help="Make a workload of this YAML or JSON file; - for stdin."),
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project of the one made with --as.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="The stage of the one made with --as.")] = None,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", help="What the one made with --as publishes instead; repeatable."),
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option("--volume", help="Only this volume (its path in the container); repeatable.")
    ] = None,
    renames: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FROM=TO", help="A captured volume goes to another path; repeatable."),
    ] = None,
    on_unhealthy: Annotated[
        OnUnhealthy | None,
        typer.Option("--on-unhealthy", help="With --into: what to do when the workload is unhealthy on the data."),
    ] = None,
    *,
    latest: Annotated[bool, typer.Option("--latest", help="Take the newest snapshot of the workload SOURCE.")] = False,
    with_image: Annotated[bool, typer.Option("--with-image", help="Run the image of then on it, too.")] = False,
    create_missing: options.CreateMissing = False,
    accept_replaced: options.AcceptReplaced = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Bring a workload's data into another one, or into a new one. The one that it comes from is not touched.

    Examples: "holdfast clone notes --latest --into staging" replaces the data of staging, which is kept as a safety
    snapshot; "holdfast clone notes --as trial --project trial --port 127.0.0.1:8081:80" makes a workload like notes,
    with its data; "holdfast clone SNAPSHOT --file staging.yaml" makes the workload that a file describes.
    """
    session = session_of(context, as_json=as_json)
    if sum(goal is not None for goal in (into, as_name, file)) != 1:
        raise typer.BadParameter("Say where the data goes, by one of --into, --as and --file.")
    if as_name is None and (project or stage or port):
        raise typer.BadParameter("--project, --stage and --port go with --as.")
    wanted: dict[str, Any] = {
        "volumes": volume or None,
        "map": dict(map(_pair, renames or ())),
        "on_unhealthy": on_unhealthy,
        "with_image": with_image,
        "create_missing": create_missing,
        "accept_replaced": accept_replaced,
    }
    if into is not None:
        name = session.client.get(f"/api/workloads/{into}")["name"]
        wanted["into"] = into
    elif as_name is not None:
        name = as_name
        wanted["like_source"] = {"name": as_name, "project": project, "stage": stage, "ports": port or None}
    else:
        assert file is not None
        text = read_file(file)
        kind = "application/json" if file.endswith(".json") else "application/yaml"
        name = session.client.send_text("POST", "/api/workloads/preview", text, kind)["name"]
        wanted["declaration"] = text.decode()
    snapshot = _snapshot(session, source, latest=latest)
    path = f"/api/snapshots/{snapshot}/clone"
    what = f"This makes the workload {name}, or goes on with it."
    rehearse(session, path, wanted, name, dry_run=dry_run, yes=yes, what=None if into else what)
    operation = session.client.send("POST", path, document=wanted, headers={"X-Confirm-Restore": snapshot})
    follow(session, operation, detach=detach, done="Cloned.")
    tell_of_safety(session, name)


def _pair(text: str) -> tuple[str, str]:
    captured, sign, target = text.partition("=")
    if not (captured and sign and target):
        raise typer.BadParameter(f"--map takes FROM=TO, as in --map /var/lib/data=/data; not {text!r}.")
    return captured, target


def _snapshot(session: Session, source: str, *, latest: bool) -> str:
    """The id of the snapshot that is meant."""
    if is_id(source):
        return source
    if not latest:
        return choose(session, source, "/api/snapshots", deleted=True, workload=source)
    # A safety snapshot holds what somebody wanted to be rid of.
    items = session.client.get("/api/snapshots", limit=200, workload=source)["items"]
    for found in items:
        if found["reason"] != SnapshotReason.SAFETY and not found["damaged"]:
            return str(found["id"])
    if not items:
        raise no_snapshots(source)
    raise NotFound(
        "no_snapshots",
        f"All snapshots of {source} are safety snapshots or damaged, which --latest passes over.",
        next_step=f"Name the one that is meant by its id: holdfast snapshot list {source} --deleted",
    )
