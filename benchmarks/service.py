"""What the service takes: its start and memory, and the downtime of a restore beside what people do by hand today.

By hand is: stop, remove, unpack an archive in place, start. That takes no safety copy, verifies nothing, and a crash
loses data.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring
from benchmarks.server import Program, Server, serving
from benchmarks.tables import judged, quantile, table, told
from benchmarks.volumes import Contents
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD
from holdfast.testing.docker_engine import DEFAULT_HOST
from holdfast.testing.images import build_image

DOCKER: Final = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
IMAGE: Final = "holdfast-bench/idle:1"
IDLE: Final = """trap 'exit 0' TERM
while :; do
  if [ -e /data/rows.db ]; then
    dd if=/dev/urandom of=/data/rows.db bs=8192 count=1 seek=$((RANDOM % 5000)) conv=notrunc 2>/dev/null
  fi
  sleep 0.2 & wait $!
done
"""
"""Writes a page of a database, if there is one, five times a second, until it is stopped."""
READY: Final = "seconds to ready"
AT_REST: Final = "resident MiB at rest"
NEW: Final = "resident MiB at rest, new data directory"
STEPS: Final = ("stop", "safety", "recheck", "swap", "start", "gate", "other")
MAX_API_MS: Final = 50.0
Figures = dict[str, list[float]]


class Service:
    """Measures real servers with a real container engine.

    Args:
        work: a directory for their data.
        say: told what is done, for people who wait.
    """

    def __init__(self, work: Path, say: Callable[[str], object]) -> None:
        self._work, self._say = work, say
        self._program = Program(bytecode=work / "bytecode", docker_host=DOCKER)

    def start(self, runs: int) -> Figures:
        """Start to ready of a server on an existing data directory; its memory a second later and after a restore, and
        a second after the start on a new one.
        """
        self._say("start")
        data = self._work / "start" / "data"
        with serving(self._program, data) as server:  # makes the data directory and the bytecode, and is not measured
            volume = deploy(server, "rest", data)
            (volume / "some.bin").write_bytes(os.urandom(10_000_000))
            snapshot = server.run("/api/workloads/rest/snapshots")["outcome"]["snapshot_id"]
        figures: Figures = {name: [] for name in (READY, AT_REST, NEW, "resident MiB after a restore")}
        for number in range(runs):
            with serving(self._program, self._work / "start" / f"new-{number}" / "data") as server:
                time.sleep(1)
                figures[NEW].append(server.resident_mib())
            with serving(self._program, data) as server:
                figures[READY].append(server.seconds_to_ready)
                time.sleep(1)
                figures[AT_REST].append(server.resident_mib())
                server.run(f"/api/workloads/rest/snapshots/{snapshot}/restore", confirm=snapshot)
                time.sleep(1)
                figures["resident MiB after a restore"].append(server.resident_mib())
        figures["seconds of `holdfast --help`"] = [self._program.help_seconds() for _ in range(runs)]
        return figures

    def downtime(self, contents: Contents) -> dict[str, Figures]:
        """Restores of a volume, each after a little of it changed; in turn the same by hand, where that is asked."""
        self._say(f"downtime, {contents.name}")
        directory = self._work / contents.name.replace(" ", "-")
        ours: Figures = {part: [] for part in (*STEPS, "downtime", "whole operation")}
        by_hand: Figures = {part: [] for part in ("stop", "remove", "unpack", "start", "downtime")}
        with serving(self._program, directory / "data") as server:
            volume = deploy(server, "bench", directory / "data")
            contents.fill(volume)
            snapshot, latencies = capture(server)
            archive = directory / "by-hand.tar.zst"
            if contents.by_hand:
                pack(volume, archive)
            for number in range(contents.runs):
                contents.disturb(volume, number)
                began = time.monotonic()
                outcome = server.run(f"/api/workloads/bench/snapshots/{snapshot}/restore", confirm=snapshot)["outcome"]
                ours["whole operation"].append(time.monotonic() - began)
                ours["downtime"].append(outcome["downtime_seconds"])
                for part in STEPS:
                    ours[part].append(outcome["seconds"].get(part, 0.0))
                self._say(f"  {contents.name}: {ours['downtime'][-1]:.2f} s of {ours['whole operation'][-1]:.1f} s")
                if contents.by_hand:
                    restore_by_hand(volume, archive, by_hand)
        clean(directory)
        shutil.rmtree(directory)
        return {"holdfast": ours, "by hand": by_hand, "API while capturing": {"milliseconds": latencies}}


@contextmanager
def prepared(work: Path, say: Callable[[str], object]) -> Iterator[Service]:
    """Have the image that is deployed, and leave no container behind."""
    asyncio.run(build_image(DOCKER, IMAGE, script=IDLE))
    try:
        yield Service(work, say)
    finally:
        clean(work)


def deploy(server: Server, name: str, data: Path) -> Path:
    """A workload with one empty volume. Gives the volume's path."""
    server.http.post(
        "/api/workloads",
        json={
            "name": name,
            "source": {"type": "image", "image": IMAGE},
            "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
            "health": {"type": "command", "command": ["true"], "interval": "100ms"},
            "stop_grace": "5s",
        },
    ).raise_for_status()
    server.run(f"/api/workloads/{name}/deploy")
    return data / "volumes" / name / "data"


