"""The web interface as it is served: which addresses are its own, what browsers keep, and what it may do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from holdfast.api.interface import Interface
from tests.unit.api.standins import Api

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGE = '<!doctype html><base href="./" /><script src="./assets/a-1.js"></script>'


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / "assets/a-1.js").write_text("let a")
    (tmp_path / "assets/a-1.js.gz").write_bytes(gzip.compress(b"let a"))
    (tmp_path / "assets/a-1.js.br").write_bytes(b"brotli")
    return tmp_path


async def ask(directory: Path, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """One request to the interface in ``directory``, in front of an API that answers 418."""

    async def api(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(Interface(api, directory))
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, headers={"Accept-Encoding": "identity"} | sent)


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/", "./"),
        ("/operations", "./"),
        ("/workloads/notes", "../"),
        ("/workloads/a/b/c", "../../../"),
        ("/workloads/a%2Fb%2fc", "../"),
    ],
)
async def test_the_page_says_where_the_interface_begins(built: Path, path: str, base: str) -> None:
    answer = await ask(built, path, **HTML)
    assert answer.status_code == 200
    assert answer.text == PAGE.replace('href="./"', f'href="{base}"')
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_the_page_may_run_its_own_scripts_and_nothing_else(built: Path) -> None:
    policy = (await ask(built, "/")).headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not any("unsafe" in part or "http" in part for part in policy)


async def test_a_worker_may_talk_to_its_own_server_and_nothing_else(built: Path) -> None:
    assert "worker-src 'self'" in (await ask(built, "/")).headers["Content-Security-Policy"]
    policy = (await ask(built, "/assets/a-1.js")).headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; connect-src 'self'"


async def test_browsers_keep_assets_for_ever_and_ask_for_the_page_each_time(built: Path) -> None:
    page = await ask(built, "/")
    assert page.headers["Cache-Control"] == "no-cache"
    again = await ask(built, "/", If_None_Match=page.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert (await ask(built, "/workloads/x", If_None_Match=page.headers["ETag"], **HTML)).status_code == 200
    assert (await ask(built, "/assets/a-1.js")).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (await ask(built, "/favicon.svg")).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [("gzip, deflate, br", "br", b"brotli"), ("gzip;q=1.0", "gzip", b"let a"), ("identity", None, b"let a")],
)
async def test_assets_are_sent_as_they_were_compressed(
    built: Path, accepted: str, encoding: str | None, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(httpx._decoders.SUPPORTED_DECODERS, "br", raising=False)
    answer = await ask(built, "/assets/a-1.js", Accept_Encoding=accepted)
    assert (answer.headers.get("Content-Encoding"), answer.content) == (encoding, body)
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/workloads"),
        ("GET", "/api/nothing"),
        ("GET", "/hooks/x"),
        ("GET", "/assets/gone-2.js"),
        ("POST", "/"),
        ("POST", "/workloads/notes"),
        ("GET", "/assets/%2e%2e/%2e%2e/interface.py"),
    ],
)
async def test_what_is_not_its_own_it_hands_on(built: Path, method: str, path: str) -> None:
    assert (await ask(built, path, method, **HTML)).status_code == 418


async def test_programs_that_ask_for_no_page_are_answered_by_the_api(built: Path) -> None:
    for path in ("/healthz", "/metrics", "/nothing"):
        assert (await ask(built, path, Accept="*/*")).status_code == 418


async def test_where_it_was_not_built_the_api_answers_and_the_page_says_what_is_missing(tmp_path: Path) -> None:
    answer = await ask(tmp_path / "nowhere", "/", **HTML)
    assert answer.status_code == 503
    assert "make setup" in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await ask(tmp_path / "nowhere", "/api/version")).status_code == 418


async def test_it_stands_before_the_api(api: Api) -> None:
    answer = await api.ask("GET", "/api/nothing", headers=HTML)
    assert json.loads(answer.text)["error"]["code"] == "route_unknown"
    assert (await api.ask("GET", "/", role=None)).status_code in (200, 503)


async def test_whether_the_first_admin_is_yet_to_be_made_is_told_to_anybody(api: Api) -> None:
    assert (await api.ask("GET", "/api/setup", role=None)).json() == {"pending": True}
