"""Server-sent events, in the framework's own wire format, with a heartbeat while nothing happens.

The framework streams generators itself, but then errors before the first event come too late to be answered as errors,
and one address can't answer with a list or a stream as asked (``logs``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

from holdfast.api.errors import error_body
from holdfast.domain.errors import HoldfastError

HEARTBEAT_SECONDS: Final = 15.0
CHECK_SECONDS: Final = 2.0
"""For so long it is believed that whoever follows still may; nothing is sent later than that without asking."""
MEDIA_TYPE: Final = "text/event-stream"

STREAM: Final[dict[str, Any]] = {
    "content": {
        MEDIA_TYPE: {
            "itemSchema": {
                "type": "object",
                "required": ["event", "data"],
                "properties": {
                    "event": {"type": "string"},
                    "id": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
            },
        }
    }
}
"""What OpenAPI says about an answer that is a stream, in the way of the framework itself: each event is an item."""


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who follows a stream.

    Attributes:
        still_allowed: raises once they may not see it any more.
        closing: set once the server stops.
    """

    still_allowed: Callable[[], Awaitable[None]]
    closing: asyncio.Event


def event_stream(
    name: str, documents: AsyncIterator[str], to: Onlooker, *, heartbeat: float = HEARTBEAT_SECONDS
) -> StreamingResponse:
    """An answer that sends each document as one event.

    An error in the source ends the stream with one ``event: error`` that carries the usual error body; a client that
    sees neither it nor the last event it waits for has lost the connection, or the server stops, and should connect
    again.

    Args:
        name: the events' name.
        documents: JSON documents; its ``aclose`` is called when the client goes away.
        to: is asked whether they may still see it: at each heartbeat, and every :data:`CHECK_SECONDS` while something
            is sent.
        heartbeat: seconds of silence after which a comment is sent, so that proxies keep the connection.
    """
    return StreamingResponse(
        _encode(name, documents, to, heartbeat), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"}
    )


async def _encode(name: str, documents: AsyncIterator[str], to: Onlooker, heartbeat: float) -> AsyncGenerator[bytes]:
    number = 0
    now = asyncio.get_running_loop().time
    believed = min(heartbeat, CHECK_SECONDS)
    allowed_until = now() + believed
    try:
        async with aclosing(_with_pauses(documents, heartbeat, to.closing)) as pauses:
            async for document in pauses:
                if now() >= allowed_until:
                    await to.still_allowed()
                    allowed_until = now() + believed
                if document is None:
                    yield KEEPALIVE_COMMENT
                else:
                    number += 1
                    yield format_sse_event(data_str=document, event=name, id=str(number))
    except HoldfastError as error:
        yield format_sse_event(data_str=json.dumps({"error": error_body(error)}, default=str), event="error")


async def _with_pauses(
    documents: AsyncIterator[str], seconds: float, closing: asyncio.Event
) -> AsyncGenerator[str | None]:
    """The documents until the server stops, and ``None`` for each pause. The source is never cancelled by a pause."""
    pending: asyncio.Future[str] | None = None
    closes: asyncio.Future[Any] = asyncio.ensure_future(closing.wait())
    try:
        while True:
            pending = asyncio.ensure_future(anext(documents)) if pending is None else pending
            awaited: set[asyncio.Future[Any]] = {pending, closes}
            done, _ = await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if closes in done:
                return
            if not done:
                yield None
                continue
            try:
                document = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield document
    finally:
        closes.cancel()
        if pending is not None and not pending.done():
            pending.cancel()
            await asyncio.wait({pending})
        if pending is not None and not pending.cancelled():
            pending.exception()  # looked at, so that nobody misses it
        if isinstance(documents, AsyncGenerator):
            await documents.aclose()
