"""Servers one after the other for the stateful model: what it does is done to them, disturbed, and looked at.

They are real servers with a real database, repository, journals and directories, workers that are threads, and an
engine that outlives them. A server that is to be killed runs in a forked process, which kills itself at a point.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.faults.crash_bench import watched
from tests.faults.stateful_faults import FullDisk, NthPoint
from tests.faults.stateful_model import CRASHING, VERSIONS, VOLUMES, Instance, Tree

from holdfast.bootstrap import Holdfast, Seams
from holdfast.bootstrap.data_directory import store_settings_of
from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import Operation
from holdfast.domain.snapshot import FolderFormat, Snapshot
from holdfast.domain.workload import DesiredState, Workload
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.stores import open_stores
from holdfast.services.restore_registry import Decision
from holdfast.testing.crash import QuickClock, crashing, in_child
from holdfast.testing.fake_records import Behaviour, FakeContainer, Outage
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation, installation
from holdfast.testing.kill_points import KillPoints
from holdfast.testing.quick_workers import QuickWorkers

Act = Callable[[Holdfast], Awaitable[Operation | None]]
Wrap = Callable[[Installation], Installation]
ACTOR: Final = "model"
GOOD: Final[dict[str, str | None]] = {"/data/good": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of something that was asked for.

    Attributes:
        operation: as it ended; ``None`` if there is none.
        refused: why it was refused, by the code of its error.
        cut: whether it was disturbed.
        restarted: another server runs since, which has compared what is there with what was deployed.
    """

    operation: Operation | None
    refused: str = ""
    cut: bool = False
    restarted: bool = False

    @property
    def result(self) -> str:
        """What it says that came of it: its result, or the code of its error."""
        if self.operation is None:
            return self.refused
        result, error = self.operation.outcome.get("result"), self.operation.error or {}
        return str(result or error.get("code") or self.operation.state.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is there: the trees by place, what should run and what runs by workload, and the snapshots by id."""

    trees: Mapping[str, Tree]
    wanted: Mapping[str, bool]
    running: Mapping[str, tuple[Instance, ...]]
    policies: Mapping[str, frozenset[str]]
    snapshots: Mapping[str, Snapshot]
    leftovers: tuple[str, ...]


NEVER: Final = 3600.0
"""Seconds: what is removed by hand stays so until a restart, for as long as the model needs."""


class Servers:
    """The server that runs now.

    Attributes:
        kills: how many servers were killed.
        refused: how many calls were refused for want of space.
    """

    def __init__(self, directory: Path) -> None:
        self.kills = 0
        self._disk = FullDisk()
        self._wrap: Wrap = lambda place: place
        own = installation(directory)
        seams = Seams(
            fs=self._disk, clock=QuickClock(), workers=partial(QuickWorkers, fs=self._disk), removal_pause=NEVER
        )
        self.place = replace(own, seams=seams, drain_deadline=0.5)
        engine = self.place.fake_engine()
        behaviours = {image: Behaviour(writes={"/data/version": image}, requires=GOOD) for image in VERSIONS}
        behaviours[CRASHING] = Behaviour(exit_code=3)
        self._images = {engine.add_image(image, behaviour).id: image for image, behaviour in behaviours.items()}
        self._open: AsyncExitStack | None = None
        self.start()

    @property
    def refused(self) -> int:
        return self._disk.refused

    # --- from server to server -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a server, and wait until it has done all that it found to do."""
        self._runner = asyncio.Runner()

        async def start() -> Holdfast:
            self._open = AsyncExitStack()
            holdfast = await self._open.enter_async_context(self._wrap(self.place).running())
            await settled(holdfast)
            return holdfast

        self.holdfast = self._runner.run(start())

    def stop(self) -> None:
        """Stop it in order."""
        if self._open is not None:
            self._runner.run(self._open.aclose())
            self._open = None
            self._runner.close()

    def replace_product(self, wrap: Wrap) -> None:
        """From now on servers with this stand-in."""
        self._wrap = wrap
        self.restart()

    def restart(self, outage: Outage | None = None) -> None:
        """Another server; the engine may have been away meanwhile."""
        self.stop()
        if outage is not None:
            engine = self.place.fake_engine()
            engine.restart_engine(outage)
            engine.engine.save()
        self.start()

    # --- what is done to it --------------------------------------------------------------------------------------

    def do(self, act: Act) -> Done:
        """Have the server do something, and wait for its end."""

        async def do() -> Done:
            try:
                operation = await act(self.holdfast)
            except HoldfastError as error:
                return Done(operation=None, refused=error.code)
            end = None if operation is None else await self.holdfast.operations.wait(operation.id)
            await settled(self.holdfast)
            return Done(operation=end)

        return self._runner.run(do())

    def do_on_full_disk(self, act: Act, number: int) -> Done:
        """The same, while the disk refuses one call."""
        before = self._disk.refused
        self._disk.left = number
        done = self.do(act)
        self._disk.left = 0
        return replace(done, cut=self._disk.refused > before)

    def decided(self, done: Done) -> Done:
        """What became of a restore that waits for a person: the next server finishes it, or somebody takes it back."""
        assert done.operation is not None
        operation_id, workload_id = done.operation.id, str(done.operation.workload_id)
        self.restart()

        async def decide() -> Operation:
            restores = self.holdfast.api.restores
            waiting = await restores.undecided(workload_id)
            if waiting is None:
                return await self.holdfast.operations.get(operation_id)
            begun = await restores.decide(workload_id, Decision.REVERT, confirm=waiting.restore_id, actor=ACTOR)
            return await self.holdfast.operations.wait(begun.id)

        return replace(done, operation=self._runner.run(decide()), restarted=True)

    def do_without_engine(self, act: Act) -> Done:
        """The same, while no engine answers."""
        engine = self.holdfast.runtime
        assert isinstance(engine, FakeRuntime)
        engine.fail()
        done = self.do(act)
        engine.heal()
        return done

    def do_and_kill(self, act: Act, number: int, again: int | None) -> Done:
        """Have another server do something, kill it at a point, and its successor too while it recovers; start anew.

        Args:
            again: the point of the successor; ``None``: it is not killed.
        """
        known = {operation.id for operation in self._runner.run(_operations(self.holdfast))}
        self.stop()

        async def acting(points: KillPoints) -> None:
            async with self._wrap(crashing(self._on(points), points)).running() as holdfast:
                await settled(holdfast)
                points.armed = True
                try:
                    operation = await act(holdfast)
                    if operation is not None:
                        await holdfast.operations.wait(operation.id)
                    await settled(holdfast)
                except HoldfastError:
                    pass
                points.armed = False

        async def recovering(points: KillPoints) -> None:
            points.armed = True
            async with self._wrap(crashing(self._on(points), points)).running() as holdfast:
                await settled(holdfast)
                points.armed = False

        cut = self._in_child(acting, number)
        if cut and again is not None:
            self._in_child(recovering, again)
        self.start()
        found = [o for o in self._runner.run(_operations(self.holdfast)) if o.id not in known and o.actor == ACTOR]
        assert len(found) <= 1, found
        return Done(operation=found[0] if found else None, cut=cut, restarted=True)

    def _in_child(self, scenario: Callable[[KillPoints], Any], number: int) -> bool:
        points = self.place.directory / "nth"
        end = in_child(self.place.directory, None, lambda _: scenario(NthPoint(points, number)))
        assert not end.trouble, end.trouble
        self.kills += end.killed
        return end.killed

    def _on(self, points: KillPoints) -> Installation:
        """The installation, for a server whose workers pass the same points."""
        fs = crashing(self.place, points).seams.fs
        return replace(self.place, seams=replace(self.place.seams, workers=partial(QuickWorkers, fs=fs)))

    # --- by hand -------------------------------------------------------------------------------------------------

    def volume(self, where: str) -> Path:
        """A volume's directory."""
        return self.place.volumes / where

    def containers(self, name: str) -> list[FakeContainer]:
        """A workload's containers, by its name."""
        assert isinstance(self.holdfast.runtime, FakeRuntime)
        everything = self.holdfast.runtime.engine.state.containers.values()
        return [c for c in everything if c.spec.name.rpartition("-")[0] == name]

    def by_hand(self, name: str, *, remove: bool) -> None:
        """``docker rm -f`` or ``docker stop`` of all that a workload has."""
        assert isinstance(self.holdfast.runtime, FakeRuntime)
        engine = self.holdfast.runtime.engine
        for container in self.containers(name):
            if remove:
                engine.remove(container, force=True)
            else:
                engine.stop(container, 1.0)
        engine.save()

    # --- looking -------------------------------------------------------------------------------------------------

    def look(self) -> Seen:
        """What is there now."""
        places = {place for volumes in VOLUMES.values() for place in volumes.values()}
        there = {name: self.containers(name) for name in VOLUMES}
        return Seen(
            trees={where: read_tree(self.volume(where)) for where in places},
            wanted=self._runner.run(_wanted(self.holdfast)),
            running={n: tuple(self._instance(c) for c in found if c.alive) for n, found in there.items()},
            policies={n: frozenset(c.restart.value for c in found) for n, found in there.items()},
            snapshots={snapshot.id: snapshot for snapshot in self._runner.run(_snapshots(self.holdfast))},
            leftovers=tuple(self.place.leftovers()),
        )

    def _instance(self, container: FakeContainer) -> Instance:
        assert isinstance(self.holdfast.runtime, FakeRuntime)
        image = self.holdfast.runtime.engine.public(container).image_id
        return Instance(image=self._images[image], policy=container.restart.value)

    def content(self, snapshot: Snapshot) -> dict[str, Tree]:
        """All that a snapshot holds, read from the repository on disk and by nobody's cache."""
        settings = self.place.settings
        stores = open_stores(
            Fs(),
            LiveRoots(Fs(), [str(settings.volumes_base)]),
            store_settings_of(settings, settings.installation_file.read_text().strip()),
        )
        try:
            store, found = stores.browsable(snapshot.id), {}
            for volume in snapshot.manifest.volumes:
                buffer = io.BytesIO()
                store.send_folder(snapshot.id, volume.index, b"", FolderFormat.TAR, buffer.write, QuietJob())
                found[volume.target] = _unpacked(buffer.getvalue())
            return found
        finally:
            stores.close()

    def workload(self, name: str) -> Workload:
        """A workload as Holdfast has it."""
        return self._runner.run(self.holdfast.api.workloads.get(name))


async def settled(holdfast: Holdfast) -> None:
    """Wait until a server has done all that it found to do: at its start, and after an operation."""
    await watched(holdfast)
    for operation in await _operations(holdfast):
        await holdfast.operations.wait(operation.id)
    await holdfast.reaper.idle()


async def _operations(holdfast: Holdfast) -> tuple[Operation, ...]:
    return tuple((await holdfast.operations.list(limit=20)).items)


async def _wanted(holdfast: Holdfast) -> dict[str, bool]:
    found = (await holdfast.api.workloads.list(20, None)).items
    return {workload.name: workload.desired is DesiredState.RUNNING for workload in found}


async def _snapshots(holdfast: Holdfast) -> tuple[Snapshot, ...]:
    return tuple((await holdfast.api.snapshots.list_all(of=None, limit=200, cursor=None)).items)


def read_tree(path: Path) -> Tree:
    """What a directory holds; one that is not there holds nothing."""
    return frozenset((entry.name, entry.read_text()) for entry in path.iterdir()) if path.is_dir() else frozenset()


def _unpacked(archive: bytes) -> Tree:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [member for member in tar if member.isfile()]
        return frozenset((Path(m.name).name, (tar.extractfile(m) or io.BytesIO()).read().decode()) for m in files)
