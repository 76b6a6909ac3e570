"""What is going on when the server is killed: one bench for each story."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from tests.faults.crash_bench import Bench, side_of, small_tree, watched
from tests.faults.crash_checks import Crash, check_hooks_undone
from tests.unit.engine.part_bench import expected

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.errors import Failed
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.workload import DesiredState, Hooks, Quiesce, RestartPolicy, Scope, SnapshotPolicy, Volume
from holdfast.runtime.port import ContainerState
from holdfast.testing.crash import QuickClock
from holdfast.testing.fake_records import Behaviour, Command, FakeContainer
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import (
    HOOKS,
    WILLING,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.trees import TreeDescription, describe_tree


@dataclass(kw_only=True)
class RunningWorkload(Bench):
    """Two volumes of a running workload that is healthy on the restored data."""

    @classmethod
    def at(cls, directory: Path, *, power_cut: bool = False) -> Self:
        place = replace(installation(directory), seams=Seams(clock=QuickClock()))
        volumes = (place.volumes / "notes/data", place.volumes / "@home/media")
        return cls(place=place, volumes=volumes, power_cut=power_cut)


@dataclass(kw_only=True)
class StoppedWorkload(RunningWorkload):
    """A workload that a person stopped stays stopped."""

    async def begin(self, holdfast: Holdfast) -> None:
        await super().begin(holdfast)
        await succeeded(holdfast, await holdfast.api.deployer.stop(self.workload.id, actor="test"))
        self.desired = DesiredState.STOPPED


@dataclass(kw_only=True)
class WorkedOn(RunningWorkload):
    """A hook of the workload's own works on the restored data, once, in the instance that runs on it in the end."""

    async def begin(self, holdfast: Holdfast) -> None:
        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime.add_image("notes:1", Behaviour(commands={"reindex": Command()}))
        hooks = Hooks(post_restore=("reindex",))
        self.workloads = (await deployed(holdfast, replace(spec_of(), hooks=hooks)),)
        await self.fill(holdfast)

    async def recovered(self, holdfast: Holdfast, crash: Crash) -> str:
        side = await super().recovered(holdfast, crash)
        (container,) = [each for each in self.containers(self.fake(holdfast)) if each.alive]
        if side == "new":
            assert container.ran == ["reindex"]
        assert container.running == {}
        return side


@dataclass(kw_only=True)
class UnhealthyOnRestoredData(RunningWorkload):
    """The version that runs needs a schema which only the data from before the restore has."""

    survives: bool = False

    async def begin(self, holdfast: Holdfast) -> None:
        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime.add_image("notes:2", Behaviour(requires={"/data/schema": "2"}))
        await super().begin(holdfast)
        (self.volumes[0] / "schema").write_text("2")
        await succeeded(holdfast, await holdfast.api.deployer.deploy(self.workload.id, image="notes:2", actor="test"))


@dataclass(kw_only=True)
class SharedVolume(RunningWorkload):
    """Another workload of the project shares one of the volumes."""

    async def begin(self, holdfast: Holdfast) -> None:
        await super().begin(holdfast)
        shared = Volume(target="/shelf", scope=Scope.PROJECT, source="media")
        self.workloads = (*self.workloads, await deployed(holdfast, spec_of("shelf", volumes=(shared,))))


@dataclass(kw_only=True)
class Undone(RunningWorkload):
    """A restore is undone, and what was undone is done again."""

    kind: OperationKind = OperationKind.UNDO

    async def begin(self, holdfast: Holdfast) -> None:
        await super().begin(holdfast)
        restored = self.new
        await super().wear(holdfast, "old")
        self.new, self.old = self.old, restored
        await succeeded(holdfast, await restore(holdfast, self.workload, self.snapshot_id))
        await holdfast.reaper.idle()

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        if side == "new":
            self.old, self.new = self.new, self.old

    async def act(self, holdfast: Holdfast) -> None:
        target = await holdfast.api.restores.undo_target(self.workload.id)
        assert target is not None
        undo = await holdfast.api.restores.undo(self.workload.id, confirm=target.id, dry_run=False, actor="test")
        await ended(holdfast, undo)
        await holdfast.reaper.idle()


