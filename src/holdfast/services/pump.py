"""Content that a thread writes, as an asynchronous stream."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

Write = Callable[[bytes], object]

_AHEAD: Final = 8
"""Pieces that may wait for a slow reader."""


async def pumped(send: Callable[[Write], None]) -> AsyncIterator[bytes]:
    """What ``send`` writes, in a thread that a bounded queue keeps from running ahead of the reader.

    Raises:
        Exception: what ``send`` raised, when its turn comes.
    """
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    abandoned = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                pieces.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
        raise BrokenPipeError("the reader is gone")

    def write() -> None:
        try:
            send(put)
            put(None)
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - handed to the reader, whole
            put(error)

    writing = asyncio.create_task(asyncio.to_thread(write))
    try:
        while (item := await asyncio.to_thread(pieces.get)) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        await writing
