from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from tests.unit.services.deploy_bench import no_login

from holdfast.config import Settings
from holdfast.domain.deployment import REPEATING, Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import Busy, Conflict, Failed, HoldfastError, NotFound, PreconditionFailed, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.preview import Preview
from holdfast.domain.restore import RootRef
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, Scope, SourceWish, Volume, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.kept_logs import KeptLogFiles
from holdfast.engine.live import LiveRoots
from holdfast.engine.sealing import Sealing
from holdfast.runtime.port import Bind, ContainerSpec
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.engine_volumes import EngineVolumes
from holdfast.services.health_gate import SystemClock
from holdfast.services.image_source import ImageSource, Version
from holdfast.services.instances import Instances
from holdfast.services.locks import DrainBarrier, Held, LifecycleLocks
from holdfast.services.log_keeping import LogKeeping
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.sealed_values import SealedValues
from holdfast.services.sightings import Sightings
from holdfast.services.traffic import Traffic
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import ANY_REVISION, ApplyResult, Condition, Workloads
from holdfast.store.database import Database
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import OperationStore
from holdfast.store.previews import PreviewStore
from holdfast.store.secrets import SecretStore
from holdfast.store.volume_states import VolumeStateStore
from holdfast.store.workload_records import WorkloadRecordStore
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime

INSTALLATION = new_id()
DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
MEDIA = Volume(target="/media", scope=Scope.PROJECT, source="media")


@dataclass(slots=True, kw_only=True)
class Remover:
    """Removes for real, and may be held up or fail."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    error: HoldfastError | None = None

    async def clear(self, workload_id: str) -> None:
        """No restore left anything."""

    async def kept(self, workload_id: str) -> list[str]:
        """Nothing is kept."""
        return []

    async def tidy(self, workload_id: str, ctx: OperationContext) -> None:
        """No image is kept."""

    async def lock_ids(self, workload: Workload) -> frozenset[str]:
        return frozenset({workload.id})

    @asynccontextmanager
    async def warmed(
        self, held: Held, workload: Workload, ctx: OperationContext
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """No last snapshot is asked for here."""
        yield partial(asyncio.sleep, 0)

    async def remove(self, volumes: Sequence[RootRef], ctx: OperationContext) -> None:
        self.reached.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        for ref in volumes:
            shutil.rmtree(ref.path, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    workloads: Workloads
    store: WorkloadStore
    deployments: DeploymentStore
    locks: LifecycleLocks
    operations: Operations
    runtime: FakeRuntime
    instances: Instances
    sightings: Sightings
    volumes: VolumeResolver
    remover: Remover
    pending: dict[str, str]
    base: Path
    allowed: Path

    async def create(self, *volumes: Volume, name: str = "notes", project: str = "home") -> Workload:
        workload = (await self.workloads.apply(spec(*volumes, name=name, project=project), actor="ann")).workload
        assert workload is not None
        return workload

    async def deploy(self, workload: Workload, behaviour: Behaviour | None = None) -> tuple[str, Deployment]:
        """Run one instance, recorded as a successful deployment. Returns its container's id."""
        image = self.runtime.add_image("notes:1", behaviour or Behaviour())
        for volume in workload.spec.captured_volumes:
            (self.base.parent / self._path(workload, volume)).mkdir(parents=True, exist_ok=True)
        deployment = Deployment(
            id=new_id(),
            workload_id=workload.id,
            state=DeploymentState.SUCCEEDED,
            reason=DeployReason.DEPLOY,
            spec=workload.spec,
            image_id=image.id,
            digest=None,
            operation_id=None,
            started_at=now(),
        )
        await self.deployments.insert(deployment)
        version = Version(reference="notes:1", image_id=image.id, digest=None, user="", has_healthcheck=False)
        container_id = await self.instances.create(workload, version, deployment.id, 1)
        await self.runtime.start(container_id)
        await self.runtime.set_restart_policy(container_id, workload.spec.restart)
        await self.store.set_desired(workload.id, DesiredState.RUNNING)
        return container_id, deployment

    def _path(self, workload: Workload, volume: Volume) -> str:
        if volume.scope is Scope.ABSOLUTE:
            return volume.source
        owner = workload.name if volume.scope is Scope.STAGE else f"@{workload.spec.project}"
        return f"{self.base}/{owner}/{volume.source}"

    async def delete(self, workload: Workload, *, delete_data: bool = False) -> Operation:
        self.remover.go.set()
        started = await self.workloads.delete(workload.name, delete_data=delete_data, actor="ann")
        return await self.operations.wait(started.id)


