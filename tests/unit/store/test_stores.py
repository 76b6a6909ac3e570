from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import Conflict, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.operation import LogLine, Operation, OperationKind, OperationState, Progress, StepRecord
from holdfast.domain.restore import Identity
from holdfast.domain.times import now, parse
from holdfast.domain.told import Told
from holdfast.domain.workload import DesiredState, HealthCheck, HealthType, Port, Scope, Volume, Workload, WorkloadSpec
from holdfast.store.database import Database
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import MAX_LOG_LINES, OperationStore
from holdfast.store.snapshots import SnapshotState, SnapshotStateStore
from holdfast.store.tokens import TokenStore, WaysIn
from holdfast.store.volume_states import VolumeState, VolumeStateStore
from holdfast.store.workloads import WorkloadStore


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


def spec(name: str = "notes") -> WorkloadSpec:
    return WorkloadSpec(
        name=name,
        image="registry.example/notes:1.4",
        project="home",
        env=(("TZ", "UTC"),),
        command=("serve",),
        ports=(Port(container_port=80, host_port=8080),),
        volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),),
        health=HealthCheck(type=HealthType.HTTP, port=80, path="/healthz"),
    )


def workload(name: str = "notes") -> Workload:
    return Workload(id=new_id(), spec=spec(name), desired=DesiredState.RUNNING, created_at=now(), updated_at=now())


def operation(**changes: object) -> Operation:
    plain = Operation(
        id=new_id(),
        kind=OperationKind.RESTORE,
        state=OperationState.QUEUED,
        workload_id="w",
        actor="ann",
        created_at=now(),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type] # a test may set any field


class TestWorkloads:
    async def test_a_workload_is_found_by_id_and_by_name(self, database: Database) -> None:
        store, kept = WorkloadStore(database), workload()
        await store.insert(kept)
        assert await store.get(kept.id) == await store.find(kept.id) == await store.find("notes") == kept
        assert await store.get("notes") is None
        assert await store.find("other") is None

    async def test_two_workloads_never_have_one_name(self, database: Database) -> None:
        store, other = WorkloadStore(database), workload("other")
        await store.insert(workload())
        await store.insert(other)
        with pytest.raises(Conflict) as caught:
            await store.insert(workload())
        assert caught.value.code == "workload_exists"
        with pytest.raises(Conflict) as caught:
            await store.update_spec(other.id, spec("notes"), "ann")
        assert caught.value.code == "workload_exists"
        assert await store.get(other.id) == other

    async def test_a_change_keeps_the_rest_and_moves_the_time(self, database: Database) -> None:
        store, kept = WorkloadStore(database), workload()
        await store.insert(kept)
        await store.update_spec(kept.id, dataclasses.replace(spec(), image="registry.example/notes:1.5"), "ann")
        changed = await store.set_desired(kept.id, DesiredState.STOPPED)
        assert changed == await store.get(kept.id)
        assert (changed.spec.image, changed.desired) == ("registry.example/notes:1.5", DesiredState.STOPPED)
        assert changed.created_at == kept.created_at
        assert parse(changed.updated_at) > parse(kept.updated_at)

    async def test_changing_an_unknown_workload_says_so(self, database: Database) -> None:
        with pytest.raises(NotFound) as caught:
            await WorkloadStore(database).set_desired("none", DesiredState.STOPPED)
        assert caught.value.code == "workload_unknown"

    async def test_workloads_are_listed_newest_first_and_in_pages(self, database: Database) -> None:
        store = WorkloadStore(database)
        kept = sorted((workload(f"w{number}") for number in range(5)), key=lambda item: item.id, reverse=True)
        for each in kept:
            await store.insert(each)
        assert list(await store.list()) == kept
        assert list(await store.list(limit=2, before=kept[1].id)) == kept[2:4]

    async def test_a_deleted_workload_takes_its_history_and_volume_states_along(self, database: Database) -> None:
        store, kept = WorkloadStore(database), workload()
        await store.insert(kept)
        await DeploymentStore(database).insert(deployment(kept))
        await VolumeStateStore(database).put(volume_state(kept.id, "/data"))
        await store.delete(kept.id)
        await store.delete(kept.id)
        assert await store.list() == ()
        assert await DeploymentStore(database).list(kept.id) == ()
        assert await VolumeStateStore(database).get(kept.id) == {}


