"""Watching for instances that somebody removes by hand: their workloads are looked at again, a moment later.

What differs otherwise (stopped, started, another restart policy) is told by the status as it is, and mended, where it
is Holdfast's to mend, when the server or the engine starts. An instance that is gone is not waited for: nobody is
served, and nothing but a deployment brings it back.

- Whoever removes more than one, or makes another one in its place, is let finish first: it is looked after a pause.
- What Holdfast removes by itself leads to no look: that is never of the deployment that succeeded last, or the workload
  is gone as well.
- A workload that somebody is at work on is looked at once they have finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from holdfast.domain.errors import HoldfastError, NotFound
from holdfast.runtime.port import LABEL_DEPLOYMENT, LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerEvent
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.reconcile import Reconciled

PAUSE: Final = 2.0
"""Seconds from a removal to the look."""
AGAIN: Final = 5
"""So many times as long from a look that was not possible to the next."""


class RemovalWatch:
    """Has workloads looked at whose instances were removed.

    Args:
        installation: the id of this Holdfast.
        look: reconciles the workload of an id.
        pause: see :data:`PAUSE`.
    """

    def __init__(
        self,
        *,
        installation: str,
        records: DeployRecords,
        look: Callable[[str], Awaitable[Reconciled]],
        pause: float = PAUSE,
    ) -> None:
        self._installation = installation
        self._records = records
        self._look_at = look
        self._pause = pause
        self._removed: dict[str, set[str]] = {}
        """By the ids of workloads, those of the deployments whose instances were removed."""
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("removal_watch")

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._watch(), name="removal watch")

    async def close(self) -> None:
        """Stop looking. Deployments that were begun go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def happened(self, event: ContainerEvent) -> None:
        """Something happened to a container."""
        if event.action != "destroy" or event.labels.get(LABEL_INSTALLATION) != self._installation:
            return
        deployments = self._removed.setdefault(event.labels.get(LABEL_WORKLOAD, ""), set())
        deployments.add(event.labels.get(LABEL_DEPLOYMENT, ""))
        self._told.set()

    async def look(self) -> None:
        """Look at all workloads of which something was removed since the last look."""
        removed, self._removed = self._removed, {}
        for workload_id, deployments in removed.items():
            if not await self._looked_at(workload_id, deployments):
                self._removed.setdefault(workload_id, set()).update(deployments)

    async def _looked_at(self, workload_id: str, deployments: set[str]) -> bool:
        """Whether nothing is left to look at."""
        try:
            last = await self._records.last_successful(workload_id)
            if last is None or last.id not in deployments:
                return True
            return not (await self._look_at(workload_id)).skipped
        except NotFound:  # deleted meanwhile
            return True
        except HoldfastError as error:
            self._log.warning("a removal could not be looked at", workload_id=workload_id, reason=error.message)
            return False
        except Exception:  # noqa: BLE001 - a defect met with one workload must not leave out the others
            self._log.exception("removal_watch_failed_unforeseen", workload_id=workload_id)
            return True

    async def _watch(self) -> None:
        pause = self._pause
        while True:
            await self._told.wait()
            await asyncio.sleep(pause)
            self._told.clear()
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - a defect met once must not end the watching for good, and unseen
                self._log.exception("removal_watch_failed_unforeseen")
            pause = self._pause
            if self._removed:
                self._told.set()
                pause *= AGAIN