async def fine(_source: SourceWish) -> None:
    """The source can be used."""


async def nobody(_spec: WorkloadSpec) -> str | None:
    """No deleted workload left snapshots."""
    return None


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    allowed = tmp_path / "srv"
    allowed.mkdir()
    (tmp_path / "own" / "volumes").mkdir(parents=True)
    settings = Settings(data_dir=tmp_path / "own", allowed_roots=(allowed,), docker_volumes=tmp_path / "engine/volumes")
    database = Database.at(tmp_path / "state.db")
    await database.open()
    store, deployments = WorkloadStore(database), DeploymentStore(database)
    (tmp_path / "engine/volumes").mkdir(parents=True)
    runtime = FakeRuntime(root_dir=str(tmp_path / "engine"))
    locks, remover, pending = LifecycleLocks(), Remover(), dict[str, str]()
    operations = Operations(OperationStore(database), DrainBarrier())
    late = [str(settings.docker_volumes)]
    with LiveRoots(Fs(), [str(settings.volumes_base), str(allowed)], late=late) as live:
        named = EngineVolumes(settings, INSTALLATION, runtime, live)
        volumes = VolumeResolver(settings, live, VolumeStateStore(database), named)
        secrets = SealedValues(SecretStore(database), Sealing(Fs(), tmp_path / "keys"))
        (tmp_path / "logs").mkdir()
        logs = LogKeeping(runtime, KeptLogFiles(Fs(), tmp_path / "logs", 1 << 20), secrets)
        instances = Instances(runtime, INSTALLATION, volumes, secrets, logs)
        sightings = Sightings(runtime, INSTALLATION)
        records = DeployRecords(deployments, store, ImageSource(runtime, INSTALLATION, no_login))
        traffic = Traffic(edge=None, records=records, instances=instances, clock=SystemClock())
        deletion = WorkloadDeletion(
            store=store,
            volumes=volumes,
            named=named,
            locks=locks,
            operations=operations,
            runtime=runtime,
            instances=instances,
            data=remover,
            last=remover,
            leftovers=remover,
            images=remover,
            logs=logs,
            restore_pending=pending.get,
            traffic=traffic,
        )
        yield Bench(
            workloads=Workloads(
                store=store,
                deployments=deployments,
                records=WorkloadRecordStore(database, REPEATING),
                volumes=volumes,
                locks=locks,
                runtime=runtime,
                instances=instances,
                sightings=sightings,
                deletion=deletion,
                secrets=secrets,
                restore_pending=pending.get,
                former_id=nobody,
                preview_of=PreviewStore(database).of,
                traffic=traffic,
                check_source=fine,
            ),
            store=store,
            deployments=deployments,
            locks=locks,
            operations=operations,
            runtime=runtime,
            instances=instances,
            sightings=sightings,
            volumes=volumes,
            remover=remover,
            pending=pending,
            base=settings.volumes_base,
            allowed=allowed,
        )
    await operations.close(5)
    await database.close()


def spec(*volumes: Volume, name: str = "notes", project: str = "home", image: str = "notes:1") -> WorkloadSpec:
    return WorkloadSpec(name=name, image=image, project=project, volumes=volumes)


def absolute(path: Path) -> Volume:
    return Volume(target="/abs", scope=Scope.ABSOLUTE, source=str(path))


