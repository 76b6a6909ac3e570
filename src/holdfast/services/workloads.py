"""Workloads: declare, change, look at.

Invariants:

- A configuration that would let two workloads write to the same directory is never stored. What is still deployed
  counts beside what is configured: a directory is free only when no instance may be using it any more.
- A configuration changes under the workload's lifecycle lock only (I9): never under a running deploy or restore, and
  never while a restore waits for a person's decision. An ``apply`` doesn't wait for those; it says who is at work.
- What is applied with the revision that it was made from takes the place of that one or of none: it is compared under
  that lock, too.
- A workload's name never changes: it is the name of the directory that holds its data.
- A preview never becomes a workload that somebody means to keep: it would be removed with its data all the same.

Deleting is told in :mod:`holdfast.services.workload_deletion`.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from holdfast.domain import volumes as rules
from holdfast.domain.changes import Change, changes
from holdfast.domain.errors import Conflict, HoldfastError, NotFound, PreconditionFailed, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation
from holdfast.domain.preview import Preview
from holdfast.domain.times import now
from holdfast.domain.told import told
from holdfast.domain.workload import DesiredState, Scope, SourceWish, Workload, WorkloadSpec
from holdfast.runtime.port import LABEL_WORKLOAD, Container, ContainerRuntime
from holdfast.services.instances import Instances
from holdfast.services.locks import LifecycleLocks
from holdfast.services.paging import Page, check_page, make_page
from holdfast.services.sealed_values import SealedValues
from holdfast.services.sightings import Sightings
from holdfast.services.traffic import Traffic
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workload_status import Condition, InstanceStatus, WorkloadStatus, assess
from holdfast.store.deployments import DeploymentStore
from holdfast.store.workload_records import WorkloadRecord, WorkloadRecordStore
from holdfast.store.workloads import WorkloadStore

__all__ = ["ApplyResult", "Condition", "InstanceStatus", "WorkloadStatus", "Workloads"]


ANY_REVISION: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What an apply did, or what a preview found.

    Attributes:
        workload: as it is now; ``None`` for the preview of a new one.
        created: whether it is new.
        changes: what differs from before; empty if nothing does.
    """

    workload: Workload | None
    created: bool
    changes: tuple[Change, ...]


