"""The API's description: complete, stable, and the one that is published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.api.openapi import document, rendered

PUBLISHED = Path(__file__).parents[3] / "docs/reference/openapi.json"


@cache
def published() -> dict[str, Any]:
    """The document, made once: it takes half a second."""
    return document()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in published()["paths"].items():
        for method, described in methods.items():
            yield path, method, described


def test_the_published_description_is_current() -> None:
    assert PUBLISHED.read_text() == rendered(), "run: python -m holdfast.api.openapi > docs/reference/openapi.json"


def test_every_route_has_a_summary_and_a_name_of_its_own() -> None:
    names = [described["operationId"] for _, _, described in operations()]
    assert len(set(names)) == len(names)
    assert all(name.islower() and name.isidentifier() for name in names)
    assert all(described.get("summary") for _, _, described in operations())


def test_every_route_documents_its_errors_in_the_one_shape() -> None:
    for path, method, described in operations():
        for status in ("400", "413", "500", "default"):
            schema = described["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (path, method, status)
    assert "HTTPValidationError" not in json.dumps(published())


def test_every_route_that_needs_a_token_says_so() -> None:
    without = {(method, path) for path, method, described in operations() if not described.get("security")}
    probes = {("get", "/healthz"), ("get", "/readyz")}
    signing_in = {("get", "/api/setup"), ("post", "/api/session")}
    assert without == probes | signing_in | {("post", "/hooks/{address}")}


def test_what_takes_long_is_accepted_and_says_where_to_follow_it() -> None:
    accepted = [d for _, _, d in operations() if "202" in d["responses"] and d["operationId"] != "cancel_operation"]
    assert len(accepted) == 28
    assert all("Location" in described["responses"]["202"]["headers"] for described in accepted)


def test_the_reference_for_people_names_every_address() -> None:
    page = (
        (PUBLISHED.parent / "api.md").read_text(encoding="utf-8").replace("/operations/{id}", "/operations/{operation}")
    )
    missing = [
        f"{method.upper()} {path}" for path, method, _ in operations() if f"`{method.upper()} {path}`" not in page
    ]
    assert missing == []
