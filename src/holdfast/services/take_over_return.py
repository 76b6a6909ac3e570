"""The way back of a take-over: what others had made runs again as it was, and what was to take its place is gone.

- What the workloads run ends within its grace and is gone before an old container starts, and none starts while
  anything else writes to its data: two writers destroy it.
- Only what the take-over itself has deployed is removed: whatever a person deployed since is that person's.
- A container that can't be started, or has lost its name, keeps no other from running.
- One that somebody removed can't be put back: its workload stays configured on the data, and that is told.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, NotFound, Unavailable
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.told import Told, told
from holdfast.domain.workload import DesiredState
from holdfast.engine.take_over_files import TakeOver, TakeOverFiles
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container, ContainerRuntime
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.instances import Instances
from holdfast.services.operations import OperationContext
from holdfast.services.path_users import writers_on_volumes
from holdfast.services.quiesce import Quiescer, facts_of
from holdfast.services.retrying import until_engine_answers
from holdfast.services.take_over_errors import Gone, in_use
from holdfast.services.workload_deletion import WorkloadDeletion

_GRACE: Final = 10.0
"""Seconds for what runs though its workload is forgotten already."""


class TakeOverReturn:
    """Undoes take-overs. Who calls holds the locks of their workloads."""

    def __init__(
        self,
        *,
        runtime: ContainerRuntime,
        instances: Instances,
        quiescer: Quiescer,
        records: DeployRecords,
        deletion: WorkloadDeletion,
        files: TakeOverFiles,
    ) -> None:
        self._runtime = runtime
        self._instances = instances
        self._quiescer = quiescer
        self._records = records
        self._deletion = deletion
        self._files = files

    async def undo(self, ctx: OperationContext, record: TakeOver) -> tuple[Gone, ...]:
        """Put the containers back as they were, and forget the workloads that were to take their place. Idempotent.

        Returns:
            Those that are not there any more; their workloads stay.

        Raises:
            HoldfastError: one could not be put back; the others are, as far as they can be.
        """
        missing = await until_engine_answers(ctx, lambda: self._put_back(ctx, record))
        gone: list[Gone] = []
        for facts in record.containers:
            with suppress(NotFound):
                workload = await self._records.workload(facts.workload_id)
                if facts in missing:
                    gone.append(Gone(container=facts.name, workload=workload.spec.name))
                else:
                    await self.forget(ctx, facts.workload_id)
        await asyncio.to_thread(self._files.remove, record.operation_id)
        return tuple(gone)

    async def forget(self, ctx: OperationContext, workload_id: str) -> None:
        """Forget a workload of which nothing runs, if it is there."""
        with suppress(NotFound):
            workload = await self._records.workload(workload_id)
            if not await until_engine_answers(ctx, partial(self._instances.of, workload_id)):
                await until_engine_answers(ctx, partial(self._deletion.forget, workload, ctx))

    async def _put_back(self, ctx: OperationContext, record: TakeOver) -> list[ContainerFacts]:
        """Returns those that are gone."""
        for facts in record.containers:
            await self._end_instances(record, facts.workload_id)
        for facts in record.containers:
            await self._give_name_back(ctx, facts)
        missing: list[ContainerFacts] = []
        failures: list[HoldfastError] = []
        for facts in record.containers:
            try:
                await self._require_unused(record, facts)
                if (await self._quiescer.let_go([facts])).gone:
                    missing.append(facts)
            except Unavailable:
                raise
            except NotFound:
                missing.append(facts)
            except HoldfastError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return missing

    async def _end_instances(self, record: TakeOver, workload_id: str) -> None:
        """Stop and remove what the take-over has deployed."""
        made: list[Container] = []
        for container in await self._instances.of(workload_id):
            deployment = await self._records.get(container.labels.get(LABEL_DEPLOYMENT, ""))
            if deployment is None or deployment.operation_id == record.operation_id:
                made.append(container)
        if not made:
            return
        grace = _GRACE
        with suppress(NotFound):
            workload = await self._records.workload(workload_id)
            grace = workload.spec.stop_grace
            with suppress(HoldfastError):  # a full disk must not stop the way back
                # what is taken back is not to run: who looks after what is missing would put it there again
                await self._records.want(workload, DesiredState.STOPPED)
        with suppress(Failed, NotFound):  # who doesn't end by TERM ends by the removal, which is not optional
            await self._quiescer.stop([facts_of(container) for container in made], {workload_id: grace})
        for container in made:
            await self._instances.remove(facts_of(container), force=True)

    async def _give_name_back(self, ctx: OperationContext, facts: ContainerFacts) -> None:
        try:
            await self._runtime.rename(facts.id, facts.name)
        except NotFound:
            return  # told as gone
        except Failed as error:
            with suppress(HoldfastError):  # a full disk must not keep it from running
                ctx.log(
                    told(
                        "take_over_name_lost",
                        "{container} runs on, and could not be given its name back: {why}",
                        container=facts.name,
                        why=Told.of(error),
                    ),
                    "warning",
                )

    async def _require_unused(self, record: TakeOver, facts: ContainerFacts) -> None:
        """Raise ``Failed`` where a container that is to start again would not be the only one that writes to its data.

        Raises:
            NotFound: it is gone.
        """
        old = await self._runtime.inspect(facts.id)
        if old.running or not facts.running:
            return
        taken = {each.id for each in record.containers}
        others = [other for other in await self._runtime.containers() if other.running and other.id not in taken]
        written = [mount.source for mount in old.mounts if mount.source and not mount.read_only]
        problems, _ = await asyncio.to_thread(writers_on_volumes, others, written, ())
        if problems:
            raise in_use(facts.name, problems[0])