@dataclass(kw_only=True)
class RolledBack(RunningWorkload):
    """A rollback with data: version, configuration and data end on the same side."""

    kind: OperationKind = OperationKind.ROLLBACK

    async def begin(self, holdfast: Holdfast) -> None:
        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime.add_image("notes:2")
        self.workloads = (await deployed(holdfast, replace(spec_of(), snapshots=SnapshotPolicy())),)
        await self.fill(holdfast)
        await self._leave(holdfast)

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        if side == "new":
            await self._leave(holdfast)
        await super().wear(holdfast, side)

    async def act(self, holdfast: Holdfast) -> None:
        found = await holdfast.api.data_rollbacks.plan(self.workload.id, None)
        rollback = await holdfast.api.data_rollbacks.rollback(
            self.workload.id, found.plan.rollback.to.id, confirm=found.snapshot.id, dry_run=False, actor="test"
        )
        await ended(holdfast, rollback)
        await holdfast.reaper.idle()

    async def recovered(self, holdfast: Holdfast, crash: Crash) -> str:
        side = await super().recovered(holdfast, crash)
        image = {"old": "notes:2", "new": "notes:1"}[side]
        assert (await holdfast.api.workloads.get(self.workload.id)).spec.image == image
        (container,) = self.containers(self.fake(holdfast))
        assert image in self.fake(holdfast).engine.state.images[container.spec.image].tags
        return side

    async def _leave(self, holdfast: Holdfast) -> None:
        """Deploy the version that is returned from, after a snapshot of the data as it is."""
        deploy = await holdfast.api.deployer.deploy(self.workload.id, image="notes:2", actor="test")
        self.operations.add((await succeeded(holdfast, deploy)).id)


@dataclass(kw_only=True)
class ChosenPaths(RunningWorkload):
    """Of one volume a folder and a file are restored; all else in it stays as it is, and so does the other volume."""

    taken: TreeDescription = field(default_factory=dict)
    paths: tuple[bytes, ...] = (b"/data/library", b"/data/random")

    async def fill(self, holdfast: Holdfast) -> None:
        await super().fill(holdfast)
        self.taken = describe_tree(self.volumes[0])

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        data, other = self.volumes
        (data / "library/notes").unlink(missing_ok=True)
        (data / "random").write_text(f"{next(self.numbers)}")
        await super().wear(holdfast, side)
        self.old = (_untimed(describe_tree(data)), describe_tree(other))
        chosen = [path.removeprefix(b"/data/") for path in self.paths]
        self.new = (_untimed(expected(self.taken, describe_tree(data), chosen)), describe_tree(other))

    async def act(self, holdfast: Holdfast) -> None:
        await ended(holdfast, await restore(holdfast, self.workload, self.snapshot_id, paths=self.paths))
        await holdfast.reaper.idle()

    def sides(self) -> tuple[str, ...]:
        now = _untimed(describe_tree(self.volumes[0]))
        side = "old" if now == self.old[0] else "new" if now == self.new[0] else "neither"
        return (side, side if describe_tree(self.volumes[1]) == self.old[1] else "neither")


def _untimed(tree: TreeDescription) -> TreeDescription:
    """A description without the modification time of the root, in which chosen paths lie."""
    kind, mode, uid, gid, _, *more = tree[b""]
    return {**tree, b"": (kind, mode, uid, gid, *more)}