class TestApply:
    async def test_a_new_workload_is_created_and_shown(self, bench: Bench) -> None:
        result = await bench.workloads.apply(spec(DATA), actor="ann")
        assert result.created
        assert [change.path for change in result.changes] == ["name", "image", "project", "volumes./data"]
        assert await bench.workloads.get("notes") == result.workload
        assert result.workload is not None
        assert result.workload.desired is DesiredState.STOPPED

    async def test_a_change_is_stored_and_its_difference_shown(self, bench: Bench) -> None:
        before = await bench.create(DATA)
        result = await bench.workloads.apply(spec(DATA, image="notes:2"), actor="ann")
        assert not result.created
        assert [(c.path, c.before, c.after) for c in result.changes] == [("image", "notes:1", "notes:2")]
        after = await bench.workloads.get(before.id)
        assert (after.id, after.spec.image) == (before.id, "notes:2")

    async def test_applying_the_same_again_changes_nothing(self, bench: Bench) -> None:
        before = await bench.create(DATA)
        result = await bench.workloads.apply(spec(DATA), actor="ann")
        assert (result.workload, result.created, result.changes) == (before, False, ())

    async def test_creating_what_exists_is_a_conflict(self, bench: Bench) -> None:
        await bench.create()
        with pytest.raises(Conflict) as caught:
            await bench.workloads.apply(spec(), actor="ann", create=True)
        assert caught.value.code == "workload_exists"

    async def test_changing_what_does_not_exist_is_refused(self, bench: Bench) -> None:
        with pytest.raises(NotFound) as caught:
            await bench.workloads.apply(spec(), actor="ann", create=False)
        assert caught.value.code == "workload_unknown"

    async def test_a_preview_does_not_become_a_workload_that_somebody_means_to_keep(self, bench: Bench) -> None:
        preview = Preview(
            parent_id="p",
            parent="web",
            key="notes",
            expires=60.0,
            expires_at="2100-01-01T00:00:00.000000Z",
            last_snapshot=False,
            created_by="ann",
        )
        await bench.workloads.apply(spec(), actor="ann", preview=preview)
        for change in (bench.workloads.preview, partial(bench.workloads.apply, actor="bob")):
            with pytest.raises(Conflict) as caught:
                await change(spec(DATA))
            assert caught.value.code == "workload_is_preview"
        assert (await bench.workloads.get("notes")).spec == spec()
        assert not (await bench.workloads.apply(spec(), actor="bob")).changes
        assert (await bench.workloads.apply(spec(DATA), actor="ann", preview=preview)).changes

    async def test_a_name_never_changes(self, bench: Bench) -> None:
        workload = await bench.create()
        with pytest.raises(Refused) as caught:
            await bench.workloads.apply(spec(name="wiki"), actor="ann", expect_id=workload.id)
        assert caught.value.code == "workload_name_fixed"
        assert not (await bench.workloads.apply(spec(), actor="ann", expect_id=workload.id)).created

    async def test_of_two_changes_made_from_the_same_configuration_one_wins(self, bench: Bench) -> None:
        seen = (await bench.create()).spec.revision
        made = {who: spec(image=f"notes:of-{who}") for who in ("ann", "bob")}
        results = await asyncio.gather(
            *(bench.workloads.apply(each, actor=who, made_from={seen}) for who, each in made.items()),
            return_exceptions=True,
        )
        won, lost = sorted(results, key=lambda result: isinstance(result, PreconditionFailed))
        assert isinstance(won, ApplyResult)
        assert won.workload is not None
        assert isinstance(lost, PreconditionFailed)
        after = await bench.workloads.get("notes")
        assert after == won.workload
        assert after.spec in made.values()
        assert lost.code == "configuration_changed"
        assert after.configured_by is not None
        assert after.spec == made[after.configured_by]
        assert lost.details == {
            "workload": "notes",
            "revision": after.spec.revision,
            "configured_by": after.configured_by,
            "configured_at": after.configured_at,
        }
        assert f"{after.configured_by} changed it" in lost.message

    async def test_a_change_is_applied_over_the_revision_that_it_names(self, bench: Bench) -> None:
        seen = (await bench.create()).spec.revision
        await bench.workloads.apply(spec(image="notes:2"), actor="ann", made_from={"another", seen})
        await bench.workloads.apply(spec(image="notes:3"), actor="ann", made_from={ANY_REVISION})
        with pytest.raises(PreconditionFailed):
            await bench.workloads.apply(spec(), actor="ann", made_from={seen})
        assert (await bench.workloads.get("notes")).spec.image == "notes:3"

    async def test_a_change_that_is_sent_again_since_its_answer_was_lost_is_there_already(self, bench: Bench) -> None:
        seen = (await bench.create()).spec.revision
        first, again = [
            await bench.workloads.apply(spec(image="notes:2"), actor="ann", made_from={seen}) for _ in range(2)
        ]
        assert again.workload == first.workload
        assert not again.changes

    async def test_a_change_of_what_is_gone_makes_nothing_anew(self, bench: Bench) -> None:
        for made_from in ({ANY_REVISION}, {spec().revision}):
            with pytest.raises(PreconditionFailed) as caught:
                await bench.workloads.apply(spec(), actor="ann", made_from=made_from)
            assert caught.value.details["revision"] is None
        with pytest.raises(NotFound):
            await bench.workloads.get("notes")

    async def test_it_is_told_who_made_the_configuration_what_it_is(self, bench: Bench) -> None:
        made = await bench.create()
        assert (made.configured_by, made.configured_at) == ("ann", made.created_at)
        same = (await bench.workloads.apply(spec(), actor="bob")).workload
        assert same is not None
        assert same.configured_by == "ann"
        await bench.store.set_desired(made.id, DesiredState.RUNNING)
        changed = (await bench.workloads.apply(spec(DATA), actor="bob")).workload
        assert changed is not None
        assert changed.configured_by == "bob"
        assert changed.configured_at is not None
        assert changed.configured_at > made.created_at

    async def test_an_expected_workload_must_exist(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.workloads.apply(spec(), actor="ann", expect_id=new_id())

    async def test_everything_wrong_with_the_volumes_is_told_at_once_and_nothing_stored(self, bench: Bench) -> None:
        await bench.create(DATA, name="wiki")
        bad = (
            absolute(bench.base / "wiki" / "data"),
            replace(absolute(Path("/etc/x")), target="/etc-x"),
        )
        with pytest.raises(Refused) as caught:
            await bench.workloads.apply(spec(*bad), actor="ann")
        assert {problem.code for problem in caught.value.problems} == {
            "volume_root_not_allowed",
            "volume_path_forbidden",
            "volume_conflict",
        }
        with pytest.raises(NotFound):
            await bench.workloads.get("notes")

    async def test_the_engines_own_directory_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Refused) as caught:
            await bench.workloads.apply(spec(absolute(Path("/var/lib/docker/volumes/x"))), actor="ann")
        assert caught.value.code == "volume_path_forbidden"

    async def test_an_engine_that_does_not_answer_does_not_stop_a_configuration(self, bench: Bench) -> None:
        bench.runtime.fail("info")
        assert (await bench.workloads.apply(spec(absolute(bench.allowed / "x")), actor="ann")).created

    async def test_workloads_of_a_project_may_share_its_volumes(self, bench: Bench) -> None:
        await bench.create(MEDIA)
        assert (await bench.create(MEDIA, name="wiki")).spec.volumes == (MEDIA,)

    async def test_a_directory_that_another_workload_still_runs_on_is_not_free(self, bench: Bench) -> None:
        old, new = absolute(bench.allowed / "old"), absolute(bench.allowed / "new")
        wiki = await bench.create(old, name="wiki")
        await bench.deploy(wiki)
        await bench.workloads.apply(spec(new, name="wiki"), actor="ann")
        with pytest.raises(Refused) as caught:
            await bench.workloads.apply(spec(old), actor="ann")
        assert caught.value.code == "volume_conflict"
        assert "Deploy wiki first" in caught.value.next_step

    async def test_two_workloads_applied_at_once_never_get_the_same_directory(self, bench: Bench) -> None:
        volume = absolute(bench.allowed / "x")
        results = await asyncio.gather(
            *(bench.workloads.apply(spec(volume, name=name), actor="ann") for name in ("a", "b", "c")),
            return_exceptions=True,
        )
        assert [isinstance(result, Refused) for result in results].count(True) == 2

    async def test_a_busy_workload_is_not_changed_and_the_holder_named(self, bench: Bench) -> None:
        workload = await bench.create()
        async with bench.locks.hold([workload.id], "restore 01j"):
            with pytest.raises(Busy, match="restore 01j"):
                await bench.workloads.apply(spec(image="notes:2"), actor="ann")
        assert (await bench.workloads.get("notes")).spec.image == "notes:1"

    async def test_a_workload_whose_restore_waits_for_a_decision_is_not_changed(self, bench: Bench) -> None:
        workload = await bench.create()
        bench.pending[workload.id] = "both trees are kept"
        with pytest.raises(Conflict) as caught:
            await bench.workloads.apply(spec(image="notes:2"), actor="ann")
        assert caught.value.code == "restore_undecided"


