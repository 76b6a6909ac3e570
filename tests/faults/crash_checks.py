"""What must hold between a crash and the next start, and once that start has recovered: each check one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import CommitRecord, Record
from holdfast.domain.workload import DesiredState, RestartPolicy, Workload
from holdfast.engine.fs import Fs
from holdfast.engine.journal import journals
from holdfast.runtime.port import LABEL_WORKLOAD, ContainerState
from holdfast.services.restore_registry import Decision
from holdfast.testing.fake_records import FakeContainer
from holdfast.testing.installation import Installation, succeeded
from holdfast.testing.trees import TreeDescription, describe_tree

Trees = tuple[TreeDescription, ...]

_BARRED = frozenset({Direction.FORWARD, Direction.BACKWARD})
"""Where the last durable record is COMMIT or BACKWARD, no container may run, nor be started by the engine."""
_BACK = frozenset({Direction.ABORT, Direction.ABORTED, Direction.BACKWARD, Direction.REVERTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """What a killed server left.

    Attributes:
        reached: the points that it passed, and those of the servers killed before it on the same work.
        records: of the restore's journal; ``None`` if there is none.
        sides: of each volume: ``old``, ``new``, ``between`` where it is swapped name by name, or ``neither``.
    """

    reached: tuple[str, ...]
    records: tuple[Record, ...] | None
    direction: Direction | None
    sides: tuple[str, ...]

    def passed(self, what: str) -> bool:
        """Whether a point was passed, for the first time or again."""
        return any(point.startswith(f"{what} #") for point in self.reached)

    @property
    def committed(self) -> bool:
        """Whether COMMIT was written; it may be on disk before its writer knows."""
        return self.passed("after journal COMMIT") or any(isinstance(r, CommitRecord) for r in self.records or ())


def check_crash(crash: Crash, containers: Sequence[FakeContainer], after_power_cut: Sequence[FakeContainer]) -> None:
    """I1, I3 and I4, wherever the server was killed, and if the host went down with it, too.

    Args:
        after_power_cut: the containers as the engine would have them back by itself.
    """
    assert set(crash.sides) <= {"old", "new", "between"}, "a live path holds neither the old nor the new tree"
    assert "between" not in crash.sides or crash.direction in _BARRED, "a tree is mixed while containers may run"
    for when, there in (("run", containers), ("would run after a power cut", after_power_cut)):
        alive = [container.spec.name for container in there if container.alive]
        if crash.direction in _BARRED:
            assert not alive, f"{alive} {when} although the journal says {crash.direction}"
        if alive:
            assert len(set(crash.sides)) == 1, f"{alive} {when} on {crash.sides}"
    if crash.records is None:
        assert "new" not in crash.sides or crash.passed("after journal COMMIT"), "exchanged without a journal"
    else:
        written = {record.type for record in crash.records}
        assert "new" not in crash.sides or RecordType.COMMIT in written, "exchanged before COMMIT was durable"
        appended = {kind for kind in RecordType if crash.passed(f"after journal {kind}")}
        assert appended <= written, "a record was lost that had been appended"


def check_hooks_undone(containers: Sequence[FakeContainer]) -> None:
    """After each hook that began the one that undoes it ran, and none of them runs any more."""
    for container in containers:
        assert container.running == {}
        assert container.ran[-1:] in ([], ["release"]), container.ran


def expected_side(crash: Crash, *, survives: bool) -> str:
    """The side that the last durable direction record names; where no journal is left, how the restore had ended.

    Args:
        survives: whether the workload is healthy on the restored data; if not, its trial is taken back.
    """
    if crash.direction is None:
        return "new" if crash.passed("after journal CONFIRMED") else "old"
    types = {record.type for record in crash.records or ()}
    if crash.direction in _BACK or types & {RecordType.ABORTED, RecordType.REVERTED}:
        return "old"
    return "new" if survives else "old"


def check_told(
    operation: Operation | None, side: str, crash: Crash, *, survives: bool, result: str, own_failure: Sequence[str]
) -> None:
    """I8: the operation's record says what happened.

    Args:
        result: what it says of a restore that went well.
        own_failure: codes with which it may have failed before it was killed.
    """
    if operation is None:  # killed before anybody was told that there is one
        assert (side, crash.records) == ("old", None)
        return
    error, told = operation.error or {}, operation.outcome.get("result")
    if side == "new":
        assert (operation.state, told) == (OperationState.SUCCEEDED, result), error
    elif crash.committed and not survives:
        assert (operation.state, error["code"], told) == (OperationState.FAILED, "restore_reverted", "reverted")
    else:
        assert operation.state in (OperationState.FAILED, OperationState.INTERRUPTED)
        assert error["code"] in ("interrupted", "restore_interrupted", *own_failure)
        assert told is None


def check_running(containers: Sequence[FakeContainer], workloads: Sequence[Workload], desired: DesiredState) -> None:
    """Each workload has one container, which runs with its configured policy; or is stopped, as it was before."""
    for workload in workloads:
        there = [(c.state, c.restart) for c in containers if c.spec.labels[LABEL_WORKLOAD] == workload.id]
        if desired is DesiredState.STOPPED:
            assert there == [(ContainerState.EXITED, RestartPolicy.NO)]
        else:
            assert there == [(ContainerState.RUNNING, workload.spec.restart)]


async def check_safe(holdfast: Holdfast, workload: Workload, operation: Operation | None, crash: Crash) -> None:
    """I5: from SAFE on there is a pinned snapshot of the old data, whatever became of the restore."""
    if operation is None or not crash.passed("after journal SAFE"):
        return
    listed = await holdfast.api.snapshots.list(workload.id, limit=200, cursor=None)
    (safety,) = [snapshot for snapshot in listed.items if snapshot.safety_for == operation.id]
    assert safety.pinned
    assert operation.outcome.get("safety_snapshot_id", safety.id) == safety.id


async def check_kept(
    holdfast: Holdfast, place: Installation, workload: Workload, operation: Operation, new: Trees
) -> str:
    """A reverted restore keeps the trees that failed, and nothing else, until they are released.

    Returns:
        The id of the operation that released them.
    """
    kept = operation.outcome["kept_trees"]
    assert isinstance(kept, list)
    trees = [Path(str(path)) for path in kept]
    assert tuple(describe_tree(tree) for tree in trees) == new
    own = journals(Fs(), str(place.settings.journal_dir))
    assert set(place.leftovers()) == {*(str(tree.parent) for tree in trees), *own}
    assert len(own) == 1
    release = await holdfast.api.restores.decide(workload.id, Decision.RELEASE, confirm=None, actor="test")
    await succeeded(holdfast, release)
    return release.id