@dataclass(kw_only=True)
class MissingDirectory(RunningWorkload):
    """The directory of one volume, and what is above it, are gone and are made; the old side is that they are gone."""

    own_failure: tuple[str, ...] = ("restore_left_stopped",)

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        assert isinstance(holdfast.runtime, FakeRuntime)
        self.volumes[0].mkdir(parents=True, exist_ok=True)
        for container in self.containers(holdfast.runtime):  # one that was left stopped runs again when it happens
            await holdfast.runtime.start(container.id)
        shutil.rmtree(self.volumes[0].parent)
        (self.volumes[1] / "worn").write_text(f"{next(self.numbers)}")
        self.old = ({}, describe_tree(self.volumes[1]))

    async def act(self, holdfast: Holdfast) -> None:
        await ended(holdfast, await restore(holdfast, self.workload, self.snapshot_id, create_missing=True))
        await holdfast.reaper.idle()

    def look(self, reached: tuple[str, ...]) -> Crash:
        crash = super().look(reached)
        alive = [c.spec.name for c in self.containers(self.place.fake_engine()) if c.alive]
        assert not (alive and self._stands_in()), f"{alive} could be started again on an empty directory"
        return crash

    def check_running(self, containers: Sequence[FakeContainer], side: str) -> None:
        if side == "new":
            super().check_running(containers, side)
            return
        assert not self.volumes[0].parent.exists()
        assert [container.restart for container in containers] == [RestartPolicy.ALWAYS]

    def sides(self) -> tuple[str, ...]:
        if self._stands_in() or not self.volumes[0].exists():
            return ("old", side_of(self.volumes[1], self.old[1], self.new[1]))
        return super().sides()

    def _stands_in(self) -> bool:
        return self.volumes[0].exists() and not any(self.volumes[0].iterdir())


@dataclass(kw_only=True)
class DamagedSnapshot(RunningWorkload):
    """Staging finds that the snapshot is damaged, so that the restore is aborted before anything is stopped."""

    own_failure: tuple[str, ...] = ("snapshot_damaged",)

    async def fill(self, holdfast: Holdfast) -> None:
        await super().fill(holdfast)
        for pack in (self.place.settings.repository_dir / "packs").iterdir():
            content = pack.read_bytes()
            start = len(content) // 3
            pack.write_bytes(content[:start] + bytes(64) + content[start + 64 :])


@dataclass(kw_only=True)
class AbortedLate(RunningWorkload):
    """The last look before COMMIT fails: the restore is aborted with everything stopped."""

    own_failure: tuple[str, ...] = ("engine_error",)

    async def act(self, holdfast: Holdfast) -> None:
        await watched(holdfast)
        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime.fail("info", error=Failed("engine_error", "It will not say who it is.", next_step="Ask."))
        await super().act(holdfast)


@dataclass(kw_only=True)
class Captured(RunningWorkload):
    """A snapshot is taken, with the workload paused; its containers end as they were, and its data is not touched."""

    kind: OperationKind = OperationKind.SNAPSHOT
    quiesce: Quiesce = Quiesce.PAUSE
    own_failure: tuple[str, ...] = ("snapshot_interrupted",)
    before: frozenset[tuple[str, ContainerState, RestartPolicy]] = frozenset()

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        await super().wear(holdfast, side)
        self.new = self.old
        assert isinstance(holdfast.runtime, FakeRuntime)
        self.before = self._held(holdfast.runtime)

    async def act(self, holdfast: Holdfast) -> None:
        operation = await holdfast.api.snapshots.create(self.workload.id, quiesce=self.quiesce, note="", actor="test")
        await ended(holdfast, operation)

    async def recovered(self, holdfast: Holdfast, crash: Crash) -> str:
        operation = await self.settle(holdfast)
        assert set(self.sides()) == {"old"}
        assert isinstance(holdfast.runtime, FakeRuntime)
        assert self._held(holdfast.runtime) == self.before
        assert self.place.leftovers() == []
        if operation is not None:
            assert operation.kind is self.kind
            await self._listed_if_taken(holdfast, operation)
        return "old"

    async def _listed_if_taken(self, holdfast: Holdfast, operation: Operation) -> None:
        listed = await holdfast.api.snapshots.list(self.workload.id, limit=1, cursor=None)
        if operation.state is OperationState.SUCCEEDED:
            assert operation.outcome["snapshot_id"] == listed.items[0].id
        else:
            assert (operation.error or {})["code"] in ("interrupted", *self.own_failure)
        verified = await holdfast.api.snapshots.verify(self.workload.id, listed.items[0].id, actor="test")
        self.operations.add((await succeeded(holdfast, verified)).id)

    def _held(self, engine: FakeRuntime) -> frozenset[tuple[str, ContainerState, RestartPolicy]]:
        return frozenset((c.id, c.state, c.restart) for c in self.containers(engine))


