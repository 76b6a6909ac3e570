"""What is compressed on its way out, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from holdfast.api.compression import LEAST_BYTES, MOST_BYTES, Compression
from tests.unit.api.standins import Api

LONG = {"items": ["much the same"] * 1000}
FLOOD = {"items": ["x" * MOST_BYTES]}
SHORT = {"items": ["x" * (LEAST_BYTES - 20)]}


def answer(request: Request) -> Response:
    async def pieces() -> Any:
        yield json.dumps(LONG).encode()

    answers: dict[str, Callable[[], Response]] = {
        "/long": lambda: JSONResponse(LONG),
        "/short": lambda: JSONResponse(SHORT),
        "/flood": lambda: JSONResponse(FLOOD),
        "/tagged": lambda: JSONResponse(LONG, headers={"ETag": '"1"'}),
        "/stream": lambda: StreamingResponse(pieces(), media_type="application/json"),
        "/download": lambda: Response(json.dumps(LONG), media_type="application/octet-stream"),
    }
    return answers[request.url.path]()


async def ask(path: str, method: str = "GET", encoding: str = "gzip, deflate, br", site: str = "") -> httpx.Response:
    paths = ("/long", "/short", "/flood", "/tagged", "/stream", "/download")
    app = Compression(Starlette(routes=[Route(each, answer, methods=["GET", "POST"]) for each in paths]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        by = {"Sec-Fetch-Site": site} if site else {}
        return await client.request(method, path, headers={"Accept-Encoding": encoding} | by)


async def test_a_long_document_is_sent_as_a_fraction_of_itself() -> None:
    told = await ask("/long")
    assert told.json() == LONG
    assert (told.headers["Content-Encoding"], told.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert int(told.headers["Content-Length"]) * 10 < len(json.dumps(LONG))


@pytest.mark.parametrize("path", ["/short", "/flood", "/tagged", "/stream", "/download"])
async def test_what_is_short_endless_tagged_streamed_or_downloaded_is_sent_as_it_is(path: str) -> None:
    told = await ask(path)
    assert "Content-Encoding" not in told.headers
    assert told.json() == {"/short": SHORT, "/flood": FLOOD}.get(path, LONG)


async def test_nobody_gets_it_compressed_who_did_not_ask_or_changed_something() -> None:
    for told in (await ask("/long", encoding="identity"), await ask("/long", "POST")):
        assert "Content-Encoding" not in told.headers
        assert told.json() == LONG


@pytest.mark.parametrize(("site", "compressed"), [("same-origin", True), ("same-site", False), ("cross-site", False)])
async def test_how_well_a_document_compresses_is_no_word_to_a_page_of_somebody_else(
    site: str, compressed: bool
) -> None:
    told = await ask("/long", site=site)
    assert ("Content-Encoding" in told.headers) is compressed
    assert told.json() == LONG


async def test_documents_of_the_api_are_compressed(api: Api) -> None:
    told = await api.ask("GET", "/api/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert told.headers["Content-Encoding"] == "gzip"
    assert told.headers["X-Content-Type-Options"] == "nosniff"
    assert told.json()["openapi"]
