"""What deploys, and what a deploy needs."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.bootstrap.base import Base
from holdfast.bootstrap.logs import kept_logs_of
from holdfast.domain.deployment import REPEATING
from holdfast.domain.workload import WorkloadSpec
from holdfast.edge.port import Edge
from holdfast.engine.kept_logs import KeptLogFiles
from holdfast.services.capture import Capture
from holdfast.services.data_returns import DataReturns, RestoreLocked
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deploy_snapshots import DeploySnapshots
from holdfast.services.deployer import Deployer
from holdfast.services.engine_volumes import EngineVolumes
from holdfast.services.health_gate import HealthGate
from holdfast.services.hooks import HookRunner
from holdfast.services.image_care import ImageCare
from holdfast.services.image_source import ImageSource
from holdfast.services.instances import Instances
from holdfast.services.last_snapshots import LastSnapshots
from holdfast.services.log_keeping import LogKeeping
from holdfast.services.promotions import Promotions
from holdfast.services.quiesce import Quiescer
from holdfast.services.ran import RanVersions
from holdfast.services.reaper import Reaper
from holdfast.services.registries import Registries
from holdfast.services.replacement import Replacement
from holdfast.services.repositories import Repositories
from holdfast.services.rollbacks import Rollbacks
from holdfast.services.rollout import Rollout
from holdfast.services.sealed_values import SealedValues
from holdfast.services.secrets import Secrets
from holdfast.services.sharing import Sharing
from holdfast.services.sightings import Sightings
from holdfast.services.snapshots import former_workload
from holdfast.services.sources import Sources
from holdfast.services.traffic import Traffic
from holdfast.services.trials import Trials
from holdfast.services.volume_removal import WorkerDataRemover
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import Workloads
from holdfast.store.previews import PreviewStore
from holdfast.store.registries import RegistryStore
from holdfast.store.repositories import RepositoryNames
from holdfast.store.secrets import SecretStore
from holdfast.store.volume_states import VolumeStateStore
from holdfast.store.workload_records import WorkloadRecordStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploying:
    """What it is made of, as far as others need it."""

    volumes: VolumeResolver
    sealed_values: SealedValues
    kept_logs: KeptLogFiles
    instances: Instances
    quiescer: Quiescer
    registries: Registries
    images: ImageSource
    image_sources: Sources
    records: DeployRecords
    image_care: ImageCare
    ran: RanVersions
    sharing: Sharing
    capture: Capture
    rollout: Rollout
    data_returns: DataReturns
    edge: Edge | None
    traffic: Traffic
    deployer: Deployer
    reaper: Reaper
    deletion: WorkloadDeletion
    repositories: Repositories
    sightings: Sightings
    workloads: Workloads
    secrets: Secrets
    promotions: Promotions
    rollbacks: Rollbacks


def deploying_of(base: Base, restore_locked: RestoreLocked) -> Deploying:
    """Build it.

    Args:
        restore_locked: brings data back within a deploy; restores redeploy, so that they are made later.
    """
    named = EngineVolumes(base.settings, base.installation, base.runtime, base.roots)
    volumes = VolumeResolver(base.settings, base.roots, VolumeStateStore(base.database), named)
    secret_store = SecretStore(base.database)
    sealed_values = SealedValues(secret_store, base.sealing)
    kept_logs = kept_logs_of(base.settings, base.fs)
    log_keeping = LogKeeping(base.runtime, kept_logs, sealed_values)
    instances = Instances(base.runtime, base.installation, volumes, sealed_values, log_keeping)
    quiescer = Quiescer(base.runtime, base.installation)
    registries = Registries(RegistryStore(base.database), base.sealing, base.runtime)
    images = ImageSource(base.runtime, base.installation, registries.login_for)
    image_sources = Sources(images, engine=base.settings.docker_host, patience=base.settings.source_timeout)
    records = DeployRecords(base.deployment_store, base.workload_store, images)
    image_care = ImageCare(
        runtime=base.runtime,
        installation=base.installation,
        records=records,
        operations=base.operations,
        restore_pending=base.registry.unfinished,
        locks=base.locks,
    )
    ran = RanVersions(records)
    sharing = Sharing(workloads=base.workload_store, deployments=base.deployment_store, volumes=volumes)
    hooks = HookRunner(base.runtime, sealed_values)
    capture = Capture(
        installation=base.installation,
        workloads=base.workload_store,
        volumes=volumes,
        sharing=sharing,
        runtime=base.runtime,
        quiescer=quiescer,
        hooks=hooks,
        holds=base.holds,
        store=base.stores,
        locks=base.locks,
        workers=base.workers,
        registry=base.registry,
        ran=ran,
    )
    deploy_snapshots = DeploySnapshots(records=records, sharing=sharing, capture=capture, workers=base.workers)
    rollout = Rollout(
        runtime=base.runtime,
        instances=instances,
        gate=HealthGate(base.runtime, base.settings, base.seams.clock),
        quiescer=quiescer,
        volumes=volumes,
        secrets=sealed_values,
    )

    data_returns = DataReturns(
        records=records,
        instances=instances,
        rollout=rollout,
        sharing=sharing,
        undecided=base.registry.pending,
        restore=restore_locked,
    )
    edge = base.seams.edge(base.settings, base.installation)
    traffic = Traffic(edge=edge, records=records, instances=instances, clock=base.seams.clock)
    deployer = Deployer(
        operations=base.operations,
        barrier=base.barrier,
        locks=base.locks,
        require_decided=base.registry.require_decided,
        records=records,
        images=images,
        sources=image_sources,
        replacement=Replacement(
            records=records,
            images=images,
            image_care=image_care,
            instances=instances,
            rollout=rollout,
            snapshots=deploy_snapshots,
            data=data_returns,
            traffic=traffic,
        ),
        snapshots=deploy_snapshots,
        trials=Trials(records=records, rollout=rollout, hooks=hooks, instances=instances, traffic=traffic),
    )
    reaper = Reaper(base.files)
    deletion = WorkloadDeletion(
        store=base.workload_store,
        volumes=volumes,
        named=named,
        locks=base.locks,
        operations=base.operations,
        runtime=base.runtime,
        instances=instances,
        data=WorkerDataRemover(base.workers),
        last=LastSnapshots(capture=capture, sharing=sharing, volumes=volumes, workers=base.workers),
        leftovers=reaper,
        images=image_care,
        logs=log_keeping,
        restore_pending=base.registry.pending,
        traffic=traffic,
    )

    repositories = Repositories(
        settings=base.settings, installation=base.installation, fs=base.fs, names=RepositoryNames(base.database)
    )

    async def former_id(spec: WorkloadSpec) -> str | None:
        return await former_workload(base.stores, base.workload_store, spec, repositories.manifests)

    sightings = Sightings(base.runtime, base.installation)
    workloads = Workloads(
        store=base.workload_store,
        deployments=base.deployment_store,
        records=WorkloadRecordStore(base.database, REPEATING),
        volumes=volumes,
        locks=base.locks,
        runtime=base.runtime,
        instances=instances,
        sightings=sightings,
        deletion=deletion,
        secrets=sealed_values,
        restore_pending=base.registry.pending,
        former_id=former_id,
        preview_of=PreviewStore(base.database).of,
        traffic=traffic,
        check_source=image_sources.check,
    )
    secrets = Secrets(
        workloads=workloads,
        store=secret_store,
        values=sealed_values,
        locks=base.locks,
        everyone=base.workload_store.list,
        require_decided=base.registry.require_decided,
    )
    promotions = Promotions(deployer=deployer, records=records, instances=instances)
    rollbacks = Rollbacks(deployer=deployer, records=records, images=images)
    return Deploying(
        volumes=volumes,
        sealed_values=sealed_values,
        kept_logs=kept_logs,
        instances=instances,
        quiescer=quiescer,
        registries=registries,
        images=images,
        image_sources=image_sources,
        records=records,
        image_care=image_care,
        ran=ran,
        sharing=sharing,
        capture=capture,
        rollout=rollout,
        data_returns=data_returns,
        edge=edge,
        traffic=traffic,
        deployer=deployer,
        reaper=reaper,
        deletion=deletion,
        repositories=repositories,
        sightings=sightings,
        workloads=workloads,
        secrets=secrets,
        promotions=promotions,
        rollbacks=rollbacks,
    )