class Workloads:
    """The workloads of this installation.

    Args:
        restore_pending: why a restore of a workload waits for a person's decision; ``None`` if none does.
        former_id: the id that a deleted workload of such a name left with its snapshots; ``None`` if none did.
        preview_of: what a workload (by id) is a preview of; ``None`` if it is none.
        check_source: raises where a declaration's source can't be used; see :meth:`Sources.check`.
    """

    def __init__(
        self,
        *,
        store: WorkloadStore,
        deployments: DeploymentStore,
        records: WorkloadRecordStore,
        volumes: VolumeResolver,
        locks: LifecycleLocks,
        runtime: ContainerRuntime,
        instances: Instances,
        sightings: Sightings,
        deletion: WorkloadDeletion,
        secrets: SealedValues,
        restore_pending: Callable[[str], str | None],
        former_id: Callable[[WorkloadSpec], Awaitable[str | None]],
        preview_of: Callable[[str], Awaitable[Preview | None]],
        traffic: Traffic,
        check_source: Callable[[SourceWish], Awaitable[None]],
    ) -> None:
        self._store = store
        self._deployments = deployments
        self._records = records
        self._volumes = volumes
        self._locks = locks
        self._runtime = runtime
        self._instances = instances
        self._sightings = sightings
        self._deletion = deletion
        self._secrets = secrets
        self._restore_pending = restore_pending
        self._former_id = former_id
        self._preview_of = preview_of
        self._traffic = traffic
        self._check_source = check_source
        self._log = structlog.get_logger("workloads")

    async def apply(
        self,
        spec: WorkloadSpec,
        *,
        actor: str,
        create: bool | None = None,
        expect_id: str | None = None,
        made_from: Collection[str] | None = None,
        preview: Preview | None = None,
        allowed: Callable[[WorkloadSpec | None], None] = lambda _before: None,
    ) -> ApplyResult:
        """Create a workload, or change its configuration. What runs changes with the next deploy.

        Args:
            create: ``True``: it must be new; ``False``: it must exist.
            expect_id: the id that the workload of this name must have.
            made_from: the revisions of which the present configuration must be one; :data:`ANY_REVISION` where any
                will do, as long as there is one.
            allowed: raises where ``spec`` may not take the place of a configuration, or of none. Asked once nothing
                else can change that any more: others may have, since whoever asks looked at it.
            preview: what it is a preview of: put on record with a new workload, and known of one that is there.

        Raises:
            Refused: every problem with its volumes: ``volume_root_not_allowed``, ``volume_path_forbidden``,
                ``volume_conflict``; ``domain_conflict``; ``workload_name_fixed`` for another name than the one of
                ``expect_id``.
            Conflict: ``workload_exists``, ``restore_undecided``, ``workload_is_preview``.
            NotFound: ``workload_unknown``.
            PreconditionFailed: ``configuration_changed``, naming who changed it if that is known.
            Busy: ``workload_busy``, naming who is at work on it.
        """
        await self._check_source(spec.source)  # before any lock: it is somebody else's code
        why = told("an_apply", "apply by {actor}", actor=actor)
        async with self._deletion.configuring:
            existing = await self._existing(spec, create=create, expect_id=expect_id)
            joined = await self._joined(spec, existing)
            if joined:
                await self._check(spec)  # what is wrong for good is told before who is at work
            if existing is None:
                async with self._locks.hold_briefly([other.id for other in joined], why):
                    for other in joined:
                        self._deletion.require_decided(other)
                    allowed(None)
                    _require_revision(None, spec.name, made_from)
                    await self._check(spec)
                    return await self._insert(spec, actor, preview)
            async with self._locks.hold_briefly([existing.id, *(other.id for other in joined)], why):
                existing = await self.get(existing.id)
                allowed(existing.spec)
                spec = await self._secrets.resolved(spec, existing)
                # Whoever got no answer asks again: what is there already was not changed by others (RFC 9110, 13.1.1).
                if spec != existing.spec:
                    _require_revision(existing, spec.name, made_from)
                for each in (existing, *joined):
                    self._deletion.require_decided(each)
                await self._check(spec)
                found = changes(existing.spec, spec)
                if found and preview is None:
                    await self._require_no_preview(existing)
                # Also where nothing is shown to differ: what is stored is what was sent last.
                if existing.spec != spec:
                    existing = await self._store.update_spec(existing.id, spec, actor)
                    self._log.info(
                        "workload_changed", workload=spec.name, actor=actor, paths=[change.path for change in found]
                    )
                return ApplyResult(workload=existing, created=False, changes=found)

    async def preview(self, spec: WorkloadSpec) -> ApplyResult:
        """What :meth:`apply` would change, or why it would be refused. Changes nothing and waits for nobody.

        Raises:
            Refused: as :meth:`apply`.
        """
        existing = await self._existing(spec, create=None, expect_id=None)
        await self._check_source(spec.source)
        await self._check(spec)
        spec = await self._secrets.resolved(spec, existing)
        found = changes(existing.spec if existing else None, spec)
        if found and existing is not None:
            await self._require_no_preview(existing)
        return ApplyResult(workload=existing, created=existing is None, changes=found)

    async def get(self, ref: str) -> Workload:
        """The workload with this id or name.

        Raises:
            NotFound: ``workload_unknown``.
        """
        found = await self._store.find(ref)
        if found is None:
            raise _unknown(ref)
        return found

    async def list(self, limit: int, cursor: str | None = None) -> Page[Workload]:
        """Workloads, newest first.

        Raises:
            InvalidInput: ``limit_invalid``, ``cursor_invalid``.
        """
        check_page(limit, cursor)
        return make_page(await self._store.list(limit=limit + 1, before=cursor), limit, lambda workload: workload.id)

    async def status(self, ref: str) -> WorkloadStatus:
        """How it is doing. An engine that doesn't answer is part of the answer.

        Raises:
            NotFound: ``workload_unknown``.
        """
        record = await self._records.find(ref)
        if record is None:
            raise _unknown(ref)
        try:
            return self._assessed(record, await self._instances.of(record.workload.id))
        except HoldfastError as error:
            return self._assessed(record, (), error)

    async def statuses(self, limit: int, cursor: str | None = None) -> Page[WorkloadStatus]:
        """How workloads are doing, newest first; see :mod:`holdfast.services.sightings`.

        An engine that doesn't answer is part of the answer.

        Raises:
            InvalidInput: ``limit_invalid``, ``cursor_invalid``.
        """
        check_page(limit, cursor)
        theirs: defaultdict[str, list[Container]] = defaultdict(list)
        engine_problem: HoldfastError | None = None
        try:
            for container in await self._sightings.all():
                theirs[container.labels.get(LABEL_WORKLOAD, "")].append(container)
        except HoldfastError as error:
            engine_problem = error
        found = make_page(
            await self._records.list(limit=limit + 1, before=cursor), limit, lambda record: record.workload.id
        )
        return Page(
            tuple(self._assessed(record, theirs[record.workload.id], engine_problem) for record in found.items),
            found.next_cursor,
        )

    def _assessed(
        self, record: WorkloadRecord, containers: Sequence[Container], engine_problem: HoldfastError | None = None
    ) -> WorkloadStatus:
        workload = record.workload
        busy = self._locks.holder(workload.id)
        return assess(
            workload,
            containers=containers,
            last_deployment=record.newest,
            deployed=record.deployed,
            wished=record.wished,
            busy=None if busy is None else str(busy),
            undecided=self._restore_pending(workload.id),
            engine_problem=engine_problem,
            edge_problem=self._traffic.problem,
        )

    async def delete(self, ref: str, *, delete_data: bool, actor: str) -> Operation:
        """Delete a workload: its instances go, its snapshots stay, and so does its data unless asked otherwise.

        Raises:
            NotFound: ``workload_unknown``.
            Conflict: ``restore_undecided``.
            Refused: ``volume_shared``; data that another workload uses is not deleted.
        """
        return await self._deletion.start(await self.get(ref), delete_data=delete_data, actor=actor)

    # Steps

    async def _existing(self, spec: WorkloadSpec, *, create: bool | None, expect_id: str | None) -> Workload | None:
        if expect_id is not None:
            expected = await self.get(expect_id)
            if expected.name != spec.name:
                raise Refused([_name_fixed(expected, spec.name)])
        found = await self._store.find(spec.name)
        if found is not None and create is True:
            raise Conflict(
                "workload_exists",
                f"There is a workload named {spec.name} already.",
                next_step="Choose another name, or apply the configuration to the existing workload.",
                details={"name": spec.name, "id": found.id},
            )
        if found is None and create is False:
            raise _unknown(spec.name)
        return found

    async def _require_no_preview(self, workload: Workload) -> None:
        preview = await self._preview_of(workload.id)
        if preview is not None:
            raise Conflict(
                "workload_is_preview",
                f"{workload.name} is a preview of {preview.parent} ({preview.key}), and is removed with its data when "
                "that is over.",
                next_step=f"Choose another name. Or delete the preview first: holdfast preview delete {workload.name}",
                details={"workload": workload.name, "parent": preview.parent},
            )

    async def _joined(self, spec: WorkloadSpec, existing: Workload | None) -> tuple[Workload, ...]:
        """The workloads that ``spec`` comes to share a volume with: a restore of theirs does not hold this one yet."""
        everyone = await self._store.list()
        at = now()
        new = Workload(id="", spec=spec, desired=DesiredState.STOPPED, created_at=at, updated_at=at)
        before = frozenset({""}) if existing is None else self._volumes.sharers(existing, everyone)
        sharing = self._volumes.sharers(new, everyone) - before
        return tuple(other for other in everyone if other.id in sharing and other.name != spec.name)

    async def _insert(self, spec: WorkloadSpec, actor: str, preview: Preview | None) -> ApplyResult:
        at = now()
        # Nothing runs until the first deploy, which is also what makes RUNNING the desired state.
        # One made again under its old name takes its old id, and with it the snapshots that it left.
        workload = Workload(
            id=await self._former_id(spec) or new_id(),
            spec=spec,
            desired=DesiredState.STOPPED,
            created_at=at,
            updated_at=at,
            configured_at=at,
            configured_by=actor,
        )
        await self._store.insert(workload, preview)
        self._log.info("workload_created", workload=spec.name, actor=actor)
        return ApplyResult(workload=workload, created=True, changes=changes(None, spec))

    async def _check(self, spec: WorkloadSpec) -> None:
        if any(volume.scope is Scope.ABSOLUTE for volume in spec.volumes):
            await self._learn_engine_root()
        others = [other for other in await self._store.list() if other.name != spec.name]
        problems = [
            *self._volumes.problems(spec),
            *self._volumes.conflicts(spec, others),
            *await self._deployed_conflicts(spec, others),
            *self._deletion.problems(spec),
            *await self._traffic.conflicts(spec),
        ]
        if problems:
            raise Refused(problems)

    async def _deployed_conflicts(self, spec: WorkloadSpec, others: Iterable[Workload]) -> Sequence[Problem]:
        """Conflicts with what others were deployed with and don't have in their configuration any more."""
        problems: list[Problem] = []
        last = await self._deployments.last_successful_of_all() if spec.volumes else {}
        for other in others:
            deployed = last.get(other.id)
            if deployed is None or deployed.spec.volumes == other.spec.volumes:
                continue
            now_used = {place.path for place in self._volumes.placed(other.spec)}
            left = [place for place in self._volumes.placed(deployed.spec) if place.path not in now_used]
            for problem in rules.conflicts(self._volumes.placed(spec), left):
                if problem.details.get("other_workload") != other.name:
                    continue  # a conflict inside of ``spec`` itself, told already
                step = f"Deploy {other.name} first: it is configured otherwise by now, but still runs with this volume."
                problems.append(dataclasses.replace(problem, next_step=step))
        return problems

    async def _learn_engine_root(self) -> None:
        try:
            info = await self._runtime.info()
        except HoldfastError as error:
            # The roots that the operator allowed still hold; deploy and start ask again with what is known then.
            self._log.warning("engine_root_unknown", reason=error.message)
            return
        self._volumes.learn_engine_root(info.root_dir)


