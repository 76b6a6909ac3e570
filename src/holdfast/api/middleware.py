"""What holds for every request before any route sees it: bounds on the way in, security headers on the way out.

Nothing is read before it is known to be within its bound, and no answer leaves without its headers: errors included,
and the last resort for what nobody foresaw too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.api.errors import body_too_large, error_response, internal_error
from holdfast.domain.errors import InvalidInput, TooLarge

MAX_JSON_BYTES: Final = 1 << 20
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 16 << 10
MAX_TARGET_BYTES: Final = 4 << 10
"""Path and query together."""
BODY_PAUSE_SECONDS: Final = 30.0

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Shield:
    """Outermost: adds the security headers to every answer and turns what nobody foresaw into ``internal_error``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_shielded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            await self._app(scope, receive, send_shielded)
        except Exception as error:
            if started:  # the answer is cut off; the server breaks the connection, so that nobody takes it for whole
                raise
            await internal_error(scope, error)(scope, receive, send_shielded)


class Bounds:
    """Refuses requests whose target, headers or body exceed their bounds.

    Args:
        body_limit: bytes that the body of this request may have.
        pause: seconds that may pass without another piece of a body.
    """

    def __init__(self, app: ASGIApp, *, body_limit: Callable[[Scope], int], pause: float = BODY_PAUSE_SECONDS) -> None:
        self._app = app
        self._body_limit = body_limit
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._body_limit(scope)
        problem = _head_problem(scope) or _length_problem(scope, limit)
        if problem is not None:
            await error_response(problem)(scope, receive, send)
            return
        received, whole = 0, False

        async def receive_bounded() -> Message:
            nonlocal received, whole
            try:
                # once the body is there, only the end of the connection is waited for, as long as the answer takes
                async with asyncio.timeout(None if whole else self._pause):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, headers={"Connection": "close"}) from error
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > limit:
                # the framework's own exception, since its body reader turns every other one into "can't be read"
                raise HTTPException(413)
            return message

        await self._app(scope, receive_bounded, send)


def _head_problem(scope: Scope) -> TooLarge | None:
    headers = scope["headers"]
    target = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    size = sum(len(name) + len(value) for name, value in headers)
    if target <= MAX_TARGET_BYTES and len(headers) <= MAX_HEADERS and size <= MAX_HEADER_BYTES:
        return None
    return TooLarge(
        "head_too_large",
        f"The request's address or headers are too large (at most {MAX_TARGET_BYTES} bytes of address, "
        f"{MAX_HEADERS} headers, {MAX_HEADER_BYTES} bytes of headers).",
        next_step="Send a shorter address, or fewer and smaller headers.",
    )


def _length_problem(scope: Scope, limit: int) -> TooLarge | InvalidInput | None:
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if declared is None:
        return None
    if not declared.isdigit() or len(declared) > 20:
        return InvalidInput(
            "request_malformed", "Content-Length is not a number.", next_step="Send a correct Content-Length."
        )
    return body_too_large(limit) if int(declared) > limit else None
