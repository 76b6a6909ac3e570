"""What the comparison says, as text: tables, and its targets beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks.comparison import Cache, Step
from benchmarks.tables import judged, table, told

OURS: Final = "Holdfast"
MIB: Final = 1 << 20

RATIOS: Final = (
    (Step.FIRST, "restic", 0.4),
    (Step.UNCHANGED, "restic", 0.3),
    (Step.CHANGED, "restic", 0.3),
    (Step.RESTORE, "restic", 0.8),
    (Step.RESTORE, "cp -a", 1.5),
)
"""A step → at most so many times what a peer takes for it."""

Figures = Mapping[str, Any]


def report(figures: Figures) -> list[str]:
    """The comparison's tables, tree by tree, and what was run."""
    lines: list[str] = []
    for name, measured in figures["trees"].items():
        lines += ["", f"### {name.capitalize()}", "", f"{measured['about']}: {measured['counts']}."]
        rounds = " and ".join(f"{_rounds(measured, cache)} {cache}" for cache in measured["usages"])
        lines += [f"The change of 1 %: {measured['changes']}. Rounds: {rounds}."]
        lines += _tree(measured)
    lines += ["", "### What was run", ""]
    lines += [f"- **{name}**: {version}" for name, version in figures["tools"].items()]
    return lines


def _tree(figures: Figures) -> Iterator[str]:
    tools = _tools(figures)
    seconds = [
        [f"{step}, {cache}", *(told(_of(figures, cache, step, tool, "seconds")) for tool in tools)]
        for step in Step
        for cache in Cache
        if cache in figures["usages"]
    ]
    yield from table(["seconds", *tools], seconds)
    cpu = [[step.value, *(told(_of(figures, Cache.WARM, step, tool, "cpu")) for tool in tools)] for step in Step]
    yield from table(["processor seconds, warm", *tools], cpu)
    sizes = [["MB stored by the first capture", *(f"{figures['stored'][tool] / 1e6:.0f}" for tool in tools)]]
    if figures["stored_days"]:
        days = [f"{figures['stored_days'][tool] / 1e6:.0f}" for tool in tools]
        sizes += [[f"MB stored after {figures['days']} days, 1 % changed on each", *days]]
    for step in (Step.FIRST, Step.RESTORE):
        sizes += [[f"MiB of memory at most, {step}", *(f"{_peak(figures, step, tool):.0f}" for tool in tools)]]
    yield from table(["sizes", *tools], sizes)


def targets(figures: Figures) -> list[str]:
    """Every target with what was measured; a missed one stays in the table."""
    trees: Figures = figures["trees"]
    rows: list[list[str]] = []
    for step, peer, most in RATIOS:
        for cache in Cache:
            cells = [_ratio(measured, cache, step, peer, most) for measured in trees.values()]
            rows.append([f"{step}, {cache}", f"{most} × {peer}", *cells])
    for what, key in (("stored by the first capture", "stored"), ("stored after the days", "stored_days")):
        cells = [judged(f[key][OURS] / f[key]["restic"], 1.0) if f[key] else "–" for f in trees.values()]
        rows.append([what, "1.0 × restic", *cells])
    return table(["target", "at most", *trees], rows)


def median_seconds(figures: Figures, cache: Cache, step: Step, tool: str) -> float | None:
    """A step's figure; ``None`` where it was not measured."""
    values = _of(figures, cache, step, tool, "seconds")
    return statistics.median(values) if values else None


def _tools(figures: Figures) -> list[str]:
    return list(figures["stored"])


def _of(figures: Figures, cache: Cache, step: Step, tool: str, what: str) -> list[float]:
    usages = figures["usages"].get(cache, {}).get(step, {}).get(tool, [])
    return [usage[what] for usage in usages]


def _rounds(figures: Figures, cache: str) -> int:
    return max(len(usages) for step in figures["usages"][cache].values() for usages in step.values())


def _peak(figures: Figures, step: Step, tool: str) -> float:
    return max(_of(figures, Cache.WARM, step, tool, "peak"), default=0) / MIB


def _ratio(figures: Figures, cache: Cache, step: Step, peer: str, most: float) -> str:
    ours, theirs = median_seconds(figures, cache, step, OURS), median_seconds(figures, cache, step, peer)
    return "–" if ours is None or not theirs else judged(ours / theirs, most)
