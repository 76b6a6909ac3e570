"""An event loop in which nothing happens beside anything else: every run makes the same calls in the same order.

What would be done in a thread is done at once, in its place; time passes only while nobody has anything to do, and then
at once. So a whole restore takes as long as its work does, however busy the machine is, and has no other outcome.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Thread
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")


class OneAtATime(asyncio.SelectorEventLoop):
    """The loop. Whatever waits for a thread of its own to wake it up waits for ever."""

    def __init__(self) -> None:
        self._ahead = 0.0
        super().__init__(_Leaping(self.pass_by))

    def time(self) -> float:
        """Seconds that were waited for; no others pass."""
        return self._ahead

    def run_in_executor(  # type: ignore[override] # the base class types what it returns as a future as well
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Do it now."""
        del executor
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001 - whoever awaits it is told
            done.set_exception(error)
        return done

    def pass_by(self, seconds: float) -> None:
        """Let time pass while somebody is at work; whatever is due by then happens when it is next somebody's turn."""
        self._ahead += seconds


class _Leaping(selectors.DefaultSelector):
    """Waits for nothing: what is to come later comes now."""

    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready. With nothing to wait for at all, nobody would ever go on: that is an error, not a wait."""
        if timeout is None:
            raise RuntimeError("everybody waits, and nobody is left to wake anybody up")
        if timeout > 0:
            self._leap(timeout)
        return super().select(0)


def _at_once(_pool: Executor, func: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
    done: Future[T] = Future()
    try:
        done.set_result(func(*args, **options))
    except BaseException as error:  # noqa: BLE001 - whoever asks for the result is told
        done.set_exception(error)
    return done


def run(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, one thing at a time; threads, and pools of them, do at once what they are given, too."""
    with (
        patch.object(ThreadPoolExecutor, "submit", _at_once),
        patch.object(Thread, "start", Thread.run),
        asyncio.Runner(loop_factory=OneAtATime) as runner,
    ):
        return runner.run(main)
