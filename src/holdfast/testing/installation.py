"""A whole Holdfast in a temporary directory: real files, real worker processes, and an engine of the test's choice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.bootstrap import Holdfast, Seams, running
from holdfast.config import Settings
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import (
    HealthCheck,
    Hooks,
    Quiesce,
    RestartPolicy,
    Scope,
    SnapshotPolicy,
    Volume,
    Workload,
    WorkloadSpec,
)
from holdfast.store.database import Database
from holdfast.testing.fake_records import Behaviour, Command
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.quick_database import QuickDatabase
from holdfast.testing.trees import wrappers_below

IMAGE = "notes:1"
QUICK = HealthCheck(interval=0.02, timeout=0.5, deadline=2.0)
HOOKS = Hooks(pre_snapshot=("hold",), post_snapshot=("release",))
WILLING = Behaviour(commands={"hold": Command(), "release": Command()})
"""How containers behave that know these hooks."""
TWO_VOLUMES = (
    Volume(target="/data", scope=Scope.STAGE, source="data"),
    Volume(target="/media", scope=Scope.PROJECT, source="media"),
)


def spec_of(name: str = "notes", *, image: str = IMAGE, volumes: tuple[Volume, ...] = TWO_VOLUMES) -> WorkloadSpec:
    """A small stateful workload that proves healthy quickly; no snapshots but those that are asked for."""
    return WorkloadSpec(
        name=name,
        image=image,
        project="home",
        volumes=volumes,
        health=QUICK,
        restart=RestartPolicy.ALWAYS,
        stop_grace=2.0,
        snapshots=SnapshotPolicy(before_deploy=False),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A data directory and an engine, on which servers may be started one after the other.

    Attributes:
        runtime: makes the container runtime of each server.
        database: makes the database of each server.
        drain_deadline: seconds that a server which stops waits for operations.
        more: settings besides the usual ones.
        health_pause: as in the seams. Long, unless a test is about it: nobody else asks the engine of the test's.
    """

    directory: Path
    runtime: Callable[[Settings], FakeRuntime]
    database: Callable[[Path], Database] = QuickDatabase.at
    seams: Seams = field(default_factory=Seams)
    drain_deadline: float = 10.0
    more: Mapping[str, Any] = field(default_factory=dict)
    health_pause: float = 3600.0

    @property
    def settings(self) -> Settings:
        return Settings(
            data_dir=self.directory / "data",
            docker_volumes=self.directory / "volumes",
            allowed_roots=(self.directory / "srv",),
            steady_seconds=0.05,
            disk_reserve_bytes=0,
            disk_reserve_inodes=0,
            drain_deadline=self.drain_deadline,
            engine_timeout=5.0,
            **self.more,
        )

    @property
    def volumes(self) -> Path:
        """Where stage and project volumes are."""
        return self.settings.volumes_base

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Holdfast]:
        """A server, from start to an orderly end."""
        (self.directory / "srv").mkdir(exist_ok=True)
        self.settings.docker_volumes.mkdir(exist_ok=True)
        seams = replace(self.seams, runtime=self.runtime, database=self.database, health_pause=self.health_pause)
        async with running(self.settings, seams) as holdfast:
            yield holdfast

    def fake_engine(self) -> FakeRuntime:
        """The engine as it stands, for looking at it between servers."""
        return self.runtime(self.settings)

    def leftovers(self) -> list[str]:
        """What restores left beside volumes and in the data directory: must be empty when all is settled."""
        wrappers = [str(path) for path in wrappers_below(self.directory)]
        names = self.settings
        own = [names.journal_dir, names.holds_dir, names.take_overs_dir, names.uploads_dir]
        return wrappers + [str(path) for directory in own if directory.exists() for path in directory.iterdir()]


def installation(directory: Path, *, image: str = IMAGE, behaviour: Behaviour | None = None) -> Installation:
    """An installation whose fake engine outlives its servers; ``image`` is on the host."""
    state = directory / "engine.json"

    def runtime(_settings: Settings) -> FakeRuntime:
        return FakeRuntime(state_file=state, root_dir=str(directory))

    runtime_now = FakeRuntime(state_file=state, root_dir=str(directory))
    runtime_now.add_image(image, behaviour or Behaviour())
    return Installation(directory=directory, runtime=runtime)


async def ended(holdfast: Holdfast, operation: Operation) -> Operation:
    """The operation once it has ended."""
    return await holdfast.operations.wait(operation.id)


async def succeeded(holdfast: Holdfast, operation: Operation) -> Operation:
    """The operation once it has ended well; anything else is the test's failure."""
    end = await ended(holdfast, operation)
    assert end.state is OperationState.SUCCEEDED, f"{end.kind} {end.state}: {end.error}"
    return end


async def deployed(holdfast: Holdfast, spec: WorkloadSpec | None = None) -> Workload:
    """A workload that was applied and runs."""
    result = await holdfast.api.workloads.apply(spec or spec_of(), actor="test")
    assert result.workload is not None
    await succeeded(holdfast, await holdfast.api.deployer.deploy(result.workload.id, actor="test"))
    return result.workload


async def snapshotted(holdfast: Holdfast, workload: Workload, quiesce: Quiesce = Quiesce.PAUSE) -> str:
    """Take a snapshot. Returns its id."""
    operation = await holdfast.api.snapshots.create(workload.id, quiesce=quiesce, note="", actor="test")
    return str((await succeeded(holdfast, operation)).outcome["snapshot_id"])


async def restore(
    holdfast: Holdfast,
    workload: Workload,
    snapshot_id: str,
    *,
    on_unhealthy: OnUnhealthy | None = None,
    volumes: tuple[str, ...] | None = None,
    paths: tuple[bytes, ...] = (),
    with_image: bool = False,
    create_missing: bool = False,
    accept_replaced: bool = False,
    dry_run: bool = False,
) -> Operation:
    """Start a confirmed restore."""
    return await holdfast.api.restores.restore(
        workload.id,
        snapshot_id,
        confirm=snapshot_id,
        volumes=volumes,
        paths=paths,
        on_unhealthy=on_unhealthy,
        with_image=with_image,
        create_missing=create_missing,
        accept_replaced=accept_replaced,
        dry_run=dry_run,
        actor="test",
    )


async def undone(holdfast: Holdfast, workload: Workload) -> Operation:
    """Undo the last restore, and see it end well."""
    target = await holdfast.api.restores.undo_target(workload.id)
    assert target is not None
    undo = await holdfast.api.restores.undo(workload.id, confirm=target.id, dry_run=False, actor="test")
    return await succeeded(holdfast, undo)
