"""The comparison: every tool does the same to the same tree, in turns, in one run.

A round makes the live tree anew. Then, step by step and within each step tool by tool, in an order that moves on from
round to round: first capture, capture with nothing changed, capture with 1 % changed, a whole restore, a restore in the
place of the changed tree. Restores are checked against the tree that was captured. Nobody pays for what another left to
the kernel: it is flushed before each step. Who stores and restores everything each time is measured once a round.

Rounds go over all trees before the next begins, so that there are figures of each however early one stops.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measuring, trees
from benchmarks.measuring import Usage
from benchmarks.peers import Tool
from benchmarks.trees import Tree


class Step(StrEnum):
    """What is measured, in its order."""

    FIRST = "first capture"
    UNCHANGED = "capture, nothing changed"
    CHANGED = "capture, 1 % changed"
    RESTORE = "whole restore, flushed"
    RESTORE_CHANGED = "restore, 1 % changed"


class Cache(StrEnum):
    """Whether the kernel still held what is read."""

    WARM = "warm"
    COLD = "cold"


@dataclass(slots=True)
class Figures:
    """What was measured on one tree.

    Attributes:
        counts: the tree, in words.
        changes: the 1 %, in words.
        usages: cache → step → tool → one usage for each round.
        stored: tool → bytes after the first capture.
        stored_days: tool → bytes after so many days, on each of which 1 % changed.
    """

    about: str
    counts: str = ""
    changes: str = ""
    usages: dict[str, dict[str, dict[str, list[Usage]]]] = field(default_factory=dict)
    days: int = 0
    stored: dict[str, int] = field(default_factory=dict)
    stored_days: dict[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


class Comparison:
    """Measures tools on one tree.

    Args:
        work: a directory for everything, which does not exist yet; it stays.
        say: told what is done, for people who wait.
    """

    def __init__(self, tree: Tree, tools: Sequence[Tool], work: Path, say: Callable[[str], object]) -> None:
        self._tree, self._tools, self._work, self._say = tree, tools, work, say
        self._base, self._live = work / "base", work / "live"
        self._expected = trees.Count()
        self.figures = Figures(about=tree.about)

    def round(self, cache: Cache, number: int, *, days: int) -> None:
        """One round, which goes on for so many days."""
        self._say(f"{self._tree.name}, {cache}, round {number + 1}")
        if not self._base.exists():
            self._work.mkdir(parents=True)
            self._tree.make(self._base)
            self._expected = trees.count(self._base)
            self.figures.counts = str(self._expected)
        subprocess.run(["cp", "-a", self._base, self._live], check=True)
        turn = number % len(self._tools)
        tools = [*self._tools[turn:], *self._tools[:turn]]
        for tool in tools:
            tool.begin(self._work / "tools" / tool.name, self._live)
        step = partial(self._step, cache, tools)
        step(Step.FIRST, lambda tool: tool.capture())
        if not self.figures.stored:
            self.figures.stored = {tool.name: tool.stored() for tool in self._tools}
        step(Step.UNCHANGED, lambda tool: tool.capture())
        self.figures.changes = str(trees.change(self._live, seed=1))
        step(Step.CHANGED, lambda tool: tool.capture())
        step(Step.RESTORE, self._restore)
        step(Step.RESTORE_CHANGED, lambda tool: tool.restore_over(lambda path: trees.change(path, seed=1)))
        for tool in tools:
            tool.tidy()
        if days:
            self._days(days)
        for tool in tools:
            tool.end()
        shutil.rmtree(self._live)

    def _step(self, cache: Cache, tools: Sequence[Tool], step: Step, measure: Callable[[Tool], Usage]) -> None:
        for tool in tools:
            if tool.whole and step not in (Step.FIRST, Step.RESTORE):
                continue
            if cache is Cache.COLD:
                measuring.drop_caches()
            else:
                measuring.settle()
            usage = measure(tool)
            self._say(f"  {step}: {tool.name} {usage.seconds:.1f} s, {usage.cpu:.1f} CPU s")
            by_tool = self.figures.usages.setdefault(cache, {}).setdefault(step, {})
            by_tool.setdefault(tool.name, []).append(usage)

    def _restore(self, tool: Tool) -> Usage:
        """Restore, and see that it is what was captured; a fast tool that loses files is not fast."""
        path, usage = tool.restore()
        found = trees.count(path)
        if found != self._expected:
            raise RuntimeError(f"{tool.name} restored {found} of {self._expected}")
        return usage

    def _days(self, days: int) -> None:
        """Each day 1 % changes; the first day is over. Whole copies need no measuring."""
        self.figures.days = days
        for day in range(2, days + 1):
            trees.change(self._live, seed=day)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda tool: tool.whole or tool.capture(), self._tools))
        for tool in self._tools:
            self.figures.stored_days[tool.name] = (
                (days + 1) * self.figures.stored[tool.name] if tool.whole else tool.stored()
            )


def compare(
    measured: Sequence[Tree],
    tools: Sequence[Tool],
    work: Path,
    say: Callable[[str], object],
    keep: Callable[[dict[str, Any]], object],
    *,
    warm: int,
    cold: int,
    days: int,
) -> None:
    """All tools on all trees, in so many rounds of each kind; the last warm one goes on for so many days.

    Args:
        keep: given all that was measured so far, as plain data, after each tree of each round.
    """
    work.mkdir()
    if cold and not measuring.drop_caches():
        say("caches can't be dropped here: cold figures are left out")
        cold = 0
    versions = {tool.name: tool.version() for tool in tools}
    comparisons = [Comparison(tree, tools, work / tree.name, say) for tree in measured]
    found: dict[str, Any] = {}
    for number, cache in enumerate([Cache.WARM] * warm + [Cache.COLD] * cold):
        for tree, comparison in zip(measured, comparisons, strict=True):
            comparison.round(cache, number, days=days if number == warm - 1 else 0)
            found[tree.name] = comparison.figures.plain()
            keep({"tools": versions, "trees": found})
