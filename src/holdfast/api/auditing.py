"""What is asked of the API goes on record, here and nowhere else: who asked, from where, for what, and what came of it.

- The line is in the log before the answer leaves; of what is streamed, before its first byte.
- Of what was sent nothing is recorded but what stands in the address, as far as the route knows it: bodies and headers
  hold secrets. Of what was answered only the names of what was made.
- Of those who did not prove who they are nothing is recorded but that they could not sign in, which is bounded: anybody
  could fill the log otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from holdfast.api.answers import OPERATIONS_PATH
from holdfast.api.auth import Public, address_of
from holdfast.api.errors import status_of
from holdfast.api.services import ApiServices
from holdfast.domain.accounts import Principal
from holdfast.domain.audit import AuditEntry
from holdfast.domain.errors import HoldfastError
from holdfast.domain.times import now

_SHOWN: Final = 200
"""Characters of a value that are recorded."""
_NAMES: Final = ("id", "name", "registry")
"""By which the answer tells what was made."""
_CLOSED: Final = 499
_UNAUTHORIZED: Final = 401

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def on_record(route: APIRoute, handle: Handler, *, queries: frozenset[str]) -> Handler:
    """A route's handler that puts on record what became of each request.

    Args:
        queries: the parameters that the route takes; others are not recorded.
    """

    signs_in = any(isinstance(declared.call, Public) for declared in route.dependant.dependencies)

    async def recorded(request: Request) -> Response:
        request.state.recorded = True
        try:
            response = await handle(request)
        except BaseException as error:
            await record(request, *_failure(error), None)
            raise
        accepted = _operation(response)
        await record(request, response.status_code, "accepted" if accepted else "done", response)
        return response

    async def record(request: Request, status: int, outcome: str, response: Response | None) -> None:
        principal: Principal | None = getattr(request.state, "principal", None)
        if principal is None and not (signs_in and status == _UNAUTHORIZED):
            return
        named = [*request.path_params.items(), *(pair for pair in request.query_params.items() if pair[0] in queries)]
        services: ApiServices = request.app.state.services
        await services.audit.record(
            AuditEntry(
                at=now(),
                actor="" if principal is None else principal.name,
                address=address_of(request, services),
                action=route.name,
                subject={name: _shown(str(value)) for name, value in (*_made(response), *named)},
                status=status,
                outcome=outcome,
                operation_id=_operation(response),
            )
        )

    return recorded


def _failure(error: BaseException) -> tuple[int, str]:
    """The status and the code that an error is answered with."""
    match error:
        case HoldfastError():
            return status_of(error), error.code
        case RequestValidationError():
            return 400, "request_malformed"
        case HTTPException():
            return error.status_code, "body_too_large" if error.status_code == 413 else "request_malformed"
        case asyncio.CancelledError():
            return _CLOSED, "cancelled"
        case _:
            return 500, "internal_error"


def _operation(response: Response | None) -> str | None:
    """The id of the operation that was started."""
    location = "" if response is None else response.headers.get("Location", "")
    begins = f"{OPERATIONS_PATH}/"
    return location.removeprefix(begins) if location.startswith(begins) else None


def _made(response: Response | None) -> Iterator[tuple[str, str]]:
    """What identifies something that was made."""
    if response is None or response.status_code != 201:
        return
    document = json.loads(bytes(response.body))
    thing = document.get("workload") or document
    for name in _NAMES:
        if isinstance(thing.get(name), str):
            yield name, thing[name]


def _shown(value: str) -> str:
    whole = value.isprintable() and len(value) <= _SHOWN
    return value if whole else f"{value[:_SHOWN]!r}…"
