"""What the comparison says, as text: tables, and the targets beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks.comparison import Cache, Step
from benchmarks.tables import quantile, table, told

OURS: Final = "Holdfast"
MIB: Final = 1 << 20
MAX_PEAK_MIB: Final = 256
MAX_API_MS: Final = 50.0

RATIOS: Final = (
    (Step.FIRST, "restic", Step.FIRST, 0.4),
    (Step.UNCHANGED, "restic", Step.UNCHANGED, 0.3),
    (Step.CHANGED, "restic", Step.CHANGED, 0.3),
    (Step.RESTORE, "restic", Step.RESTORE, 0.8),
    (Step.RESTORE, "cp -a", Step.RESTORE, 1.5),
)
"""Our step → at most so many times a peer's step (``design`` sets them; a missed one stays in the table)."""

Figures = Mapping[str, Any]


def report(figures: Figures) -> list[str]:
    """The comparison's tables, tree by tree, and what was run."""
    lines: list[str] = []
    for name, measured in figures["trees"].items():
        lines += ["", f"### {name.capitalize()}", "", f"{measured['about']}: {measured['counts']}."]
        lines += [f"The change of 1 %: {measured['changes']}."]
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


def targets(results: Figures) -> list[str]:
    """Every target with what was measured, from whatever parts of the benchmark there are."""
    trees: Figures = results["peers"]["figures"]["trees"]
    rows: list[list[str]] = []
    for step, peer, peer_step, most in RATIOS:
        for cache in Cache:
            cells = [_ratio(figures, cache, (step, peer, peer_step), most) for figures in trees.values()]
            rows.append([f"{step}, {cache}", f"{most} × {peer}", *cells])
    for what, key in (("stored by the first capture", "stored"), ("stored after the days", "stored_days")):
        cells = [_judged(f[key][OURS] / f[key]["restic"], 1.0) if f[key] else "–" for f in trees.values()]
        rows.append([what, "1.0 × restic", *cells])
    lines = table(["target", "at most", *trees], rows)
    others = []
    if "million" in results:
        for figures in results["million"]["figures"]["trees"].values():
            peak = max(_peak(figures, step, OURS) for step in Step)
            others.append([f"peak memory, {figures['counts']}", f"{MAX_PEAK_MIB} MiB", _judged(peak, MAX_PEAK_MIB)])
    if "downtime" in results:
        for name, figures in results["downtime"]["figures"].items():
            slowest = quantile(figures["API while capturing"]["milliseconds"], 0.99)
            others.append([f"API while capturing, p99, {name}", f"{MAX_API_MS:.0f} ms", _judged(slowest, MAX_API_MS)])
    return lines + (table(["target", "at most", "measured"], others) if others else [])


def median_seconds(figures: Figures, cache: Cache, step: Step, tool: str) -> float | None:
    """A step's figure; ``None`` where it was not measured."""
    values = _of(figures, cache, step, tool, "seconds")
    return statistics.median(values) if values else None


def _tools(figures: Figures) -> list[str]:
    return list(figures["stored"])


def _of(figures: Figures, cache: Cache, step: Step, tool: str, what: str) -> list[float]:
    usages = figures["usages"].get(cache, {}).get(step, {}).get(tool, [])
    return [usage[what] for usage in usages]


def _peak(figures: Figures, step: Step, tool: str) -> float:
    return max(_of(figures, Cache.WARM, step, tool, "peak"), default=0) / MIB


def _ratio(figures: Figures, cache: Cache, compared: tuple[Step, str, Step], most: float) -> str:
    step, peer, peer_step = compared
    ours, theirs = median_seconds(figures, cache, step, OURS), median_seconds(figures, cache, peer_step, peer)
    return "–" if ours is None or not theirs else _judged(ours / theirs, most)


def _judged(value: float, most: float) -> str:
    figure = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return f"{figure}, {'met' if value <= most else '**missed**'}"
