"""Measures what the documentation states, and writes it there.

- ``start``: the server's start, and its memory at rest.
- ``downtime``: how long a service is away for a restore, whatever the size of its data.
- ``peers``: Holdfast's engine beside restic, borg, tar and cp, on three trees, with warm and cold caches.
- ``million``: a million small files, for memory.

Prints tables and saves them to build/bench/; what a part measured stays there until it is measured again. A whole run
also writes them into docs/reference/performance.md, with a picture.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring, page, peers, service, trees, volumes
from benchmarks.comparison import compare
from benchmarks.disk import own_filesystem
from benchmarks.trees import Tree

BUILD: Final = Path(__file__).resolve().parent.parent / "build" / "bench"
FORMAT: Final = 2
"""Of what is saved as JSON."""
GIB: Final = 1 << 30
ROOM: Final = 48 * GIB
"""What the comparison may take on the disk; a million files take about half of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: runs of the service's parts, warm and cold runs of the comparison, days, files."""

    quick: bool
    service: int
    warm: int
    cold: int
    days: int
    many: int


FULL: Final = Plan(quick=False, service=5, warm=3, cold=3, days=10, many=1_000_000)
QUICK: Final = Plan(quick=True, service=1, warm=1, cold=1, days=2, many=20_000)
DEFAULT: Final = ("start", "downtime", "peers")


def main() -> None:
    """Measure, print, save."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all but the last if none is named")
    options.add_argument("--quick", action="store_true", help="a little of everything, to see whether it works")
    chosen = options.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(sorted(unknown))}")
    plan = QUICK if chosen.quick else FULL
    saved = BUILD / ("quick.json" if plan.quick else "results.json")
    results = earlier(saved)
    work = BUILD / "work"
    shutil.rmtree(work, ignore_errors=True)
    for part in chosen.parts or DEFAULT:
        work.mkdir(parents=True)
        try:
            results[part] = PARTS[part](plan, work)
        finally:
            shutil.rmtree(work)
        saved.write_text(json.dumps(results, indent=1) + "\n")
    text, svg = page.text(results), page.pictured(results)
    print(text)
    saved.with_suffix(".md").write_text(text + "\n")
    if svg is not None:
        saved.with_suffix(".svg").write_text(svg)
    if not plan.quick and set(DEFAULT) <= set(results):
        page.put(text, svg)


def earlier(saved: Path) -> dict[str, Any]:
    """What earlier runs measured, part by part; nothing of what another version of this program saved."""
    found: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {}
    return found if found.get("format") == FORMAT else {"format": FORMAT}


def measure_start(plan: Plan, work: Path) -> dict[str, Any]:
    """The server's start."""
    with service.prepared(work, say) as bench:
        return _measured(partial(service.machine, work), lambda: bench.start(plan.service))


def measure_downtime(plan: Plan, work: Path) -> dict[str, Any]:
    """The downtime of restores."""
    fitting = [contents for contents in volumes.contents(quick=plan.quick) if contents.fits(work)]
    with service.prepared(work, say) as bench:
        return _measured(
            partial(service.machine, work),
            lambda: {item.name: bench.downtime(item, service.runs_of(item, plan.service)) for item in fitting},
        )


def measure_peers(plan: Plan, work: Path) -> dict[str, Any]:
    """The comparison."""
    return _compare(trees.standard(quick=plan.quick), peers.tools(), plan, work)


def measure_million(plan: Plan, work: Path) -> dict[str, Any]:
    """Memory, with very many files; once, and only with those that keep an index of them."""
    many = Tree(f"{plan.many:,} small files", "Files of up to a kilobyte", partial(trees.many, count=plan.many))
    few = Plan(quick=plan.quick, service=0, warm=1, cold=0, days=0, many=plan.many)
    return _compare((many,), peers.indexing(), few, work)


def _compare(measured: tuple[Tree, ...], tools: tuple[peers.Tool, ...], plan: Plan, work: Path) -> dict[str, Any]:
    with own_filesystem(work / "disk", ROOM) as own:
        if not own:
            say("no filesystem of its own could be mounted: measured where the build directory is")
        disk = work / "disk"
        return _measured(
            partial(measuring.machine, disk),
            lambda: compare(measured, tools, disk / "all", say, warm=plan.warm, cold=plan.cold, days=plan.days),
        )


def _measured(machine: Callable[[], Mapping[str, str]], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Figures, with what a reader has to know of the machine."""
    before = measuring.load()
    figures = measure()
    return {"machine": {**machine(), "load average": f"{before} before, {measuring.load()} after"}, "figures": figures}


def say(text: str) -> None:
    """Tell people who wait."""
    print(text, file=sys.stderr, flush=True)


PARTS: Final[Mapping[str, Callable[[Plan, Path], dict[str, Any]]]] = {
    "start": measure_start,
    "downtime": measure_downtime,
    "peers": measure_peers,
    "million": measure_million,
}


if __name__ == "__main__":
    main()
