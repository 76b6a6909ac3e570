"""``holdfast undo``: take the last restore back."""

from __future__ import annotations

import typer

from holdfast.cli import options
from holdfast.cli.commands.restore import rehearse
from holdfast.cli.output import both
from holdfast.cli.safety import tell_of_safety
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import NotFound


def undo(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    create_missing: options.CreateMissing = False,
    accept_replaced: options.AcceptReplaced = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Return to the data from before the last restore, and to the image if that was moved. An undo can be undone."""
    session = session_of(context, as_json=as_json)
    name = session.client.get(f"/api/workloads/{workload}")["name"]
    path = f"/api/workloads/{workload}/undo"
    target = session.client.get(path)["snapshot"]
    if target is None:
        raise NotFound(
            "nothing_to_undo",
            f"No restore of {name} can be undone: none is in effect, or its safety snapshot was released and deleted.",
            next_step=f"Choose a snapshot: holdfast snapshot list {name}",
        )
    session.output.note(f"Returning to the safety snapshot {target['id']}, taken {both(target['created_at'])}.")
    wanted = {"create_missing": create_missing, "accept_replaced": accept_replaced}
    rehearse(session, path, wanted, name, dry_run=dry_run, yes=yes)
    operation = session.client.send("POST", path, document=wanted, headers={"X-Confirm-Restore": target["id"]})
    follow(session, operation, detach=detach, done="Undone.")
    tell_of_safety(session, name)
