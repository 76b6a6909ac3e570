"""``holdfast preview``: copies of a workload for a branch, a pull request or a person, for a while."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import completions, options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import ago, both, exact
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.units import format_duration

Preview = Annotated[
    str, typer.Argument(metavar="PREVIEW", help="The name or id of the preview's workload.", callback=options.name)
]


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Copies of a workload for a branch, with data of their own, for a while."
    )
    group.command("create")(create)
    group.command("list")(list_previews)
    group.command("show")(show)
    group.command("delete")(delete)
    return group


def create(
    context: typer.Context,
    workload: options.WorkloadName,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="What it is for: a branch, pr-17 … The same again means the same preview."),
    ],
    image: Annotated[
        str | None, typer.Option("--image", help="What it runs; the workload's own image if left out.")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(
            "--seed",
            metavar="SEED",
            help="What its volumes hold at first: empty, latest (the newest snapshot), or a snapshot's id; as the "
            "workload's previews.seed says if left out.",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="DURATION", help="Remove it when it was not updated for so long, such as 2d."
        ),
    ] = None,
    *,
    last_snapshot: Annotated[
        bool | None,
        typer.Option(
            "--last-snapshot/--no-last-snapshot", help="Whether a snapshot is taken before it is removed with its data."
        ),
    ] = None,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Make a preview of a workload, or have the one that is there run its newest version.

    Its volumes are its own, whatever their scope; the workload itself is not touched.
    """
    session = session_of(context, as_json=as_json)
    body = {"name": name, "image": image, "seed": seed, "expires": expires, "last_snapshot": last_snapshot}
    operation = session.client.send("POST", f"/api/workloads/{workload}/previews", document=body)
    follow(session, operation, detach=detach, done="The preview runs.")
    made = session.client.get(f"/api/previews/{operation['workload_id']}")
    session.output.say(f"It is the workload {made['name']}, and goes {_goes(made)}.")
    for domain in made["domains"]:
        session.output.say(f"It is reached at {domain}.")


def list_previews(
    context: typer.Context,
    workload: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="Only those of this workload.",
            callback=options.name,
            autocompletion=completions.workloads,
        ),
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List all previews, newest first."""
    session = session_of(context, as_json=as_json)
    asked = {} if workload is None else {"workload": workload}
    document = session.client.get("/api/previews", **asked)
    session.output.document(document)
    session.output.table(
        ("name", "of", "for", "image", "deployment", "reached at", "made", "goes"),
        [
            (
                each["name"],
                each["parent"],
                each["made_for"],
                each["image"],
                each["deployment"] or "none yet",
                ", ".join(each["domains"]) or "–",
                ago(each["created_at"]),
                exact(each["expires_at"]),
            )
            for each in document["items"]
        ],
    )


def show(context: typer.Context, preview: Preview, *, as_json: options.Json = False) -> None:
    """Show a preview. How it is doing: "holdfast status PREVIEW"."""
    session = session_of(context, as_json=as_json)
    found = session.client.get(f"/api/previews/{preview}")
    session.output.document(found)
    session.output.facts(
        [
            ("name", found["name"]),
            ("of", found["parent"]),
            ("for", found["made_for"]),
            ("image", found["image"]),
            ("deployment", found["deployment"] or "none yet"),
            ("reached at", ", ".join(found["domains"]) or "–"),
            ("began with", f"the snapshot {found['seed']}" if found["seed"] else "nothing"),
            ("made", f"{both(found['created_at'])} by {found['created_by']}"),
            ("goes", _goes(found)),
        ]
    )


def delete(
    context: typer.Context,
    preview: Preview,
    *,
    last_snapshot: Annotated[
        bool | None,
        typer.Option("--last-snapshot/--no-last-snapshot", help="Whether a snapshot is taken before."),
    ] = None,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Remove a preview with its data. Its snapshots stay."""
    session = session_of(context, as_json=as_json)
    found = session.client.get(f"/api/previews/{preview}")
    name = found["name"]
    captured = found["last_snapshot"] if last_snapshot is None else last_snapshot
    before = "after a last snapshot" if captured else "without a last snapshot"
    confirm_by_name(session, name, f"The preview {name} is removed with its data, {before}.", yes=yes)
    asked = {} if last_snapshot is None else {"last_snapshot": last_snapshot}
    operation = session.client.send("DELETE", f"/api/previews/{found['id']}", params=asked)
    follow(session, operation, detach=detach, done=f"{name} is gone with its data.")


def _goes(preview: dict[str, object]) -> str:
    """When a preview is removed, in words."""
    after = "after a last snapshot" if preview["last_snapshot"] else "without a last snapshot"
    left = format_duration(float(str(preview["expires_seconds"])))
    return f"{exact(str(preview['expires_at']))} ({left} after its last update) with its data, {after}"
