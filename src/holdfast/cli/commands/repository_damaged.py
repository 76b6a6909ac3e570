"""``holdfast repository damaged`` and ``delete-damaged``: snapshots whose manifest can't be read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.session import session_of
from holdfast.domain.errors import NotFound


def damaged(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the snapshots whose manifest can't be read."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/repository/damaged")
    session.output.document(document)
    if not document["items"]:
        session.output.say("The manifests of all snapshots can be read.")
        return
    session.output.table(
        ["ID", "WORKLOAD", "PINNED", "WHY"],
        [[each["id"], each["workload"] or "-", _pinned(each), each["message"]] for each in document["items"]],
    )


def delete_damaged(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="The id, as `holdfast repository damaged` lists it.")],
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Delete a snapshot whose manifest can't be read, for good. Nothing that others need goes with it."""
    session = session_of(context, as_json=as_json)
    items = session.client.get("/api/repository/damaged")["items"]
    found = next((each for each in items if each["id"] == snapshot), None)
    if found is None:
        raise NotFound(
            "snapshot_not_damaged",
            f"No snapshot {snapshot} with a manifest that can't be read is there.",
            next_step="See `holdfast repository damaged`; others are deleted with `holdfast snapshot delete`.",
        )
    owner = f"of {found['workload']} " if found["workload"] else ""
    safety = ", the way back from a restore" if found["safety_for"] else ""
    kept = f" It is pinned{safety}." if found["pinned"] else ""
    what = f"The snapshot {snapshot} {owner}is removed for good.{kept} {found['message']}"
    confirm_by_name(session, snapshot, what, yes=yes)
    session.client.send("DELETE", f"/api/repository/damaged/{snapshot}", headers={"X-Confirm-Delete": snapshot})
    session.output.document({"deleted": snapshot})
    session.output.say(f"Deleted {snapshot}. What only it needed is freed by `holdfast snapshot prune`.")


def _pinned(each: dict[str, Any]) -> str:
    if not each["pinned"]:
        return "no"
    return "yes (safety snapshot)" if each["safety_for"] else "yes"
