"""The deploy platform on real parts: engine, Caddy, containers. Each measurement by itself, on a server of its own.

What is measured is kept as soon as it is there; a run that is broken off has figures of what came first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import deploys, hooks, hundred, overhead, web
from benchmarks.server import Program, Server, serving
from benchmarks.service import DOCKER, clean
from benchmarks.tables import table
from holdfast.testing.images import build_image

Figures = dict[str, Any]

_PARTS: Final = {"deploys": deploys, "overhead": overhead, "hundred": hundred, "hooks": hooks}
"""What is measured, in the order of the page."""


def measure(work: Path, say: Callable[[str], object], keep: Callable[[Figures], object], *, quick: bool) -> None:
    """All of it.

    Args:
        work: a directory for the servers' data.
        keep: given what was measured so far, after each measurement.
    """
    program = Program(bytecode=work / "bytecode", docker_host=DOCKER)
    asyncio.run(build_image(DOCKER, web.IMAGE, script=web.SCRIPT))
    figures: Figures = {}

    def measured(name: str, of_it: Figures) -> None:
        figures[name] = of_it
        keep(figures)

    say("overhead of deploys")
    with _server(program, work / "overhead") as server:
        measured("overhead", overhead.measure(server, 3 if quick else 30, say))
    say("webhooks")
    with _server(program, work / "hooks") as server:
        measured("hooks", hooks.measure(server, 2.0 if quick else 10.0, say))
    say("deploys under load")
    measured("deploys", deploys.measure(program, 3 if quick else 100, say))
    say("many workloads")
    with _server(program, work / "hundred") as server:
        measured("hundred", hundred.measure(server, 5 if quick else 100, 10.0 if quick else 130.0, say))


@contextmanager
def _server(program: Program, directory: Path) -> Iterator[Server]:
    """A server on a data directory of its own; its containers are gone in the end."""
    try:
        with serving(program, directory / "data") as server:
            yield server
    finally:
        clean(directory)


def report(figures: Mapping[str, Any]) -> list[str]:
    """The targets beside what was measured, and the tables."""
    there = [(part, figures[name]) for name, part in _PARTS.items() if name in figures]
    lines = table(["target", "at most", "measured"], [row for part, of_it in there for row in part.targets(of_it)])
    missing = [name for name in _PARTS if name not in figures]
    if missing:
        lines += ["", f"**Not measured: {', '.join(missing)}** (`make bench PARTS=platform`)."]
    return lines + [line for part, of_it in there for line in part.report(of_it)]