@dataclass(kw_only=True)
class CapturedStopped(Captured):
    """The same, with the workload stopped."""

    quiesce: Quiesce = Quiesce.STOP


@dataclass(kw_only=True)
class CapturedHooked(Captured):
    """The same, with the workload held by its hooks: wherever one began, what undoes it has run, and none runs on."""

    quiesce: Quiesce = Quiesce.HOOKS

    async def begin(self, holdfast: Holdfast) -> None:
        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime.add_image("notes:1", WILLING)
        self.workloads = (await deployed(holdfast, replace(spec_of(), hooks=HOOKS)),)
        await self.fill(holdfast)

    async def recovered(self, holdfast: Holdfast, crash: Crash) -> str:
        side = await super().recovered(holdfast, crash)
        assert isinstance(holdfast.runtime, FakeRuntime)
        check_hooks_undone(self.containers(holdfast.runtime))
        return side


@dataclass(kw_only=True)
class CapturedWhilePausedByHand(Captured):
    """What a person had paused stays paused."""

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        assert isinstance(holdfast.runtime, FakeRuntime)
        for container in self.containers(holdfast.runtime):
            await holdfast.runtime.pause(container.id)
        await super().wear(holdfast, side)


@dataclass(kw_only=True)
class MountPoint(RunningWorkload):
    """One of the two volumes is a mount point, which is swapped name by name; the other is exchanged at once.

    Attributes:
        probe_left: a killed server left what it had tried out in the mount point.
    """

    probe_left: bool = False

    def describe(self, volume: Path) -> TreeDescription:
        """A volume without what is Holdfast's in it."""
        tree = describe_tree(volume)
        return {path: what for path, what in tree.items() if not path.startswith(b".holdfast-")}

    async def fill(self, holdfast: Holdfast) -> None:
        mounted, plain = self.volumes
        (mounted / "library").mkdir(mode=0o750)
        (mounted / "library/notes").write_text("notes")
        (mounted / "to notes").symlink_to("library/notes")
        small_tree(plain)
        self.new = tuple(map(self.describe, self.volumes))
        self.snapshot_id = await snapshotted(holdfast, self.workload)

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        (self.volumes[0] / "library/notes").write_text("other notes")
        (self.volumes[0] / "to notes").unlink(missing_ok=True)
        self.volumes[0].chmod(0o711)
        self.probe_left = False
        await super().wear(holdfast, side)
        self.old = tuple(map(self.describe, self.volumes))

    def sides(self) -> tuple[str, ...]:
        mounted, plain = self.volumes
        now, old, new = self.describe(mounted), self.old[0], self.new[0]
        own = [path.name for path in mounted.iterdir() if path.name.startswith(".holdfast-")]
        self.probe_left |= any(name.startswith(".holdfast-probe-") for name in own)
        if own or self.probe_left:
            # Whoever makes a name in a directory moves its time. It is set back by what is written down of a restore;
            # of a try before that, which a killed server left, nothing is.
            now, old, new = (_without_root_time(tree) for tree in (now, old, new))
        known = {path for tree in (old, new) for path in tree}
        side = "old" if now == old else "new" if now == new else "between" if now.keys() <= known else "neither"
        return (side, side_of(plain, self.old[1], self.new[1]))


def _without_root_time(tree: TreeDescription) -> TreeDescription:
    """A tree, but for the time of its root."""
    kind, mode, uid, gid, _time, *rest = tree[b""]
    return {**tree, b"": (kind, mode, uid, gid, *rest)}


@dataclass(kw_only=True)
class MountPointUnhealthy(MountPoint, UnhealthyOnRestoredData):
    """The same, taken back from its trial."""

    survives: bool = False
