"""Operations: long-running work that outlives its request, is watched, cancelled, and never forgotten.

- An operation is on disk before its caller hears of it and before anything is done for it.
- Whatever its runner raises ends in a record with a code and a next step; what nobody foresaw is logged in full and
  told as ``internal_error`` without its inside.
- What the server's death or shutdown cut off stays unfinished on disk, and the next start says ``interrupted``.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Final

import structlog

from holdfast.domain import times
from holdfast.domain.errors import Cancelled, Conflict, Failed, HoldfastError, NotFound
from holdfast.domain.idempotency import key_reused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.told import told
from holdfast.services.locks import Admission, DrainBarrier
from holdfast.services.operation_context import (
    LiveOperation,
    OperationContext,
    ended_steps,
    kept_error,
    log_line,
    not_cancellable,
    plain,
)
from holdfast.services.paging import Page, check_page, make_page
from holdfast.services.updates import Updates
from holdfast.store.operations import OperationStore

__all__ = ["LeftToNextStart", "OperationContext", "Operations", "Run"]

Run = Callable[[OperationContext], Awaitable[Mapping[str, object] | None]]
"""Carries an operation out. What it returns is added to the outcome."""

_INTERRUPTED: Final = Failed(
    "interrupted",
    "Holdfast stopped while the operation was running.",
    next_step="Look at its log for what was recovered, then start it again if need be.",
)


class LeftToNextStart(Exception):
    """Raised by an operation that the server's next start carries out, and ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Running:
    live: LiveOperation
    context: OperationContext
    task: asyncio.Task[None]


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    state: OperationState
    outcome: dict[str, object]
    error: dict[str, object] | None = None


