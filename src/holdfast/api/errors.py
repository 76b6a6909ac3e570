"""How errors look over HTTP: one shape, and one table from class to status.

::

    {"error": {"code", "message", "details", "next_step"}}

Nothing that a client can cause ends as a 5xx but ``503`` (something outside of Holdfast does not answer) and ``507``
(no space). What nobody foresaw is ``500 internal_error``: logged with an id that the answer carries, and with nothing
of its insides in the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from holdfast.domain import errors
from holdfast.domain.errors import HoldfastError, InvalidInput, NotFound, TooLarge
from holdfast.domain.ids import new_id

STATUS: Final[tuple[tuple[type[HoldfastError], int], ...]] = (
    (errors.InvalidInput, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Cancelled, 409),
    (errors.PreconditionFailed, 412),
    (errors.TooLarge, 413),
    (errors.Refused, 422),
    (errors.Damaged, 422),
    (errors.Failed, 422),
    (errors.ConfirmationMissing, 428),
    (errors.TooMany, 429),
    (errors.Unavailable, 503),
    (errors.NoSpace, 507),
)
"""Class → status; a subclass takes its parent's."""

BUSY_RETRY_SECONDS: Final = 5
"""Sent as ``Retry-After`` with every :class:`~holdfast.domain.errors.Busy`, ``TooMany`` and ``Unavailable``: what tells
"try again" from the other conflicts."""

HOOKS: Final = "/hooks/"
"""Below it an address is a secret: it stands in no log."""

MAX_REPORTED_PROBLEMS: Final = 50


def status_of(error: HoldfastError) -> int:
    """The HTTP status of an error, by its class."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def error_response(
    error: HoldfastError, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for ``error``; ``status`` only where HTTP itself knows better than the class (405)."""
    extra = dict(headers or {})
    if isinstance(error, errors.Busy | errors.TooMany | errors.Unavailable):
        extra.setdefault("Retry-After", str(BUSY_RETRY_SECONDS))
    if isinstance(error, errors.Unauthorized):
        extra.setdefault("WWW-Authenticate", "Bearer")
    return Response(
        json.dumps({"error": error_body(error)}, default=str),
        status_code=status or status_of(error),
        media_type="application/json",
        headers=extra,
    )


def error_body(error: HoldfastError) -> dict[str, object]:
    """What stands under ``error``, in answers and in event streams."""
    body: dict[str, object] = {
        "code": error.code,
        "message": error.message,
        "details": error.details,
        "next_step": error.next_step,
    }
    return body if error.values is None else body | {"values": error.values}


def internal_error(scope: Scope, error: Exception) -> Response:
    """Log what nobody foresaw and answer with nothing but the log's id."""
    error_id = new_id()
    structlog.get_logger("holdfast.api").error(
        "internal_error",
        error_id=error_id,
        method=str(scope.get("method", "")),
        path=quote(_shown(str(scope.get("path", "")))),  # quoted: no line of the log can be forged by an address
        exc_info=error,
    )
    return error_response(
        HoldfastError(
            "internal_error",
            "Holdfast ran into a defect of its own; what was asked for may not have been done.",
            next_step=f"Look for {error_id} in the server's log and report it.",
            details={"error_id": error_id},
        )
    )


def _shown(path: str) -> str:
    """A path as a log may show it."""
    return f"{HOOKS}***" if path.startswith(HOOKS) else path


def register(app: FastAPI) -> None:
    """Make ``app`` answer every error in the one shape."""
    app.add_exception_handler(HoldfastError, _holdfast_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _holdfast_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HoldfastError)
    return error_response(error)


async def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(malformed(error.errors()))


def malformed(found: Sequence[Mapping[str, object]]) -> InvalidInput:
    """Pydantic's findings as one error. What was sent is left out: it may hold a secret, and it may be huge."""
    problems = [
        {"where": _where(item.get("loc")), "message": str(item.get("msg", "")).removeprefix("Value error, ")}
        for item in found
    ]
    shown = problems[:MAX_REPORTED_PROBLEMS]
    first = shown[0] if shown else {"where": "request", "message": "malformed"}
    return InvalidInput(
        "request_malformed",
        f"The request is malformed: {first['where']}: {first['message']}"
        + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
        next_step="Correct what details.problems lists. Nothing was changed.",
        details={"problems": shown},
    )


def _where(location: object) -> str:
    parts = location if isinstance(location, tuple | list) else (location,)
    return ".".join(str(part)[:100] for part in parts)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the framework itself raises: unknown routes, wrong methods, bodies that can't be read."""
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    if error.status_code == 404:
        unknown = NotFound(
            "route_unknown",
            "There is nothing at this address.",
            next_step="The addresses that exist are listed in /api/openapi.json.",
        )
        return error_response(unknown)
    if error.status_code == 405:
        wrong = InvalidInput(
            "method_not_allowed",
            f"This address does not take {request.method[:20]}.",
            next_step="The Allow header and /api/openapi.json say what it takes.",
        )
        return error_response(wrong, status=405, headers=headers)
    if error.status_code == 413:
        return error_response(body_too_large(None))
    unreadable = InvalidInput(
        "request_malformed", "The request could not be read.", next_step="Send it again, whole and well-formed."
    )
    return error_response(unreadable, headers=headers)


def body_too_large(limit: int | None) -> TooLarge:
    """The body exceeds ``limit`` bytes."""
    return TooLarge(
        "body_too_large",
        "The request's body is larger than this address takes" + (f" ({limit} bytes)." if limit is not None else "."),
        next_step="Send less; for archives, max_upload_bytes in the server's settings is the bound.",
        details={"limit_bytes": limit} if limit is not None else {},
    )
