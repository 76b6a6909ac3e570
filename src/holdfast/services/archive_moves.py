"""Takes snapshots that are archives into the repository, in the background, until none is left.

Nothing is lost on the way: an archive goes only after the repository has its content, and each start goes on where the
last one was cut off. An archive that can't be moved stays where it is and can be used as far as it is whole.
"""

from __future__ import annotations

import asyncio

from holdfast.domain.errors import Cancelled, Conflict, HoldfastError
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.told import Told, told
from holdfast.engine.requests import MoveInRequest
from holdfast.engine.stores import Stores
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.workers import Workers


class ArchiveMoves:
    """Moves what an earlier version of Holdfast kept as archives."""

    def __init__(self, *, stores: Stores, operations: Operations, workers: Workers, in_use: SnapshotsInUse) -> None:
        self._stores, self._operations, self._workers, self._in_use = stores, operations, workers, in_use

    async def start(self) -> Operation | None:
        """Begin to move what there is; ``None`` where there is nothing."""
        if not await asyncio.to_thread(self._stores.archived):
            return None
        return await self._operations.start(OperationKind.MOVE_IN, None, "system", self._run)

    async def _run(self, ctx: OperationContext) -> dict[str, object]:
        ctx.step("moving archives into the repository")
        moved, left = 0, []
        archived = await asyncio.to_thread(self._stores.archived)
        async with self._workers.session(ctx) as worker:
            for snapshot_id in archived:
                ctx.check()
                try:
                    self._in_use.check_free(snapshot_id)
                    with self._in_use.hold(snapshot_id, f"its move into the repository ({ctx.id})"):
                        await worker.run(MoveInRequest(snapshot_id=snapshot_id))
                except Cancelled:
                    raise
                except Conflict as error:
                    ctx.log(
                        told(
                            "archive_moved_later",
                            "{snapshot} is moved at the next start: {why}",
                            snapshot=snapshot_id,
                            why=Told.of(error),
                        ),
                        level="warning",
                    )
                    left.append(snapshot_id)
                except HoldfastError as error:
                    ctx.log(
                        told(
                            "archive_stays",
                            "{snapshot} stays an archive: {why}",
                            snapshot=snapshot_id,
                            why=Told.of(error),
                        ),
                        level="warning",
                    )
                    left.append(snapshot_id)
                else:
                    moved += 1
        return {"moved": moved, "left": left}
