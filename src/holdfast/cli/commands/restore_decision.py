"""``holdfast restore-decision``: settle a restore that only a person can settle."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from holdfast.cli import options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow


class Choice(StrEnum):
    KEEP = "keep"
    REVERT = "revert"
    RELEASE = "release"


_MEANINGS: Final = {
    Choice.KEEP: "The restored data stays; the data from before the restore stays as its safety snapshot only.",
    Choice.REVERT: "The data from before the restore comes back; the restored data is kept until it is released.",
    Choice.RELEASE: "The data of a reverted restore, kept for looking at, is removed.",
}


def restore_decision(
    context: typer.Context,
    workload: options.WorkloadName,
    choice: Annotated[
        Choice, typer.Argument(help="Keep the restored data, revert to the data from before, or release what was kept.")
    ],
    *,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Decide about a restore that stopped where only a person can say how to go on."""
    session = session_of(context, as_json=as_json)
    name = session.client.get(f"/api/workloads/{workload}")["name"]
    path = f"/api/workloads/{workload}/restore-decision"
    headers: dict[str, str] = {}
    if choice is not Choice.RELEASE:
        pending = session.client.get(path)["pending"] or {}
        if pending:
            session.output.note(pending["why"])
        # without one the server says itself that nothing waits
        headers = {"X-Confirm-Restore": pending["restore_id"]} if pending.get("restore_id") else {}
    confirm_by_name(session, name, _MEANINGS[choice], yes=yes)
    operation = session.client.send("POST", path, document={"choice": choice.value}, headers=headers)
    follow(session, operation, detach=detach, done=f"{name} is settled.")
