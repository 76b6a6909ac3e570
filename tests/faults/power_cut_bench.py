"""Real power cuts: the image of a mounted filesystem is copied while a server works, and the copies are recovered.

One run of a server gives as many copies as there are points. Each copy is mounted at the same place and another server
is started on it, as after the power came back; the engine comes back first.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Self

from tests.faults.crash_scenarios import RunningWorkload, UnhealthyOnRestoredData
from tests.faults.power_cut_disk import PowerCutDisk

from holdfast.bootstrap import Holdfast, Seams
from holdfast.config import Settings
from holdfast.domain.restore_records import Record, TrialRecord
from holdfast.engine.journal import Journal
from holdfast.services.restore_files import RestoreFiles
from holdfast.testing.crash import CrashingFs, CrashingRuntime, QuickClock, crashing_files
from holdfast.testing.fake_records import Behaviour, Outage
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import IMAGE, Installation, succeeded
from holdfast.testing.kill_points import UNCOUNTED, KillPoints
from holdfast.testing.quick_workers import QuickWorkers

FAR_AHEAD: Final = "2999-01-01T00:00:00.000000Z"


class CutPoints(KillPoints):
    """Points at which something is done, with everything else waiting, instead of the process being killed.

    Attributes:
        reached: their names, in order.
    """

    def __init__(self, at: Callable[[str], object]) -> None:
        super().__init__(Path(os.devnull))
        self._do = at
        self._count: Counter[str] = Counter()
        self._one_at_a_time = threading.Lock()
        self.reached: list[str] = []

    def reach(self, what: str) -> None:
        """The process is at a point."""
        if not self.armed or UNCOUNTED.get():
            return
        with self._one_at_a_time:
            self._count[what] += 1
            self.reached.append(f"{what} #{self._count[what]}")
            self._do(self.reached[-1])


class CuttingFs(CrashingFs):
    """Points around each flush as well.

    Args:
        careless: which flushes are left out, by ``fsync`` or ``syncfs`` and what it is of.
    """

    def __init__(self, points: KillPoints, careless: Collection[str] = ()) -> None:
        super().__init__(points)
        self._careless = frozenset(careless)

    def fsync(self, fd: int) -> None:
        """Flush, between two points."""
        path = Path(self.path_of(fd))
        kind = "directory" if path.is_dir() else f"{path.suffix or 'plain'} file"
        what = f"fsync of a {kind}"
        self._points.reach(f"before {what}")
        if what not in self._careless:
            super().fsync(fd)
        self._points.reach(f"after {what}")

    def syncfs(self, fd: int) -> None:
        """Flush all, between two points."""
        self._points.reach("before syncfs")
        if "syncfs" not in self._careless:
            super().syncfs(fd)
        self._points.reach("after syncfs")


def _patient(files: type[RestoreFiles]) -> type[RestoreFiles]:
    """Files with trials that may take as long as it takes to recover all disks, one after the other."""

    class PatientFiles(files):  # type: ignore[misc, valid-type] # made just now
        async def append(self, to: Journal, record: Record) -> None:
            if isinstance(record, TrialRecord):
                record = replace(record, deadline=FAR_AHEAD)
            await super().append(to, record)

    return PatientFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A power cut: the disk and the engine as they were, and the points that had been passed."""

    image: Path
    engine: Path
    reached: tuple[str, ...]


