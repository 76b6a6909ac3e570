"""Small in-memory services for the tests of the API, and a client in front of them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from holdfast.api.services import ApiServices
from holdfast.domain.accounts import ApiToken, Principal, Role, Session, TokenScope, User
from holdfast.domain.audit import EMPTY, AuditEntry, AuditLine, Head, next_line
from holdfast.domain.backup import Backup, BackupReason, KeptBackups, PassphraseState
from holdfast.domain.changes import changes
from holdfast.domain.clone import LikeSource
from holdfast.domain.container_import import ContainersProposal, ForeignContainer, propose_containers
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason, Rollback
from holdfast.domain.disk import Cause, DiskItem, Forecast, VolumeSize, cause_use
from holdfast.domain.errors import Conflict, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.health_history import Health, Held
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.domain.metrics import Used, metrics_query, time_asked_for
from holdfast.domain.notice import Channel, ChannelKind, ChannelSecrets, Webhook
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.preview import Preview
from holdfast.domain.promotion import Promotion
from holdfast.domain.registry import RegistryFacts
from holdfast.domain.repository import RepositoryFacts, RepositoryKind, RepositoryPlace, SecondRepository
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.schedule import Run, RunResult, Schedule, ScheduleHealth, ScheduleKind, ScheduleState
from holdfast.domain.snapshot import (
    CapturedVolume,
    Consistency,
    FolderFormat,
    Protection,
    SafetyKept,
    Snapshot,
    SnapshotManifest,
    SnapshotReason,
)
from holdfast.domain.times import parse
from holdfast.domain.told import Told, told
from holdfast.domain.webhook import Binding, DeliveryState, Happening, HookDelivery, HookEvent, Provider
from holdfast.domain.workload import DesiredState, Quiesce, Resources, Scope, Volume, Workload, WorkloadSpec
from holdfast.engine.repository.browse import Folder
from holdfast.engine.space import FilesystemSpace
from holdfast.services.clones import CloneWish
from holdfast.services.data_rollbacks import DataRollbackPlan
from holdfast.services.deployment_changes import DeploymentDetail, DeployPlan
from holdfast.services.disk import DiskReport
from holdfast.services.doctor import Finding, FindingLevel
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
from holdfast.services.secrets import SecretFacts, SecretState
from holdfast.services.snapshot_files import Download
from holdfast.services.sources import SourceFacts
from holdfast.services.take_over_checks import TakeOverWish
from holdfast.services.unreadable_snapshots import UnreadableSnapshot
from holdfast.services.updates import EVERYTHING, Update
from holdfast.services.webhook_intake import Receipt, Refusals
from holdfast.services.webhooks import BindingState
from holdfast.services.workload_status import Condition, WorkloadStatus
from holdfast.services.workloads import ApplyResult
from holdfast.store.audit import AuditFilter

AT = "2026-11-23T09:00:00.000000Z"
WORKLOAD_ID = "01jzzzzzzzzzzzzzzzzzzzzzz0"
SNAPSHOT_ID = "01jzzzzzzzzzzzzzzzzzzzzzz1"
OPERATION_ID = "01jzzzzzzzzzzzzzzzzzzzzzz2"
FOREIGN = ForeignContainer(
    container={
        "Id": "f" * 64,
        "Name": "/blog",
        "Config": {"Image": "blog:1", "Env": ["TZ=UTC", "DB_PASSWORD=sesame"]},
        "HostConfig": {"Privileged": True, "RestartPolicy": {"Name": "always"}},
        "Mounts": [{"Type": "bind", "Source": "/srv/blog", "Destination": "/data", "RW": True}],
    },
    image={"RepoTags": ["blog:1"]},
)
"""A container that others made."""
TOKENS = {role: f"hf_{role}" for role in Role}
SESSIONS = {role: f"hfs_{role}" for role in Role}
USER = User(
    id="01jzzzzzzzzzzzzzzzzzzzzzz3", name="ann", role=Role.ADMIN, password="kept", created_at=AT, password_set_at=AT
)
SESSION = Session(
    id="01jzzzzzzzzzzzzzzzzzzzzzz4",
    user_id=USER.id,
    created_at=AT,
    used_at=AT,
    expires_at=AT,
    address="192.0.2.7",
    agent="a browser",
)
API_TOKEN = ApiToken(
    id="01jzzzzzzzzzzzzzzzzzzzzzz5",
    user_id=USER.id,
    user="ann",
    name="ci",
    role=Role.OPERATOR,
    scopes=(TokenScope.DEPLOYMENTS,),
    created_at=AT,
    expires_at=AT,
)

SPEC = WorkloadSpec(
    name="notes",
    image="notes:1",
    project="notes",
    volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),),
)
WORKLOAD = Workload(id=WORKLOAD_ID, spec=SPEC, desired=DesiredState.RUNNING, created_at=AT, updated_at=AT)
PREVIEW = PreviewState(
    preview=Preview(
        workload_id=WORKLOAD_ID,
        parent_id=WORKLOAD_ID,
        parent="notes",
        key="feature/x",
        expires=3600.0,
        expires_at=AT,
        last_snapshot=True,
        created_by="ann",
    ),
    workload=WORKLOAD,
    deployment=DeploymentState.FAILED,
)
DEPLOYMENT = Deployment(
    id=OPERATION_ID,
    workload_id=WORKLOAD_ID,
    state=DeploymentState.SUCCEEDED,
    reason=DeployReason.DEPLOY,
    spec=SPEC,
    image_id="sha256:0",
    digest=None,
    operation_id=OPERATION_ID,
    started_at=AT,
)
EARLIER = dataclasses.replace(DEPLOYMENT, spec=dataclasses.replace(SPEC, image="notes:0", env=(("TZ", "UTC"),)))
SNAPSHOT = Snapshot(
    manifest=SnapshotManifest(
        id=SNAPSHOT_ID,
        workload_id=WORKLOAD_ID,
        workload_name="notes",
        created_at=AT,
        reason=SnapshotReason.MANUAL,
        consistency=Consistency.PAUSED,
        volumes=(CapturedVolume(index=0, target="/data", scope=Scope.STAGE, source="data", files=3, bytes=10),),
    )
)

SECOND = SecondRepository(
    id=OPERATION_ID,
    name="far",
    place=RepositoryPlace(
        kind=RepositoryKind.S3, bucket="bucket", endpoint="https://s3.example", region="eu", access_key_id="AKIA"
    ),
    repository_id=SNAPSHOT_ID,
    encrypted=True,
    created_at=AT,
)

STANDING = Standing(
    schedule=Schedule(
        kind=ScheduleKind.SNAPSHOT, subject=WORKLOAD_ID, name="notes", cron="0 3 * * *", zone="Europe/Berlin"
    ),
    state=ScheduleState(
        cron="0 3 * * *",
        zone="Europe/Berlin",
        reckoned_at=parse(AT),
        due_at=parse(AT),
        last=Run(
            due_at=parse(AT),
            started_at=parse(AT),
            finished_at=parse(AT),
            operation_id=OPERATION_ID,
            result=RunResult.FAILED,
            code="pre_snapshot_failed",
            message="The hook failed.",
        ),
        failures=2,
    ),
    health=ScheduleHealth.FAILED,
    next_at=parse(AT),
)


def operation(kind: OperationKind = OperationKind.DEPLOY, **fields: Any) -> Operation:
    given = {"id": OPERATION_ID, "state": OperationState.RUNNING, "workload_id": WORKLOAD_ID, "actor": "a"} | fields
    return Operation(kind=kind, created_at=AT, **given)


def left_in(directory: Path) -> list[str]:
    """What lies in a directory."""
    return [path.name for path in directory.iterdir()]


class Recorder:
    """Remembers calls, and fails the next one if told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failure: Exception | None = None

    def record(self, name: str, /, **arguments: Any) -> None:
        self.calls.append((name, arguments))
        if self.failure is not None:
            raise self.failure

    @property
    def last(self) -> dict[str, Any]:
        return self.calls[-1][1]


