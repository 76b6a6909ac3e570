"""``holdfast decide``: settle a restore that only a person can settle."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow


class Choice(StrEnum):
    KEEP = "keep"
    REVERT = "revert"


def decide(
    context: typer.Context,
    workload: options.WorkloadName,
    choice: Annotated[Choice, typer.Argument(help="Keep the restored data, or revert to what was live before.")],
    *,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Decide about a restore that ended as needs_decision."""
    session = session_of(context, as_json=as_json)
    name = session.client.get(f"/api/workloads/{workload}")["name"]
    what = "keeps the restored data" if choice is Choice.KEEP else "returns to the data from before the restore"
    confirm_by_name(session, name, f"{name} {what} and is started on it.", yes=yes)
    operation = session.client.send(
        "POST",
        f"/api/workloads/{workload}/restore-decision",
        document={"choice": choice.value},
        headers={"X-Confirm-Restore": name},
    )
    follow(session, operation, detach=detach, done=f"{name} is settled.")
