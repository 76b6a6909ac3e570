"""The deployer with everything around it but a container engine: real database, operations, locks and volumes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

from holdfast.config import Settings
from holdfast.domain.deployment import Deployment, DeployReason
from holdfast.domain.errors import Conflict, HoldfastError
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, Scope, Volume, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.kept_logs import KeptLogFiles
from holdfast.engine.live import LiveRoots
from holdfast.engine.sealing import Sealing
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container
from holdfast.services.data_returns import DataReturns
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deploy_snapshots import DeploySnapshots, TakeIt, nothing
from holdfast.services.deployer import Deployer
from holdfast.services.engine_volumes import EngineVolumes
from holdfast.services.health_gate import HealthGate
from holdfast.services.hooks import HookRunner
from holdfast.services.image_care import ImageCare
from holdfast.services.image_source import ImageSource, PullPolicy
from holdfast.services.instances import Instances
from holdfast.services.locks import DrainBarrier, Held, LifecycleLocks
from holdfast.services.log_keeping import LogKeeping
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.promotions import Promotions
from holdfast.services.quiesce import Quiescer
from holdfast.services.reconcile import Reconciler
from holdfast.services.replacement import Replacement
from holdfast.services.restore_plan import RestoreRequest
from holdfast.services.rollbacks import Rollbacks
from holdfast.services.rollout import Rollout
from holdfast.services.sealed_values import SealedValues
from holdfast.services.sharing import Sharing
from holdfast.services.sources import Sources
from holdfast.services.traffic import Traffic
from holdfast.services.trials import Trials
from holdfast.services.volumes import VolumeResolver
from holdfast.store.database import Database
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import OperationStore
from holdfast.store.secrets import SecretStore
from holdfast.store.volume_states import VolumeStateStore
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.fake_edge import FakeEdge
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call, FakeRuntime

T = TypeVar("T")

STATEFUL = WorkloadSpec(
    name="notes", image="notes:1", project="home", volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),)
)
STATELESS = dataclasses.replace(STATEFUL, volumes=())
CRASHING = Behaviour(exit_code=3, logs=("no such table: notes",))


class FakeClock:
    """Time that passes only when somebody sleeps; then ``while_asleep`` happens."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.while_asleep: Callable[[], Awaitable[None]] | None = None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)
        if self.while_asleep is not None:
            await self.while_asleep()


class _Before:
    """Snapshots before deployments: none, unless a bench that can capture sets what takes them."""

    def __init__(self) -> None:
        self.real: DeploySnapshots | None = None

    async def lock_ids(self, workload_id: str) -> frozenset[str]:
        return frozenset({workload_id}) if self.real is None else await self.real.lock_ids(workload_id)

    @asynccontextmanager
    async def warmed(
        self, held: Held, workload: Workload, deployment: Deployment, ctx: OperationContext
    ) -> AsyncIterator[TakeIt]:
        if self.real is None:
            yield nothing
            return
        async with self.real.warmed(held, workload, deployment, ctx) as take:
            yield take


async def no_login(_reference: str) -> RegistryLogin | None:
    """Every registry is asked as nobody."""
    return None