def deployment(of: Workload, state: DeploymentState = DeploymentState.RUNNING) -> Deployment:
    return Deployment(
        id=new_id(),
        workload_id=of.id,
        state=state,
        reason=DeployReason.DEPLOY,
        spec=of.spec,
        image_id="sha256:1",
        digest=None,
        operation_id=None,
        started_at=now(),
    )


class TestDeployments:
    async def test_a_deployment_ends_as_recorded(self, database: Database) -> None:
        owner = workload()
        await WorkloadStore(database).insert(owner)
        store, begun = DeploymentStore(database), deployment(owner)
        await store.insert(begun)
        assert await store.get(begun.id) == begun
        assert await store.unfinished() == (begun,)
        error = {"code": "image_pull_failed", "message": "no", "next_step": "try"}
        await store.finish(begun.id, DeploymentState.FAILED, error)
        ended = await store.get(begun.id)
        assert ended is not None
        assert (ended.state, ended.error) == (DeploymentState.FAILED, error)
        assert ended.finished_at is not None
        assert await store.unfinished() == ()
        assert await store.get("none") is None

    async def test_the_last_successful_one_is_found_behind_later_failures(self, database: Database) -> None:
        owner = workload()
        await WorkloadStore(database).insert(owner)
        store = DeploymentStore(database)
        assert await store.last_successful(owner.id) is None
        kept = []
        for number, state in enumerate(("succeeded", "succeeded", "failed", "returned")):
            made = dataclasses.replace(deployment(owner, DeploymentState(state)), id=f"d{number}")
            kept.append(made)
            await store.insert(made)
        assert await store.last_successful(owner.id) == kept[1]
        assert list(await store.list(owner.id)) == kept[::-1]
        assert list(await store.list(owner.id, limit=1, before="d2")) == [kept[1]]


class TestOperations:
    async def test_an_operation_is_kept_whole(self, database: Database) -> None:
        store, begun = OperationStore(database), operation()
        assert await store.insert(begun) is None
        assert await store.get(begun.id) == begun
        later = dataclasses.replace(
            begun,
            state=OperationState.FAILED,
            started_at=now(),
            finished_at=now(),
            steps=(StepRecord(name="staging", started_at=now()),),
            progress=Progress(done_bytes=1, total_bytes=2, note="half"),
            log=(LogLine(at=now(), message="bad", level="error", code="it_is_bad", values={"what": ["a", 1]}),),
            waiting=Told("restore 1"),
            cancellable=False,
            outcome={"result": "reverted", "bytes": 3},
            error={"code": "x", "details": {"problems": [1]}},
        )
        await store.save(later)
        assert await store.get(begun.id) == later
        assert await store.get("none") is None

    async def test_the_same_key_of_the_same_actor_gives_the_first_operation(self, database: Database) -> None:
        store, first = OperationStore(database), operation()
        assert await store.insert(first, idempotency_key="k") is None
        assert await store.insert(operation(), idempotency_key="k") == first
        assert await store.insert(operation(actor="bob"), idempotency_key="k") is None
        assert await store.insert(operation()) is None
        assert await store.find_by_key("ann", "k") == first
        assert await store.find_by_key("ann", "other") is None
        assert len(await store.list()) == 3

    async def test_operations_are_listed_newest_first_by_workload_and_in_pages(self, database: Database) -> None:
        store = OperationStore(database)
        for number in range(6):
            await store.insert(operation(id=f"o{number}", workload_id=f"w{number % 2}"))
        assert [o.id for o in await store.list(limit=2)] == ["o5", "o4"]
        assert [o.id for o in await store.list(before="o4", workload_id="w0")] == ["o2", "o0"]

    async def test_what_has_not_ended_is_found_oldest_first(self, database: Database) -> None:
        store = OperationStore(database)
        for number, state in enumerate(OperationState):
            await store.insert(operation(id=f"o{number}", state=state))
        assert [o.state for o in await store.unfinished()] == [OperationState.QUEUED, OperationState.RUNNING]

    async def test_a_long_log_keeps_its_end(self, database: Database) -> None:
        store = OperationStore(database)
        lines = tuple(LogLine(at="t", message=str(number)) for number in range(MAX_LOG_LINES + 5))
        begun = operation(log=lines)
        await store.insert(begun)
        kept = await store.get(begun.id)
        assert kept is not None
        assert kept.log == lines[5:]


