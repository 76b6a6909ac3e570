"""One running operation: what its readers see, and what the code that carries it out may say and ask.

- The end is on disk before anybody is told of it. What comes before it is told at once or soon
  (:data:`PUBLISH_SECONDS`) and written within :data:`SAVE_SECONDS`: nothing is decided by it, so that a server that
  dies loses a second of a story, while one that lives doesn't wait for the disk at each step of a downtime.
- Readers get the latest state, not every state: a slow one skips what is outdated and never holds the operation up.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, cast

import structlog

from holdfast.domain import times
from holdfast.domain.errors import Cancelled, Conflict, HoldfastError
from holdfast.domain.operation import LogLine, Operation, OperationState, Progress, StepRecord
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.services.updates import Updates
from holdfast.store.codec import decode, encode
from holdfast.store.operations import MAX_LOG_LINES, OperationStore

PUBLISH_SECONDS: Final = 0.1
"""Progress is told to readers at most this often."""

SAVE_SECONDS: Final = 1.0
"""How long what changed may be in memory only."""


class LiveOperation:
    """The state of a running operation, its readers, and its way to the disk."""

    def __init__(self, operation: Operation, store: OperationStore, updates: Updates) -> None:
        self.operation = operation
        self.tick = asyncio.Event()
        """Set at the next change; each change makes a new one. Take it before looking at ``operation``."""
        self.over = False
        """Nothing will change any more: the operation ended, or the server stops."""
        self._store = store
        self._updates = updates
        self._publisher: asyncio.TimerHandle | None = None
        self._published_at = -PUBLISH_SECONDS
        self._saver: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("operations")

    def change(self, **fields: object) -> None:
        """Change the record in memory. Nobody is told yet."""
        self.operation = dataclasses.replace(self.operation, **fields)  # type: ignore[arg-type] # checked by dataclass

    def publish(self) -> None:
        """Tell the readers now."""
        if self._publisher is not None:
            self._publisher.cancel()
            self._publisher = None
        self._published_at = asyncio.get_running_loop().time()
        tick, self.tick = self.tick, asyncio.Event()
        tick.set()
        self._updates.of_operation(self.operation)

    def tell(self) -> None:
        """Tell the readers now, and the disk soon."""
        self.publish()
        self._save_soon()

    def tell_soon(self) -> None:
        """Tell the readers and the disk soon; both at most so often."""
        loop = asyncio.get_running_loop()
        due = self._published_at + PUBLISH_SECONDS
        if loop.time() >= due:
            self.publish()
        elif self._publisher is None:
            self._publisher = loop.call_at(due, self.publish)
        self._save_soon()

    async def finish(self, final: Operation) -> None:
        """Write the end, then tell it: nobody learns of an end that is not on disk.

        A disk that does not take it is waited for. If the server stops before, the next start finds the record
        unfinished, and says what it makes of that.
        """
        await self._stop_saver()
        while True:
            try:
                await self._store.end(final)
                break
            except HoldfastError as error:
                self._log.error("operation_not_saved", state=final.state, reason=error.message)
                whom = told("disk_of_database", "the disk of the database: {why}", why=Told.of(error))
                self.change(waiting=_waiting(whom), cancellable=False)
                self.publish()
                await asyncio.sleep(SAVE_SECONDS)
        self.operation = final
        self.over = True
        self.publish()

    async def cut_off(self) -> None:
        """The server stops while the operation runs: keep what is known of it, and let the readers go."""
        await self._stop_saver()
        await self._save()
        self.over = True
        self.publish()

    def _save_soon(self) -> None:
        if self._saver is None:
            self._saver = asyncio.create_task(self._save_later())

    async def _save_later(self) -> None:
        known = None
        while self.operation is not known:
            await asyncio.sleep(SAVE_SECONDS)
            known = self.operation
            await self._save()
        self._saver = None

    async def _save(self) -> None:
        try:
            await self._store.save(self.operation)
        except HoldfastError as error:
            self._log.warning("progress_not_saved", operation_id=self.operation.id, reason=error.message)

    async def _stop_saver(self) -> None:
        saver, self._saver = self._saver, None
        if saver is not None:
            saver.cancel()
            await asyncio.wait([saver])


class OperationContext:
    """What the code that carries an operation out gets.

    Attributes:
        outcome: what it produced; added to while it runs, and kept when it fails as well.
        cancelled: set when a person cancelled; for waiting on. Otherwise use :meth:`check`.
        afterwards: called once the end is on disk: what must not be done before it is.
    """

    def __init__(self, live: LiveOperation) -> None:
        self._live = live
        self._hook: Callable[[], object] | None = None
        self._interrupts: list[Callable[[], object]] = []
        self.outcome: dict[str, object] = {}
        self.cancelled = asyncio.Event()
        self.afterwards: list[Callable[[], object]] = []

    @property
    def id(self) -> str:
        return self._live.operation.id

    @property
    def actor(self) -> str:
        return self._live.operation.actor

    def step(self, name: str) -> None:
        """Enter the next step; the present one has ended."""
        at = times.now()
        self._live.change(
            state=OperationState.RUNNING,
            steps=(*ended_steps(self._live.operation, at), StepRecord(name=str(name), started_at=at)),
            progress=Progress(),
            waiting=None,
        )
        self._live.tell()

    def progress(self, progress: Progress) -> None:
        """Tell how far the present step is. Call it as often as you like."""
        self._live.change(progress=progress)
        self._live.tell_soon()

    def log(self, message: TextOrTold, level: str = "info") -> None:
        """Add a line to the operation's log (``info``, ``warning`` or ``error``)."""
        self.log_lines([message], level)

    def log_lines(self, messages: Iterable[TextOrTold], level: str = "info") -> None:
        """Add several lines at once; nothing is done if there are none."""
        lines = [log_line(message, level) for message in messages]
        if lines:
            self._live.change(log=(*self._live.operation.log, *lines)[-MAX_LOG_LINES:])
            self._live.tell()

    def waiting(self, reason: TextOrTold) -> None:
        """Tell whom the operation waits for (``restore 01j…``); ``""`` when the waiting is over."""
        begun = not reason or bool(self._live.operation.steps)
        self._live.change(
            waiting=_waiting(reason) if reason else None,
            state=OperationState.RUNNING if begun else OperationState.QUEUED,
        )
        self._live.tell_soon()

    def check(self) -> None:
        """Raise ``Cancelled`` if a person cancelled."""
        if self.cancelled.is_set():
            raise Cancelled

    def point_of_no_return(self) -> None:
        """From here a cancel is refused, unless :meth:`on_cancel` says what it means.

        Raises:
            Cancelled: a person was faster.
        """
        self.check()
        self.on_cancel(None)

    def on_cancel(self, hook: Callable[[], object] | None) -> None:
        """Say what a cancel means from here.

        Args:
            hook: called instead of setting :attr:`cancelled`; it may do so itself (``ctx.cancelled.set``). ``None``
                refuses cancels, and forgets one that came before: whoever asks has dealt with it.
        """
        self._hook = hook
        if hook is None:
            self.cancelled.clear()
        self._live.change(cancellable=hook is not None)
        self._live.tell_soon()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Give a wait up at once when a person cancels: ``with ctx.interruptible(): await …``.

        The body is cancelled as by ``Task.cancel``; so put only into it what copes with that.

        Raises:
            Cancelled: a person cancelled, before or during the wait.
        """
        self.check()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        before, interrupted = task.cancelling(), False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            task.cancel()

        self._interrupts.append(interrupt)
        try:
            yield
        except BaseException as error:
            # As in asyncio.timeout: ours only if nobody else cancelled the task as well.
            if interrupted and task.uncancel() <= before and isinstance(error, asyncio.CancelledError):
                raise Cancelled from error
            raise
        finally:
            self._interrupts.remove(interrupt)

    def request_cancel(self) -> None:
        """A person cancels.

        Raises:
            Conflict: ``not_cancellable``.
        """
        operation = self._live.operation
        if not operation.cancellable or operation.state.ended:
            raise not_cancellable(operation)
        if self._hook is not None:
            self._hook()
        else:
            self.cancelled.set()
        if self.cancelled.is_set():
            for interrupt in tuple(self._interrupts):
                interrupt()


def log_line(message: TextOrTold, level: str = "info") -> LogLine:
    """A line of an operation's log, as of now."""
    text = " ".join(str(message).split())
    if isinstance(message, str):
        return LogLine(at=times.now(), message=text, level=level)
    return LogLine(at=times.now(), message=text, level=level, code=message.code, values=message.values)


