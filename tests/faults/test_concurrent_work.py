"""Two hundred things at once on three workloads, two of which share a volume.

An observer at the engine sees every call that changes a container, and from whose operation it came: between the first
and the last such call of one operation on a workload nobody else may have made one. What the operations themselves
recorded must agree: those whose data or workload is the same were never at work at the same time.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import tarfile
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

import zstandard
from tests.faults.crash_bench import TORTURE

from holdfast.bootstrap import Holdfast
from holdfast.config import Settings
from holdfast.domain.errors import Conflict
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.workload import DesiredState, Quiesce, RestartPolicy, Scope, Volume, Workload, WorkloadSpec
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    HOOKS,
    WILLING,
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
)
from holdfast.testing.quick_workers import QuickWorkers

CHANGING = frozenset({"start", "stop", "pause", "unpause", "remove", "set_restart_policy"})
LEGITIMATE = frozenset(
    {
        # refused by what others had made of things by the time that it was its turn
        "never_deployed",
        "restore_in_flight",
        "workload_busy",
    }
)
BEFORE_THE_LOCK = frozenset({"waiting", "requested"})
"""Steps that an operation may be in while another one has what it wants."""
SHARED = Volume(target="/media", scope=Scope.PROJECT, source="media")
FILES = 6


class Observer:
    """Watches who changes which workload's containers."""

    def __init__(self) -> None:
        self.runtime: FakeRuntime | None = None
        self.changes: dict[str, list[object]] = defaultdict(list)
        """Workload id → the operations that made changing calls, in the order of the calls."""

    async def see(self, call: Call) -> None:
        assert self.runtime is not None
        if call.name not in CHANGING:
            return
        container = self.runtime.engine.state.containers.get(call.subject)
        if container is not None:
            self.changes[container.spec.labels[LABEL_WORKLOAD]].append(current_operation())
        await asyncio.sleep(0)  # let others in, if nothing keeps them out

    def overlaps(self) -> list[str]:
        """Workloads on which an operation's changes were interrupted by another's."""
        found = []
        for workload, operations in self.changes.items():
            runs = [name for name, before in zip(operations, [None, *operations], strict=False) if name != before]
            found += [f"{workload}: {times} times interrupted" for times in Counter(runs).values() if times > 1]
        return found


def current_operation() -> object:
    """What this call belongs to: the admission of its operation, which every task of the operation inherits."""
    return next(value for variable, value in copy_context().items() if variable.name == "admission")


def watched(directory: Path, observer: Observer) -> Installation:
    """An installation whose engine tells the observer of each call."""
    place = installation(directory, behaviour=WILLING)

    def runtime(_settings: Settings) -> FakeRuntime:
        observer.runtime = FakeRuntime(
            state_file=directory / "engine.json", root_dir=str(directory), on_call=observer.see
        )
        return observer.runtime

    seams = place.seams if TORTURE else replace(place.seams, workers=QuickWorkers)
    return replace(place, runtime=runtime, seams=seams)


def write_version(place: Installation, spec: WorkloadSpec, version: str) -> None:
    """Make every volume of a workload say ``version``, in several files."""
    for path in volume_paths(place, spec):
        for number in range(FILES):
            (path / f"part-{number}").write_text(version)


def volume_paths(place: Installation, spec: WorkloadSpec) -> list[Path]:
    """Where the workload's volumes are."""
    return [
        place.volumes / (f"@{spec.project}" if volume.scope is Scope.PROJECT else spec.name) / volume.source
        for volume in spec.volumes
    ]


async def test_two_hundred_things_at_once_never_meet_on_one_workload(tmp_path: Path) -> None:
    observer = Observer()
    place = watched(tmp_path, observer)
    own = Volume(target="/data", scope=Scope.STAGE, source="data")
    specs = [
        spec_of("one", volumes=(own, SHARED)),
        spec_of("two", volumes=(own, SHARED)),
        spec_of("three", volumes=(own,)),
    ]
    specs = [replace(spec, hooks=HOOKS) for spec in specs]
    chance = random.Random(20_26)
    async with place.running() as holdfast:
        workloads = [await deployed(holdfast, spec) for spec in specs]
        snapshots: dict[str, list[str]] = {}
        for version in ("first", "second"):
            for spec in specs:
                write_version(place, spec, version)
            for workload in workloads:
                snapshots.setdefault(workload.id, []).append(await snapshotted(holdfast, workload))
        observer.changes.clear()

        asked = [some_request(holdfast, chance, chance.choice(workloads), snapshots) for _ in range(200)]
        async with asyncio.timeout(100):
            answers = await asyncio.gather(*(ask() for ask in asked), return_exceptions=True)
            refused = [answer for answer in answers if isinstance(answer, BaseException)]
            assert all(isinstance(refusal, Conflict) for refusal in refused), refused
            started = [answer for answer in answers if isinstance(answer, Operation)]
            ends = await asyncio.gather(*(ended(holdfast, operation) for operation in started))
            await holdfast.reaper.idle()

        assert observer.overlaps() == []
        assert met(ends, {workload.id: sharers_of(workload, workloads) for workload in workloads}) == []
        assert len(observer.changes) == len(workloads)
        unexpected = [
            end
            for end in ends
            if end.state is not OperationState.SUCCEEDED and (end.error or {}).get("code") not in LEGITIMATE
        ]
        assert unexpected == []
        assert sum(end.state is OperationState.SUCCEEDED for end in ends) >= 100
        for workload in workloads:
            await check_consistent(holdfast, place, workload)
            await check_snapshots_whole(holdfast, workload)
    assert place.leftovers() == []


