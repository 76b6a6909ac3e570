"""Removing the data of a deleted workload, in a worker process: it may be many files, and nothing else waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.domain.errors import Refused
from holdfast.domain.restore import RootRef
from holdfast.engine.requests import RemoveTreeRequest
from holdfast.services.operations import OperationContext
from holdfast.services.workers import Workers
from holdfast.services.workload_deletion import DataRemover


class WorkerDataRemover(DataRemover):
    """Removes one directory after the other; each is gone durably before the next."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def remove(self, volumes: Sequence[RootRef], ctx: OperationContext) -> None:
        """Remove ``volumes`` with all that is in them.

        Raises:
            Failed: a part is left, as the message says; asking again goes on.
        """
        async with self._workers.session(ctx) as worker:
            for ref in volumes:
                try:
                    await worker.run(RemoveTreeRequest(live=ref))
                except Refused as refusal:
                    # Not even the directory above it is there: the workload was never deployed.
                    if refusal.code != "volume_missing":
                        raise
