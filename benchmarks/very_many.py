"""Very many small files: whether memory stays where it is. Holdfast alone: with the others it would take an hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring, trees
from benchmarks.comparison import Step
from benchmarks.peers import Holdfast
from benchmarks.tables import judged, table

MIB: Final = 1 << 20
MAX_PEAK_MIB: Final = 256


def measure(count: int, work: Path, say: Callable[[str], object], keep: Callable[[Mapping[str, Any]], object]) -> None:
    """Capture ``count`` files, capture them again unchanged, stage them; once.

    Args:
        work: a directory that does not exist yet, on a filesystem that nobody else uses and that is thrown away.
        keep: given what was measured so far, after each step.
    """
    live = work / "live"
    say(f"making {count:,} files")
    trees.many(live, count)
    expected = trees.count(live)
    tool = Holdfast(sealed=False)
    tool.begin(work / "tool", live)
    steps: dict[str, Any] = {}

    def measured(step: Step, usage: measuring.Usage) -> None:
        say(f"  {step}: {usage.seconds:.1f} s, {usage.cpu:.1f} CPU s, {usage.peak / MIB:.0f} MiB")
        steps[step.value] = asdict(usage)
        keep({"counts": str(expected), "steps": steps})

    measuring.settle()
    measured(Step.FIRST, tool.capture())
    measured(Step.UNCHANGED, tool.capture())
    path, usage = tool.restore()
    if (found := trees.count(path)) != expected:
        raise RuntimeError(f"{found} of {expected} were restored")
    measured(Step.RESTORE, usage)


def peak_mib(figures: Mapping[str, Any]) -> float:
    """The most memory that a step took."""
    return max(float(usage["peak"]) for usage in figures["steps"].values()) / MIB


def targets(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, at most, measured."""
    return [[f"memory, {figures['counts']}", f"{MAX_PEAK_MIB} MiB", judged(peak_mib(figures), MAX_PEAK_MIB)]]


def report(figures: Mapping[str, Any]) -> list[str]:
    """The table."""
    rows = [
        [step, f"{usage['seconds']:.1f}", f"{usage['cpu']:.1f}", f"{usage['peak'] / MIB:.0f}"]
        for step, usage in figures["steps"].items()
    ]
    head = ["Holdfast, once, warm", "seconds", "processor seconds", "MiB of memory at most"]
    return ["", f"Files of up to a kilobyte: {figures['counts']}.", *table(head, rows)]
