"""Going on once the container engine answers again, or a disk takes a record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from holdfast.domain.errors import Failed, HoldfastError, NoSpace, Unavailable
from holdfast.domain.told import TextOrTold, Told, told

T = TypeVar("T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Waits(Protocol):
    """What is told whom an operation waits for; ``""`` when the waiting is over."""

    def waiting(self, reason: TextOrTold) -> object: ...


async def until_engine_answers(ctx: Waits, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``attempt``, which must be idempotent, until it does not fail for want of an engine.

    Pauses grow from ``FIRST_PAUSE`` to ``LONGEST_PAUSE`` seconds. Any other error passes through.
    """
    return await _until(ctx, attempt, (Unavailable,), _engine)


async def until_journal_takes(
    ctx: Waits, attempt: Callable[[], Awaitable[T]], *, meanwhile: Told | Sequence[Told]
) -> T:
    """Repeat ``attempt``, which must write anew whatever it relies on, until the disk of the journal takes it.

    Damage passes through: waiting does not mend it.

    Args:
        meanwhile: how things are as long as it does not, in sentences, for the person who mends it.
    """

    def whom(error: HoldfastError) -> Told:
        return told(
            "disk_of_journal", "the disk of the journal: {why} {meanwhile}", why=Told.of(error), meanwhile=meanwhile
        )

    return await _until(ctx, attempt, (Failed, NoSpace), whom)


async def until_database_takes(
    ctx: Waits, attempt: Callable[[], Awaitable[T]], *, meanwhile: Told | Sequence[Told]
) -> T:
    """Repeat ``attempt``, which must be idempotent, until the disk of the database takes what it writes.

    Args:
        meanwhile: as for a journal.
    """

    def whom(error: HoldfastError) -> Told:
        return told(
            "disk_of_database_meanwhile",
            "the disk of the database: {why} {meanwhile}",
            why=Told.of(error),
            meanwhile=meanwhile,
        )

    return await _until(ctx, attempt, (Failed, NoSpace), whom)


async def _until(
    ctx: Waits,
    attempt: Callable[[], Awaitable[T]],
    passing: tuple[type[HoldfastError], ...],
    whom: Callable[[HoldfastError], Told],
) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            result = await attempt()
        except passing as error:
            ctx.waiting(whom(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            if pause != FIRST_PAUSE:
                ctx.waiting("")
            return result


def _engine(error: HoldfastError) -> Told:
    return told("engine_away", "the container engine: {why}", why=Told.of(error))
