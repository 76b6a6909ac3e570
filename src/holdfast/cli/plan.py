"""What a restore would do, in words: the outcome of its dry run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.cli.output import Output, both
from holdfast.domain.units import format_duration, format_size

_CHANGES: Final = (("added", "+"), ("changed", "~"), ("removed", "-"))
_SAMPLES: Final = 5


def show_plan(output: Output, plan: Mapping[str, Any], *, to_stderr: bool) -> None:
    """Tell what the restore would change.

    Args:
        to_stderr: the plan is not the command's result but stands before a question.
    """
    say = output.note if to_stderr else output.say
    say(f"Snapshot {plan['snapshot_id']}, taken {both(plan['snapshot_taken_at'])}.")
    if source := plan.get("cloned_from"):
        say(f"The data of {source['name']} goes into {plan['workload']}{_left_alone(source, plan)}.")
    for volume in plan["volumes"]:
        say(f"{volume['target']} ({volume['path']}):")
        say(_extent(volume))
        for path in volume.get("paths") or ():
            say(f"      {path}")
        for kind, sign in _CHANGES:
            count, size = volume.get(kind, 0), volume.get(f"bytes_{kind}", 0)
            if count:
                say(f"  {sign} {count} {kind} ({format_size(size)})")
            samples = volume.get(f"{kind}_paths", [])[:_SAMPLES]
            for path in samples:
                say(f"      {sign} {path}")
            if samples and count > len(samples):
                say(f"      {sign} and {count - len(samples)} more")
    if any(volume.get("paths") for volume in plan["volumes"]):
        say("All else stays as it is when the workload is stopped for the exchange.")
    say(f"A safety snapshot of the live data ({format_size(plan['live_bytes'])}) is taken first and kept.")
    if plan["last_downtime_seconds"] is not None:
        say(f"The last restore of it meant a downtime of {format_duration(plan['last_downtime_seconds'])}.")
    if plan["also_stopped"]:
        say(f"Stopped meanwhile, since they share a volume: {', '.join(plan['also_stopped'])}.")
    if stops := graces_in_words(plan):
        say(stops)
    if plan["runs_afterwards"]:
        short = str(plan["runs_afterwards"]).removeprefix("sha256:")[:12]
        then = "the data from before comes back" if plan["on_unhealthy"] == "revert" else "the restored data stays"
        say(f"Started afterwards: {plan['image']} ({short}); if it is unhealthy on that data, {then}.")
    else:
        say("The workload stays stopped afterwards.")
    for warning in plan["warnings"]:
        say(f"warning: {warning['message']}")


def graces_in_words(plan: Mapping[str, Any]) -> str:
    """How long what runs gets to end by itself; empty if nothing runs."""
    told = [f"{each['workload']} gets up to {format_duration(each['grace_seconds'])}" for each in plan["stops"]]
    return f"What runs is stopped: {', '.join(told)} to end by itself, and is killed after that." if told else ""


def _left_alone(source: Mapping[str, str], plan: Mapping[str, Any]) -> str:
    """What a clone leaves as it is of the workload that the data comes from."""
    if source["name"] == plan["workload"]:
        return ""
    if source["id"] in plan["also_stopped"]:
        return f"; {source['name']} stands still meanwhile, since they share another volume; its data is not touched"
    return f"; {source['name']} is not touched"


def _extent(volume: Mapping[str, Any]) -> str:
    """How much of a volume is restored."""
    files, size = volume["restored_files"], format_size(volume["restored_bytes"])
    if volume.get("paths"):
        names = "name" if files == 1 else "names"
        return f"  only these and what is below them ({files} {names}, {size} in the snapshot):"
    return f"  {files} {'file' if files == 1 else 'files'}, {size} afterwards"
