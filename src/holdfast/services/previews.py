"""Previews: copies of a workload for a branch, a pull request or a person, for a while.

A preview is a workload like any other, made from its parent's configuration, with data of its own: empty, or a clone of
a snapshot of the parent. What brings it up, what updates it and what removes it are the deployment, the clone and the
deletion that everybody uses, with their locks and their checks.

- Of the parent nothing is locked, stopped or written to.
- A directory that is there before the preview is none of the preview's: nothing is made on it, or removed with it.
- There are never more than the parent and the operator allow. Limits are counted and the preview is put on record under
  one lock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from holdfast.domain import clone as clone_rules
from holdfast.domain import times
from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.errors import Busy, Conflict, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.ids import is_id
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.preview import Preview, PreviewCopy
from holdfast.domain.promotion import require_takes_image
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.workload import PreviewSeed, Workload
from holdfast.services.clones import Clones, CloneWish
from holdfast.services.deployer import Deployer, DeployIntent
from holdfast.services.health_gate import Clock
from holdfast.services.locks import LifecycleLocks
from holdfast.services.secrets import Secrets
from holdfast.services.snapshots import Snapshots
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import Workloads
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import OperationStore
from holdfast.store.previews import PreviewStore
from holdfast.store.workloads import WorkloadStore

_LOOKED_AT: Final = 100
"""So many of the parent's newest snapshots are looked at for one that can be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewWish:
    """A preview that is to be there, in its newest version.

    Attributes:
        key: what it is for; the same again means the same preview.
        image: what it runs; ``None`` for the image that it is configured with, which is its parent's at first.
        seed: ``empty``, ``latest`` or a snapshot of the parent; ``None`` as the parent says.
        expires: seconds until it is removed unless it is updated; ``None`` as the parent says, or as before.
        last_snapshot: whether its data is captured before; ``None`` likewise.
        why: for its deployment's log.
    """

    key: str
    image: str | None = None
    seed: str | None = None
    expires: float | None = None
    last_snapshot: bool | None = None
    why: TextOrTold = ""
    actor: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewState:
    """A preview with its workload.

    Attributes:
        deployment: how its newest deployment stands; ``None`` before the first one began: its image is not there, say.
    """

    preview: Preview
    workload: Workload
    deployment: DeploymentState | None


