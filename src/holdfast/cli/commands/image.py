"""``holdfast image``: the images that are kept on the host, and letting go of the rest."""

from __future__ import annotations

from typing import Any

import typer

from holdfast.cli import options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import Output
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.units import format_size

_WHAT = (
    "Images that no kept deployment needs leave this host, where a registry can give them again; --dry-run shows them."
)


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Look after the images on the host.")
    group.command("list")(list_images)
    group.command("prune")(prune)
    return group


def list_images(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the images that were deployed and are kept, with the workloads that need them, largest first."""
    session = session_of(context, as_json=as_json)
    found = session.client.get("/api/images")
    session.output.document(found)
    session.output.table(
        ("image", "id", "size", "needed by"),
        [
            (_named(image), _short(image["id"]), format_size(image["size"]), ", ".join(image["needed_by"]) or "nothing")
            for image in found["items"]
        ],
    )


def prune(
    context: typer.Context,
    *,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Remove the images that no kept deployment needs. Each deploy does so for its own workload."""
    session = session_of(context, as_json=as_json)
    if not dry_run:
        confirm_by_name(session, "prune", _WHAT, yes=yes)
    operation = session.client.send("POST", "/api/images/prune", document={"dry_run": dry_run})
    ended = follow(
        session, operation, detach=detach, done="Nothing was changed. A prune would do this:" if dry_run else "Pruned."
    )
    _describe(session.output, ended["outcome"])


def _describe(output: Output, outcome: dict[str, Any]) -> None:
    if outcome["images"]:
        output.table(
            ("image", "id", "size", "verdict"),
            [
                (
                    _named(image),
                    _short(image["id"]),
                    format_size(image["size"]),
                    "goes" if image["removed"] else f"stays: {image['reason']}",
                )
                for image in outcome["images"]
            ],
        )
    output.facts([("freed, layers shared with others included", format_size(outcome["freed_bytes"]))])


def _named(image: dict[str, Any]) -> str:
    return ", ".join(image["names"]) or "(without a name)"


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