class Bench:
    """One Holdfast without its API.

    Attributes:
        on_call: awaited at the beginning of every call to the engine.
        undecided: ids of workloads whose restore waits for a person.
        last: the operation of the last :meth:`within`, as it ended.
    """

    def __init__(self, path: Path, runtime: FakeRuntime | None = None, *, log_patience: float = 60.0) -> None:
        settings = self.settings = Settings(data_dir=path / "own", volumes_base=path / "volumes")
        settings.volumes_base.mkdir(exist_ok=True)
        self.base = settings.volumes_base
        self.clock = FakeClock()
        self.on_call: Callable[[Call], Awaitable[None]] | None = None
        self.runtime = runtime or FakeRuntime(clock=self.clock.time, timeout=0.0, on_call=self._called)
        self.undecided: set[str] = set()
        self.last: Operation | None = None
        self.database = Database.at(path / "state.db")
        self.live = LiveRoots(Fs(), [str(settings.volumes_base)])
        self.workloads = WorkloadStore(self.database)
        self.deployments = DeploymentStore(self.database)
        self.locks = LifecycleLocks()
        self.barrier = DrainBarrier()
        self.operations = Operations(OperationStore(self.database), self.barrier)
        installation = self.installation = "01j00000000000000000000000"
        named = EngineVolumes(settings, installation, self.runtime, self.live)
        self.volumes = VolumeResolver(settings, self.live, VolumeStateStore(self.database), named)
        self.secrets = SealedValues(SecretStore(self.database), Sealing(Fs(), path / "keys"))
        self.kept_logs = KeptLogFiles(Fs(), path / "logs", 1 << 20)
        (path / "logs").mkdir(exist_ok=True)
        keeping = LogKeeping(self.runtime, self.kept_logs, self.secrets, patience=log_patience)
        self.instances = Instances(self.runtime, installation, self.volumes, self.secrets, keeping)
        self.images = ImageSource(self.runtime, installation, no_login)
        self.sources = Sources(self.images, engine="unix:///engine.sock", patience=60.0)
        records = self.records = DeployRecords(self.deployments, self.workloads, self.images)
        self.image_care = ImageCare(
            runtime=self.runtime,
            installation=installation,
            records=records,
            operations=self.operations,
            restore_pending=lambda workload_id: workload_id in self.undecided,
            locks=self.locks,
        )
        self.rollout = Rollout(
            runtime=self.runtime,
            instances=self.instances,
            gate=HealthGate(self.runtime, settings, self.clock),
            quiescer=Quiescer(self.runtime, installation),
            volumes=self.volumes,
            secrets=self.secrets,
            return_patience=0.5,
        )
        self.before = _Before()
        data = DataReturns(
            records=records,
            instances=self.instances,
            rollout=self.rollout,
            sharing=Sharing(workloads=self.workloads, deployments=self.deployments, volumes=self.volumes),
            undecided=lambda _workload_id: None,
            restore=self._restore,
        )
        before = cast("DeploySnapshots", self.before)
        self.edge = FakeEdge()
        self.traffic = Traffic(edge=self.edge, records=records, instances=self.instances, clock=self.clock)
        self.deployer = Deployer(
            operations=self.operations,
            barrier=self.barrier,
            locks=self.locks,
            require_decided=self._require_decided,
            records=records,
            images=self.images,
            sources=self.sources,
            replacement=Replacement(
                records=records,
                images=self.images,
                image_care=self.image_care,
                instances=self.instances,
                rollout=self.rollout,
                snapshots=before,
                data=data,
                traffic=self.traffic,
            ),
            snapshots=before,
            trials=Trials(
                records=records,
                rollout=self.rollout,
                hooks=HookRunner(self.runtime, self.secrets),
                instances=self.instances,
                traffic=self.traffic,
            ),
        )
        self.rollbacks = Rollbacks(deployer=self.deployer, records=records, images=self.images)
        self.promotions = Promotions(deployer=self.deployer, records=records, instances=self.instances)
        self.reconciler = Reconciler(
            records=records,
            instances=self.instances,
            rollout=self.rollout,
            deployer=self.deployer,
            data=data,
            operations=self.operations,
            locks=self.locks,
            restore_pending=lambda workload_id: workload_id in self.undecided,
        )

    async def add(self, spec: WorkloadSpec = STATEFUL) -> Workload:
        """A workload that was never deployed."""
        at = now()
        workload = Workload(id=new_id(), spec=spec, desired=DesiredState.STOPPED, created_at=at, updated_at=at)
        await self.workloads.insert(workload)
        return workload

    async def deployed(self, spec: WorkloadSpec = STATEFUL, behaviour: Behaviour | None = None) -> Workload:
        """A workload whose configured image was deployed successfully."""
        self.runtime.add_image(spec.image, behaviour)
        workload = await self.add(spec)
        operation = await self.deploy(workload)
        assert operation.state is OperationState.SUCCEEDED, operation.error
        return await self.reload(workload)

    async def deploy(self, workload: Workload, image: str | None = None) -> Operation:
        """Deploy, and wait for the end."""
        return await self.ended(await self.deployer.deploy(workload.id, image=image, actor="ann"))

    async def start(self, workload: Workload) -> Operation:
        return await self.ended(await self.deployer.start(workload.id, actor="ann"))

    async def stop(self, workload: Workload) -> Operation:
        return await self.ended(await self.deployer.stop(workload.id, actor="ann"))

    async def ended(self, operation: Operation) -> Operation:
        async with asyncio.timeout(20):
            return await self.operations.wait(operation.id)

    async def reload(self, workload: Workload) -> Workload:
        found = await self.workloads.get(workload.id)
        assert found is not None
        return found

    async def newest(self, workload: Workload) -> Deployment:
        return (await self.deployments.list(workload.id, limit=1))[0]

    async def there(self, workload: Workload) -> tuple[Container, ...]:
        """The workload's containers, oldest first."""
        return tuple(reversed(await self.instances.of(workload.id)))

    async def running(self, workload: Workload) -> tuple[Container, ...]:
        return tuple(container for container in await self.there(workload) if container.running)

    async def within(self, work: Callable[[OperationContext], Awaitable[T]]) -> T:
        """The result of ``work``, or what it raised, carried out as an operation."""
        results: list[T] = []
        errors: list[HoldfastError] = []

        async def run(ctx: OperationContext) -> None:
            try:
                results.append(await work(ctx))
            except HoldfastError as error:
                errors.append(error)
                raise

        self.last = await self.ended(await self.operations.start(OperationKind.DEPLOY, None, "ann", run))
        if errors:
            raise errors[0]
        return results[0]

    async def trial(self, workload: Workload, image: str, ctx: OperationContext) -> Deployment:
        """A restore's redeploy, under a lock of its own."""
        version = await self.images.resolve(image, ctx, pull=PullPolicy.NEVER)
        async with self.locks.hold([workload.id], "restore") as held:
            return await self.deployer.redeploy_locked(
                held, workload, version, ctx, trial=True, reason=DeployReason.RESTORE
            )

    def calls(self, *names: str) -> list[Call]:
        return [call for call in self.runtime.calls if call.name in names]

    async def _called(self, call: Call) -> None:
        if self.on_call is not None:
            await self.on_call(call)

    async def _restore(self, _ctx: OperationContext, _held: Held, request: RestoreRequest) -> object:
        raise AssertionError(f"there is nothing here that could restore {request.snapshot_id}")

    def _require_decided(self, workload_id: str) -> None:
        if workload_id in self.undecided:
            raise Conflict("restore_undecided", "A restore waits for your decision.")


@asynccontextmanager
async def opened(path: Path, runtime: FakeRuntime | None = None, *, log_patience: float = 60.0) -> AsyncIterator[Bench]:
    """A bench whose files are below ``path``, with an engine of its own or the one that another bench left.

    Args:
        log_patience: seconds that keeping a log may take.
    """
    bench = Bench(path, runtime, log_patience=log_patience)
    await bench.database.open()
    try:
        yield bench
    finally:
        await bench.operations.close(0)
        await bench.database.close()
        bench.live.close()


def made_by(container: Container) -> str:
    """The deployment that made a container."""
    return container.labels[LABEL_DEPLOYMENT]
