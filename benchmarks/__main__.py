"""Measures what the documentation states: the downtime of a restore, the start, and memory at rest.

Prints tables and saves them to build/bench/. Beside the restore stands, in the same run, what people do by hand today:
stop, remove, unpack an archive in place, start; it takes no safety copy, verifies nothing, and a crash loses data.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.server import Program, Server, serving
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD
from holdfast.testing.docker_engine import DEFAULT_HOST
from holdfast.testing.images import build_image

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
WORK = BUILD / "work"
DOCKER = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
IMAGE = "holdfast-bench/idle:1"
IDLE = "trap 'exit 0' TERM\nwhile :; do sleep 1 & wait $!; done\n"
PROGRAM = Program(bytecode=WORK / "bytecode", docker_host=DOCKER)
MB = 1_000_000
SIZES = {"10 MB": 10 * MB, "1 GB": 1000 * MB}
PARTS = ("stop", "safety", "recheck", "swap", "start", "gate")
Figures = dict[str, list[float]]


def main() -> None:
    """Measure, print, save."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--runs", type=int, default=5, help="how often each figure is measured")
    runs = options.parse_args().runs
    load = os.getloadavg()[0]
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    asyncio.run(build_image(DOCKER, IMAGE, script=IDLE))
    try:
        results: dict[str, Any] = {
            "machine": machine(),
            "runs": runs,
            "start": measure_start(runs),
            "downtime": {name: measure_downtime(name, size, runs) for name, size in SIZES.items()},
        }
    finally:
        asyncio.run(clean())
    results["machine"]["load"] = f"{load:.1f} before, {os.getloadavg()[0]:.1f} at the end (average of a minute)"
    text = report(results)
    print(text)
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (BUILD / "results.md").write_text(text + "\n")
    shutil.rmtree(WORK, ignore_errors=True)


def measure_start(runs: int) -> Figures:
    """Start to ready of a server on an existing data directory, and its memory a second later and after a restore."""
    data = WORK / "start" / "data"
    with serving(PROGRAM, data) as server:  # makes the data directory and the bytecode, and is not measured
        deploy(server, "rest", 10 * MB, data)
        snapshot = server.run("/api/workloads/rest/snapshots")["outcome"]["snapshot_id"]
    figures: Figures = {"seconds to ready": [], "resident MiB at rest": [], "resident MiB after a restore": []}
    for _ in range(runs):
        with serving(PROGRAM, data) as server:
            figures["seconds to ready"].append(server.seconds_to_ready)
            time.sleep(1)
            figures["resident MiB at rest"].append(server.resident_mib())
            server.run(f"/api/workloads/rest/snapshots/{snapshot}/restore", confirm=snapshot)
            time.sleep(1)
            figures["resident MiB after a restore"].append(server.resident_mib())
    figures["seconds of `holdfast --help`"] = [PROGRAM.help_seconds() for _ in range(runs)]
    return figures


def measure_downtime(name: str, size: int, runs: int) -> dict[str, Figures]:
    """Restores of a volume of ``size`` bytes, and the same by hand, in turn."""
    directory = WORK / name.replace(" ", "")
    ours: Figures = {part: [] for part in (*PARTS, "downtime", "whole operation")}
    by_hand: Figures = {part: [] for part in ("stop", "remove", "unpack", "start", "downtime")}
    latencies: list[float] = []
    with serving(PROGRAM, directory / "data") as server:
        volume = deploy(server, "bench", size, directory / "data")
        snapshot = server.run("/api/workloads/bench/snapshots")["outcome"]["snapshot_id"]
        archive = directory / "by-hand.tar.zst"
        subprocess.run(["tar", "-C", volume, "--zstd", "-cf", archive, "."], check=True)
        for _ in range(runs):
            began = time.monotonic()
            outcome = server.run(f"/api/workloads/bench/snapshots/{snapshot}/restore", confirm=snapshot)["outcome"]
            ours["whole operation"].append(time.monotonic() - began)
            ours["downtime"].append(outcome["downtime_seconds"])
            for part in PARTS:
                ours[part].append(outcome["seconds"].get(part, 0.0))
            restore_by_hand(volume, archive, by_hand)
        latencies = while_capturing(server)
    return {"holdfast": ours, "by hand": by_hand, "API while capturing": {"milliseconds": latencies}}


