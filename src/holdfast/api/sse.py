"""Server-sent events, in the framework's own wire format, with a heartbeat while nothing happens.

The framework streams generators itself, but then errors before the first event come too late to be answered as errors,
and one address can't answer with a list or a stream as asked (``logs``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

from holdfast.api.errors import error_body
from holdfast.domain.errors import HoldfastError

HEARTBEAT_SECONDS: Final = 15.0
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


def event_stream(
    name: str,
    documents: AsyncIterator[str],
    *,
    still_allowed: Callable[[], Awaitable[None]],
    heartbeat: float = HEARTBEAT_SECONDS,
) -> StreamingResponse:
    """An answer that sends each document as one event.

    An error in the source ends the stream with one ``event: error`` that carries the usual error body; a client that
    sees neither it nor the last event it waits for has lost the connection and should connect again.

    Args:
        name: the events' name.
        documents: JSON documents; its ``aclose`` is called when the client goes away.
        still_allowed: raises once the client may not see them any more; asked at each heartbeat.
        heartbeat: seconds of silence after which a comment is sent, so that proxies keep the connection.
    """
    return StreamingResponse(
        _encode(name, documents, still_allowed, heartbeat), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"}
    )


async def _encode(
    name: str, documents: AsyncIterator[str], still_allowed: Callable[[], Awaitable[None]], heartbeat: float
) -> AsyncGenerator[bytes]:
    number = 0
    now = asyncio.get_running_loop().time
    allowed_until = now() + heartbeat
    try:
        async with aclosing(_with_pauses(documents, heartbeat)) as pauses:
            async for document in pauses:
                if now() >= allowed_until:
                    await still_allowed()
                    allowed_until = now() + heartbeat
                if document is None:
                    yield KEEPALIVE_COMMENT
                else:
                    number += 1
                    yield format_sse_event(data_str=document, event=name, id=str(number))
    except HoldfastError as error:
        yield format_sse_event(data_str=json.dumps({"error": error_body(error)}, default=str), event="error")


async def _with_pauses(documents: AsyncIterator[str], seconds: float) -> AsyncGenerator[str | None]:
    """The documents, and ``None`` for each pause of ``seconds``. The source is never cancelled by a pause."""
    pending: asyncio.Future[str] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(documents)) if pending is None else pending
            done, _ = await asyncio.wait({pending}, timeout=seconds)
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
        if pending is not None and not pending.done():
            pending.cancel()
            await asyncio.wait({pending})
        if isinstance(documents, AsyncGenerator):
            await documents.aclose()
