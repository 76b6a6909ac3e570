"""What take-overs end with that did not succeed, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.domain.errors import Conflict, Failed, HoldfastError, Problem

INTERRUPTED = "The server was interrupted while it took the containers over."


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A container that was removed meanwhile, and the workload that was to take its place, by their names."""

    container: str
    workload: str


def overtaken(workload: str) -> Conflict:
    """It was deployed while the take-over waited for it."""
    return Conflict(
        "take_over_overtaken",
        f"The workload {workload} was deployed in the meantime. Nothing was touched.",
        next_step=f"Look at it: holdfast status {workload}.",
        details={"workload": workload},
    )


def started(container: str) -> Failed:
    """An old container runs beside the new one."""
    return Failed(
        "take_over_container_started",
        f"Somebody started {container} while a workload was taking its place: both wrote to the same data.",
        next_step="Find out who starts it (Compose, a unit of systemd, cron), and keep it from that.",
        details={"container": container},
    )


def in_use(container: str, problem: Problem) -> Failed:
    """An old container can't start: ``problem`` is what uses its data."""
    return Failed(
        "take_over_data_in_use",
        f"{problem.message} It is the data of {container}, which stays stopped: two would write to it.",
        next_step="Stop the one that is not to have it.",
        details=problem.details,
    )


def some_gone(why: str, gone: Sequence[Gone]) -> Failed:
    """All but those are put back.

    Args:
        why: the take-over failed, in a sentence.
    """
    containers = ", ".join(each.container for each in gone)
    workloads = ", ".join(each.workload for each in gone)
    return Failed(
        "take_over_container_gone",
        f"{why} Somebody removed {containers} meanwhile, so that it can't be put back; all others are. What was to "
        f"take its place is configured on its data, and does not run: {workloads}.",
        next_step="Deploy it: holdfast deploy NAME. If its volumes went as well, restore the snapshot that was taken.",
        details={"gone": [each.container for each in gone], "workloads": [each.workload for each in gone]},
    )


def not_put_back(why: str, second: HoldfastError) -> Failed:
    """The way back failed with ``second``.

    Args:
        why: the take-over failed, in a sentence.
    """
    return Failed(
        "take_over_return_failed",
        f"{why} The containers that were there could not be put back: {second.message} They may not be running.",
        next_step=f"{second.next_step} Then restart Holdfast: it puts back what is left to be.".lstrip(),
        details={"return_failed_with": second.code},
    )
