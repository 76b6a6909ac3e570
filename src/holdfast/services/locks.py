"""Who may act on a workload now: lifecycle locks, and the barrier that drains the server.

Invariants:

- A key has at most one holder, and waiters get it in the order in which they asked. A free key is handed over, never
  raced for, so that nobody overtakes.
- A waiter that is cancelled neither keeps a key nor loses one for others. A key that nobody uses takes no memory.
- Several workloads are always locked in id order; hence no two holders can wait for each other.
- :class:`Held` proves that a lock is held. Only this module makes one, so that code which needs the lock asks for the
  proof in its signature instead of taking the lock a second time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from holdfast.domain.errors import Busy, Unavailable
from holdfast.domain.told import TextOrTold

PATIENCE: Final = 5.0
"""Seconds for which what takes a moment waits for others who hold a lock for a moment."""

OnWait = Callable[[TextOrTold], object]
"""Told whom one waits for (``restore 01j…``) whenever that changes, and ``""`` when the waiting is over."""


@dataclass(slots=True, eq=False)
class _Waiter:
    why: TextOrTold
    brief: bool
    turn: asyncio.Future[None]
    on_wait: OnWait | None


@dataclass(slots=True)
class _Slot:
    holder: TextOrTold
    brief: bool
    waiters: deque[_Waiter] = field(default_factory=deque)


class KeyedMutex:
    """One fair mutex per key, made when it is needed and forgotten when it is idle."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}

    def __len__(self) -> int:
        """How many keys are held."""
        return len(self._slots)

    def holder(self, key: str) -> TextOrTold | None:
        """Why ``key`` is held, in its holder's words; ``None`` if it is free."""
        slot = self._slots.get(key)
        return None if slot is None else slot.holder

    def brief(self, key: str) -> bool:
        """Whether nobody has ``key``, or waits for it, but for a moment."""
        slot = self._slots.get(key)
        return slot is None or (slot.brief and all(waiter.brief for waiter in slot.waiters))

    def try_acquire(self, key: str, why: TextOrTold, *, brief: bool = False) -> bool:
        """Take ``key`` if it is free. Never overtakes: a key with waiters is not free.

        Args:
            brief: whether it is given back in a moment.
        """
        if key in self._slots:
            return False
        self._slots[key] = _Slot(why, brief)
        return True

    async def acquire(self, key: str, why: TextOrTold, on_wait: OnWait | None = None, *, brief: bool = False) -> None:
        """Take ``key``, waiting for one's turn.

        Args:
            why: what the holder is doing, for those who then wait: ``restore 01j…``.
            brief: whether it is given back in a moment.
        """
        if self.try_acquire(key, why, brief=brief):
            return
        slot = self._slots[key]
        waiter = _Waiter(why, brief, asyncio.get_running_loop().create_future(), on_wait)
        slot.waiters.append(waiter)
        if on_wait is not None:
            on_wait(slot.holder)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            # The turn may have come in the same moment as the cancellation: pass it on, or nobody ever gets the key.
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.release(key)
            elif waiter in slot.waiters:
                slot.waiters.remove(waiter)
            raise
        if on_wait is not None:
            on_wait("")

    def release(self, key: str) -> None:
        """Give ``key`` to the next in line, or forget it. The caller must hold it."""
        slot = self._slots[key]
        while slot.waiters:
            waiter = slot.waiters.popleft()
            if waiter.turn.done():  # cancelled; its task has not run since
                continue
            slot.holder, slot.brief = waiter.why, waiter.brief
            waiter.turn.set_result(None)
            for other in slot.waiters:
                if other.on_wait is not None and not other.turn.done():
                    other.on_wait(slot.holder)
            return
        del self._slots[key]


_SEAL: Final = object()
"""Known to this module only, so that only it makes :class:`Held`."""


class Held:
    """Proof that the lifecycle locks of some workloads are held, for as long as they are.

    Functions that need the lock take one as an argument; they never lock themselves.
    """

    __slots__ = ("_current", "ids", "why")

    def __init__(self, ids: frozenset[str], why: TextOrTold, seal: object) -> None:
        if seal is not _SEAL:
            raise RuntimeError("only LifecycleLocks proves that a lock is held")
        self.ids: Final = ids
        self.why: Final = why
        self._current = True

    def covers(self, workload_id: str) -> bool:
        """Whether the lock of ``workload_id`` is held right now by whoever got this proof."""
        return self._current and workload_id in self.ids

    def require(self, *workload_ids: str) -> None:
        """Insist that the locks are held.

        Raises:
            RuntimeError: they are not, or not any more; that is a mistake of the program, not of a caller.
        """
        for workload_id in workload_ids:
            if not self.covers(workload_id):
                raise RuntimeError(f"the lifecycle lock of {workload_id} is not held ({self.why})")

    def _end(self) -> None:
        self._current = False