def _waiting(whom: TextOrTold) -> Told:
    return told("waiting_for", "waiting for {whom}", whom=whom)


def ended_steps(operation: Operation, at: str) -> tuple[StepRecord, ...]:
    """The steps of an operation, the last one ended."""
    if not operation.steps or operation.steps[-1].finished_at is not None:
        return operation.steps
    return (*operation.steps[:-1], dataclasses.replace(operation.steps[-1], finished_at=at))


def plain(values: dict[str, object]) -> dict[str, object]:
    """The same in JSON's own types, exactly as it will be read back from the disk. Raises ``TypeError``."""
    return decode(dict[str, object], encode(values))


def kept_error(error: HoldfastError) -> dict[str, object]:
    """An error as an operation keeps it."""
    kept: dict[str, object] = {"code": error.code, "message": error.message, "next_step": error.next_step}
    kept["details"] = error.details
    return plain(kept if error.values is None else kept | {"values": error.values})


def not_cancellable(operation: Operation) -> Conflict:
    """The error for a cancel that comes too late."""
    ended = operation.state.ended
    return Conflict(
        "not_cancellable",
        "The operation has ended already."
        if ended
        else "The operation has passed the point where it can be cancelled.",
        next_step="Look at its outcome." if ended else "Wait until it has ended; then undo it if need be.",
        details={"operation_id": operation.id, "state": operation.state.value},
    )
