"""What a deploy takes beside the bare engine, both in turns, in one run.

A deploy is measured from the request until it is on record as ended. From that goes off what the engine takes by itself
to create the same container, to start it and to have it answer for the first time. A deploy that replaces a version
stops and removes the old one, too; that counts as overhead, and what the engine takes for it is told beside it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks import web
from benchmarks.bare_engine import BareEngine
from benchmarks.server import Server
from benchmarks.service import DOCKER
from benchmarks.tables import judged, table, told
from holdfast.domain.times import parse

MAX_MS: Final = 300.0
FIRST: Final = "first deploy"
REPLACING: Final = "one version replaces another"
UP: Final = "bare engine: create, start, first answer"
AWAY: Final = "bare engine: stop, remove"


def measure(server: Server, rounds: int, say: Callable[[str], object]) -> dict[str, Any]:
    """Rounds of the bare engine, of the first deploy of a workload, and of one that replaces a version.

    Returns:
        Seconds of each round, and of each step of the deploys.
    """
    web.declare(server, "web")
    web.deploy(server, "web")
    installation = (server.data_dir / "installation").read_text().strip()
    bare = BareEngine(DOCKER)
    seconds: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, dict[str, list[float]]] = {FIRST: defaultdict(list), REPLACING: defaultdict(list)}
    try:
        for number in range(rounds):
            alone = bare.measure(f"holdfast-{installation[-6:]}-{web.PROJECT}")
            seconds[UP].append(alone.up)
            seconds[AWAY].append(alone.away)
            for kind, name in ((FIRST, f"first-{number}"), (REPLACING, "web")):
                web.declare(server, name, version=f"version {number}")
                began = datetime.now(UTC)
                operation = web.deploy(server, name)
                seconds[kind].append((parse(operation["finished_at"]) - began).total_seconds())
                for step in operation["steps"]:
                    took = (parse(step["finished_at"]) - parse(step["started_at"])).total_seconds()
                    steps[kind][step["name"]].append(took)
            server.ended(server.http.delete(f"/api/workloads/first-{number}"))
            say(f"  {', '.join(f'{name} {values[-1]:.2f} s' for name, values in seconds.items())}")
    finally:
        bare.close()
    return {"seconds": dict(seconds), "steps": {kind: dict(parts) for kind, parts in steps.items()}}


def over(seconds: Mapping[str, Sequence[float]], kind: str) -> list[float]:
    """Milliseconds over what the bare engine took in the same round."""
    return [1000 * (ours - bare) for ours, bare in zip(seconds[kind], seconds[UP], strict=True)]


def targets(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, at most, measured."""
    return [
        [
            f"overhead, {kind}, median",
            f"{MAX_MS:g} ms",
            judged(statistics.median(over(figures["seconds"], kind)), MAX_MS),
        ]
        for kind in (FIRST, REPLACING)
    ]


def report(figures: Mapping[str, Any]) -> list[str]:
    """The tables."""
    seconds, steps = figures["seconds"], figures["steps"]
    rows = [[name, told(values)] for name, values in seconds.items()]
    rows += [[f"overhead of {kind}, milliseconds", told(over(seconds, kind))] for kind in (FIRST, REPLACING)]
    both = [
        1000 * (ours - up - away) for ours, up, away in zip(seconds[REPLACING], seconds[UP], seconds[AWAY], strict=True)
    ]
    rows.append(["the same, over the bare engine's stop and removal as well", told(both)])
    names = list(dict.fromkeys(step for kind in (REPLACING, FIRST) for step in steps[kind]))
    parts = [[step, *(told(steps[kind].get(step, [])) for kind in (FIRST, REPLACING))] for step in names]
    return table(["deploys, seconds", ""], rows) + table(["step of a deploy, seconds", FIRST, REPLACING], parts)