class StandInWorkloads(Recorder):
    known = True
    workload = WORKLOAD
    meanwhile: Workload | None = None
    """What it has become before an apply has its turn."""
    refuses_preview: Refused | None = None

    async def apply(
        self,
        spec: WorkloadSpec,
        *,
        actor: str,
        create: bool | None = None,
        expect_id: str | None = None,
        made_from: Collection[str] | None = None,
        allowed: Callable[[WorkloadSpec | None], None] = lambda _before: None,
    ) -> ApplyResult:
        if self.meanwhile is not None:
            allowed(self.meanwhile.spec)
        self.record("apply", spec=spec, actor=actor, create=create, expect_id=expect_id, made_from=made_from)
        created = create is True or expect_id is None
        return ApplyResult(workload=WORKLOAD, created=created, changes=changes(None, spec))

    async def preview(self, spec: WorkloadSpec) -> ApplyResult:
        self.record("preview", spec=spec)
        if self.refuses_preview is not None:
            raise self.refuses_preview
        return ApplyResult(workload=None, created=True, changes=changes(None, spec))

    async def get(self, ref: str) -> Workload:
        self.record("get", ref=ref)
        if not self.known or ref not in (WORKLOAD_ID, "notes"):
            raise NotFound("workload_unknown", f"There is no workload {ref}.", next_step="Look.")
        return self.workload

    async def list(self, limit: int, cursor: str | None) -> Page[Workload]:
        self.record("list", limit=limit, cursor=cursor)
        return Page((WORKLOAD,), WORKLOAD_ID)

    async def status(self, ref: str) -> WorkloadStatus:
        self.record("status", ref=ref)
        return WorkloadStatus(
            workload=WORKLOAD,
            condition=Condition.DOWN,
            desired=DesiredState.RUNNING,
            instances=(),
            last_deployment=DEPLOYMENT,
            deployed=None,
            differences=(),
            pending=(),
        )

    async def statuses(self, limit: int, cursor: str | None) -> Page[WorkloadStatus]:
        status = await self.status("notes")
        self.record("statuses", limit=limit, cursor=cursor)
        return Page((status,), WORKLOAD_ID)

    async def delete(self, ref: str, *, delete_data: bool, actor: str) -> Operation:
        self.record("delete", ref=ref, delete_data=delete_data, actor=actor)
        return operation(OperationKind.DELETE)


class StandInDeploymentChanges(Recorder):
    async def plan(self, ref: str, image: str | None = None) -> DeployPlan:
        self.record("plan", ref=ref, image=image)
        problem = Problem(code="secret_not_set", message="KEY has no value.", next_step="Set it.")
        return DeployPlan(image=SPEC.image, since=EARLIER, changes=changes(EARLIER.spec, SPEC), problems=[problem])

    async def show(self, ref: str, deployment_id: str) -> DeploymentDetail:
        self.record("show", ref=ref, deployment_id=deployment_id)
        return DeploymentDetail(deployment=DEPLOYMENT, before=EARLIER, changes=changes(EARLIER.spec, SPEC))