class Operations:
    """All operations: those that run here, and the records of those that ran.

    Args:
        updates: is told where one begins, comes to another step, or ends.

    Attributes:
        ended: how many ended here, by kind and how they ended.
        seconds: how long those took from their start, together, by kind.
        downtime: for how many seconds restores kept workloads down, together.
    """

    def __init__(self, store: OperationStore, barrier: DrainBarrier, updates: Updates | None = None) -> None:
        self._store = store
        self._barrier = barrier
        self._updates = updates or Updates()
        self._running: dict[str, _Running] = {}
        self._starting: set[asyncio.Task[Operation]] = set()
        self._closing = False
        self.ended: Counter[tuple[OperationKind, OperationState]] = Counter()
        self.seconds: defaultdict[OperationKind, float] = defaultdict(float)
        self.downtime = 0.0
        self._log = structlog.get_logger("operations")

    @property
    def unfinished(self) -> int:
        """How many run or wait here."""
        return len(self._running)

    def require_alone(self, operation_id: str | None = None, *, then_refuse: bool = False) -> None:
        """Make sure that nothing is under way but one operation, or nothing at all.

        Args:
            operation_id: of the one.
            then_refuse: let nothing in any more, either.

        Raises:
            Conflict: ``operations_running``, naming them.
        """
        if self._barrier.admitted <= (operation_id is not None):
            if then_refuse:
                self._barrier.hold_off()
            return
        others = [each.live.operation for each in self._running.values() if each.live.operation.id != operation_id]
        named = [f"{each.kind} {each.id}" for each in others]
        raise Conflict(
            "operations_running",
            f"Operations are under way that this would tear: {', '.join(named[:5]) or 'one that begins just now'}.",
            next_step="Nothing was changed. Wait for them, or cancel them (holdfast operation list), and try again.",
            details={"operations": named},
        )

    def go_on(self) -> None:
        """Let operations in again that :meth:`require_alone` had refused."""
        self._barrier.reopen()

    async def told_by_start(self, operation: Operation) -> None:
        """At start, before anything else is told: how an operation ended that was left to it. Idempotent."""
        known = await self._store.get(operation.id)
        if known is not None and known.state.ended:
            return
        if known is None:
            await self._store.insert(dataclasses.replace(operation, state=OperationState.RUNNING, finished_at=None))
            known = operation
        at = operation.finished_at or times.now()
        steps, log = ended_steps(known, at), tuple(dict.fromkeys((*known.log, *operation.log)))
        await self._store.end(dataclasses.replace(operation, steps=steps, log=log))

    async def start(
        self,
        kind: OperationKind,
        workload_id: str | None,
        actor: str,
        run: Run,
        *,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Start an operation; it goes on when the caller goes away.

        Args:
            idempotency_key: a second start by the same actor with the same key gives the first operation.

        Raises:
            Unavailable: ``draining``.
            Conflict: ``idempotency_key_reused``; the key belongs to another request.
        """
        operation = Operation(
            id=new_id(),
            kind=kind,
            state=OperationState.QUEUED,
            workload_id=workload_id,
            actor=actor,
            created_at=times.now(),
        )
        return await self._unbroken(self._begin(operation, run, self._barrier.admit(), idempotency_key))

    async def begun(
        self, kind: OperationKind, workload_id: str | None, actor: str, idempotency_key: str | None
    ) -> Operation | None:
        """The operation that this key started before; ``None`` for none.

        For whoever checks before a start what the first of two requests has changed: the second is no other one.

        Raises:
            Conflict: ``idempotency_key_reused``.
        """
        if idempotency_key is None:
            return None
        earlier = await self._store.find_by_key(actor, idempotency_key)
        return None if earlier is None else self._repeated(earlier, kind, workload_id)

    async def resume(self, operation_id: str, run: Run) -> Operation:
        """Take up an operation that a death of the server cut off; for recovery, with a runner that goes on.

        It can't be cancelled unless the runner calls ``on_cancel``.

        Raises:
            NotFound: ``operation_unknown``.
        """
        at = times.now()
        before = await self.get(operation_id)
        operation = dataclasses.replace(
            before,
            state=OperationState.RUNNING,
            finished_at=None,
            error=None,
            waiting=None,
            cancellable=False,
            steps=ended_steps(before, at),
            log=(*before.log, log_line(told("resumed", "resumed after a restart"))),
        )
        return await self._unbroken(self._take_up(operation, run, self._barrier.admit()))

    async def get(self, operation_id: str) -> Operation:
        """The operation as it stands now.

        Raises:
            NotFound: ``operation_unknown``.
        """
        running = self._running.get(operation_id)
        found = running.live.operation if running is not None else await self._store.get(operation_id)
        if found is None:
            raise NotFound(
                "operation_unknown",
                f"There is no operation {operation_id}.",
                next_step="List the operations to see which there are.",
            )
        return found

    async def list(self, limit: int, cursor: str | None = None, workload_id: str | None = None) -> Page[Operation]:
        """Operations, newest first, all or those of one workload.

        Raises:
            InvalidInput: ``limit_invalid`` or ``cursor_invalid``.
        """
        check_page(limit, cursor)
        found = await self._store.list(limit=limit + 1, before=cursor, workload_id=workload_id)
        return make_page([self._newest(operation) for operation in found], limit, lambda operation: operation.id)

    async def cancel(self, operation_id: str) -> Operation:
        """Ask a running operation to stop. It ends as ``cancelled`` once it has put things back.

        Raises:
            NotFound: ``operation_unknown``.
            Conflict: ``not_cancellable``; it has ended, or passed its point of no return.
        """
        running = self._running.get(operation_id)
        if running is None:
            raise not_cancellable(await self.get(operation_id))
        running.context.request_cancel()
        running.context.log(told("cancel_asked", "a person asked to cancel"))
        return running.live.operation

    async def events(self, operation_id: str) -> AsyncIterator[Operation]:
        """The operation as it stands, then its latest state at each change, the end last.

        A slow reader skips states but never the end. A shutdown of the server ends the stream without one.

        Raises:
            NotFound: ``operation_unknown``.
        """
        running = self._running.get(operation_id)
        if running is None:
            yield await self.get(operation_id)
            return
        live = running.live
        while True:
            tick, over = live.tick, live.over
            yield live.operation
            if over:
                return
            await tick.wait()

    async def wait(self, operation_id: str) -> Operation:
        """Wait until the operation has ended (or the server stops) and give it as it stands then.

        Raises:
            NotFound: ``operation_unknown``.
        """
        last = await self.get(operation_id)
        async for operation in self.events(operation_id):
            last = operation
        return last

    async def recover_unfinished(self) -> tuple[Operation, ...]:
        """At start: what the last server left unfinished was interrupted; says so, and returns it, oldest first."""
        at = times.now()
        interrupted = [
            dataclasses.replace(
                operation,
                state=OperationState.INTERRUPTED,
                finished_at=at,
                steps=ended_steps(operation, at),
                waiting=None,
                cancellable=False,
                error=kept_error(_INTERRUPTED),
            )
            for operation in await self._store.unfinished()
            if operation.id not in self._running
        ]
        for operation in interrupted:
            await self._store.end(operation)
        return tuple(interrupted)

    async def close(self, deadline: float, *, grace: float = 10.0) -> None:
        """Shut down: refuse new work, wait for what runs, cut off what does not end in time.

        Args:
            deadline: seconds to wait for operations to end by themselves.
            grace: seconds that those cut off get to put things back.
        """
        await self._barrier.close(deadline)
        self._closing = True
        tasks = {running.task for running in self._running.values()} | self._starting
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)

    async def _begin(
        self, operation: Operation, run: Run, admission: Admission, idempotency_key: str | None
    ) -> Operation:
        try:
            earlier = await self._store.insert(operation, idempotency_key=idempotency_key)
        except BaseException:
            admission.release()
            raise
        if earlier is None:
            return self._spawn(operation, run, admission)
        admission.release()
        return self._repeated(earlier, operation.kind, operation.workload_id)

    def _repeated(self, earlier: Operation, kind: OperationKind, workload_id: str | None) -> Operation:
        if (earlier.kind, earlier.workload_id) != (kind, workload_id):
            raise key_reused(earlier.id)
        return self._newest(earlier)

    async def _take_up(self, operation: Operation, run: Run, admission: Admission) -> Operation:
        try:
            await self._store.save(operation)
        except BaseException:
            admission.release()
            raise
        return self._spawn(operation, run, admission)

    def _spawn(self, operation: Operation, run: Run, admission: Admission) -> Operation:
        live = LiveOperation(operation, self._store, self._updates)
        context = OperationContext(live)
        self._updates.of_operation(operation)
        task = asyncio.create_task(self._carry_out(live, context, run, admission), name=f"operation {operation.id}")
        self._running[operation.id] = _Running(live, context, task)

        def ended(_task: asyncio.Task[None]) -> None:
            # Also where the task was cancelled before its first step, so that none of its own code ever ran.
            self._running.pop(operation.id, None)
            admission.release()
            if not live.over:
                live.over = True
                live.publish()

        task.add_done_callback(ended)
        return operation

    async def _carry_out(self, live: LiveOperation, context: OperationContext, run: Run, admission: Admission) -> None:
        with admission, structlog.contextvars.bound_contextvars(operation_id=live.operation.id):
            try:
                end = await self._attempt(live, context, run)
            except LeftToNextStart:
                await live.cut_off()
                return
            except asyncio.CancelledError:
                if self._closing:
                    await live.cut_off()
                    raise
                end = self._unforeseen(live)  # something inside was cancelled, and nobody outside asked for it
            except Exception:  # noqa: BLE001 - logged in full; the record must not stay unfinished
                end = self._unforeseen(live)
            at = times.now()
            await live.finish(
                dataclasses.replace(
                    live.operation,
                    state=end.state,
                    finished_at=at,
                    steps=ended_steps(live.operation, at),
                    waiting=None,
                    cancellable=False,
                    outcome=end.outcome,
                    error=end.error,
                )
            )
            self._count(live.operation)
            for then in context.afterwards:
                then()
            self._log.info("operation_ended", kind=live.operation.kind, state=end.state)

    async def _attempt(self, live: LiveOperation, context: OperationContext, run: Run) -> _End:
        try:
            live.change(state=OperationState.RUNNING, started_at=live.operation.started_at or times.now())
            live.tell()
            context.outcome.update(await run(context) or {})
            return _End(OperationState.SUCCEEDED, plain(context.outcome))
        except Cancelled as cancelled:
            return _End(OperationState.CANCELLED, plain(context.outcome), kept_error(cancelled))
        except HoldfastError as error:
            return _End(OperationState.FAILED, plain(context.outcome), kept_error(error))

    def _count(self, operation: Operation) -> None:
        self.ended[operation.kind, operation.state] += 1
        began, ended = (
            times.parse(operation.started_at or operation.created_at),
            times.parse(str(operation.finished_at)),
        )
        self.seconds[operation.kind] += max(0.0, (ended - began).total_seconds())
        downtime = operation.outcome.get("downtime_seconds")
        if isinstance(downtime, int | float):
            self.downtime += downtime

    def _unforeseen(self, live: LiveOperation) -> _End:
        """Log the exception in hand, and tell people that there was one."""
        self._log.exception("operation_failed_unforeseen", kind=live.operation.kind)
        error = Failed(
            "internal_error",
            "The operation failed for a reason that Holdfast did not foresee.",
            next_step="Look into Holdfast's own log for this operation's id, and report the defect.",
            details={"operation_id": live.operation.id},
        )
        return _End(OperationState.FAILED, {}, kept_error(error))

    def _newest(self, operation: Operation) -> Operation:
        """What is known here of an operation that was read from the disk, if it still runs."""
        running = self._running.get(operation.id)
        return operation if running is None else running.live.operation

    async def _unbroken(self, start: Coroutine[object, object, Operation]) -> Operation:
        """Finish a start although its caller goes away: no record without the task that carries it out."""
        task = asyncio.create_task(start)
        self._starting.add(task)
        task.add_done_callback(self._started)
        return await asyncio.shield(task)

    def _started(self, task: asyncio.Task[Operation]) -> None:
        self._starting.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains where the caller has gone away
