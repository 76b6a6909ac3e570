"""What is written down of deployments: the attempt before anything is touched, its end, and the images kept for it.

- Under a workload's lifecycle lock no other deployment of it runs: a record that says so was cut off, and is closed.
- The end is recorded before anything that a return would need is removed.
- What keeps an image on the host is a name that each deployment gives it (``services/image_care.py`` takes them away).
"""

from __future__ import annotations

from typing import Final

import structlog

from holdfast.domain import times
from holdfast.domain.deployment import REPEATING, Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import HoldfastError, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.workload import DesiredState, Workload
from holdfast.services.image_source import ImageSource, Version
from holdfast.services.paging import Page, check_page, make_page
from holdfast.store.deployments import DeploymentStore
from holdfast.store.workloads import WorkloadStore

_HISTORY: Final = 200


class DeployRecords:
    """The history of deployments, and the workloads that it is about."""

    def __init__(self, deployments: DeploymentStore, workloads: WorkloadStore, images: ImageSource) -> None:
        self._deployments = deployments
        self._workloads = workloads
        self._images = images
        self._log = structlog.get_logger("deployer")

    async def workload(self, ref: str) -> Workload:
        """The workload with this id or name. Raises ``NotFound``."""
        found = await self._workloads.find(ref)
        if found is None:
            raise NotFound(
                "workload_unknown",
                f"There is no workload {ref}.",
                next_step="List the workloads to see which there are.",
            )
        return found

    async def workloads(self) -> tuple[Workload, ...]:
        """All workloads."""
        return await self._workloads.list()

    async def get(self, deployment_id: str) -> Deployment | None:
        """The deployment with this id."""
        return await self._deployments.get(deployment_id)

    async def last_successful(self, workload_id: str) -> Deployment | None:
        """The newest deployment of a workload that succeeded."""
        return await self._deployments.last_successful(workload_id)

    async def last_successful_of_all(self) -> dict[str, Deployment]:
        """The newest deployment of each workload that succeeded, by the workload's id."""
        return await self._deployments.last_successful_of_all()

    async def last_wished(self, workload_id: str) -> Deployment | None:
        """The newest successful deployment that somebody asked for, with the version that it named.

        Not one that only repeats a version: a start, a restore, reconciliation.
        """
        return await self._deployments.last_successful(workload_id, besides=REPEATING)

    async def history(self, workload_id: str, *, before: str | None = None) -> tuple[Deployment, ...]:
        """A workload's newest deployments, newest first; as many as one may want to compare with.

        Args:
            before: only those older than the one with this id.
        """
        return await self._deployments.list(workload_id, limit=_HISTORY, before=before)

    async def newest(self, workload_id: str) -> Deployment | None:
        """The newest deployment of a workload, however it ended."""
        found = await self._deployments.list(workload_id, limit=1)
        return found[0] if found else None

    async def page(self, workload_id: str, limit: int, cursor: str | None) -> Page[Deployment]:
        """A workload's deployments, newest first.

        Raises:
            InvalidInput: ``limit_invalid`` or ``cursor_invalid``.
        """
        check_page(limit, cursor)
        found = await self._deployments.list(workload_id, limit=limit + 1, before=cursor)
        return make_page(found, limit, lambda deployment: deployment.id)

    async def cut_off(self, workload_id: str) -> tuple[Deployment, ...]:
        """Deployments of a workload that never ended, oldest first. Who calls holds its lock."""
        return tuple(d for d in reversed(await self._deployments.unfinished()) if d.workload_id == workload_id)

    async def begin(
        self,
        workload: Workload,
        version: Version,
        reason: DeployReason,
        operation_id: str | None,
        *,
        snapshot_id: str | None = None,
    ) -> Deployment:
        """Write down an attempt. Nothing was touched yet.

        Args:
            snapshot_id: the snapshot of the data right before it, if there is one already.
        """
        for stale in await self.cut_off(workload.id):
            await self.end(stale, DeploymentState.INTERRUPTED)
        deployment = Deployment(
            id=new_id(),
            workload_id=workload.id,
            state=DeploymentState.RUNNING,
            reason=reason,
            spec=workload.spec,
            image_id=version.image_id,
            digest=version.digest,
            operation_id=operation_id,
            started_at=times.now(),
            snapshot_id=snapshot_id,
        )
        await self._deployments.insert(deployment)
        return deployment

    async def captured(self, deployment: Deployment, snapshot_id: str) -> None:
        """Write down which snapshot holds the data from right before a deployment."""
        await self._deployments.set_snapshot(deployment.id, snapshot_id)

    async def keep_image(self, deployment: Deployment) -> None:
        """Keep the image of a deployment on the host."""
        await self._images.keep(deployment.image_id, deployment.workload_id, deployment.id)

    async def adopt(self, workload: Workload, actor: str) -> None:
        """From now on this is the workload's configuration, on somebody's behalf."""
        await self._workloads.update_spec(workload.id, workload.spec.declared, actor)

    async def want(self, workload: Workload, desired: DesiredState) -> None:
        """Write down whether the workload should run."""
        await self._workloads.set_desired(workload.id, desired)

    async def end(
        self,
        deployment: Deployment,
        state: DeploymentState,
        error: HoldfastError | None = None,
        *,
        lines: tuple[str, ...] = (),
    ) -> Deployment:
        """Write down how an attempt ended. Returns it as it is now.

        Args:
            lines: the last lines that a failed instance printed.
        """
        told = None
        if error is not None:
            told = {"code": error.code, "message": error.message, "next_step": error.next_step}
            if lines:
                told["logs"] = "\n".join(lines)
        await self._deployments.finish(deployment.id, state, told)
        return await self._deployments.get(deployment.id) or deployment

    async def succeeded(self, deployment: Deployment, *, adopted_by: str | None) -> Deployment:
        """Write down a success, and with it that the workload should run. Returns the deployment as it is now.

        Args:
            adopted_by: on whose behalf its configuration becomes the workload's, if it does.
        """
        await self._deployments.succeed(deployment, adopted_by=adopted_by)
        return await self._deployments.get(deployment.id) or deployment

    async def confirmed(
        self, deployment: Deployment, workload: Workload, version: Version, *, adopted_by: str | None
    ) -> Deployment:
        """Write down that a deployment which runs is what a workload asks for by now. Returns it as it is now.

        What makes no other containers (the image's name, what is kept of snapshots, hooks) may have changed since. The
        record would differ from the configuration for ever, although there is nothing left to deploy.

        Args:
            adopted_by: as with :meth:`succeeded`.
        """
        spec, digest = workload.spec, version.digest or deployment.digest
        await self._deployments.confirm(deployment, spec, digest, adopted_by=adopted_by)
        return await self._deployments.get(deployment.id) or deployment

    async def failed(
        self, deployment: Deployment, state: DeploymentState, error: HoldfastError, *, lines: tuple[str, ...] = ()
    ) -> None:
        """Write down a failure. Never raises: the failure itself is to be told."""
        try:
            await self.end(deployment, state, error, lines=lines)
        except HoldfastError as again:
            self._log.error("deployment_not_recorded", deployment_id=deployment.id, reason=again.message)