class StandInRegistries(Recorder):
    facts = RegistryFacts(host="registry.example:5000", username="ann", set_at=AT, readable=True)

    async def add(self, host: str, username: str, password: str, *, actor: str) -> RegistryFacts:
        self.record("add", host=host, username=username, password=password, actor=actor)
        return self.facts

    async def list(self) -> Sequence[RegistryFacts]:
        self.record("list")
        return [self.facts]

    async def remove(self, host: str, *, actor: str) -> None:
        self.record("remove", host=host, actor=actor)


class StandInSecrets(Recorder):
    async def list(self, ref: str) -> tuple[SecretFacts, ...]:
        self.record("list", ref=ref)
        return (
            SecretFacts(name="KEY", state=SecretState.SET, set_at=AT),
            SecretFacts(name="NEW", state=SecretState.NOT_SET, set_at=""),
        )

    async def set(self, ref: str, name: str, value: str, *, actor: str) -> ApplyResult:
        self.record("set", ref=ref, name=name, value=value, actor=actor)
        return ApplyResult(workload=WORKLOAD, created=False, changes=())

    async def remove(self, ref: str, name: str, *, actor: str) -> ApplyResult:
        self.record("remove", ref=ref, name=name, actor=actor)
        return ApplyResult(workload=WORKLOAD, created=False, changes=())

    async def import_env(
        self, ref: str, text: str, secret: Collection[str], *, dry_run: bool, actor: str
    ) -> ApplyResult:
        self.record("import_env", ref=ref, text=text, secret=secret, dry_run=dry_run, actor=actor)
        return ApplyResult(workload=WORKLOAD, created=False, changes=())


