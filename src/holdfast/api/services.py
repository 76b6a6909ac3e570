"""What the API needs of the services: narrow ports, so that its tests use small stand-ins.

The bootstrap hands over the real services; mypy checks there that they fit. ``ref`` is a workload's id or name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import HTTPConnection

from holdfast.domain.accounts import ApiToken, Principal, Role, Session, TokenScope, User
from holdfast.domain.audit import AuditEntry, AuditLine, Head
from holdfast.domain.backup import KeptBackups, PassphraseState
from holdfast.domain.clone import LikeSource
from holdfast.domain.container_import import ContainersProposal
from holdfast.domain.deployment import Deployment
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.domain.notice import Channel, ChannelSecrets
from holdfast.domain.operation import Operation
from holdfast.domain.promotion import Promotion
from holdfast.domain.registry import RegistryFacts
from holdfast.domain.repository import RepositoryFacts, RepositoryPlace, SecondRepository
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.snapshot import FolderFormat, Protection, SafetyKept, Snapshot
from holdfast.domain.webhook import Binding, HookDelivery
from holdfast.domain.workload import Quiesce, Workload, WorkloadSpec
from holdfast.engine.repository.browse import Folder
from holdfast.services.clones import CloneWish
from holdfast.services.data_rollbacks import DataRollbackPlan
from holdfast.services.deployment_changes import DeploymentDetail, DeployPlan
from holdfast.services.disk import DiskReport
from holdfast.services.doctor import Finding
from holdfast.services.health_watch import WorkloadHealth
from holdfast.services.image_care import KeptImage
from holdfast.services.metrics import WorkloadMetrics
from holdfast.services.monitoring import Family
from holdfast.services.notifications import ChannelState
from holdfast.services.paging import Page
from holdfast.services.previews import PreviewState, PreviewWish
from holdfast.services.restore_registry import Decision, Undecided
from holdfast.services.rollbacks import RollbackPlan
from holdfast.services.scheduler import Standing
from holdfast.services.secrets import SecretFacts
from holdfast.services.snapshot_files import Download
from holdfast.services.sources import SourceFacts
from holdfast.services.take_over_checks import TakeOverWish
from holdfast.services.unreadable_snapshots import UnreadableSnapshot
from holdfast.services.updates import Update
from holdfast.services.webhook_intake import Receipt
from holdfast.services.webhooks import BindingState
from holdfast.services.workloads import ApplyResult, WorkloadStatus
from holdfast.store.audit import AuditFilter


class WorkloadsPort(Protocol):
    async def apply(
        self,
        spec: WorkloadSpec,
        *,
        actor: str,
        create: bool | None = None,
        expect_id: str | None = None,
        made_from: Collection[str] | None = None,
        allowed: Callable[[WorkloadSpec | None], None] = ...,
    ) -> ApplyResult: ...

    async def preview(self, spec: WorkloadSpec) -> ApplyResult: ...

    async def get(self, ref: str) -> Workload: ...

    async def list(self, limit: int, cursor: str | None) -> Page[Workload]: ...

    async def statuses(self, limit: int, cursor: str | None) -> Page[WorkloadStatus]: ...

    async def status(self, ref: str) -> WorkloadStatus: ...

    async def delete(self, ref: str, *, delete_data: bool, actor: str) -> Operation: ...


class DeployerPort(Protocol):
    async def deploy(
        self,
        ref: str,
        *,
        image: str | None = None,
        accept_volumes: bool = False,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...

    async def start(self, ref: str, *, actor: str, idempotency_key: str | None = None) -> Operation: ...

    async def stop(self, ref: str, *, actor: str, idempotency_key: str | None = None) -> Operation: ...

    async def deployments(self, ref: str, limit: int, cursor: str | None) -> Page[Deployment]: ...


class LogsPort(Protocol):
    async def read(self, ref: str, query: LogQuery, *, tail: int) -> list[LogLine]: ...

    async def follow(self, ref: str, query: LogQuery, *, tail: int) -> AsyncGenerator[LogLine, None]: ...

    async def download(self, ref: str, query: LogQuery) -> tuple[str, AsyncGenerator[LogLine, None]]: ...


class MetricsPort(Protocol):
    async def of(
        self, ref: str, *, since: int | None = None, until: int | None = None, step: int | None = None
    ) -> WorkloadMetrics: ...


class HealthPort(Protocol):
    async def of(self, ref: str, *, since: int | None = None, until: int | None = None) -> WorkloadHealth: ...


class DiskPort(Protocol):
    async def report(self) -> DiskReport: ...


class MonitoringPort(Protocol):
    async def figures(self) -> tuple[Family, ...]: ...


class RollbacksPort(Protocol):
    async def plan(self, ref: str, deployment_id: str | None) -> RollbackPlan: ...

    async def rollback(
        self,
        ref: str,
        deployment_id: str,
        *,
        accept_volumes: bool = False,
        volumes_of_others: bool = True,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...


class DataRollbacksPort(Protocol):
    async def plan(self, ref: str, deployment_id: str | None) -> DataRollbackPlan: ...

    async def rollback(
        self,
        ref: str,
        deployment_id: str,
        *,
        confirm: str | None,
        accept_volumes: bool = False,
        dry_run: bool,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...


class PromotionsPort(Protocol):
    async def plan(self, ref: str, to: str) -> Promotion: ...

    async def promote(
        self,
        ref: str,
        to: str,
        deployment_id: str,
        *,
        accept_volumes: bool = False,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...


class DeploymentChangesPort(Protocol):
    async def plan(self, ref: str, image: str | None = None) -> DeployPlan: ...

    async def show(self, ref: str, deployment_id: str) -> DeploymentDetail: ...


class RegistriesPort(Protocol):
    async def add(self, host: str, username: str, password: str, *, actor: str) -> RegistryFacts: ...

    async def list(self) -> Sequence[RegistryFacts]: ...

    async def remove(self, host: str, *, actor: str) -> None: ...


class SecretsPort(Protocol):
    async def list(self, ref: str) -> tuple[SecretFacts, ...]: ...

    async def set(self, ref: str, name: str, value: str, *, actor: str) -> ApplyResult: ...

    async def remove(self, ref: str, name: str, *, actor: str) -> ApplyResult: ...

    async def import_env(
        self, ref: str, text: str, secret: Collection[str], *, dry_run: bool, actor: str
    ) -> ApplyResult: ...


class SnapshotsPort(Protocol):
    async def create(
        self, ref: str, *, quiesce: Quiesce | None = None, note: str, actor: str, idempotency_key: str | None = None
    ) -> Operation: ...

    async def list(self, ref: str, *, limit: int, cursor: str | None) -> Page[Snapshot]: ...

    async def list_all(self, *, of: str | None, limit: int, cursor: str | None) -> Page[Snapshot]: ...

    async def anywhere(self, sid: str) -> Snapshot: ...

    async def protection(self) -> Sequence[Protection]: ...

    async def safety_kept(self, ref: str) -> SafetyKept: ...

    async def get(self, ref: str, sid: str) -> Snapshot: ...

    async def delete(self, ref: str, sid: str, *, actor: str) -> None: ...

    async def set_pinned(self, ref: str, sid: str, pinned: bool, *, actor: str) -> Snapshot: ...  # noqa: FBT001 - the service's own signature

    async def verify(self, ref: str, sid: str, *, actor: str, idempotency_key: str | None = None) -> Operation: ...

    async def export(self, ref: str, sid: str) -> tuple[str, AsyncIterator[bytes]]: ...

    async def import_archive(
        self, ref: str, upload: Path, *, allow_links: bool, actor: str, idempotency_key: str | None = None
    ) -> Operation: ...


class SnapshotFilesPort(Protocol):
    async def folder(
        self, ref: str, snapshot_id: str, *, target: str | None, path: bytes, after: bytes, limit: int
    ) -> Folder: ...

    async def download(
        self, ref: str, snapshot_id: str, *, target: str | None, path: bytes, kind: FolderFormat
    ) -> Download: ...

    async def compare(self, ref: str, snapshot_id: str, *, against: str | None, actor: str) -> Operation: ...


class RepositoryCarePort(Protocol):
    async def prune(
        self, ref: str | None, *, dry_run: bool, actor: str, idempotency_key: str | None = None
    ) -> Operation: ...

    async def verify(self, *, percent: int, actor: str, idempotency_key: str | None = None) -> Operation: ...


class UnreadableSnapshotsPort(Protocol):
    async def list(self) -> Sequence[UnreadableSnapshot]: ...

    async def delete(self, sid: str, *, confirm: str | None, actor: str) -> None: ...


class RepositoriesPort(Protocol):
    async def add(
        self, name: str, place: RepositoryPlace, secret: str, *, encrypt: bool, take_over: bool
    ) -> SecondRepository: ...

    async def list(self) -> tuple[SecondRepository, ...]: ...

    async def get(self, name: str) -> SecondRepository: ...

    async def remove(self, name: str) -> None: ...

    async def test(self, name: str) -> RepositoryFacts: ...


class SecondSnapshotsPort(Protocol):
    async def list(self, name: str, *, workload: str | None, limit: int, cursor: str | None) -> Page[Snapshot]: ...

    async def get(self, name: str, sid: str) -> Snapshot: ...

    async def delete(self, name: str, sid: str) -> None: ...

    async def verify(self, name: str, sid: str, *, actor: str, idempotency_key: str | None = None) -> Operation: ...

    async def verify_all(
        self, name: str, *, percent: int, actor: str, idempotency_key: str | None = None
    ) -> Operation: ...

    async def prune(self, name: str, *, dry_run: bool, actor: str, idempotency_key: str | None = None) -> Operation: ...


class CopiesPort(Protocol):
    async def copy(
        self,
        name: str,
        *,
        workload: str,
        snapshot_id: str | None,
        limit_rate: int | None,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...


class RestoresPort(Protocol):
    async def restore(
        self,
        ref: str,
        sid: str,
        *,
        confirm: str | None,
        volumes: tuple[str, ...] | None,
        paths: tuple[bytes, ...] = (),
        on_unhealthy: OnUnhealthy | None,
        with_image: bool,
        create_missing: bool = False,
        accept_replaced: bool = False,
        repository: str | None = None,
        dry_run: bool,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...

    async def undo(
        self,
        ref: str,
        *,
        confirm: str | None,
        create_missing: bool = False,
        accept_replaced: bool = False,
        dry_run: bool,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation: ...

    async def undo_target(self, ref: str) -> Snapshot | None: ...

    async def undecided(self, ref: str) -> Undecided | None: ...

    async def kept_trees(self, ref: str) -> list[str]: ...

    async def decide(
        self, ref: str, choice: Decision, *, confirm: str | None, actor: str, idempotency_key: str | None = None
    ) -> Operation: ...


class ClonesPort(Protocol):
    async def into(
        self,
        wish: CloneWish,
        ref: str,
        *,
        on_unhealthy: OnUnhealthy | None = None,
        create_missing: bool = False,
        accept_replaced: bool = False,
    ) -> Operation: ...

    async def new(self, wish: CloneWish, wanted: WorkloadSpec | LikeSource) -> Operation: ...


class ContainersPort(Protocol):
    async def propose(self, names: Sequence[str], *, project: str | None) -> ContainersProposal: ...


class TakeOversPort(Protocol):
    async def begin(
        self,
        wishes: Sequence[TakeOverWish],
        *,
        confirm: str | None,
        accept_left_out: bool,
        keep: bool,
        actor: str,
    ) -> Operation: ...


class SourcesPort(Protocol):
    async def list(self) -> Sequence[SourceFacts]: ...


class DrillsPort(Protocol):
    async def start(
        self,
        ref: str,
        snapshot_id: str,
        *,
        command: Sequence[str] | None,
        actor: str,
        idempotency_key: str | None,
    ) -> Operation: ...


class PreviewsPort(Protocol):
    async def begin(self, ref: str, wish: PreviewWish) -> Operation: ...

    async def list(self, of: str | None) -> Sequence[PreviewState]: ...

    async def get(self, ref: str) -> PreviewState: ...

    async def end(
        self, ref: str, *, last_snapshot: bool | None, actor: str, idempotency_key: str | None
    ) -> Operation: ...


class OperationsPort(Protocol):
    async def get(self, operation_id: str) -> Operation: ...

    async def list(self, limit: int, cursor: str | None, workload_id: str | None) -> Page[Operation]: ...

    async def cancel(self, operation_id: str) -> Operation: ...

    def events(self, operation_id: str) -> AsyncIterator[Operation]: ...


class UpdatesPort(Protocol):
    def tell(self, update: Update) -> None: ...

    @property
    def position(self) -> str: ...

    def follow(self) -> AsyncIterator[tuple[str, frozenset[Update]]]: ...


class TokensPort(Protocol):
    async def setup_pending(self) -> bool: ...

    async def verify(self, token: str) -> Principal | None: ...

    async def create(
        self,
        user: User,
        name: str,
        *,
        role: Role,
        scopes: Collection[TokenScope] = (),
        lasts: float | None,
        actor: str,
    ) -> tuple[str, ApiToken]: ...

    async def list(self, user_id: str | None = None) -> tuple[ApiToken, ...]: ...

    async def remove(self, token_id: str, *, of_user: str | None, up_to: Role, actor: str) -> None: ...


class SessionsPort(Protocol):
    async def sign_in(self, name: str, password: str, *, address: str, agent: str) -> tuple[str, Session, User]: ...

    async def verify(self, secret: str) -> Principal | None: ...

    async def list(self, user_id: str) -> tuple[Session, ...]: ...

    async def end(self, user_id: str, session_id: str) -> None: ...

    async def end_all(self, user_id: str) -> int: ...


class AccountsPort(Protocol):
    async def list(self) -> tuple[User, ...]: ...

    async def get(self, name: str) -> User: ...

    async def user_of(self, caller: Principal) -> User: ...

    async def create(
        self, name: str, password: str, role: Role, *, actor: str, by_first_token: bool = False
    ) -> User: ...

    async def change(
        self, name: str, *, role: Role | None = None, disabled: bool | None = None, actor: str
    ) -> User: ...

    async def set_password(self, name: str, password: str, *, actor: str) -> User: ...

    async def change_password(self, caller: Principal, current: str, password: str, *, address: str) -> None: ...

    async def delete(self, name: str, *, actor: str) -> None: ...


class ReadinessPort(Protocol):
    def ready(self) -> tuple[bool, list[str]]: ...


class SchedulesPort(Protocol):
    async def list(self) -> tuple[Standing, ...]: ...

    async def of(self, subject: str) -> Standing | None: ...


class ImagesPort(Protocol):
    async def kept(self) -> tuple[KeptImage, ...]: ...

    async def prune(self, *, dry_run: bool, actor: str) -> Operation: ...


class NotificationsPort(Protocol):
    async def add(self, channel: Channel, secrets: ChannelSecrets) -> Channel: ...

    async def list(self) -> tuple[ChannelState, ...]: ...

    async def remove(self, name: str) -> None: ...

    async def test(self, name: str) -> None: ...


class WebhooksPort(Protocol):
    async def create(self, ref: str, wanted: Binding, secret: str, *, actor: str) -> tuple[Binding, str]: ...

    async def list(self, ref: str) -> Sequence[BindingState]: ...

    async def get(self, ref: str, binding_id: str) -> BindingState: ...

    async def delete(self, ref: str, binding_id: str, *, actor: str) -> None: ...

    async def deliveries(self, ref: str, binding_id: str, limit: int, cursor: str | None) -> Page[HookDelivery]: ...

    async def replay(self, ref: str, binding_id: str, delivery_id: str, *, actor: str) -> HookDelivery: ...

    async def receive(
        self, address: str, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]
    ) -> tuple[Receipt, ...]: ...


class BackupsPort(Protocol):
    async def list(self) -> KeptBackups: ...

    async def passphrase_state(self) -> PassphraseState: ...

    async def set_passphrase(self, passphrase: str) -> None: ...

    async def create(self, *, actor: str, idempotency_key: str | None = None) -> Operation: ...

    async def verify(
        self, backup_id: str, passphrase: str | None, *, actor: str, idempotency_key: str | None = None
    ) -> Operation: ...

    async def download(self, backup_id: str) -> Download: ...

    async def delete(self, backup_id: str, *, actor: str) -> None: ...


class BackupRestoresPort(Protocol):
    async def restore(
        self, backup_id: str, *, confirm: str | None, passphrase: str | None = None, actor: str
    ) -> Operation: ...


class AuditPort(Protocol):
    async def require_writable(self) -> None: ...

    async def record(self, entry: AuditEntry) -> None: ...

    async def head(self) -> Head: ...

    async def list(self, wanted: AuditFilter, limit: int, cursor: int | None) -> Page[AuditLine]: ...

    async def export(self) -> AsyncIterator[AuditLine]: ...


class DoctorPort(Protocol):
    async def findings(self) -> Sequence[Finding]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything behind the API.

    Attributes:
        uploads_dir: where archives are received; a directory of the server's own.
        max_upload_bytes: largest archive that is received.
        disk_reserve_bytes: what an upload leaves free on the filesystem of ``uploads_dir``.
        proxies: who says, standing before the server, where requests come from.
        tls: whether browsers reach the server by TLS, its own or a proxy's.
    """

    workloads: WorkloadsPort
    deployer: DeployerPort
    logs: LogsPort
    metrics: MetricsPort
    health: HealthPort
    disk: DiskPort
    monitoring: MonitoringPort
    rollbacks: RollbacksPort
    data_rollbacks: DataRollbacksPort
    promotions: PromotionsPort
    deployment_changes: DeploymentChangesPort
    registries: RegistriesPort
    secrets: SecretsPort
    snapshots: SnapshotsPort
    snapshot_files: SnapshotFilesPort
    images: ImagesPort
    care: RepositoryCarePort
    unreadable: UnreadableSnapshotsPort
    repositories: RepositoriesPort
    second_snapshots: SecondSnapshotsPort
    copies: CopiesPort
    restores: RestoresPort
    clones: ClonesPort
    containers: ContainersPort
    take_overs: TakeOversPort
    drills: DrillsPort
    previews: PreviewsPort
    sources: SourcesPort
    operations: OperationsPort
    updates: UpdatesPort
    accounts: AccountsPort
    sessions: SessionsPort
    tokens: TokensPort
    readiness: ReadinessPort
    doctor: DoctorPort
    schedules: SchedulesPort
    notifications: NotificationsPort
    webhooks: WebhooksPort
    audit: AuditPort
    backups: BackupsPort
    backup_restores: BackupRestoresPort
    uploads_dir: Path
    max_upload_bytes: int
    disk_reserve_bytes: int
    proxies: tuple[IPv4Network | IPv6Network, ...]
    tls: bool


async def services_of(connection: HTTPConnection) -> ApiServices:
    """The services that the application was created with. Asynchronous, as what is not is given a thread."""
    services = connection.app.state.services
    assert isinstance(services, ApiServices)
    return services


Services = Annotated[ApiServices, Depends(services_of)]