def _unknown(ref: str) -> NotFound:
    return NotFound(
        "workload_unknown",
        f"There is no workload {ref}.",
        next_step="List the workloads to see which there are. The snapshots of a deleted one are still there: "
        "holdfast snapshot list NAME --deleted.",
        details={"workload": ref},
    )


def _require_revision(workload: Workload | None, name: str, made_from: Collection[str] | None) -> None:
    """That what is there is what a change was made from."""
    if made_from is None:
        return
    if workload is None:
        raise PreconditionFailed(
            "configuration_changed",
            f"There is no workload {name} any more. Nothing was applied.",
            next_step="To make it anew, apply the configuration without a revision (If-Match).",
            details={"workload": name, "revision": None, "configured_by": None, "configured_at": None},
        )
    if {ANY_REVISION, workload.spec.revision} & set(made_from):
        return
    who = f": {workload.configured_by} changed it at {workload.configured_at}" if workload.configured_by else ""
    raise PreconditionFailed(
        "configuration_changed",
        f"The configuration of {name} is not what this change was made from any more{who}. Nothing was applied.",
        next_step="Look at it as it is now, make your change there, and apply that with its revision. To replace what "
        "was changed, apply yours with the revision of now.",
        details={
            "workload": name,
            "revision": workload.spec.revision,
            "configured_by": workload.configured_by,
            "configured_at": workload.configured_at,
        },
    )


def _name_fixed(workload: Workload, name: str) -> Problem:
    return Problem(
        code="workload_name_fixed",
        message=f"The workload {workload.name} can't become {name}: its name is the name of its data's directory.",
        next_step=f"Keep the name {workload.name}, or clone it: holdfast clone {workload.name} --as {name}",
        details={"name": workload.name, "asked": name},
    )