class LifecycleLocks:
    """The lock of each workload that everything holds which starts, stops or changes it (I9)."""

    def __init__(self) -> None:
        self._mutex = KeyedMutex()

    def holder(self, workload_id: str) -> TextOrTold | None:
        """Who holds the lock, e.g. ``restore 01j…``; ``None`` if nobody does."""
        return self._mutex.holder(workload_id)

    @asynccontextmanager
    async def hold(
        self,
        ids: Iterable[str],
        why: TextOrTold,
        *,
        on_wait: OnWait | None = None,
        waits_in: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> AsyncIterator[Held]:
        """Hold the locks of all ``ids``, waiting for one's turn at each, in id order.

        Args:
            why: who holds them, in words that end a sentence: ``restore 01j…``.
            on_wait: told whom one waits for.
            waits_in: what to wait in; an operation's ``interruptible`` gives the wait up when a person cancels.
        """
        wanted = sorted(set(ids))
        taken: list[str] = []
        try:
            with waits_in():
                for workload_id in wanted:
                    await self._mutex.acquire(workload_id, why, on_wait)
                    taken.append(workload_id)
            with self._proof(wanted, why) as held:
                yield held
        finally:
            self._release(taken)

    @asynccontextmanager
    async def hold_briefly(self, ids: Iterable[str], why: TextOrTold) -> AsyncIterator[Held]:
        """Hold the locks of all ``ids`` for a moment, waiting for others who do no more than that.

        So what somebody asks for is refused for an operation, but not for a look at the workload that nobody asked for.

        Raises:
            Busy: ``workload_busy``: an operation is at work or about to be, or :data:`PATIENCE` is over. No lock was
                taken.
        """
        wanted = sorted(set(ids))
        taken: list[str] = []
        try:
            for workload_id in wanted:
                if not self._mutex.brief(workload_id):
                    raise self._busy(workload_id)
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._mutex.acquire(workload_id, why, brief=True)
                except TimeoutError as error:
                    raise self._busy(workload_id) from error
                taken.append(workload_id)
            with self._proof(wanted, why) as held:
                yield held
        finally:
            self._release(taken)

    def _busy(self, workload_id: str) -> Busy:
        holder = self.holder(workload_id) or ""
        return Busy(
            "workload_busy",
            "The workload is busy: {holder}.",
            next_step="Wait until that has ended, then try again.",
            details={"workload_id": workload_id, "holder": str(holder)},
            values={"holder": holder},
        )

    @contextmanager
    def _proof(self, ids: Iterable[str], why: TextOrTold) -> Iterator[Held]:
        held = Held(frozenset(ids), why, _SEAL)
        try:
            yield held
        finally:
            held._end()

    def _release(self, taken: list[str]) -> None:
        for workload_id in reversed(taken):
            self._mutex.release(workload_id)


class Admission:
    """One piece of admitted work. Counts from its making until it is released; work inside of it passes the barrier.

    It may be made in one task and entered in another (an operation is admitted by the request that starts it).
    """

    __slots__ = ("_barrier", "_open", "_token")

    def __init__(self, barrier: DrainBarrier) -> None:
        self._barrier = barrier
        self._open = True
        self._token: Token[Admission | None] | None = None

    @property
    def open(self) -> bool:
        """Whether the work has not ended."""
        return self._open

    def release(self) -> None:
        """The work has ended. Idempotent."""
        if self._open:
            self._open = False
            self._barrier._ended()

    def __enter__(self) -> Self:
        self._token = self._barrier._current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            self._barrier._current.reset(self._token)
        self.release()


class DrainBarrier:
    """Lets work in until it is closed, then only what belongs to work that is in already (a restore's redeploy)."""

    def __init__(self) -> None:
        self._current: ContextVar[Admission | None] = ContextVar("admission", default=None)
        self._closed = False
        self._held_off = False
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def closed(self) -> bool:
        return self._closed or self._held_off

    @property
    def admitted(self) -> int:
        """How many pieces of work are in."""
        return self._count

    def admit(self) -> Admission:
        """Let work in: ``with barrier.admit(): …``.

        Raises:
            Unavailable: ``draining``; the server is about to stop.
        """
        around = self._current.get()
        if self.closed and not (around is not None and around.open):
            raise Unavailable(
                "draining",
                "Holdfast is shutting down and takes no new work.",
                next_step="Try again when it has started again.",
            )
        self._count += 1
        self._idle.clear()
        return Admission(self)

    def hold_off(self) -> None:
        """Refuse new work until :meth:`reopen`."""
        self._held_off = True

    def reopen(self) -> None:
        """Let work in again, unless the barrier was closed."""
        self._held_off = False

    async def close(self, deadline: float) -> bool:
        """Refuse new work, and wait for what was admitted.

        Args:
            deadline: seconds to wait at most.

        Returns:
            Whether all of it has ended.
        """
        self._closed = True
        try:
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _ended(self) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()
