"""Many workloads, with real containers: how soon their state is told, what a server takes that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks import web
from benchmarks.processes import use_of
from benchmarks.server import Server
from benchmarks.tables import judged, quantile, table

MAX_MS: Final = 50.0
MAX_CPU_PERCENT: Final = 2.0
MAX_MIB: Final = 160.0
MIB: Final = 1 << 20
SETTLING: Final = 5.0
"""Seconds from the last request to the first look at what an idle server takes."""
ROUNDS: Final = 3
ASKED: Final = 50
"""So often all are asked for."""

ONE: Final = "the status of one"
LISTED: Final = "the list of all"
ALL: Final = "the status of all"

MORE: Final = {
    "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
    "snapshots": {"schedule": "15 3 * * *"},
}
"""What a workload mostly has: data, and a schedule by which it is captured."""


def measure(server: Server, count: int, idle: float, say: Callable[[str], object]) -> dict[str, Any]:
    """Deploy so many workloads; look at them; let the server be for so many seconds.

    Returns:
        Milliseconds of requests, and what the server and all that it started took: of one core in per cent while nobody
        asked for anything, and MiB.
    """
    names = [f"many-{number}" for number in range(count)]
    began = time.monotonic()
    for number, name in enumerate(names, start=1):
        web.declare(server, name, more=MORE)
        web.deploy(server, name)
        if number % 10 == 0:
            say(f"  {number} workloads deployed")
    deploying = time.monotonic() - began
    milliseconds: dict[str, list[float]] = {ONE: [], LISTED: [], ALL: []}
    for _ in range(ROUNDS):
        milliseconds[ONE] += [_asked(server, f"/api/workloads/{name}/status", running=1) for name in names]
    for _ in range(ASKED):
        milliseconds[ALL].append(_asked(server, f"/api/statuses?limit={count}", running=count))
        milliseconds[LISTED].append(_asked(server, f"/api/workloads?limit={count}"))
    say(f"  idle for {idle:g} s")
    time.sleep(SETTLING)
    before, since = use_of(server.process.pid), time.monotonic()
    time.sleep(idle)
    after, passed = use_of(server.process.pid), time.monotonic() - since
    return {
        "count": count,
        "seconds deploying": deploying,
        "milliseconds": milliseconds,
        "idle seconds": passed,
        "idle cpu percent": 100 * (after.cpu - before.cpu) / passed,
        "resident MiB": after.resident / MIB,
    }


def _asked(server: Server, path: str, *, running: int = 0) -> float:
    """Milliseconds until the whole answer is there.

    Args:
        running: so many workloads have to be told of as running.

    Raises:
        RuntimeError: they are not; figures of those that are down would be of something else.
    """
    began = time.monotonic()
    answer = server.http.get(path)
    took = (time.monotonic() - began) * 1000
    document = answer.raise_for_status().json()
    told = [each.get("condition") for each in document.get("items", [document])]
    if running and told.count("running") != running:
        raise RuntimeError(f"{path} tells of {told}")
    return took


def targets(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, at most, measured."""
    of = f"{figures['count']} workloads"
    rows = [
        [f"{of}: {what}, p99", f"{MAX_MS:g} ms", judged(quantile(values, 0.99), MAX_MS)]
        for what, values in figures["milliseconds"].items()
    ]
    return [
        *rows,
        [f"{of}: idle", f"{MAX_CPU_PERCENT:g} % of a core", judged(figures["idle cpu percent"], MAX_CPU_PERCENT)],
        [f"{of}: resident MiB", f"{MAX_MIB:g} MiB", judged(figures["resident MiB"], MAX_MIB)],
    ]


def report(figures: Mapping[str, Any]) -> list[str]:
    """The tables."""
    asked = [
        [what, f"{quantile(values, 0.5):.1f}", f"{quantile(values, 0.99):.1f}", f"{len(values):,}"]
        for what, values in figures["milliseconds"].items()
    ]
    server = [
        ["workloads, each a container with a volume and a schedule", str(figures["count"])],
        ["seconds to deploy them, one after the other", f"{figures['seconds deploying']:.0f}"],
        ["seconds without a request", f"{figures['idle seconds']:.0f}"],
        ["per cent of a core meanwhile", f"{figures['idle cpu percent']:.2f}"],
        ["resident MiB, of all processes of the server", f"{figures['resident MiB']:.0f}"],
    ]
    head = [f"{figures['count']} workloads, milliseconds", "median", "99th percentile", "measured"]
    return table(head, asked) + table(["server at rest", ""], server)
