"""``holdfast snapshot files``, ``get`` and ``diff``: what is in a snapshot."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.chosen_paths import path_in_volume
from holdfast.cli.new_file import new_file
from holdfast.cli.output import Output
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import InvalidInput
from holdfast.domain.snapshot import FolderFormat
from holdfast.domain.units import format_size

Volume = Annotated[
    str | None, typer.Option("--volume", help="The volume's target (/data); needed where the snapshot has several.")
]
_KINDS = {"directory": "d", "file": "-", "symlink": "l", "hardlink": "h"}


def files(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    path: Annotated[
        str,
        typer.Argument(metavar="[PATH]", help="A folder in the volume, or as the container sees it (/data/uploads)."),
    ] = "",
    volume: Volume = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List a folder of a snapshot."""
    session = session_of(context, as_json=as_json)
    where = path_in_volume(session, workload, snapshot, path, volume)
    items: list[Any] = []
    after: str | None = ""
    while after is not None:
        page = session.client.get(
            f"/api/workloads/{workload}/snapshots/{snapshot}/files", **where, after=after, limit=200
        )
        items += page["items"]
        after = page["next_after"]
    session.output.document({"items": items})
    session.output.table(("mode", "owner", "size", "modified", "name"), [_row(item) for item in items])
    if not items:
        session.output.note("The folder is empty.")


def get(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    path: Annotated[
        str,
        typer.Argument(
            metavar="[PATH]",
            help="A file or a folder in the volume, or as the container sees it (/data/uploads); else the volume.",
        ),
    ] = "",
    volume: Volume = None,
    kind: Annotated[FolderFormat, typer.Option("--format", help="How a folder is written.")] = FolderFormat.TAR,
    target: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write; - for stdout. Never replaced.")
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Take a file out of a snapshot, or a folder as a tar or zip file. Nothing is restored by that."""
    session = session_of(context, as_json=as_json)
    if target == "-" and (as_json or sys.stdout.isatty()):
        raise InvalidInput(
            "output_ambiguous",
            "The content can't go to the terminal or between JSON.",
            next_step="Name a file with -o.",
        )
    wanted = f"/api/workloads/{workload}/snapshots/{snapshot}/content"
    where = path_in_volume(session, workload, snapshot, path, volume)
    with session.client.download(wanted, **where, format=kind.value) as (name, chunks):
        chosen = target or _plain(name)
        with new_file(chosen) as file:
            written = sum(file.write(chunk) for chunk in chunks)
    session.output.document({"snapshot_id": snapshot, "file": chosen, "bytes": written})
    if chosen != "-":
        session.output.say(f"Wrote {format_size(written)} to {chosen}.")


def diff(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    against: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A later snapshot; the live data without it.")
    ] = None,
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Tell what is other in a later snapshot, or in the live data, than in a snapshot."""
    session = session_of(context, as_json=as_json)
    operation = session.client.send(
        "POST", f"/api/workloads/{workload}/snapshots/{snapshot}/compare", document={"against": against}
    )
    ended = follow(session, operation, detach=detach, done="Compared.")
    for volume in ended["outcome"].get("volumes", ()):
        _differences(session.output, volume)


def _differences(output: Output, volume: Mapping[str, Any]) -> None:
    counts = {kind: volume[kind]["count"] for kind in ("added", "changed", "removed")}
    if not any(counts.values()):
        output.say(f"{volume['target']}: nothing differs")
        return
    output.say(
        f"{volume['target']}: "
        + ", ".join(f"{count} {kind} ({format_size(volume[kind]['bytes'])})" for kind, count in counts.items() if count)
    )
    for kind, sign in (("added", "+"), ("changed", "~"), ("removed", "-")):
        for path, size, _exact in volume[kind]["first"]:
            output.say(f"  {sign} {path}  {format_size(size)}")
        hidden = counts[kind] - len(volume[kind]["first"])
        if hidden:
            output.say(f"  {sign} and {hidden} more")


def _row(item: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    link = f" -> {item['link_target']}" if item["link_target"] is not None else ""
    modified = datetime.fromtimestamp(item["mtime_ns"] / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"{_KINDS[item['kind']]}{item['mode']:04o}",
        f"{item['uid']}:{item['gid']}",
        format_size(item["size"]) if item["kind"] == "file" else "",
        modified,
        item["name"] + link,
    )


def _plain(name: str) -> str:
    """The server's name for the file if it is one that can do no harm here."""
    plain = Path(name).name
    return plain if plain and plain == name and not plain.startswith(".") else "content"