class TestPreview:
    async def test_a_preview_shows_the_difference_and_stores_nothing(self, bench: Bench) -> None:
        preview = await bench.workloads.preview(spec(DATA))
        assert (preview.workload, preview.created) == (None, True)
        existing = await bench.create(DATA)
        preview = await bench.workloads.preview(spec(DATA, image="notes:2"))
        assert (preview.workload, preview.created) == (existing, False)
        assert [change.path for change in preview.changes] == ["image"]
        assert await bench.workloads.get("notes") == existing

    async def test_a_preview_is_refused_like_the_apply(self, bench: Bench) -> None:
        with pytest.raises(Refused):
            await bench.workloads.preview(spec(absolute(Path("/elsewhere/x"))))

    async def test_a_preview_does_not_wait_for_a_busy_workload(self, bench: Bench) -> None:
        workload = await bench.create()
        async with bench.locks.hold([workload.id], "restore 01j"):
            assert (await bench.workloads.preview(spec(image="notes:2"))).changes


class TestLooking:
    async def test_a_workload_is_found_by_id_and_name(self, bench: Bench) -> None:
        workload = await bench.create()
        assert await bench.workloads.get(workload.id) == await bench.workloads.get("notes") == workload
        with pytest.raises(NotFound) as caught:
            await bench.workloads.get("nope")
        assert caught.value.code == "workload_unknown"

    async def test_workloads_are_listed_newest_first_in_pages(self, bench: Bench) -> None:
        made = sorted([await bench.create(name=name) for name in ("a", "b", "c")], key=lambda w: w.id, reverse=True)
        first = await bench.workloads.list(2)
        assert list(first.items) == made[:2]
        assert list((await bench.workloads.list(2, first.next_cursor)).items) == made[2:]


