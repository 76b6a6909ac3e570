"""Webhooks, put together."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.sealing import Sealing
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer
from holdfast.services.health_gate import SystemClock
from holdfast.services.operations import Operations
from holdfast.services.previews import Previews
from holdfast.services.promotions import Promotions
from holdfast.services.webhook_intake import MOST_WAITING, Intake
from holdfast.services.webhook_work import WebhookWork
from holdfast.services.webhooks import Webhooks
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore
from holdfast.store.webhooks import BindingStore, HookDeliveryStore


@dataclass(frozen=True, slots=True)
class WebhookParts:
    """What answers people and providers, and what applies deliveries."""

    webhooks: Webhooks
    work: WebhookWork


def webhooks_of(
    *,
    database: Database,
    sealing: Sealing,
    records: DeployRecords,
    deployer: Deployer,
    promotions: Promotions,
    previews: Previews,
    operations: Operations,
    runtime: ContainerRuntime,
) -> WebhookParts:
    """Build them. Nothing is applied before the work is started."""
    bindings = BindingStore(database)
    deliveries = HookDeliveryStore(database, most_waiting=MOST_WAITING)
    work = WebhookWork(
        bindings=bindings,
        deliveries=deliveries,
        records=records,
        deployer=deployer,
        promotions=promotions,
        previews=previews,
        operations=operations,
        operation_store=OperationStore(database),
        engine=runtime.info,
    )
    # the machine's own time: floods are counted by it, and signatures name it
    intake = Intake(
        bindings=bindings, deliveries=deliveries, sealing=sealing, clock=SystemClock(), arrived=work.arrived
    )
    webhooks = Webhooks(
        find=records.workload,
        bindings=bindings,
        deliveries=deliveries,
        sealing=sealing,
        intake=intake,
        arrived=work.arrived,
    )
    return WebhookParts(webhooks, work)
