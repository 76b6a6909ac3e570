"""What people see: a line for each round, how to replay one that failed, and the table of what was survived."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from torture.plan import LAYOUTS, Action, Round, Victim
from torture.rounds import Result


def line(result: Result) -> str:
    """A round on a line: what, when killed, at which step, how it ended, seconds."""
    plan = result.round
    again = f", then {plan.again}" if plan.again is not None else ""
    seen = f" ({result.seen})" if result.seen is not None else ""
    ended = "FAILED" if result.troubles else result.ended
    return (
        f"{plan.number:5}  {plan.place:15}  {plan.action:8}{plan.victim:7} at {plan.moment}{seen}{again}"
        f"  →  {ended}, {result.seconds:.1f} s"
    )


def replay(plan: Round) -> str:
    """The command that does this round again: the same action and moments, on the same kind of disks."""
    return f"make torture PARTS=kills SEED={plan.seed} ROUND={plan.number}"


def failure(result: Result, kept: Path) -> str:
    """What differs, where the data is, and how to do it again."""
    images = sorted(kept.glob("*.img"))
    mounted = [f"mount -o loop {shlex.quote(str(image))} /mnt" for image in images]
    return "\n".join(
        [
            f"Round {result.round.number} failed:",
            *(f"  - {trouble}" for trouble in result.troubles),
            f"Logs of servers and engine: {kept / 'logs'}; its disks, the data directory on the first one:",
            *(f"  {command}" for command in mounted),
            f"To do it again: {replay(result.round)}",
        ]
    )


def table(results: Sequence[Result]) -> str:
    """What was survived, by action, victim and filesystem; and how often each phase was hit."""
    survived = [result for result in results if not result.troubles]
    counts = Counter((r.round.action, r.round.victim, r.round.place) for r in survived)
    places = [place for place in ("+".join(layout) for layout in LAYOUTS) if any(key[2] == place for key in counts)]
    widths = [max(10, len(place)) for place in places]
    named = [f"{place:>{width}}" for place, width in zip(places, widths, strict=True)]
    rows = ["  ".join([f"{'survived':15}", *named, f"{'all':>6}"])]
    for action in Action:
        for victim in Victim:
            numbers = [counts[action, victim, place] for place in places]
            if sum(numbers):
                counted = [f"{n or '':>{width}}" for n, width in zip(numbers, widths, strict=True)]
                rows.append("  ".join([f"{action:8}{victim:7}", *counted, f"{sum(numbers):>6}"]))
    phases = Counter(str(result.seen) for result in survived if result.seen is not None)
    again = sum(result.round.again is not None for result in survived)
    return "\n".join(
        [
            *rows,
            f"{len(survived)} rounds survived, in {again} of which the recovery was killed as well.",
            "Killed at step/journal record: " + ", ".join(f"{name} {n}" for name, n in sorted(phases.items())),
        ]
    )