class TestSnapshots:
    async def test_the_state_of_a_snapshot_changes_and_can_be_forgotten(self, database: Database) -> None:
        store = SnapshotStateStore(database)
        await store.pin("s2", "w", pinned=True)
        await store.verified("s1", "w", "then", ())
        await store.pin("s3", "other", pinned=True)
        pinned = SnapshotState(snapshot_id="s2", workload_id="w", pinned=True)
        whole = SnapshotState(snapshot_id="s1", workload_id="w", verified_at="then")
        assert await store.list("w") == (pinned, whole)
        await store.delete("s1")
        await store.delete("s1")
        assert await store.get("s1") is None

    async def test_what_is_found_of_a_snapshot_and_what_is_decided_leave_each_other_alone(
        self, database: Database
    ) -> None:
        store = SnapshotStateStore(database)
        await store.pin_safety("s1", "w", "o1")
        await store.verified("s1", "w", "then", ())
        whole = SnapshotState(snapshot_id="s1", workload_id="w", pinned=True, safety_for="o1", verified_at="then")
        assert await store.get("s1") == whole
        await store.verified("s1", "w", "later", ("a file",))
        await store.pin("s1", "w", pinned=False)
        damaged = dataclasses.replace(whole, pinned=False, damaged=("a file",))
        assert await store.get("s1") == damaged, "it was whole when it was last found so"
        await store.verified("s1", "w", "last", ())
        assert await store.get("s1") == dataclasses.replace(damaged, damaged=(), verified_at="last")

    async def test_a_safety_snapshot_is_pinned_for_its_restore(self, database: Database) -> None:
        store = SnapshotStateStore(database)
        await store.pin_safety("s1", "w", "o1")
        assert await store.get("s1") == SnapshotState(snapshot_id="s1", workload_id="w", pinned=True, safety_for="o1")


def volume_state(workload_id: str, target: str, *, had_content: bool = False) -> VolumeState:
    return VolumeState(
        workload_id=workload_id,
        target=target,
        path=f"/srv{target}",
        identity=Identity(handle_type=1, handle="00ff"),
        had_content=had_content,
    )


class TestVolumeStates:
    async def test_volumes_are_remembered_by_target(self, database: Database) -> None:
        owner, store = workload(), VolumeStateStore(database)
        await WorkloadStore(database).insert(owner)
        await store.put(volume_state(owner.id, "/data"), volume_state(owner.id, "/uploads"))
        changed = volume_state(owner.id, "/data", had_content=True)
        await store.put(changed)
        assert await store.get(owner.id) == {"/data": changed, "/uploads": volume_state(owner.id, "/uploads")}
        await store.delete(owner.id, "/data")
        assert set(await store.get(owner.id)) == {"/uploads"}
        await store.delete(owner.id)
        assert await store.get(owner.id) == {}


class TestTokens:
    async def test_a_token_is_found_by_its_hash_only(self, database: Database) -> None:
        store = TokenStore(database)
        assert await store.ways_in() == WaysIn(first=False, admin=False)
        await store.put_first("ab", "admin")
        found = await store.find("ab")
        assert found is not None
        assert found.token is None
        assert await store.find("admin") is None
        assert await store.ways_in() == WaysIn(first=True, admin=False)