def restore_by_hand(volume: Path, archive: Path, figures: Figures) -> None:
    """What a careful person types: docker stop, rm, tar -x, sync, docker start."""
    container = asyncio.run(container_of())
    docker = ["docker", "--host", DOCKER]
    steps: Mapping[str, Callable[[], object]] = {
        "stop": lambda: subprocess.run([*docker, "stop", container], check=True, capture_output=True),
        "remove": lambda: subprocess.run(["find", volume, "-mindepth", "1", "-delete"], check=True),
        "unpack": lambda: unpack(archive, volume),
        "start": lambda: subprocess.run([*docker, "start", container], check=True, capture_output=True),
    }
    total = 0.0
    for name, step in steps.items():
        began = time.monotonic()
        step()
        figures[name].append(time.monotonic() - began)
        total += figures[name][-1]
    figures["downtime"].append(total)


def pack(volume: Path, archive: Path) -> None:
    """Make an archive of a volume in use: that a file changed while tar read it (exit status 1) is no failure."""
    done = subprocess.run(["tar", "-C", volume, "--zstd", "-cf", archive, "."], check=False, capture_output=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"tar failed: {done.stderr.decode(errors='replace')}")


def unpack(archive: Path, volume: Path) -> None:
    """Unpack in place, and have it on the disk."""
    subprocess.run(["tar", "-C", volume, "--zstd", "-xf", archive], check=True)
    subprocess.run(["sync", "-f", volume], check=True)


def capture(server: Server) -> tuple[str, list[float]]:
    """Take a snapshot. Gives its id, and how many milliseconds the API took to answer, again and again, meanwhile."""
    operation = server.http.post("/api/workloads/bench/snapshots", json={}).raise_for_status().json()
    latencies = []
    while operation["state"] in ("queued", "running"):
        began = time.monotonic()
        operation = server.http.get(f"/api/operations/{operation['id']}").json()
        latencies.append((time.monotonic() - began) * 1000)
    if operation["state"] != "succeeded":
        raise RuntimeError(f"the snapshot {operation['state']}: {operation['error']}")
    return str(operation["outcome"]["snapshot_id"]), latencies


async def container_of() -> str:
    """The one container of the workload that is measured."""
    runtime = DockerRuntime(DOCKER)
    try:
        found = await runtime.containers()
        return next(c.id for c in found if c.running and "bench" in c.name and LABEL_WORKLOAD in c.labels)
    finally:
        await runtime.close()


def clean(directory: Path) -> None:
    """Remove the containers and networks of the servers whose data is below ``directory``."""
    asyncio.run(_clean([known.read_text().strip() for known in directory.rglob("installation")]))


async def _clean(installations: Sequence[str]) -> None:
    runtime = DockerRuntime(DOCKER)
    try:
        for installation in installations:
            for container in await runtime.containers({LABEL_INSTALLATION: installation}):
                await runtime.remove(container.id, force=True)
            for project in ("bench", "rest"):
                await runtime.remove_network(f"holdfast-{installation[-6:]}-{project}")
    finally:
        await runtime.close()


def machine(work: Path) -> dict[str, str]:
    """What it was measured on."""
    engine = ["docker", "--host", DOCKER, "version", "--format", "{{.Server.Version}}"]
    return {
        **measuring.machine(work),
        "engine": measuring.said(engine),
        "cache": "warm: what is restored was read or written just before; bytecode compiled",
    }


def report_start(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """The table of the start."""
    return table(["server", ""], [[name, told(values)] for name, values in figures.items()])


def report_downtime(figures: Mapping[str, Any]) -> list[str]:
    """The tables of the downtime."""
    sizes = list(figures)
    lines = []
    for who in ("holdfast", "by hand"):
        rows = [[part, *(told(figures[size][who][part]) for size in sizes)] for part in figures[sizes[0]][who]]
        lines += table([f"restore, {who}, seconds", *sizes], rows)
    api = [figures[size]["API while capturing"]["milliseconds"] for size in sizes]
    rows = [
        ["median", *(f"{quantile(values, 0.5):.1f}" for values in api)],
        ["99th percentile", *(f"{quantile(values, 0.99):.1f}" for values in api)],
        ["requests, one after the other", *(str(len(values)) for values in api)],
    ]
    return lines + table(["API while all of it is captured, milliseconds", *sizes], rows)


def targets_of_start(figures: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Rows: what, at most, measured."""
    return [
        [name, f"{most:g} {unit}", judged(statistics.median(figures[name]), most)]
        for name, most, unit in ((READY, 2.0, "s"), (AT_REST, 110.0, "MiB"), (NEW, 110.0, "MiB"))
    ]


def targets_of_downtime(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, at most, measured. Alike means within a quarter of the slowest run with the least data."""
    rows = []
    least, *others = ((name, measured["holdfast"]["downtime"]) for name, measured in figures.items())
    most = 1.25 * max(least[1])
    for name, seconds in others:
        middle = judged(statistics.median(seconds), most)
        rows.append([f"downtime, {name}, seconds", f"{most:.2f}: a quarter more than any with {least[0]}", middle])
    for name, measured in figures.items():
        slowest = quantile(measured["API while capturing"]["milliseconds"], 0.99)
        rows.append([f"API while capturing, p99, {name}", f"{MAX_API_MS:g} ms", judged(slowest, MAX_API_MS)])
    return rows
