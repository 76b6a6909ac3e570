"""Looking at everything after a round: the API, the engine, the disks, the processes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import Container
from holdfast.testing.trees import wrappers_below
from torture.disks import mounts_below
from torture.judge import Data, Found, Kept, Side, Told
from torture.machine import Stuck, came_true, until
from torture.trees import Observer, live_data
from torture.world import WORKLOAD, World

_SETTLES: Final = 60.0
"""Seconds that what goes on in the background (reaping, reconciliation) may take to come to rest."""


class Findings:
    """What is found in a world after a round, and what of it has to be there from then on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._machine = world.machine
        self._known: frozenset[str] = frozenset()
        self._earlier: frozenset[str] = frozenset()

    def begin(self) -> None:
        """Note which snapshots and operations there are before a round's operation."""
        self._known = frozenset(snapshot["id"] for snapshot in self._snapshots())
        self._earlier = frozenset(operation["id"] for operation in self._operations())

    def wait_for_operations(self) -> None:
        """Wait until all operations have ended, those that recovery or reconciliation started included.

        An operation that says so gets the engine restarted, once, as a person would do it.
        """
        restarted = False

        def over() -> bool:
            nonlocal restarted
            waiting = [each for each in self._operations() if each["state"] in ("queued", "running")]
            if not restarted and any("Restart the engine" in each["waiting_for"] for each in waiting):
                self._machine.engine.stop()
                self._machine.start_engine()
                restarted = True
            return not waiting

        until(over, lambda: f"the operations to end: {self._operations()[0]}")

    def look(self, observer: Observer, *, told: Side, target: Data | None, in_parts: bool) -> Found:
        """Wait until all has come to rest, and look at it.

        Args:
            in_parts: whether only the fixed parts of ``target`` were to be restored, and all else stays as it is.
        """
        came_true(lambda: not self._left() and self._condition() == "running" and self._machine.ready(), _SETTLES)
        self.wait_for_operations()
        containers = self._containers()
        condition, left = self._condition(), self._left()
        if condition == "running" and not self._writes():
            condition = "not writing"
        with self._held(containers):
            before, live = observer.data(), live_data(self._world.volumes, self._world.fixed)
        if target is not None and in_parts:
            first, second = (replace(tree, log=old.log) for tree, old in zip(target, before, strict=True))
            target = (first, second)
        snapshots = self._snapshots()
        there = {snapshot["id"] for snapshot in snapshots}
        return Found(
            live=live,
            before=before,
            seen=observer.seen,
            target=target,
            told=told,
            operations=[
                Told(kind=each["kind"], state=each["state"], code=(each["error"] or {}).get("code", ""))
                for each in self._operations()
                if each["id"] not in self._earlier
            ],
            snapshots=[kept for snapshot in snapshots if (kept := self._kept(snapshot)) is not None],
            containers=[(str(container.state), str(container.restart)) for container in containers],
            waiting=self._machine.http.get("/readyz").json().get("waiting_for", ()),
            condition=condition,
            left=left,
            missing=[name for name in self._world.kept if name not in there],
        )

    def _writes(self) -> bool:
        """Whether whatever held the workload has let it go: it writes."""
        logs = [volume / "log" for volume in self._world.volumes]
        sizes = [log.stat().st_size for log in logs]
        return came_true(
            lambda: all(log.stat().st_size > size for log, size in zip(logs, sizes, strict=True)), _SETTLES
        )

    def remember(self, found: Found) -> None:
        """From now on the safety snapshots that were found have to be there."""
        self._world.kept |= {each.id: each.data for each in found.snapshots if each.safety and each.data is not None}

    def note_safety(self) -> None:
        """From now on the safety snapshots that are new have to be there."""
        for snapshot in self._snapshots():
            if snapshot["id"] not in self._known and snapshot["safety_for"] is not None:
                self._world.kept[snapshot["id"]] = self._world.content(snapshot["id"])

    def release_all_but(self, wanted: str | None) -> None:
        """Unpin the safety snapshots but one, as a person would who needs no way further back any more."""
        for snapshot in self._snapshots():
            if snapshot["safety_for"] is not None and snapshot["pinned"] and snapshot["id"] != wanted:
                self._machine.send("PATCH", f"{WORKLOAD}/snapshots/{snapshot['id']}", json={"pinned": False})
                self._world.kept.pop(snapshot["id"], None)

    def verify_all(self) -> list[str]:
        """Read the whole repository back. Returns what is wrong."""
        operation = self._machine.ended(self._machine.begin("/api/repository/verify"))
        return [] if operation["state"] == "succeeded" else [f"the repository is damaged: {operation['error']}"]

    def _kept(self, snapshot: dict[str, Any]) -> Kept | None:
        """What has to be known of a snapshot: all of a new one, of an earlier one whether it is pinned."""
        snapshot_id, safety = snapshot["id"], snapshot["safety_for"] is not None
        must = snapshot_id in self._world.kept
        if snapshot_id in self._known:
            return Kept(id=snapshot_id, pinned=snapshot["pinned"], must_be_pinned=must, whole=True)
        verified = self._machine.ended(self._machine.begin(f"{WORKLOAD}/snapshots/{snapshot_id}/verify"))
        try:
            data = self._world.content(snapshot_id)
        except Stuck:
            data = None
        whole = verified["state"] == "succeeded" and data is not None
        pinned = snapshot["pinned"]
        return Kept(id=snapshot_id, pinned=pinned, must_be_pinned=safety, whole=whole, safety=safety, data=data)

    def _left(self) -> list[str]:
        """What must not be there when all is done."""
        settings, world = self._world.settings, self._world
        places = [settings.volumes_base, *settings.allowed_roots]
        files = [file for place in (settings.journal_dir, settings.holds_dir) for file in _names(place)]
        ours = [*places, settings.data_dir]
        mounts = [point for place in ours for point in mounts_below(place) if Path(point) not in world.disk_paths]
        return [
            *map(str, files + wrappers_below(*places)),
            *(f"a mount at {point}" for point in mounts),
            *(f"the worker process {pid}" for pid in self._machine.workers()),
        ]

    def _condition(self) -> str:
        status = self._machine.ask(f"{WORKLOAD}/status")
        words = [status["condition"], *(difference["message"] for difference in status["differences"])]
        return "; ".join([*words, *([f"busy: {status['busy']}"] if status["busy"] else [])])

    def _containers(self) -> list[Container]:
        async def look() -> list[Container]:
            runtime = DockerRuntime(self._machine.engine.host)
            try:
                return list(await runtime.containers())
            finally:
                await runtime.close()

        return asyncio.run(look())

    @contextmanager
    def _held(self, containers: list[Container]) -> Iterator[None]:
        """Freeze what runs, so that what it writes can be compared to the last record."""
        running = [container.id for container in containers if str(container.state) == "running"]
        self._docker("pause", running)
        try:
            yield
        finally:
            self._docker("unpause", running)

    def _docker(self, command: str, ids: list[str]) -> None:
        if ids:
            done = subprocess.run(
                ["docker", "--host", self._machine.engine.host, command, *ids],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise Stuck(f"docker {command}: {done.stderr.strip()}")

    def _snapshots(self) -> list[dict[str, Any]]:
        return list(self._machine.ask(f"{WORKLOAD}/snapshots", limit="200")["items"])

    def _operations(self) -> list[dict[str, Any]]:
        return list(self._machine.ask("/api/operations", limit="50")["items"])


def _names(place: Path) -> list[Path]:
    return list(place.iterdir()) if place.is_dir() else []