def deploy(server: Server, name: str, size: int, data: Path) -> Path:
    """A workload with one volume of files of 1 MB that do not compress. Gives the volume's path."""
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
    volume = data / "volumes" / name / "data"
    for number in range(size // MB):
        (volume / f"{number}.bin").write_bytes(os.urandom(MB))
    return volume


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


def unpack(archive: Path, volume: Path) -> None:
    """Unpack in place, and have it on the disk."""
    subprocess.run(["tar", "-C", volume, "--zstd", "-xf", archive], check=True)
    os.sync()


def while_capturing(server: Server) -> list[float]:
    """How long the API takes to answer, in milliseconds, while a snapshot is taken."""
    answer = server.http.post("/api/workloads/bench/snapshots", json={})
    operation = answer.json()
    latencies = []
    while operation["state"] in ("queued", "running"):
        began = time.monotonic()
        operation = server.http.get(f"/api/operations/{operation['id']}").json()
        latencies.append((time.monotonic() - began) * 1000)
    return latencies


async def container_of() -> str:
    """The one container of the workload that is measured."""
    runtime = DockerRuntime(DOCKER)
    try:
        found = await runtime.containers()
        return next(c.id for c in found if c.running and "bench" in c.name and LABEL_WORKLOAD in c.labels)
    finally:
        await runtime.close()


async def clean() -> None:
    """Remove the containers and networks that were made here."""
    runtime = DockerRuntime(DOCKER)
    try:
        for known in WORK.rglob("installation"):
            labels = {LABEL_INSTALLATION: known.read_text().strip()}
            for container in await runtime.containers(labels):
                await runtime.remove(container.id, force=True)
            for project in ("bench", "rest"):
                await runtime.remove_network(f"holdfast-{labels[LABEL_INSTALLATION][-6:]}-{project}")
    finally:
        await runtime.close()


def machine() -> dict[str, str]:
    """What it was measured on."""
    engine = subprocess.run(
        ["docker", "--host", DOCKER, "version", "--format", "{{.Server.Version}}"],
        check=True,
        capture_output=True,
        text=True,
    )
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", WORK], check=True, capture_output=True, text=True)
    return {
        "kernel": platform.release(),
        "processor": f"{os.cpu_count()} x {fact('/proc/cpuinfo', 'model name')}",
        "memory": fact("/proc/meminfo", "MemTotal"),
        "engine": engine.stdout.strip(),
        "filesystem": filesystem.stdout.strip(),
        "python": platform.python_version(),
        "cache": "warm: what is restored was read or written just before; bytecode compiled",
    }


def fact(file: str, name: str) -> str:
    """The value of a line ``name: value``."""
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")


def report(results: dict[str, Any]) -> str:
    """The figures as a text for people: median, and least to most in brackets."""
    lines = ["Measured by `make bench`, each figure the median of its runs (least to most)."]
    lines += ["", *(f"- {name}: {value}" for name, value in results["machine"].items()), ""]
    lines += ["| server | |", "|---|---|"]
    lines += [f"| {name} | {told(values)} |" for name, values in results["start"].items()]
    sizes = list(results["downtime"])
    for who in ("holdfast", "by hand"):
        lines += ["", f"| restore, {who}, seconds | " + " | ".join(sizes) + " |", "|---|" + "---|" * len(sizes)]
        for part in results["downtime"][sizes[0]][who]:
            lines.append(f"| {part} | " + " | ".join(told(results["downtime"][s][who][part]) for s in sizes) + " |")
    lines += ["", "| API while a snapshot is taken, milliseconds | " + " | ".join(sizes) + " |"]
    lines += ["|---|" + "---|" * len(sizes)]
    for name, share in (("median", 0.5), ("99th percentile", 0.99)):
        values = [results["downtime"][s]["API while capturing"]["milliseconds"] for s in sizes]
        lines.append(f"| {name} | " + " | ".join(f"{quantile(v, share):.1f}" for v in values) + " |")
    counts = (len(results["downtime"][size]["API while capturing"]["milliseconds"]) for size in sizes)
    lines.append("| requests, one after the other | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def told(values: Sequence[float]) -> str:
    """Median and range."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    main()