class StandInDeployer(Recorder):
    async def deploy(
        self,
        ref: str,
        *,
        image: str | None = None,
        accept_volumes: bool = False,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        self.record(
            "deploy",
            ref=ref,
            image=image,
            accept_volumes=accept_volumes,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        return operation()

    async def plan(self, ref: str, deployment_id: str | None) -> RollbackPlan:
        self.record("plan", ref=ref, deployment_id=deployment_id)
        return RollbackPlan(rollback=Rollback.of(WORKLOAD, EARLIER), image_here=False)

    async def rollback(
        self,
        ref: str,
        deployment_id: str,
        *,
        accept_volumes: bool = False,
        volumes_of_others: bool = True,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        self.record(
            "rollback",
            ref=ref,
            deployment_id=deployment_id,
            accept_volumes=accept_volumes,
            volumes_of_others=volumes_of_others,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        return operation(OperationKind.ROLLBACK)

    async def start(self, ref: str, **wanted: Any) -> Operation:
        self.record("start", ref=ref, **wanted)
        return operation(OperationKind.START)

    async def stop(self, ref: str, **wanted: Any) -> Operation:
        self.record("stop", ref=ref, **wanted)
        return operation(OperationKind.STOP)

    async def deployments(self, ref: str, limit: int, cursor: str | None) -> Page[Deployment]:
        self.record("deployments", ref=ref, limit=limit, cursor=cursor)
        return Page((DEPLOYMENT,))


class StandInMetrics(Recorder):
    async def of(
        self, ref: str, *, since: int | None = None, until: int | None = None, step: int | None = None
    ) -> WorkloadMetrics:
        self.record("of", ref=ref, since=since, until=until, step=step)
        query = metrics_query(since=since, until=until, step=step, now=int(parse(AT).timestamp()), interval=60)
        used = Used(
            at=query.since, seconds=60, cpu=15_000, cpu_max=500, memory=1024, memory_max=2048, received=120, sent=60
        )
        size = VolumeSize(workload_id=WORKLOAD_ID, target="/data", at=query.since, bytes=10)
        return WorkloadMetrics(query=query, limits=Resources(memory=4096), points=(used,), volumes=(size,))


class StandInHealth(Recorder):
    async def of(self, ref: str, *, since: int | None = None, until: int | None = None) -> WorkloadHealth:
        self.record("of", ref=ref, since=since, until=until)
        since, until = time_asked_for(since, until, now=int(parse(AT).timestamp()), usual=3600)
        return WorkloadHealth(
            since=since, until=until, states=(Held(since, Health.HEALTHY), Held(until - 60, Health.DOWN))
        )


class StandInDisk:
    async def report(self) -> DiskReport:
        space = FilesystemSpace(
            mount_point="/", device="8:1", type="ext4", free_bytes=40, free_inodes=1, total_bytes=100
        )
        items = (DiskItem(name="notes:/data", bytes=10, at=int(parse(AT).timestamp())), DiskItem(name="b", bytes=None))
        forecast = Forecast(since=int(parse(AT).timestamp()), bytes_per_day=5, full_at=int(parse(AT).timestamp()))
        return DiskReport(filesystems=(space,), forecasts={"/": forecast}, causes=(cause_use(Cause.VOLUMES, items),))


class StandInMonitoring:
    async def figures(self) -> tuple[Family, ...]:
        return (
            Family(name="holdfast_ready", help="Whether.", values={(): 1}),
            Family(
                name="holdfast_operations_ended",
                help="How many.",
                labels=("kind", "state"),
                values={("deploy", 'a "b"\n'): 2},
                counts=True,
            ),
            Family(name="holdfast_snapshots", help="None.", labels=("workload",), values={}),
        )


class StandInLogs(Recorder):
    lines = (
        LogLine(at=AT, instance="notes-1", stream="stdout", text="hello"),
        LogLine(at=AT, instance="notes-1", stream="stderr", text="a\nb"),
    )
    breaks: HoldfastError | None = None

    async def read(self, ref: str, query: LogQuery, *, tail: int) -> list[LogLine]:
        self.record("read", ref=ref, query=query, tail=tail)
        return list(self.lines)

    async def follow(self, ref: str, query: LogQuery, *, tail: int) -> AsyncGenerator[LogLine, None]:
        self.record("follow", ref=ref, query=query, tail=tail)
        return self._lines()

    async def download(self, ref: str, query: LogQuery) -> tuple[str, AsyncGenerator[LogLine, None]]:
        self.record("download", ref=ref, query=query)
        return "notes", self._lines()

    async def _lines(self) -> AsyncGenerator[LogLine, None]:
        for line in self.lines:
            yield line
        if self.breaks is not None:
            raise self.breaks


class StandInDataRollbacks(Recorder):
    async def plan(self, ref: str, deployment_id: str | None) -> DataRollbackPlan:
        self.record("plan", ref=ref, deployment_id=deployment_id)
        plan = RollbackPlan(rollback=Rollback.of(WORKLOAD, EARLIER), image_here=True)
        return DataRollbackPlan(plan=plan, snapshot=SNAPSHOT)

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
    ) -> Operation:
        self.record(
            "rollback",
            ref=ref,
            deployment_id=deployment_id,
            confirm=confirm,
            accept_volumes=accept_volumes,
            dry_run=dry_run,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        return operation(OperationKind.ROLLBACK)


class StandInPromotions(Recorder):
    async def plan(self, ref: str, to: str) -> Promotion:
        self.record("plan", ref=ref, to=to)
        return Promotion(source=WORKLOAD, deployment=EARLIER, target=WORKLOAD, digest="notes@sha256:0", changes=())

    async def promote(
        self,
        ref: str,
        to: str,
        deployment_id: str,
        *,
        accept_volumes: bool = False,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        self.record(
            "promote",
            ref=ref,
            to=to,
            deployment_id=deployment_id,
            accept_volumes=accept_volumes,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        return operation(OperationKind.PROMOTE)


class StandInContainers(Recorder):
    async def propose(self, names: Sequence[str], *, project: str | None) -> ContainersProposal:
        self.record("propose", names=names, project=project)
        return propose_containers([FOREIGN], project=project, volumes={}, files=())


class StandInTakeOvers(Recorder):
    async def begin(
        self,
        wishes: Sequence[TakeOverWish],
        *,
        confirm: str | None,
        accept_left_out: bool,
        keep: bool,
        actor: str,
    ) -> Operation:
        self.record("begin", wishes=wishes, confirm=confirm, accept_left_out=accept_left_out, keep=keep, actor=actor)
        return operation(OperationKind.TAKE_OVER)


class StandInSources:
    problem: Problem | None = None

    async def list(self) -> Sequence[SourceFacts]:
        return (SourceFacts(name="image", provided_by="holdfast 1", problem=self.problem),)


class StandInSnapshots(Recorder):
    uploaded: tuple[bytes, int] | None = None

    async def protection(self) -> Sequence[Protection]:
        return (Protection(workload_id=WORKLOAD_ID, has_data=True, scheduled=False, count=1, last_at=AT),)

    def _look(self, upload: Path) -> tuple[bytes, int]:
        return upload.read_bytes(), upload.stat().st_mode & 0o777

    async def create(
        self, ref: str, *, quiesce: Quiesce | None = None, note: str, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        self.record("create", ref=ref, quiesce=quiesce, note=note, actor=actor, idempotency_key=idempotency_key)
        return operation(OperationKind.SNAPSHOT)

    async def list(self, ref: str, *, limit: int, cursor: str | None) -> Page[Snapshot]:
        self.record("list", ref=ref, limit=limit, cursor=cursor)
        return Page((SNAPSHOT,))

    async def list_all(self, *, of: str | None, limit: int, cursor: str | None) -> Page[Snapshot]:
        self.record("list_all", of=of, limit=limit, cursor=cursor)
        return Page((SNAPSHOT,))

    async def anywhere(self, sid: str) -> Snapshot:
        self.record("anywhere", sid=sid)
        return SNAPSHOT

    async def safety_kept(self, ref: str) -> SafetyKept:
        self.record("safety_kept", ref=ref)
        return SafetyKept(count=2, stored_bytes=30, oldest_id=SNAPSHOT_ID, oldest_at=AT)

    async def get(self, ref: str, sid: str) -> Snapshot:
        self.record("get", ref=ref, sid=sid)
        return SNAPSHOT

    async def delete(self, ref: str, sid: str, *, actor: str) -> None:
        self.record("delete", ref=ref, sid=sid, actor=actor)

    async def set_pinned(self, ref: str, sid: str, pinned: bool, *, actor: str) -> Snapshot:
        self.record("set_pinned", ref=ref, sid=sid, pinned=pinned, actor=actor)
        return SNAPSHOT

    async def verify(self, ref: str, sid: str, **wanted: Any) -> Operation:
        self.record("verify", ref=ref, sid=sid, **wanted)
        return operation(OperationKind.VERIFY)

    async def export(self, ref: str, sid: str) -> tuple[str, AsyncIterator[bytes]]:
        self.record("export", ref=ref, sid=sid)
        return 'no"tes\r\n.tar.zst', self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield b"tar"
        yield b"ball"

    async def import_archive(
        self, ref: str, upload: Path, *, allow_links: bool, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        self.uploaded = self._look(upload)
        given = {"allow_links": allow_links, "actor": actor, "idempotency_key": idempotency_key}
        self.record("import_archive", ref=ref, upload=upload, **given)
        return operation(OperationKind.IMPORT)


class StandInRestores(Recorder):
    target: Snapshot | None = SNAPSHOT
    waiting: Undecided | None = None
    kept: tuple[str, ...] = ()

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
    ) -> Operation:
        self.record(
            "restore",
            ref=ref,
            sid=sid,
            confirm=confirm,
            volumes=volumes,
            paths=paths,
            on_unhealthy=on_unhealthy,
            with_image=with_image,
            create_missing=create_missing,
            accept_replaced=accept_replaced,
            repository=repository,
            dry_run=dry_run,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        return operation(OperationKind.RESTORE)

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
    ) -> Operation:
        accepted = {"create_missing": create_missing, "accept_replaced": accept_replaced}
        given = {"dry_run": dry_run, "actor": actor, "idempotency_key": idempotency_key}
        self.record("undo", ref=ref, confirm=confirm, **accepted, **given)
        return operation(OperationKind.UNDO)

    async def undo_target(self, ref: str) -> Snapshot | None:
        self.record("undo_target", ref=ref)
        return self.target

    async def undecided(self, ref: str) -> Undecided | None:
        self.record("undecided", ref=ref)
        return self.waiting

    async def kept_trees(self, ref: str) -> list[str]:
        self.record("kept_trees", ref=ref)
        return list(self.kept)

    async def decide(
        self, ref: str, choice: Decision, *, confirm: str | None, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        given = {"confirm": confirm, "actor": actor, "idempotency_key": idempotency_key}
        self.record("decide", ref=ref, choice=choice, **given)
        return operation(OperationKind.RESTORE)


class StandInClones(Recorder):
    async def into(
        self,
        wish: CloneWish,
        ref: str,
        *,
        on_unhealthy: OnUnhealthy | None = None,
        create_missing: bool = False,
        accept_replaced: bool = False,
    ) -> Operation:
        self.record(
            "into",
            wish=wish,
            ref=ref,
            on_unhealthy=on_unhealthy,
            create_missing=create_missing,
            accept_replaced=accept_replaced,
        )
        return operation(OperationKind.CLONE)

    async def new(self, wish: CloneWish, wanted: WorkloadSpec | LikeSource) -> Operation:
        self.record("new", wish=wish, wanted=wanted)
        return operation(OperationKind.CLONE)


class StandInOperations(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.states = [operation(), operation(state=OperationState.SUCCEEDED, outcome={"result": "restored"})]

    async def get(self, operation_id: str) -> Operation:
        self.record("get", operation_id=operation_id)
        if operation_id != OPERATION_ID:
            raise NotFound("operation_unknown", f"There is no operation {operation_id}.")
        return self.states[0]

    async def list(self, limit: int, cursor: str | None, workload_id: str | None) -> Page[Operation]:
        self.record("list", limit=limit, cursor=cursor, workload_id=workload_id)
        return Page((self.states[0],))

    async def cancel(self, operation_id: str) -> Operation:
        self.record("cancel", operation_id=operation_id)
        if self.states[0].state.ended:
            raise Conflict("not_cancellable", "It has ended.")
        return self.states[0]

    async def events(self, operation_id: str) -> AsyncIterator[Operation]:
        for state in self.states:
            yield state


class StandInUpdates:
    def __init__(self) -> None:
        self.told: list[Update] = []
        self.position = "here-1"

    def tell(self, update: Update) -> None:
        self.told.append(update)

    async def follow(self) -> AsyncIterator[tuple[str, frozenset[Update]]]:
        yield self.position, frozenset({EVERYTHING})
        yield "here-2", frozenset({Update(part=TokenScope.SNAPSHOTS, workload_id=WORKLOAD_ID)})


class StandInTokens:
    async def setup_pending(self) -> bool:
        return True

    async def verify(self, token: str) -> Principal | None:
        role = next((role for role, text in TOKENS.items() if text == token), None)
        return Principal(name=f"the {role}", role=role) if role else None

    async def create(
        self,
        user: User,
        name: str,
        *,
        role: Role,
        scopes: Collection[TokenScope] = (),
        lasts: float | None,
        actor: str,
    ) -> tuple[str, ApiToken]:
        return "hf_new", API_TOKEN

    async def list(self, user_id: str | None = None) -> tuple[ApiToken, ...]:
        return (API_TOKEN,)

    async def remove(self, token_id: str, *, of_user: str | None, up_to: Role, actor: str) -> None: ...


class StandInSessions:
    failure: HoldfastError | None = None

    async def sign_in(self, name: str, password: str, *, address: str, agent: str) -> tuple[str, Session, User]:
        if self.failure is not None:
            raise self.failure
        return SESSIONS[Role.ADMIN], SESSION, USER

    async def verify(self, secret: str) -> Principal | None:
        role = next((role for role, text in SESSIONS.items() if text == secret), None)
        return Principal(name="ann", role=role, user_id=USER.id, session_id=SESSION.id) if role else None

    async def list(self, user_id: str) -> tuple[Session, ...]:
        return (SESSION,)

    async def end(self, user_id: str, session_id: str) -> None: ...

    async def end_all(self, user_id: str) -> int:
        return 1


class StandInAccounts:
    async def list(self) -> tuple[User, ...]:
        return (USER,)

    async def get(self, name: str) -> User:
        return USER

    async def user_of(self, caller: Principal) -> User:
        return USER

    async def create(self, name: str, password: str, role: Role, *, actor: str, by_first_token: bool = False) -> User:
        return USER

    async def change(self, name: str, *, role: Role | None = None, disabled: bool | None = None, actor: str) -> User:
        return USER

    async def set_password(self, name: str, password: str, *, actor: str) -> User:
        return USER

    async def change_password(self, caller: Principal, current: str, password: str, *, address: str) -> None: ...

    async def delete(self, name: str, *, actor: str) -> None: ...


class StandInReadiness:
    waiting: tuple[str, ...] = ()

    def ready(self) -> tuple[bool, list[str]]:
        return not self.waiting, list(self.waiting)


class StandInDoctor:
    async def findings(self) -> list[Finding]:
        return [
            Finding(check="engine", level=FindingLevel.OK, told=Told("It answers.")),
            Finding(
                check="space",
                level=FindingLevel.ERROR,
                told=told("doctor_space_scarce", "Full: {bytes}.", "Free space.", bytes=1),
            ),
        ]


class StandInSchedules:
    standings: tuple[Standing, ...] = (STANDING,)

    async def list(self) -> tuple[Standing, ...]:
        return self.standings

    async def of(self, subject: str) -> Standing | None:
        return next((each for each in self.standings if each.schedule.subject == subject), None)


BINDING = Binding(id=OPERATION_ID, workload_id=WORKLOAD_ID, provider=Provider.GITHUB, signed=True, created_at=AT)
DELIVERY = HookDelivery(
    id=OPERATION_ID,
    binding_id=OPERATION_ID,
    workload_id=WORKLOAD_ID,
    event=HookEvent(name="push", happening=Happening.BRANCH, ref="main", repository="home/notes"),
    key="k",
    digest="d:0",
    state=DeliveryState.WAITING,
    received_at=AT,
    why=told("hook_filtered", "{what} is not {wanted}", what="branch main", wanted="x"),
)


class StandInWebhooks(Recorder):
    received: bytes | None = None

    async def create(self, ref: str, wanted: Binding, secret: str, *, actor: str) -> tuple[Binding, str]:
        self.record("create", ref=ref, wanted=wanted, secret=secret, actor=actor)
        return BINDING, "/hooks/hfw_once"

    async def list(self, ref: str) -> Sequence[BindingState]:
        self.record("list", ref=ref)
        refused = Refusals(count=1, last_at=AT, last_code="webhook_flood")
        return [BindingState(binding=BINDING, refused=refused, last=DELIVERY)]

    async def get(self, ref: str, binding_id: str) -> BindingState:
        self.record("get", ref=ref, binding_id=binding_id)
        return BindingState(binding=BINDING, refused=Refusals(), last=None)

    async def delete(self, ref: str, binding_id: str, *, actor: str) -> None:
        self.record("delete", ref=ref, binding_id=binding_id, actor=actor)

    async def deliveries(self, ref: str, binding_id: str, limit: int, cursor: str | None) -> Page[HookDelivery]:
        self.record("deliveries", ref=ref, binding_id=binding_id, limit=limit, cursor=cursor)
        return Page((DELIVERY,))

    async def replay(self, ref: str, binding_id: str, delivery_id: str, *, actor: str) -> HookDelivery:
        self.record("replay", ref=ref, binding_id=binding_id, delivery_id=delivery_id, actor=actor)
        return dataclasses.replace(DELIVERY, replay_of=delivery_id, actor=actor)

    async def receive(
        self, address: str, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]
    ) -> tuple[Receipt, ...]:
        self.received = await read()
        self.record("receive", address=address, headers=headers)
        return (Receipt(delivery=DELIVERY, duplicate=False),)


class StandInNotifications(Recorder):
    async def add(self, channel: Channel, secrets: ChannelSecrets) -> Channel:
        self.record("add", channel=channel, secrets=secrets)
        return channel

    async def list(self) -> tuple[ChannelState, ...]:
        webhook = Channel(
            id=OPERATION_ID,
            name="ops",
            kind=ChannelKind.WEBHOOK,
            created_at=AT,
            webhook=Webhook(origin="https://example.org"),
        )
        return (
            ChannelState(
                channel=webhook, waiting=2, error=Told("It is down.", code="webhook_failed", next_step="Mend it.")
            ),
        )

    async def remove(self, name: str) -> None:
        self.record("remove", name=name)

    async def test(self, name: str) -> None:
        self.record("test", name=name)


class StandInSnapshotFiles(Recorder):
    async def folder(
        self, ref: str, snapshot_id: str, *, target: str | None, path: bytes, after: bytes, limit: int
    ) -> Folder:
        self.record("folder", ref=ref, sid=snapshot_id, target=target, path=path, after=after, limit=limit)
        return Folder(entries=(), more=False)

    async def download(
        self, ref: str, snapshot_id: str, *, target: str | None, path: bytes, kind: FolderFormat
    ) -> Download:
        self.record("download", ref=ref, sid=snapshot_id, target=target, path=path, kind=kind)
        return Download(name='.no"tes\r\n', size=None, content=self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"content"

    async def compare(self, ref: str, snapshot_id: str, *, against: str | None, actor: str) -> Operation:
        self.record("compare", ref=ref, sid=snapshot_id, against=against, actor=actor)
        return operation(OperationKind.COMPARE)


class StandInDrills(Recorder):
    async def start(self, ref: str, snapshot_id: str, **wanted: Any) -> Operation:
        self.record("start", ref=ref, sid=snapshot_id, **wanted)
        return operation(OperationKind.DRILL)


class StandInPreviews(Recorder):
    async def begin(self, ref: str, wish: PreviewWish) -> Operation:
        self.record("begin", ref=ref, wish=wish)
        return operation(OperationKind.DEPLOY)

    async def list(self, of: str | None) -> Sequence[PreviewState]:
        self.record("list", of=of)
        return [PREVIEW]

    async def get(self, ref: str) -> PreviewState:
        self.record("get", ref=ref)
        return PREVIEW

    async def end(self, ref: str, *, last_snapshot: bool | None, actor: str, idempotency_key: str | None) -> Operation:
        self.record("end", ref=ref, last_snapshot=last_snapshot, actor=actor, idempotency_key=idempotency_key)
        return operation(OperationKind.DELETE)


class StandInImages(Recorder):
    async def kept(self) -> tuple[KeptImage, ...]:
        kept = KeptImage(id="sha256:0", names=("notes:0",), digests=(), size=4096, needed_by=("notes",), unneeded=())
        return (kept, dataclasses.replace(kept, id="sha256:1", names=(), needed_by=()))

    async def prune(self, *, dry_run: bool, actor: str) -> Operation:
        self.record("prune", dry_run=dry_run, actor=actor)
        return operation(OperationKind.PRUNE_IMAGES)


class StandInCare(Recorder):
    async def prune(
        self, ref: str | None, *, dry_run: bool, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        self.record("prune", ref=ref, dry_run=dry_run, actor=actor, idempotency_key=idempotency_key)
        return operation(OperationKind.PRUNE)

    async def verify(self, **wanted: Any) -> Operation:
        self.record("verify", **wanted)
        return operation(OperationKind.VERIFY)


class StandInUnreadable(Recorder):
    async def list(self) -> list[UnreadableSnapshot]:
        why = "It can't be read."
        return [UnreadableSnapshot(id=SNAPSHOT_ID, code="manifest_malformed", message=why, workload="notes")]

    async def delete(self, sid: str, *, confirm: str | None, actor: str) -> None:
        self.record("delete", sid=sid, confirm=confirm, actor=actor)


class StandInRepositories(Recorder):
    async def add(
        self, name: str, place: RepositoryPlace, secret: str, *, encrypt: bool, take_over: bool
    ) -> SecondRepository:
        self.record("add", name=name, place=place, secret=secret, encrypt=encrypt, take_over=take_over)
        return SECOND

    async def list(self) -> tuple[SecondRepository, ...]:
        self.record("list")
        return (SECOND,)

    async def get(self, name: str) -> SecondRepository:
        self.record("get", name=name)
        return SECOND

    async def remove(self, name: str) -> None:
        self.record("remove", name=name)

    async def test(self, name: str) -> RepositoryFacts:
        self.record("test", name=name)
        return RepositoryFacts(snapshots=3, packs=2, bytes=100, seconds=0.5)


class StandInSecondSnapshots(Recorder):
    async def list(self, name: str, *, workload: str | None, limit: int, cursor: str | None) -> Page[Snapshot]:
        self.record("list", name=name, workload=workload, limit=limit, cursor=cursor)
        return Page((SNAPSHOT,))

    async def get(self, name: str, sid: str) -> Snapshot:
        self.record("get", name=name, sid=sid)
        return SNAPSHOT

    async def delete(self, name: str, sid: str) -> None:
        self.record("delete", name=name, sid=sid)

    async def verify(self, name: str, sid: str, **wanted: Any) -> Operation:
        self.record("verify", name=name, sid=sid, **wanted)
        return operation(OperationKind.VERIFY)

    async def verify_all(self, name: str, **wanted: Any) -> Operation:
        self.record("verify_all", name=name, **wanted)
        return operation(OperationKind.VERIFY)

    async def prune(self, name: str, *, dry_run: bool, actor: str, idempotency_key: str | None = None) -> Operation:
        self.record("prune", name=name, dry_run=dry_run, actor=actor, idempotency_key=idempotency_key)
        return operation(OperationKind.PRUNE)


class StandInCopies(Recorder):
    async def copy(
        self,
        name: str,
        *,
        workload: str,
        snapshot_id: str | None,
        limit_rate: int | None,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        self.record(
            "copy",
            name=name,
            workload=workload,
            snapshot_id=snapshot_id,
            limit_rate=limit_rate,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        return operation(OperationKind.COPY)


def services_in(uploads: Path) -> ApiServices:
    """Stand-ins for all services."""
    return ApiServices(
        workloads=StandInWorkloads(),
        deployer=StandInDeployer(),
        logs=StandInLogs(),
        metrics=StandInMetrics(),
        health=StandInHealth(),
        disk=StandInDisk(),
        monitoring=StandInMonitoring(),
        rollbacks=StandInDeployer(),
        data_rollbacks=StandInDataRollbacks(),
        promotions=StandInPromotions(),
        deployment_changes=StandInDeploymentChanges(),
        secrets=StandInSecrets(),
        registries=StandInRegistries(),
        snapshots=StandInSnapshots(),
        snapshot_files=StandInSnapshotFiles(),
        images=StandInImages(),
        care=StandInCare(),
        unreadable=StandInUnreadable(),
        repositories=StandInRepositories(),
        second_snapshots=StandInSecondSnapshots(),
        copies=StandInCopies(),
        restores=StandInRestores(),
        clones=StandInClones(),
        containers=StandInContainers(),
        take_overs=StandInTakeOvers(),
        drills=StandInDrills(),
        previews=StandInPreviews(),
        sources=StandInSources(),
        operations=StandInOperations(),
        updates=StandInUpdates(),
        accounts=StandInAccounts(),
        sessions=StandInSessions(),
        tokens=StandInTokens(),
        readiness=StandInReadiness(),
        doctor=StandInDoctor(),
        schedules=StandInSchedules(),
        notifications=StandInNotifications(),
        webhooks=StandInWebhooks(),
        audit=StandInAudit(),
        backups=StandInBackups(),
        backup_restores=StandInBackupRestores(),
        uploads_dir=uploads,
        max_upload_bytes=1 << 20,
        disk_reserve_bytes=0,
        proxies=(),
        tls=False,
    )


class StandInBackups(Recorder):
    kept = KeptBackups(
        backups=(
            Backup(
                id=OPERATION_ID,
                created_at=AT,
                bytes=4096,
                reason=BackupReason.SCHEDULED,
                holdfast="1",
                schema="0015",
                installation=OPERATION_ID,
                audit_head="7:ab",
            ),
        )
    )

    async def list(self) -> KeptBackups:
        return self.kept

    async def passphrase_state(self) -> PassphraseState:
        return PassphraseState.SET

    async def set_passphrase(self, passphrase: str) -> None:
        self.record("set_passphrase", passphrase=passphrase)

    async def create(self, *, actor: str, idempotency_key: str | None = None) -> Operation:
        self.record("create", actor=actor, idempotency_key=idempotency_key)
        return operation(OperationKind.BACKUP)

    async def verify(self, backup_id: str, passphrase: str | None, **wanted: Any) -> Operation:
        self.record("verify", backup_id=backup_id, passphrase=passphrase, **wanted)
        return operation(OperationKind.VERIFY_BACKUP)

    async def download(self, backup_id: str) -> Download:
        async def content() -> AsyncIterator[bytes]:
            yield b"sealed"

        self.record("download", backup_id=backup_id)
        return Download(name=f"holdfast-{backup_id}.backup", size=6, content=content())

    async def delete(self, backup_id: str, *, actor: str) -> None:
        self.record("delete", backup_id=backup_id, actor=actor)


class StandInBackupRestores(Recorder):
    async def restore(
        self, backup_id: str, *, confirm: str | None, passphrase: str | None = None, actor: str
    ) -> Operation:
        self.record("restore", backup_id=backup_id, confirm=confirm, passphrase=passphrase, actor=actor)
        return operation(OperationKind.RESTORE_BACKUP)


class StandInAudit:
    """A log in memory."""

    refuses: HoldfastError | None = None
    asked: tuple[AuditFilter, int, int | None] | None = None

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def require_writable(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    async def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def lines(self) -> list[AuditLine]:
        lines: list[AuditLine] = []
        for entry in self.entries:
            head = Head(lines[-1].number, lines[-1].hash) if lines else EMPTY
            lines.append(next_line(head, entry))
        return lines

    async def head(self) -> Head:
        lines = self.lines()
        return Head(lines[-1].number, lines[-1].hash) if lines else EMPTY

    async def list(self, wanted: AuditFilter, limit: int, cursor: int | None) -> Page[AuditLine]:
        self.asked = (wanted, limit, cursor)
        return Page(tuple(self.lines()[::-1]))

    async def export(self) -> AsyncIterator[AuditLine]:
        return self._lines(self.lines())

    async def _lines(self, lines: Sequence[AuditLine]) -> AsyncIterator[AuditLine]:
        for line in lines:
            yield line


class Api:
    """The application in front of stand-ins.

    Args:
        app: one for all tests: making one, and its first answer, take a good part of a second.
        settings: ``max_upload_bytes`` and ``disk_reserve_bytes``, where they matter.
    """

    def __init__(self, app: FastAPI, uploads: Path, **settings: Any) -> None:
        self.uploads = uploads
        self.workloads = StandInWorkloads()
        self.deployer = StandInDeployer()
        self.logs = StandInLogs()
        self.metrics = StandInMetrics()
        self.health = StandInHealth()
        self.data_rollbacks = StandInDataRollbacks()
        self.promotions = StandInPromotions()
        self.deployment_changes = StandInDeploymentChanges()
        self.secrets = StandInSecrets()
        self.registries = StandInRegistries()
        self.snapshots = StandInSnapshots()
        self.images = StandInImages()
        self.care = StandInCare()
        self.unreadable = StandInUnreadable()
        self.repositories = StandInRepositories()
        self.second_snapshots = StandInSecondSnapshots()
        self.copies = StandInCopies()
        self.restores = StandInRestores()
        self.clones = StandInClones()
        self.containers = StandInContainers()
        self.take_overs = StandInTakeOvers()
        self.drills = StandInDrills()
        self.previews = StandInPreviews()
        self.sources = StandInSources()
        self.operations = StandInOperations()
        self.updates = StandInUpdates()
        self.readiness = StandInReadiness()
        self.notifications = StandInNotifications()
        self.webhooks = StandInWebhooks()
        self.audit = StandInAudit()
        self.backups = StandInBackups()
        self.backup_restores = StandInBackupRestores()
        self.sessions = StandInSessions()
        self.services = dataclasses.replace(
            services_in(uploads),
            workloads=self.workloads,
            deployer=self.deployer,
            logs=self.logs,
            metrics=self.metrics,
            health=self.health,
            rollbacks=self.deployer,
            data_rollbacks=self.data_rollbacks,
            promotions=self.promotions,
            deployment_changes=self.deployment_changes,
            secrets=self.secrets,
            registries=self.registries,
            snapshots=self.snapshots,
            images=self.images,
            care=self.care,
            unreadable=self.unreadable,
            repositories=self.repositories,
            second_snapshots=self.second_snapshots,
            copies=self.copies,
            restores=self.restores,
            clones=self.clones,
            containers=self.containers,
            take_overs=self.take_overs,
            drills=self.drills,
            previews=self.previews,
            sources=self.sources,
            operations=self.operations,
            updates=self.updates,
            readiness=self.readiness,
            notifications=self.notifications,
            webhooks=self.webhooks,
            audit=self.audit,
            backups=self.backups,
            backup_restores=self.backup_restores,
            sessions=self.sessions,
            **settings,
        )
        self.app = app
        app.state.services = self.services
        app.state.closing = asyncio.Event()  # each test has a loop of its own, and all share the app

    async def ask(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = Role.ADMIN,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        """Send one request."""
        sent = dict(headers or {})
        if role is not None:
            sent["Authorization"] = f"Bearer {TOKENS[role]}"
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=sent, **arguments)
