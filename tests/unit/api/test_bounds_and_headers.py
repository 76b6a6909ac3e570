"""What every request and every answer is held to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from holdfast.api.middleware import MAX_HEADER_BYTES, MAX_HEADERS, MAX_JSON_BYTES, MAX_TARGET_BYTES, Bounds
from tests.unit.api.standins import Api, left_in

SNAPSHOTS = "/api/workloads/notes/snapshots"
JSON = {"Content-Type": "application/json"}


async def test_every_answer_carries_the_security_headers(api: Api) -> None:
    for path in ("/healthz", "/api/version", "/api/nothing"):
        headers = (await api.ask("GET", path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


async def test_a_body_beyond_its_bound_is_refused_by_its_declared_length(api: Api) -> None:
    answer = await api.ask("POST", SNAPSHOTS, content=b" " * (MAX_JSON_BYTES + 1), headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_body_without_a_length_is_counted(api: Api) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1 << 16
            yield b" " * (1 << 16)

    answer = await api.ask("POST", SNAPSHOTS, content=endless(), headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert read <= MAX_JSON_BYTES + (1 << 17)


async def test_a_length_that_is_no_number_is_refused(api: Api) -> None:
    answer = await api.ask("POST", SNAPSHOTS, content=b"{}", headers=JSON | {"Content-Length": "-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request_malformed")


async def test_too_many_or_too_large_headers_are_refused(api: Api) -> None:
    many = {f"X-{n}": "v" for n in range(MAX_HEADERS)}
    for headers in (many, {"X-Large": "v" * MAX_HEADER_BYTES}):
        answer = await api.ask("GET", "/api/version", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "head_too_large")


async def test_a_long_address_is_refused(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads?x=" + "y" * MAX_TARGET_BYTES)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "head_too_large")


async def test_json_nested_beyond_reason_is_malformed_and_no_defect(api: Api) -> None:
    for path in ("/api/workloads", SNAPSHOTS):
        answer = await api.ask("POST", path, content=b"[" * 200_000, headers=JSON)
        assert answer.status_code == 400, path


async def test_an_upload_has_a_bound_of_its_own_and_leaves_nothing(app: FastAPI, tmp_path: Path) -> None:
    api = Api(app, tmp_path, max_upload_bytes=10)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"12345"

    for content in (b"12345678901", chunks()):
        answer = await api.ask(
            "POST", f"{SNAPSHOTS}/import", content=content, headers={"Content-Type": "application/x-tar"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert left_in(tmp_path) == []
    assert not api.snapshots.calls


async def test_an_upload_leaves_the_reserve_of_its_disk_alone_and_nothing_behind(
    app: FastAPI, tmp_path: Path, tmpfs: Callable[..., Path]
) -> None:
    place = tmpfs("size=8m", at=tmp_path / "uploads")
    api = Api(app, place, max_upload_bytes=1 << 30, disk_reserve_bytes=4 << 20)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 18
            assert os.statvfs(place).f_bavail * os.statvfs(place).f_frsize >= 4 << 20
            yield bytes(1 << 18)

    async def upload(content: bytes | AsyncIterator[bytes]) -> httpx.Response:
        tar = {"Content-Type": "application/x-tar"}
        return await api.ask("POST", f"{SNAPSHOTS}/import", content=content, headers=tar)

    for content in (bytes(5 << 20), endless()):
        answer = await upload(content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_reserve_reached")
        assert answer.json()["error"]["details"]["reserve"] == 4 << 20
        assert left_in(place) == []
    assert sent <= 6 << 20, "it is refused while it arrives, not at its end"
    assert (await upload(bytes(1 << 20))).status_code == 202


async def test_an_upload_that_says_how_large_it_is_is_refused_before_it_is_read(app: FastAPI, tmp_path: Path) -> None:
    api = Api(app, tmp_path, max_upload_bytes=1 << 62, disk_reserve_bytes=0)
    headers = {"Content-Type": "application/x-tar", "Content-Length": str(1 << 61)}

    asked = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b"not all of it"

    answer = await api.ask("POST", f"{SNAPSHOTS}/import", content=body(), headers=headers)
    assert not asked
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_reserve_reached")
    assert left_in(tmp_path) == []


async def test_only_the_upload_itself_may_be_large_not_what_else_answers_at_its_address(
    app: FastAPI, tmp_path: Path
) -> None:
    api = Api(app, tmp_path, max_upload_bytes=1 << 40)
    for method, path in (
        ("PATCH", f"{SNAPSHOTS}/import"),  # a snapshot called "import": its document would be read into memory
        ("DELETE", f"{SNAPSHOTS}/import"),
        ("POST", f"/api/x{SNAPSHOTS}/import"),
    ):
        answer = await api.ask(method, path, content=b" " * (MAX_JSON_BYTES + 1), headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large"), (method, path)


async def test_a_body_that_stops_arriving_is_not_waited_for() -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()

    async def nothing_more() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def answer(_message: Message) -> None: ...

    bounds = Bounds(app, body_limit=lambda _scope: 100, pause=0.01)
    with pytest.raises(HTTPException) as refusal:
        await bounds({"type": "http", "headers": []}, nothing_more, answer)
    assert refusal.value.status_code == 408
