"""Documents compressed on their way out: lists of hundreds of much the same are sent as a tenth of what they are.

What is compressed tells a little of what it holds by its length, to who can have a signed-in browser ask again and
again for what they put beside it. For other sites the browser doesn't send its cookie; for a page of a workload on a
neighbouring domain, which counts as the same site, it does, and says so. Such a page gets the document as it is.
"""

from __future__ import annotations

import gzip
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES: Final = 1400
"""What fits in one packet anyway stays as it is."""
MOST_BYTES: Final = 1 << 21
"""What is longer would hold up everybody else while it is compressed: a flood of log lines, for most of a second."""
_LEVEL: Final = 5


def takes(asked: Headers, encoding: str) -> bool:
    """Whether a client takes this encoding; none asks for one with ``q=0``."""
    return encoding in {each.partition(";")[0].strip() for each in asked.get("Accept-Encoding", "").split(",")}


class Compression:
    """Compresses whole JSON documents that are read. Streams and what is downloaded pass as they are.

    So does what has a tag (``ETag``): that would have to be another one for other bytes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not _may_compress(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_document(Headers(scope=message)):
                held = message  # until it is known how long it is
                return
            if held is not None:
                start, held = held, None
                message = _compressed(start, message)
                await send(start)
            await send(message)

        await self._app(scope, receive, send_compressed)


def _may_compress(asked: Headers) -> bool:
    foreign = asked.get("Sec-Fetch-Site") in ("same-site", "cross-site")
    return takes(asked, "gzip") and not foreign


def _is_document(headers: Headers) -> bool:
    return headers.get("Content-Type") == "application/json" and "ETag" not in headers


def _compressed(start: Message, message: Message) -> Message:
    """The body, compressed if it is whole and worth it; the beginning of the answer then says so."""
    body: bytes = message.get("body", b"")
    if message.get("more_body", False) or not LEAST_BYTES <= len(body) <= MOST_BYTES:
        return message
    smaller = gzip.compress(body, _LEVEL, mtime=0)
    headers = MutableHeaders(scope=start)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(smaller))
    headers.add_vary_header("Accept-Encoding")
    return {**message, "body": smaller}
