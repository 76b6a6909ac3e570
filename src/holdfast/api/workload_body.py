"""A workload's declaration as the body of a request: JSON, or YAML as text."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import Depends, Request

from holdfast.api.schemas.workload import parse_workload_json, parse_workload_yaml
from holdfast.domain.errors import InvalidInput
from holdfast.domain.workload import WorkloadSpec

_YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The declaration; its JSON Schema is at /api/schemas/workload.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}
"""What OpenAPI says about it; the schema itself is published apart, for editors."""


async def read_declaration(request: Request) -> WorkloadSpec:
    """The declaration that a request carries. It is read in a thread: a large one takes a moment, and others wait.

    Raises:
        InvalidInput: ``content_type_unsupported``, ``json_malformed``, or what the declaration's parser found.
        TooLarge: it exceeds a bound of the parser.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return await to_thread.run_sync(_from_json, await request.body())
    if kind in _YAML_TYPES:
        return await to_thread.run_sync(_from_yaml, await request.body())
    raise InvalidInput(
        "content_type_unsupported",
        "A workload is sent as application/json or application/yaml.",
        next_step="Say with Content-Type which of them the body is.",
    )


def _from_json(body: bytes) -> WorkloadSpec:
    return parse_workload_json(parse_json(body))


def _from_yaml(body: bytes) -> WorkloadSpec:
    return parse_workload_yaml(_text(body))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "text_not_utf8", f"The body is not UTF-8 (at byte {error.start}).", next_step="Send it as UTF-8."
        ) from error


def parse_json(body: bytes) -> object:
    """A body as JSON: no key twice, no number that is none. Raises ``InvalidInput``: ``json_malformed``."""
    try:
        return json.loads(_text(body), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(
            "json_malformed", f"The body is not JSON: {reason}.", next_step="Send a correct JSON document."
        ) from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


Declaration = Annotated[WorkloadSpec, Depends(read_declaration)]
