"""Where rounds take place: filesystems, an engine, a server, and the workload that never stops writing."""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from holdfast.config import Settings
from holdfast.testing.docker_engine import DockerEngine
from holdfast.testing.images import build_image
from torture import writer
from torture.disks import Disk
from torture.judge import Data
from torture.machine import Machine, end_cut_off_starts, until
from torture.plan import ITSELF
from torture.trees import FixedParts, archived_data

WORKLOAD: Final = f"/api/workloads/{writer.NAME}"


class World:
    """One layout: nothing but a place until :meth:`open`, and nothing again after :meth:`close`, whatever happened.

    Args:
        place: a directory that is not there yet; short, for there are sockets below it.

    Attributes:
        volumes: the live directories of both volumes.
        good, poisoned: the pinned snapshots that rounds restore; on the second one the workload fails.
        kept: all snapshots that have to be there, with what they hold.
        image: what was deployed last, as an index of the images.
    """

    def __init__(self, place: Path, layout: tuple[str, ...], seed: int) -> None:
        self.place = place
        self._disks: list[Disk] = []
        self._layout = layout
        place.mkdir(parents=True)
        (place / "logs").mkdir()
        first, second = place / "disk0", place / "disk1"
        self._mounts = [first]
        media = {"scope": "stage", "source": "media"}
        if layout[1:]:
            itself = layout[1].endswith(ITSELF)
            self._mounts.append(second / "media" if itself else second)
            media = {"scope": "absolute", "source": str(second / "media")}
        self._media = media
        self.settings = Settings(
            data_dir=first / "holdfast",
            docker_host=DockerEngine(place / "engine", network=False).host,
            allowed_roots=(second,) if layout[1:] else (),
            steady_seconds=0.3,
            disk_reserve_bytes=0,
            disk_reserve_inodes=0,
            drain_deadline=60.0,
        )
        own = self.settings.volumes_base / writer.NAME
        self.volumes = [own / "data", second / "media" if layout[1:] else own / "media"]
        self.machine = Machine(self.settings, DockerEngine(place / "engine", network=False), place / "logs")
        self.draw = random.Random(f"{seed}/{layout}")
        self.fixed = FixedParts(self.volumes, self.draw)
        self.good = ""
        self.poisoned = ""
        self.kept: dict[str, Data] = {}
        self.image = 0

    @property
    def disk_paths(self) -> tuple[Path, ...]:
        """Where the filesystems are mounted."""
        return tuple(disk.path for disk in self._disks)

    def open(self) -> None:
        """Make everything, deploy the workload, and take the two snapshots that are restored later. Once only."""
        if self._disks:
            return
        for number, (kind, path) in enumerate(zip(self._layout, self._mounts, strict=True)):
            self._disks.append(Disk(kind.removesuffix(ITSELF), self.place / f"disk{number}.img", path))
        machine = self.machine
        machine.engine.start()
        for reference in writer.IMAGES:
            asyncio.run(build_image(machine.engine.host, reference, script=f"# {reference}\n{writer.SCRIPT}"))
        machine.bring_up()
        declared = writer.declaration(writer.IMAGES[self.image], self._media)
        machine.send("POST", "/api/workloads", json=declared)
        machine.succeeded(machine.begin(f"{WORKLOAD}/deploy"))
        until(lambda: all((volume / "slots/0").exists() for volume in self.volumes), lambda: "the workload to write")
        self.fixed.make()
        self.good = self.snapshot(pinned=True)
        self.fixed.change(poisoned=True)
        self.poisoned = self.snapshot(pinned=True)
        self.fixed.change()

    def snapshot(self, *, pinned: bool = False) -> str:
        """Take a snapshot that nobody disturbs. Returns its id."""
        taken = str(self.machine.succeeded(self.machine.begin(f"{WORKLOAD}/snapshots"))["snapshot_id"])
        if pinned:
            self.machine.send("PATCH", f"{WORKLOAD}/snapshots/{taken}", json={"pinned": True})
            self.kept[taken] = self.content(taken)
        return taken

    def content(self, snapshot: str) -> Data:
        """What a snapshot holds."""
        return archived_data(self.machine.send("GET", f"{WORKLOAD}/snapshots/{snapshot}/archive").content, self.fixed)

    def close(self) -> None:
        """End everything and remove it."""
        self.put_down()
        shutil.rmtree(self.place)

    def put_down(self) -> None:
        """End everything; what the disks and logs hold stays."""
        engine_log = self.place / "engine" / "dockerd.log"
        with suppress(FileNotFoundError):
            shutil.copy(engine_log, self.place / "logs" / "dockerd.log")
        try:
            self.machine.close()
            end_cut_off_starts(self.disk_paths)
        finally:
            for disk in self._disks:
                disk.close()