class TestStatus:
    async def test_a_new_workload_was_never_deployed(self, bench: Bench) -> None:
        await bench.create()
        status = await bench.workloads.status("notes")
        assert status.condition is Condition.NEVER_DEPLOYED
        assert (status.instances, status.last_deployment, status.deployed) == ((), None, None)

    async def test_a_running_workload_shows_its_instances_and_its_deployment(self, bench: Bench) -> None:
        container_id, deployment = await bench.deploy(await bench.create(DATA))
        status = await bench.workloads.status("notes")
        assert status.condition is Condition.RUNNING
        assert [(instance.id, instance.current) for instance in status.instances] == [(container_id, True)]
        assert status.instances[0].started_at
        assert status.deployed == status.last_deployment == deployment
        assert (status.differences, status.pending) == ((), ())

    async def test_what_is_configured_but_not_deployed_is_pending(self, bench: Bench) -> None:
        await bench.deploy(await bench.create())
        await bench.workloads.apply(spec(image="notes:2"), actor="ann")
        assert [change.path for change in (await bench.workloads.status("notes")).pending] == ["image"]

    async def test_an_instance_that_died_is_a_difference(self, bench: Bench) -> None:
        container_id, _ = await bench.deploy(await bench.create())
        await bench.runtime.stop(container_id, 1)
        status = await bench.workloads.status("notes")
        assert status.condition is Condition.DOWN
        assert [difference.code for difference in status.differences] == ["instance_stopped"]

    async def test_a_stopped_workload_is_stopped(self, bench: Bench) -> None:
        workload = await bench.create()
        container_id, _ = await bench.deploy(workload)
        await bench.runtime.stop(container_id, 1)
        await bench.store.set_desired(workload.id, DesiredState.STOPPED)
        assert (await bench.workloads.status("notes")).condition is Condition.STOPPED

    async def test_a_paused_instance_is_degraded(self, bench: Bench) -> None:
        container_id, _ = await bench.deploy(await bench.create())
        await bench.runtime.pause(container_id)
        assert (await bench.workloads.status("notes")).condition is Condition.DEGRADED

    async def test_an_engine_that_does_not_answer_is_part_of_the_answer(self, bench: Bench) -> None:
        _, deployment = await bench.deploy(await bench.create())
        bench.runtime.fail("containers")
        status = await bench.workloads.status("notes")
        assert status.condition is Condition.UNKNOWN
        assert status.engine_problem
        assert (status.instances, status.differences, status.deployed) == ((), (), deployment)

    async def test_who_is_at_work_is_named(self, bench: Bench) -> None:
        workload = await bench.create()
        async with bench.locks.hold([workload.id], "restore 01j"):
            assert (await bench.workloads.status("notes")).busy == "restore 01j"
        assert (await bench.workloads.status("notes")).busy is None

    async def test_a_restore_that_waits_for_a_decision_is_told(self, bench: Bench) -> None:
        workload = await bench.create()
        bench.pending[workload.id] = "both trees are kept"
        status = await bench.workloads.status("notes")
        assert (status.condition, status.undecided) == (Condition.UNDECIDED, "both trees are kept")

    async def test_all_are_told_at_once_as_each_by_itself(self, bench: Bench) -> None:
        for name in ("wiki", "notes", "blog"):
            await bench.deploy(await bench.create(name=name))
        await bench.create(name="new")
        await bench.workloads.apply(spec(name="wiki", image="wiki:2"), actor="ann")
        first = await bench.workloads.statuses(3)
        rest = await bench.workloads.statuses(3, first.next_cursor)
        names = [workload.name for workload in await bench.store.list()]
        assert [*first.items, *rest.items] == [await bench.workloads.status(name) for name in names]
        assert {status.condition for status in first.items} >= {Condition.NEVER_DEPLOYED}
        assert rest.next_cursor is None

    async def test_of_all_the_engine_is_asked_once_and_each_container_only_until_it_is_known(
        self, bench: Bench
    ) -> None:
        for name in ("wiki", "notes"):
            await bench.deploy(await bench.create(name=name))
        bench.sightings.follow(True)
        await bench.workloads.statuses(10)
        bench.runtime.calls.clear()
        assert {status.condition for status in (await bench.workloads.statuses(10)).items} == {Condition.RUNNING}
        assert [call.name for call in bench.runtime.calls] == ["listed"]

    async def test_an_engine_that_does_not_answer_leaves_the_state_of_all_unknown(self, bench: Bench) -> None:
        await bench.deploy(await bench.create())
        bench.sightings.follow(True)
        await bench.workloads.statuses(10)
        bench.runtime.fail("listed")
        [status] = (await bench.workloads.statuses(10)).items
        assert (status.condition, status.instances) == (Condition.UNKNOWN, ())
        assert status.engine_problem