@dataclass(kw_only=True)
class PowerCutBench(RunningWorkload):
    """A restore of two volumes that lie, with the data directory, on a disk whose power is cut.

    Attributes:
        careless: which flushes the server leaves out.
    """

    disk: PowerCutDisk
    careless: tuple[str, ...] = ()
    cuts: list[Cut] = field(default_factory=list)

    @classmethod
    def on(cls, kind: str, directory: Path, *, careless: tuple[str, ...] = ()) -> Self:
        disk = PowerCutDisk(kind, directory)
        engine = directory / "engine"
        engine.mkdir()
        state = directory / "engine.json"
        FakeRuntime(state_file=state).add_image(IMAGE, Behaviour())

        def runtime(_settings: Settings) -> FakeRuntime:
            return FakeRuntime(state_file=state, root_dir=str(engine))

        seams = Seams(clock=QuickClock(), workers=QuickWorkers)
        place = Installation(directory=disk.path, runtime=runtime, seams=seams)
        volumes = (place.volumes / "notes/data", place.volumes / "@home/media")
        return cls(place=place, volumes=volumes, disk=disk, careless=careless)

    @property
    def state_file(self) -> Path:
        return self.disk.image.with_name("engine.json")

    @property
    def engine_dir(self) -> Path:
        """The engine's own directory, on another disk."""
        return self.disk.image.with_name("engine")

    @property
    def servers(self) -> Installation:
        return self.place

    def run(self, wanted: Callable[[str], bool]) -> int:
        """Carry the scenario out, cutting the power at the points that are wanted. Returns how many there were."""
        points = CutPoints(lambda name: self._cut(points) if wanted(name) else None)
        fs = CuttingFs(points, self.careless)

        def runtime(_settings: Settings) -> FakeRuntime:
            return CrashingRuntime(points, state_file=self.state_file, root_dir=str(self.engine_dir))

        files = _patient(crashing_files(points))
        seams = replace(self.place.seams, fs=fs, files=files, workers=partial(QuickWorkers, fs=fs))
        cutting = replace(self.place, runtime=runtime, seams=seams)

        async def run() -> None:
            async with cutting.running() as holdfast:
                points.armed = True
                await self.act(holdfast)
                points.armed = False

        with self.disk.mounted():
            self.open()
            os.sync()
            asyncio.run(run())
        return len(points.reached)

    def _cut(self, points: CutPoints) -> None:
        name = f"cut-{len(self.cuts)}"
        cut = Cut(
            image=self.disk.image.with_name(f"{name}.img"),
            engine=self.disk.image.with_name(f"{name}.json"),
            reached=tuple(points.reached),
        )
        self.disk.copy(cut.image)
        shutil.copyfile(self.state_file, cut.engine)
        self.cuts.append(cut)

    def recover_each(self) -> None:
        """Start a server on what each power cut left, and see that all is as it must be."""
        known = frozenset(self.operations)
        while self.cuts:
            cut = self.cuts.pop(0)
            self.operations = set(known)
            self.restored = 1  # each disk is another one: none of them is a sample of all
            shutil.copyfile(cut.engine, self.state_file)
            try:
                with self.disk.mounted(cut.image):
                    self._recover(cut)
            except AssertionError as error:
                error.add_note(f"the power was cut {cut.reached[-1]}")
                raise
            finally:
                cut.image.unlink()

    def _recover(self, cut: Cut) -> None:
        crash = self.look(cut.reached)
        self.place.fake_engine().restart_engine(Outage.POWER)

        async def recover(holdfast: Holdfast) -> None:
            await self.recovered(holdfast, crash)
            assert await holdfast.database.check() == []
            listed = await holdfast.api.snapshots.list(self.workload.id, limit=100, cursor=None)
            for snapshot in listed.items:
                await succeeded(
                    holdfast, await holdfast.api.snapshots.verify(self.workload.id, snapshot.id, actor="test")
                )

        self.serve(recover)

    def _after_a_power_cut(self) -> FakeRuntime:
        copy = self.disk.image.with_name("copy.json")
        shutil.copyfile(self.state_file, copy)
        engine = FakeRuntime(state_file=copy, root_dir=str(self.engine_dir))
        engine.restart_engine(Outage.POWER)
        return engine


@dataclass(kw_only=True)
class PowerCutOnTrial(PowerCutBench, UnhealthyOnRestoredData):
    """The same, with a restore that is taken back."""

    survives: bool = False
