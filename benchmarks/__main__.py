"""Measures what the documentation states, and writes it there.

- ``start``: the server's start, and its memory at rest.
- ``downtime``: how long a service is away for a restore, whatever the size of its data.
- ``platform``: deploys under load and beside the bare engine, a hundred workloads, a flood of webhooks.
- ``web``: the web interface in a browser: its first load, and whether long lists are smooth.
- ``peers``: Holdfast's engine beside restic, borg, tar and cp, on three trees, with warm and cold caches.
- ``large``: the downtime with ten gigabytes.
- ``million``: a million small files, for memory.

What matters most comes first, and what was measured is saved, printed and put on the page as soon as it is there: a run
that is broken off leaves a true page, which says what it has no figures of. What a part measured stays until it is
measured again. Everything is kept in build/bench/; the page is docs/reference/performance.md, with a picture.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import browser, measuring, page, peers, platform, service, trees, very_many, volumes
from benchmarks.comparison import compare
from benchmarks.disk import detached, own_filesystem
from benchmarks.volumes import Contents
from holdfast.domain import times

BUILD: Final = Path(__file__).resolve().parent.parent / "build" / "bench"
FORMAT: Final = 3
"""Of what is saved as JSON."""
GIB: Final = 1 << 30
ROOM: Final = 24 * GIB
"""What the comparison may take on the disk."""
MANY_ROOM: Final = 20 * GIB
"""What a million files and their copy may take."""
MANY_BYTES_PER_INODE: Final = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: starts, warm and cold rounds of the comparison, days, files."""

    quick: bool
    starts: int
    warm: int
    cold: int
    days: int
    many: int


FULL: Final = Plan(quick=False, starts=5, warm=3, cold=1, days=10, many=1_000_000)
QUICK: Final = Plan(quick=True, starts=1, warm=1, cold=1, days=2, many=20_000)


class Results:
    """What was measured, now and by earlier runs. Saved, printed and published whenever something new is there."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._saved = BUILD / ("quick.json" if plan.quick else "results.json")
        self._results = earlier(self._saved)

    def keep(self, part: str, measured: Mapping[str, Any]) -> None:
        """Put what a part measured so far in the place of what it measured before."""
        self._results[part] = dict(measured)
        self._saved.write_text(json.dumps(self._results, indent=1) + "\n")
        svg = page.pictured(self._results)
        self._saved.with_suffix(".md").write_text(f"{self}\n")
        if svg is not None:
            self._saved.with_suffix(".svg").write_text(svg)
        if not self._plan.quick:
            page.put(page.regions(self._results), svg)

    def __str__(self) -> str:
        return "\n\n".join(page.regions(self._results).values())


Keep = Callable[[Mapping[str, Any]], None]
"""Takes what a part has measured so far, with what a reader has to know of the machine."""


def main() -> None:
    """Measure, print, save."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all, in this order, if none is named")
    options.add_argument("--quick", action="store_true", help="a little of everything, to see whether it works")
    chosen = options.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(sorted(unknown))}")
    plan = QUICK if chosen.quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("broken off"))  # what was mounted and started is let go of
    work = BUILD / "work"
    detached(work / "disk")
    shutil.rmtree(work, ignore_errors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    results = Results(plan)
    try:
        for part in chosen.parts or PARTS:
            work.mkdir()
            try:
                PARTS[part](plan, work, partial(results.keep, part))
            finally:
                shutil.rmtree(work)
    finally:
        print(results)


def earlier(saved: Path) -> dict[str, Any]:
    """What earlier runs measured, part by part; nothing of what another version of this program saved."""
    found: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {}
    return found if found.get("format") == FORMAT else {"format": FORMAT}


def measure_start(plan: Plan, work: Path, keep: Keep) -> None:
    """The server's start."""
    with service.prepared(work, say) as bench:
        told = _telling(partial(service.machine, work))
        keep(told(bench.start(plan.starts)))


def measure_downtime(plan: Plan, work: Path, keep: Keep) -> None:
    """The downtime of restores."""
    _downtime(volumes.usual(quick=plan.quick), work, keep)


def measure_large(plan: Plan, work: Path, keep: Keep) -> None:
    """The downtime of a restore of very much."""
    _downtime(volumes.large(quick=plan.quick), work, keep)


def _downtime(measured: tuple[Contents, ...], work: Path, keep: Keep) -> None:
    with service.prepared(work, say) as bench:
        told = _telling(partial(service.machine, work))
        figures: dict[str, Any] = {}
        for contents in measured:
            if not contents.fits(work):
                say(f"no room for {contents.name}")
                continue
            figures[contents.name] = bench.downtime(contents)
            keep(told(figures))


def measure_platform(plan: Plan, work: Path, keep: Keep) -> None:
    """The deploy platform."""
    told = _telling(partial(service.machine, work))
    platform.measure(work, say, lambda figures: keep(told(figures)), quick=plan.quick)


def measure_web(plan: Plan, work: Path, keep: Keep) -> None:
    """The web interface."""
    told = _telling(partial(service.machine, work))
    browser.measure(work, say, lambda figures: keep(told(figures)), quick=plan.quick)


def measure_peers(plan: Plan, work: Path, keep: Keep) -> None:
    """The comparison."""
    disk = work / "disk"
    with own_filesystem(disk, ROOM) as own:
        _say_where(own=own)
        told = _telling(partial(measuring.machine, disk))
        compare(
            trees.standard(quick=plan.quick),
            peers.tools(),
            disk / "all",
            say,
            lambda figures: keep(told(figures)),
            warm=plan.warm,
            cold=plan.cold,
            days=plan.days,
        )


def measure_million(plan: Plan, work: Path, keep: Keep) -> None:
    """Memory, with very many files."""
    disk = work / "disk"
    with own_filesystem(disk, MANY_ROOM, bytes_per_inode=MANY_BYTES_PER_INODE) as own:
        _say_where(own=own)
        told = _telling(partial(measuring.machine, disk))
        very_many.measure(plan.many, disk / "all", say, lambda figures: keep(told(figures)))


def _say_where(*, own: bool) -> None:
    if not own:
        say("no filesystem of its own could be mounted: measured where the build directory is")


def _telling(machine: Callable[[], Mapping[str, str]]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What adds to figures what a reader has to know of the machine, its load since now among it."""
    before = measuring.load()

    def told(figures: Mapping[str, Any]) -> dict[str, Any]:
        load = f"{before} before, {measuring.load()} after"
        return {"machine": {"measured": _measured(), **machine(), "load average": load}, "figures": dict(figures)}

    return told


def _measured() -> str:
    """When, and of what. The page itself, which is written meanwhile, is no change."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src", "benchmarks"], check=False).returncode
    return f"{times.now()}, commit {found.stdout.strip() or 'unknown'}{' and changes' if changed else ''}"


def say(text: str) -> None:
    """Tell people who wait."""
    print(text, file=sys.stderr, flush=True)


PARTS: Final[Mapping[str, Callable[[Plan, Path, Keep], None]]] = {
    "start": measure_start,
    "downtime": measure_downtime,
    "platform": measure_platform,
    "web": measure_web,
    "peers": measure_peers,
    "large": measure_large,
    "million": measure_million,
}


if __name__ == "__main__":
    main()
