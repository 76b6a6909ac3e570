"""Figures in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, after an empty one."""
    lines = ["", _line(head), _line(["---"] * len(head))]
    return lines + [_line(row) for row in rows]


def told(values: Sequence[float]) -> str:
    """Median, and least to most in brackets."""
    if not values:
        return "–"
    if len(values) == 1:
        return _figure(values[0])
    return f"{_figure(statistics.median(values))} ({_figure(min(values))} to {_figure(max(values))})"


def judged(value: float, most: float) -> str:
    """A figure, and whether it is at most what it should be."""
    return f"{f'{value:.2f}' if value < 10 else f'{value:.0f}'}, {_met(value <= most)}"


def counted(count: int, wanted: int) -> str:
    """How many there were, and whether that is how many there should be."""
    return f"{count:,}, {_met(count == wanted)}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _met(met: bool) -> str:  # noqa: FBT001 - a verdict in a word
    return "met" if met else "**missed**"


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
