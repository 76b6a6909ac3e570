"""Metrics, put together."""

from __future__ import annotations

from holdfast.config import Settings
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.health_gate import Clock
from holdfast.services.metrics import Metrics
from holdfast.store.database import Database
from holdfast.store.metrics import MetricsStore


def metrics_of(
    *,
    settings: Settings,
    installation: str,
    database: Database,
    runtime: ContainerRuntime,
    records: DeployRecords,
    clock: Clock,
) -> Metrics:
    """Build them. Nothing is sampled before they are started."""
    return Metrics(
        runtime=runtime,
        installation=installation,
        workload=records.workload,
        store=MetricsStore(database),
        interval=settings.metrics_interval,
        clock=clock,
    )
