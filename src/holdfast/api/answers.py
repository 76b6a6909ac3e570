"""What routes answer beside their own documents: accepted operations, and the errors that OpenAPI lists for them."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Response

from holdfast.api.schemas.errors import ErrorAnswer
from holdfast.api.schemas.operation import OperationView
from holdfast.domain.operation import Operation

OPERATIONS_PATH: Final = "/api/operations"

_MEANINGS: Final = {
    400: "What was sent is malformed. Nothing was done.",
    401: "Who is asking is unknown.",
    403: "Who is asking may not do this.",
    404: "The named thing does not exist.",
    409: "The present state of things forbids it; with `Retry-After`, something else is at work and will end.",
    412: "It was changed since the revision that `If-Match` names. Nothing was done.",
    413: "The body, or the head, is larger than its bound.",
    422: "Understood, checked and declined; `details.problems` lists every reason.",
    428: "The confirmation is missing.",
    429: "More comes in than is taken; later it is.",
    500: "A defect of Holdfast's own; `details.error_id` names the entry in the server's log.",
    503: "The engine, or another part outside of Holdfast, does not answer.",
    507: "Bytes or inodes are missing on a named filesystem.",
}
_ALWAYS: Final = (400, 401, 403, 413, 500, 503)

Responses = dict[int | str, dict[str, Any]]
"""The framework's own type for documented answers."""


def problems(*statuses: int) -> Responses:
    """The documented errors of a route: those that every route has, and these."""
    documented: Responses = {
        status: {"model": ErrorAnswer, "description": _MEANINGS[status]} for status in sorted({*_ALWAYS, *statuses})
    }
    # keeps the framework from documenting its own shape for what it validates
    return documented | {"default": {"model": ErrorAnswer, "description": "Any other error, in the same shape."}}


def accepted_or(*statuses: int) -> Responses:
    """As :func:`problems`, for a route that answers with an operation."""
    location = {"description": "Where the operation can be followed.", "schema": {"type": "string"}}
    accepted: Responses = {202: {"description": "The operation was started.", "headers": {"Location": location}}}
    return accepted | problems(*statuses)


def accepted(response: Response, operation: Operation) -> OperationView:
    """Answer with an operation that was started."""
    response.headers["Location"] = f"{OPERATIONS_PATH}/{operation.id}"
    return OperationView.of(operation)
