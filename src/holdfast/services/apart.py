"""Calls of code that is not Holdfast's own: each in a thread of its own, which is left alone where it takes too long.

A thread can't be ended from outside. One that hangs is left behind: it keeps no operation, no lock and no end of the
server waiting, and what it answers later is dropped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def apart(work: Callable[[], T], *, name: str, patience: float, late: Callable[[int], None]) -> T:
    """What ``work`` returns or raises.

    Args:
        name: the thread's, for those who look.
        patience: seconds that are waited for it.
        late: told +1 when it is left behind, and -1 if it ends after all.

    Raises:
        TimeoutError: it was left behind.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    results: list[T] = []
    errors: list[BaseException] = []
    left_behind = False

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits, below
            errors.append(error)
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(ended)

    def ended() -> None:
        if left_behind:
            late(-1)
        elif not over.done():
            over.set_result(None)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        async with asyncio.timeout(patience):
            await over
    except BaseException:
        if over.cancelled() or not over.done():
            left_behind = True
            late(+1)
        raise
    if errors:
        raise errors[0]
    return results[0]
