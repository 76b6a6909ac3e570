"""``holdfast snapshot export`` and ``import``: snapshots as portable archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.new_file import new_file
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import InvalidInput
from holdfast.domain.units import format_size


def export(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: options.SnapshotArgument,
    target: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write; - for stdout. Never replaced.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Read the data directory itself; for when no server runs.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Write a snapshot to a tar archive that tar can open."""
    session = session_of(context, as_json=as_json)
    if target == "-" and as_json:
        raise InvalidInput(
            "output_ambiguous", "The archive and the JSON document can't both go to stdout.", next_step="Name a file."
        )
    if offline:
        name, written = _export_offline(session, workload, snapshot, target, config, data_dir)
    else:
        name, written = _export_online(session, workload, snapshot, target)
    session.output.document({"snapshot_id": snapshot, "file": name, "bytes": written})
    if name != "-":
        session.output.say(f"Wrote {format_size(written)} to {name}.")


def import_archive(
    context: typer.Context,
    workload: options.WorkloadName,
    file: Annotated[Path, typer.Argument(help="The archive.", exists=True, dir_okay=False, readable=True)],
    *,
    allow_links: Annotated[
        bool, typer.Option("--allow-links", help="Also take links from an archive that is not Holdfast's own.")
    ] = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Take an archive in as a snapshot of a workload. Nothing is restored by that."""
    session = session_of(context, as_json=as_json)
    session.output.note(f"Sending {format_size(file.stat().st_size)} …")
    operation = session.client.upload(
        f"/api/workloads/{workload}/snapshots/import", file, params={"allow_links": allow_links}
    )
    ended = follow(session, operation, detach=detach, done="The archive is imported.")
    if snapshot_id := ended["outcome"].get("snapshot_id"):
        session.output.say(str(snapshot_id))


def _export_online(session: Session, workload: str, snapshot: str, target: str | None) -> tuple[str, int]:
    with session.client.download(f"/api/workloads/{workload}/snapshots/{snapshot}/archive") as (name, chunks):
        chosen = target or _plain_name(name, snapshot)
        with new_file(chosen) as file:
            written = sum(file.write(chunk) for chunk in chunks)
    return chosen, written


def _export_offline(
    session: Session, workload: str, snapshot: str, target: str | None, config: str | None, data_dir: str | None
) -> tuple[str, int]:
    from holdfast import bootstrap  # the whole engine: loaded only by the commands that need it

    settings = settings_from(session, config, data_dir)
    chosen = target or _plain_name("", snapshot)
    with new_file(chosen) as file:
        counted = _Counted(file.write)
        bootstrap.export_offline(settings, workload, snapshot, counted.write)
    return chosen, counted.total


class _Counted:
    def __init__(self, write: Callable[[bytes], int]) -> None:
        self._write = write
        self.total = 0

    def write(self, data: bytes) -> None:
        self.total += self._write(data)


def _plain_name(name: str, snapshot: str) -> str:
    """The server's name for the file if it is one that can do no harm here."""
    plain = Path(name).name
    return plain if plain and plain == name and not plain.startswith(".") else f"{snapshot}.tar.zst"
