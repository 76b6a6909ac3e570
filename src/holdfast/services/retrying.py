"""Going on once the container engine answers again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from holdfast.domain.errors import Unavailable

T = TypeVar("T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Waits(Protocol):
    """What is told whom an operation waits for; ``""`` when the waiting is over."""

    def waiting(self, reason: str) -> object: ...


async def until_engine_answers(ctx: Waits, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``attempt``, which must be idempotent, until it does not fail for want of an engine.

    Pauses grow from ``FIRST_PAUSE`` to ``LONGEST_PAUSE`` seconds. Any other error passes through.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            result = await attempt()
        except Unavailable as error:
            ctx.waiting(f"the container engine: {error.message}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            if pause != FIRST_PAUSE:
                ctx.waiting("")
            return result