class TestDelete:
    async def test_instances_and_the_network_go_and_the_data_stays(self, bench: Bench) -> None:
        workload = await bench.create(DATA)
        await bench.deploy(workload)
        ended = await bench.delete(workload)
        assert ended.state is OperationState.SUCCEEDED
        assert await bench.runtime.containers() == []
        assert bench.instances.network_name("home") not in bench.runtime.engine.state.networks
        assert (bench.base / "notes" / "data").is_dir()
        assert ended.outcome["removed"] == []
        with pytest.raises(NotFound):
            await bench.workloads.get("notes")

    async def test_an_instance_that_had_to_be_killed_is_told(self, bench: Bench) -> None:
        workload = await bench.create(DATA)
        await bench.deploy(workload, Behaviour(ignores_term=True))
        ended = await bench.delete(workload)
        (told,) = cast("list[dict[str, object]]", ended.outcome["unclean_stops"])
        assert (told["brief"], told["grace_seconds"]) == ("killed after 30 s", 30.0)
        assert told["words"] in [line.message for line in ended.log if line.level == "warning"]

    async def test_other_containers_and_the_network_of_others_stay(self, bench: Bench) -> None:
        workload, wiki = await bench.create(), await bench.create(name="wiki")
        await bench.deploy(workload)
        other, _ = await bench.deploy(wiki)
        await bench.delete(workload)
        assert [container.id for container in await bench.runtime.containers()] == [other]
        assert bench.instances.network_name("home") in bench.runtime.engine.state.networks

    async def test_data_is_removed_on_request_but_never_an_absolute_volume(self, bench: Bench) -> None:
        mount = absolute(bench.allowed / "x")
        workload = await bench.create(DATA, MEDIA, mount)
        await bench.deploy(workload)
        ended = await bench.delete(workload, delete_data=True)
        assert ended.state is OperationState.SUCCEEDED
        assert ended.outcome["removed"] == [str(bench.base / "notes" / "data"), str(bench.base / "@home" / "media")]
        reason = "directories of scope absolute are never removed: they belong to whoever made them"
        assert ended.outcome["kept"] == [{"path": mount.source, "reason": reason}]
        assert not (bench.base / "notes" / "data").exists()
        assert (bench.allowed / "x").is_dir()

    async def test_data_that_another_workload_shares_is_refused(self, bench: Bench) -> None:
        workload = await bench.create(MEDIA)
        await bench.create(MEDIA, name="wiki")
        with pytest.raises(Refused) as caught:
            await bench.workloads.delete("notes", delete_data=True, actor="ann")
        assert caught.value.code == "volume_shared"
        assert (await bench.delete(workload)).state is OperationState.SUCCEEDED

    @pytest.mark.parametrize("through", [".", "link"])
    async def test_data_that_a_strange_container_has_mounted_is_refused(self, bench: Bench, through: str) -> None:
        await bench.deploy(await bench.create(DATA))
        image = await bench.runtime.image("notes:1")
        assert image is not None
        (bench.allowed / "link").symlink_to(bench.base)
        bind = Bind(source=str(bench.base / "notes" if through == "." else bench.allowed / "link/notes"), target="/x")
        await bench.runtime.create(ContainerSpec(name="stranger", image=image.id, labels={}, binds=(bind,)))
        with pytest.raises(Refused) as caught:
            await bench.workloads.delete("notes", delete_data=True, actor="ann")
        assert caught.value.code == "volume_in_use"
        assert "stranger" in caught.value.message

    async def test_data_that_is_not_what_was_last_seen_is_refused(self, bench: Bench) -> None:
        workload = await bench.create(DATA)
        await bench.deploy(workload)
        await bench.volumes.remember(workload)
        (bench.base / "notes" / "data").rename(bench.base / "away")
        with pytest.raises(Refused) as caught:
            await bench.workloads.delete("notes", delete_data=True, actor="ann")
        assert caught.value.code == "volume_missing"
        assert "without its data" in caught.value.next_step

    async def test_data_that_was_never_made_is_no_obstacle(self, bench: Bench) -> None:
        ended = await bench.delete(await bench.create(DATA), delete_data=True)
        assert ended.state is OperationState.SUCCEEDED

    async def test_a_workload_whose_restore_waits_for_a_decision_is_not_deleted(self, bench: Bench) -> None:
        workload = await bench.create()
        bench.pending[workload.id] = "both trees are kept"
        with pytest.raises(Conflict) as caught:
            await bench.workloads.delete("notes", delete_data=False, actor="ann")
        assert caught.value.code == "restore_undecided"

    async def test_a_deletion_waits_for_its_turn_and_can_be_cancelled_meanwhile(self, bench: Bench) -> None:
        workload = await bench.create()
        async with bench.locks.hold([workload.id], "restore 01j"):
            started = await bench.workloads.delete("notes", delete_data=False, actor="ann")
            async for seen in bench.operations.events(started.id):
                if "restore 01j" in seen.waiting_for:
                    break
            await bench.operations.cancel(started.id)
            assert (await bench.operations.wait(started.id)).state is OperationState.CANCELLED
        assert await bench.workloads.get("notes") == workload

    async def test_the_second_of_two_deletions_says_that_nothing_is_left(self, bench: Bench) -> None:
        workload = await bench.create()
        bench.remover.go.set()
        first = await bench.workloads.delete("notes", delete_data=False, actor="ann")
        second = await bench.workloads.delete("notes", delete_data=False, actor="ann")
        ended = await asyncio.gather(*(bench.operations.wait(operation.id) for operation in (first, second)))
        assert [operation.state for operation in ended] == [OperationState.SUCCEEDED, OperationState.FAILED]
        assert ended[1].error is not None
        assert ended[1].error["code"] == "workload_unknown"
        assert workload.id == first.workload_id

    async def test_no_workload_is_configured_onto_a_directory_that_is_being_removed(self, bench: Bench) -> None:
        await bench.create(MEDIA)
        started = await bench.workloads.delete("notes", delete_data=True, actor="ann")
        await bench.remover.reached.wait()
        with pytest.raises(Refused) as caught:
            await bench.workloads.apply(spec(MEDIA, name="wiki"), actor="ann")
        assert caught.value.code == "volume_being_removed"
        bench.remover.go.set()
        await bench.operations.wait(started.id)
        assert (await bench.workloads.apply(spec(MEDIA, name="wiki"), actor="ann")).created

    async def test_a_deletion_that_failed_half_way_can_be_done_again(self, bench: Bench) -> None:
        workload = await bench.create(DATA, MEDIA)
        await bench.deploy(workload)
        await bench.volumes.remember(workload)
        bench.remover.error = Failed("disk_error", "The disk reported an error.")
        ended = await bench.delete(workload, delete_data=True)
        assert ended.state is OperationState.FAILED
        assert (await bench.workloads.get("notes")).desired is DesiredState.STOPPED
        assert await bench.runtime.containers() == []
        bench.remover.error = None
        (bench.base / "notes" / "data").rmdir()  # so far it had come
        assert (await bench.delete(workload, delete_data=True)).state is OperationState.SUCCEEDED
        assert not (bench.base / "@home" / "media").exists()

    async def test_a_workload_of_the_same_name_adopts_the_data_that_was_kept(self, bench: Bench) -> None:
        workload = await bench.create(DATA)
        await bench.deploy(workload)
        (bench.base / "notes" / "data" / "db").write_text("rows")
        await bench.delete(workload)
        again = await bench.create(DATA)
        assert again.id != workload.id
        assert (bench.base / "notes" / "data" / "db").read_text() == "rows"


async def test_who_may_not_change_something_is_told_so_by_what_is_there_when_its_turn_comes(bench: Bench) -> None:
    looked: list[WorkloadSpec | None] = []
    first, second = spec(DATA), spec(DATA, MEDIA)
    await asyncio.gather(
        bench.workloads.apply(first, actor="admin"),
        bench.workloads.apply(second, actor="admin"),
        bench.workloads.apply(first, actor="test", allowed=looked.append),
        bench.workloads.apply(spec(name="news"), actor="test", allowed=looked.append),
    )
    assert looked == [second, None]