def some_request(
    holdfast: Holdfast, chance: random.Random, workload: Workload, snapshots: dict[str, list[str]]
) -> Callable[[], Awaitable[Operation]]:
    """One of the things that people ask of a workload."""
    deployer, kind = holdfast.api.deployer, chance.choices(range(5), weights=(3, 2, 2, 3, 4))[0]
    snapshot, quiesce = chance.choice(snapshots[workload.id]), chance.choice(list(Quiesce))
    requests: list[Callable[[], Awaitable[Operation]]] = [
        lambda: deployer.deploy(workload.id, actor="test"),
        lambda: deployer.start(workload.id, actor="test"),
        lambda: deployer.stop(workload.id, actor="test"),
        lambda: holdfast.api.snapshots.create(workload.id, quiesce=quiesce, note="", actor="test"),
        lambda: restore(holdfast, workload, snapshot),
    ]
    return requests[kind]


async def check_consistent(holdfast: Holdfast, place: Installation, workload: Workload) -> None:
    """Containers are as wished, and every volume is one known version, whole."""
    now = await holdfast.api.workloads.get(workload.id)
    there = await holdfast.runtime.containers({LABEL_WORKLOAD: workload.id})
    running = [container for container in there if container.running]
    assert len(there) <= 1
    assert all(container.restart is RestartPolicy.NO for container in there if not container.running)
    assert len(running) == (1 if now.desired is DesiredState.RUNNING else 0)
    assert all(container.restart is RestartPolicy.ALWAYS for container in running)
    for path in volume_paths(place, workload.spec):
        versions = {(path / f"part-{number}").read_text() for number in range(FILES)}
        assert len(versions) == 1, f"{path} is a mixture: {versions}"
        assert versions <= {"first", "second"}


async def check_snapshots_whole(holdfast: Holdfast, workload: Workload) -> None:
    """Every snapshot, safety snapshots too, holds one version of each volume, whole: no capture met an exchange."""
    page = await holdfast.api.snapshots.list(workload.id, limit=100, cursor=None)
    assert page.next_cursor is None
    for snapshot in page.items:
        _name, chunks = await holdfast.api.snapshots.export(workload.id, snapshot.id)
        archive = b"".join([chunk async for chunk in chunks])
        plain = zstandard.ZstdDecompressor().stream_reader(archive).read()
        parts: dict[str, list[bytes]] = defaultdict(list)
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            for member in tar:
                content = tar.extractfile(member) if "/part-" in member.name else None
                if content is not None:
                    parts[member.name.partition("/")[0]].append(content.read())
        assert len(parts) == len(workload.spec.volumes)
        for volume, contents in parts.items():
            assert len(contents) == FILES
            assert set(contents) in ({b"first"}, {b"second"}), f"{snapshot.id} mixes versions in volume {volume}"


def sharers_of(workload: Workload, workloads: Sequence[Workload]) -> frozenset[str]:
    """The workload and those that share its project volume."""
    shares = SHARED in workload.spec.volumes
    return frozenset(w.id for w in workloads if w.id == workload.id or (shares and SHARED in w.spec.volumes))


def met(operations: Sequence[Operation], sharers: Mapping[str, frozenset[str]]) -> list[str]:
    """Pairs of operations that were at work on the same thing at the same time, by their own steps.

    A deploy, start or stop is on its workload; a snapshot or restore on all that share its volumes.
    """
    whole = (OperationKind.SNAPSHOT, OperationKind.RESTORE)
    spans = []
    for operation in operations:
        steps = [step for step in operation.steps if step.name not in BEFORE_THE_LOCK]
        if steps:
            workload_id = str(operation.workload_id)
            on = sharers[workload_id] if operation.kind in whole else frozenset({workload_id})
            spans.append((steps[0].started_at, steps[-1].started_at, on, f"{operation.kind} {operation.id}"))
    return [
        f"{name} and {other}"
        for (begin, end, on, name), (other_begin, other_end, other_on, other) in itertools.combinations(spans, 2)
        if on & other_on and begin <= other_end and other_begin <= end
    ]