class Previews:
    """Makes, updates, lists and removes previews.

    Args:
        most: so many may be there, of all workloads together.
        changed: set whenever one was made, or expires at another time.
    """

    def __init__(
        self,
        *,
        store: PreviewStore,
        workloads: Workloads,
        workload_store: WorkloadStore,
        deployments: DeploymentStore,
        operation_store: OperationStore,
        snapshots: Snapshots,
        clones: Clones,
        deployer: Deployer,
        deletion: WorkloadDeletion,
        secrets: Secrets,
        volumes: VolumeResolver,
        locks: LifecycleLocks,
        clock: Clock,
        most: int,
        changed: asyncio.Event,
    ) -> None:
        self._store = store
        self._workloads = workloads
        self._workload_store = workload_store
        self._deployments = deployments
        self._operation_store = operation_store
        self._snapshots = snapshots
        self._clones = clones
        self._deployer = deployer
        self._deletion = deletion
        self._secrets = secrets
        self._volumes = volumes
        self._locks = locks
        self._clock = clock
        self._most = most
        self._changed = changed
        self._making = asyncio.Lock()

    async def begin(self, ref: str, wish: PreviewWish) -> Operation:
        """Make a preview of the workload ``ref``, or have the one that is there run its newest version.

        Returns:
            The deployment of the preview; of one that begins with data, the clone that ends with it.

        Raises:
            NotFound: ``workload_unknown``, ``preview_without_snapshot``, ``snapshot_unknown``.
            InvalidInput: ``image_reference_malformed``.
            Conflict: ``source_names_image``, ``preview_exists``, ``preview_name_taken``, ``previews_too_many``,
                ``preview_of_preview``; all that forbids a clone.
            Refused: ``preview_data_in_the_way``; all that forbids such a configuration, or a clone.
        """
        parent = await self._workloads.get(ref)
        if wish.image is not None:
            parse_image_ref(wish.image)
            require_takes_image(parent)
        async with self._making:
            known = await self._store.find(parent.id, wish.key)
            operation = await (self._make(parent, wish) if known is None else self._update(parent, known, wish))
        self._changed.set()
        return operation

    async def list(self, of: str | None = None) -> tuple[PreviewState, ...]:
        """All previews, or those of the workload ``of``, newest first. Raises ``NotFound`` (``workload_unknown``)."""
        parent = None if of is None else await self._workloads.get(of)
        return tuple(
            [
                await self._state(preview, workload)
                for preview, workload in await self._store.list()
                if parent is None or preview.parent_id == parent.id
            ]
        )

    async def get(self, ref: str) -> PreviewState:
        """One of them, by its workload's id or name. Raises ``NotFound`` (``preview_unknown``)."""
        workload = await self._workload_store.find(ref)
        preview = None if workload is None else await self._store.of(workload.id)
        if workload is None or preview is None:
            raise NotFound(
                "preview_unknown",
                f"There is no preview {ref}.",
                next_step="See which there are: holdfast preview list",
                details={"preview": ref},
            )
        return await self._state(preview, workload)

    async def of_key(self, parent_id: str, key: str) -> Preview | None:
        """The one of a workload (by id) for a key."""
        return await self._store.find(parent_id, key)

    async def end(
        self,
        ref: str,
        *,
        last_snapshot: bool | None = None,
        expired_at: str | None = None,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Remove a preview with its data. Its snapshots stay.

        Args:
            last_snapshot: whether its data is captured before; ``None``: as it was made.
            expired_at: only if it had expired by then, and was not updated since, once nobody else is at work on it.

        Raises:
            NotFound: ``preview_unknown``.
            Conflict, Refused: all that forbids the deletion of a workload with its data.
        """
        state = await self.get(ref)
        captured = state.preview.last_snapshot if last_snapshot is None else last_snapshot
        return await self._deletion.start(
            state.workload,
            delete_data=True,
            last_snapshot=captured and bool(state.workload.spec.captured_volumes),
            still=None if expired_at is None else partial(self._expired, state.workload.id, expired_at),
            captured=partial(self._captured, state.workload.id),
            actor=actor,
            idempotency_key=idempotency_key,
        )

    # Steps

    async def _state(self, preview: Preview, workload: Workload) -> PreviewState:
        newest = await self._deployments.list(workload.id, limit=1)
        return PreviewState(preview=preview, workload=workload, deployment=newest[0].state if newest else None)

    async def _expired(self, workload_id: str, at: str) -> bool:
        preview = await self._store.of(workload_id)
        return preview is None or preview.expires_at <= at

    async def _captured(self, workload_id: str) -> None:
        """The last snapshot is there: a removal that is cut off from now on goes on without another one."""
        preview = await self._store.of(workload_id)
        if preview is not None:
            await self._store.renew(replace(preview, last_snapshot=False))

    async def _make(self, parent: Workload, wish: PreviewWish) -> Operation:
        await self._require_room(parent)
        copy = PreviewCopy.of(parent.spec, wish.key, image=wish.image)
        others = await self._workload_store.list()
        if any(copy.name in (other.id, other.name, other.spec.project) for other in others):
            raise _name_taken(copy.name, wish.key)
        spec = copy.spec(parent.spec)
        problems = clone_rules.shared_problems(self._volumes.placed(spec), self._volumes.placed(parent.spec))
        problems += [_in_the_way(place.target, place.path) for place in await self._volumes.present(spec)]
        problems += await self._secrets.problems(parent, spec)
        if problems:
            raise Refused(problems)
        policy = parent.spec.previews
        expires = policy.expires if wish.expires is None else wish.expires
        preview = Preview(
            parent_id=parent.id,
            parent=parent.name,
            key=wish.key,
            seed=await self._seed(parent, wish.seed),
            expires=expires,
            expires_at=self._from_now(expires),
            last_snapshot=policy.last_snapshot if wish.last_snapshot is None else wish.last_snapshot,
            created_by=wish.actor,
        )
        if preview.seed:
            return await self._cloned(preview, copy, wish)
        made = await self._workloads.apply(spec, actor=wish.actor, create=True, preview=preview)
        assert made.workload is not None  # an apply always has one
        try:
            workload = await self._secrets.copy(parent, made.workload)
            return await self._deployed(
                workload, wish, _said("preview_made", "a preview of {workload} ({preview}) was made", parent, wish.key)
            )
        except HoldfastError:
            await self._unmade(made.workload.id)
            raise

    async def _update(self, parent: Workload, known: Preview, wish: PreviewWish) -> Operation:
        """Have a preview that is there run its newest version, on the data that it has."""
        workload = await self._workloads.get(known.workload_id)
        if wish.idempotency_key is not None:
            earlier = await self._operation_store.find_by_key(wish.actor, wish.idempotency_key)
            if earlier is not None and earlier.workload_id == workload.id:
                return earlier
        if wish.seed is not None:
            raise Conflict(
                "preview_exists",
                f"{workload.name} is there already, with data of its own.",
                next_step=f"Update it without saying what it begins with; or delete it first: "
                f"holdfast preview delete {workload.name}",
                details={"preview": workload.name},
            )
        expires = known.expires if wish.expires is None else wish.expires
        renewed = replace(
            known,
            expires=expires,
            expires_at=self._from_now(expires),
            last_snapshot=known.last_snapshot if wish.last_snapshot is None else wish.last_snapshot,
        )
        only_made = not await self._deployments.list(workload.id, limit=1)
        if only_made and known.seed:
            # Its data never arrived: the server died before. Whoever is at work on it keeps this from changing it.
            spec = workload.spec.without_values
            spec = spec if wish.image is None else replace(spec, image=wish.image)
            await self._workloads.apply(spec, actor=wish.actor, create=False, preview=renewed)
            await self._store.renew(renewed)
            return await self._cloned(renewed, replace(PreviewCopy.of(parent.spec, known.key), made=spec), wish)
        if only_made and await self._secrets.problems(workload):
            workload = await self._secrets.copy(parent, workload)  # likewise
        await self._store.renew(renewed)
        return await self._deployed(
            workload,
            wish,
            _said("preview_renewed", "the preview of {workload} ({preview}) is updated", parent, known.key),
        )

    async def _deployed(self, workload: Workload, wish: PreviewWish, note: Told) -> Operation:
        said = told("because", "{what}: {why}", what=note, why=wish.why) if wish.why else note
        intent = DeployIntent(reason=DeployReason.PREVIEW, image=wish.image, note=said)
        return await self._deployer.begin(
            OperationKind.DEPLOY, workload.id, intent, actor=wish.actor, idempotency_key=wish.idempotency_key
        )

    async def _cloned(self, preview: Preview, copy: PreviewCopy, wish: PreviewWish) -> Operation:
        clone = CloneWish(
            snapshot_id=preview.seed, confirm=preview.seed, actor=wish.actor, idempotency_key=wish.idempotency_key
        )
        return await self._clones.new(clone, copy, preview=preview)

    async def _seed(self, parent: Workload, wanted: str | None) -> str:
        """The snapshot that a preview begins with; empty for none."""
        chosen = wanted or parent.spec.previews.seed
        if is_id(chosen):
            return (await self._snapshots.get(parent.id, chosen)).id
        if chosen == PreviewSeed.EMPTY or not parent.spec.captured_volumes:
            return ""
        page = await self._snapshots.list(parent.id, limit=_LOOKED_AT, cursor=None)
        for snapshot in page.items:  # a safety snapshot holds what somebody wanted to be rid of
            if not snapshot.damaged and snapshot.manifest.reason is not SnapshotReason.SAFETY:
                return snapshot.id
        raise NotFound(
            "preview_without_snapshot",
            f"{parent.name} has no snapshot that a preview could begin with.",
            next_step=f"Take one: holdfast snapshot create {parent.name}. Or let it begin empty: --seed empty.",
        )

    async def _require_room(self, parent: Workload) -> None:
        """Raise ``Conflict`` where no further preview may be there."""
        if await self._store.of(parent.id) is not None:
            raise Conflict(
                "preview_of_preview",
                f"{parent.name} is a preview itself.",
                next_step="Make another one of the workload that it is a copy of.",
            )
        there = [preview for preview, _ in await self._store.list()]
        of_parent = sum(preview.parent_id == parent.id for preview in there)
        most = parent.spec.previews.most
        if of_parent >= most:
            raise _too_many(f"{parent.name} has {of_parent} previews already.", "previews.max in its declaration")
        if len(there) >= self._most:
            raise _too_many(f"There are {len(there)} previews already.", "max_previews in Holdfast's settings")

    async def _unmade(self, workload_id: str) -> None:
        """Forget a preview of which nothing was made but its record."""
        try:
            async with self._locks.hold_briefly([workload_id], told("a_failed_preview", "a preview that was not made")):
                await self._workload_store.delete(workload_id)
        except Busy:
            return  # somebody is at work on it already; then it stays, for all to see

    def _from_now(self, seconds: float) -> str:
        return times.rfc3339(datetime.fromtimestamp(self._clock.time(), UTC) + timedelta(seconds=seconds))


def _said(code: str, message: str, parent: Workload, key: str) -> Told:
    return told(code, message, workload=parent.name, preview=key)


def _too_many(why: str, bound: str) -> Conflict:
    return Conflict(
        "previews_too_many",
        f"{why} That is as many as may be there.",
        next_step=f"Delete one (holdfast preview list, holdfast preview delete), or raise {bound}.",
    )


def _name_taken(name: str, key: str) -> Conflict:
    return Conflict(
        "preview_name_taken",
        f"The preview for {key} would be called {name}, and there is another workload, or a project, of that name.",
        next_step="Give the preview another name, or delete what has that one.",
        details={"name": name},
    )


def _in_the_way(target: str, path: str) -> Problem:
    return Problem(
        code="preview_data_in_the_way",
        message=f"{path} (for {target}) is there already: data that a workload of the preview's name left.",
        next_step="Move it away if somebody needs it, else remove it. A preview never takes over what it did not make, "
        "since all it has is removed with it.",
        details={"target": target, "path": path},
    )
