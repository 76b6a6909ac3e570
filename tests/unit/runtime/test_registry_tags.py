"""Asking a registry for its tags: in the ways that registries want to be asked, and whatever they answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from holdfast.domain.errors import Failed
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.registry import RegistryLogin
from holdfast.runtime import registry_tags
from holdfast.runtime.registry_tags import Insecure, list_tags
from holdfast.testing.certificates import server_tls
from holdfast.testing.odd_registry import odd_registry

LOOPBACK = {"InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"], "IndexConfigs": {"docker.io": {"Secure": True}}}
"""What an engine says that was told nothing about registries."""
ANN = RegistryLogin(host="registry.example", username="ann", password="open sesame")
BASIC = "Basic " + base64.b64encode(b"ann:open sesame").decode()
LIST = "/v2/home/notes/tags/list"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """A server that answers as the test says, and remembers what it was asked."""

    answer: Answer
    address: str = ""
    asked: list[web.Request] = field(default_factory=list)

    @property
    def reference(self) -> str:
        return f"{self.address}/home/notes:1.4"

    @property
    def told(self) -> list[str | None]:
        """Who asked."""
        return [request.headers.get("Authorization") for request in self.asked]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)

    async def handle(request: web.Request) -> web.StreamResponse:
        server.asked.append(request)
        return await server.answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server.address = "{}:{}".format(*runner.addresses[0][:2])
    try:
        yield server
    finally:
        await runner.cleanup()


async def asked(server: Server, login: RegistryLogin | None = None, **options: Any) -> tuple[str, ...]:
    return await list_tags(server.reference, login, options.pop("engine", LOOPBACK), **options)


async def refused(server: Server, login: RegistryLogin | None = None, **options: Any) -> Failed:
    with pytest.raises(Failed) as failure:
        await asked(server, login, **options)
    assert "sesame" not in failure.value.message
    assert failure.value.next_step
    return failure.value


def tags(*names: str, following: str | None = None) -> web.Response:
    headers = {} if following is None else {"Link": f'<{following}>; rel="next"'}
    return web.json_response({"name": "home/notes", "tags": list(names)}, headers=headers)


def unauthorized(challenge: str) -> web.Response:
    errors = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
    return web.json_response(errors, status=401, headers={"WWW-Authenticate": challenge})


async def test_all_pages_are_read_and_only_where_the_first_one_was() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.path == LIST
        if request.query.get("last") is None:
            return tags("1.4", "1.5", following=f"https://elsewhere.example{LIST}?last=1.5&n=2")
        return tags("1.6")

    async with serving(answer) as server:
        assert await asked(server) == ("1.4", "1.5", "1.6")
        assert len(server.asked) == 2


async def test_a_repository_whose_last_tag_is_gone_has_none() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"name": "home/notes", "tags": None})

    async with serving(answer) as server:
        assert await asked(server) == ()


@pytest.mark.parametrize("key", ["token", "access_token"])
@pytest.mark.parametrize("login", [None, ANN])
async def test_a_token_is_got_from_the_issuer_that_the_registry_names(key: str, login: RegistryLogin | None) -> None:
    async def issue(request: web.Request) -> web.StreamResponse:
        assert dict(request.query) == {"service": "registry", "scope": "repository:home/notes:pull", "account": "x"}
        return web.json_response({key: "a.token", "expires_in": 300})

    async with serving(issue) as issuer:

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != "Bearer a.token":
                realm = f"http://{issuer.address}/token?account=x"
                return unauthorized(f'Bearer realm="{realm}",service="registry",scope="registry:catalog:*"')
            if request.query.get("last") is None:
                return tags("1.4", following=f"{LIST}?last=1.4")
            return tags("1.5")

        async with serving(answer) as server:
            assert await asked(server, login) == ("1.4", "1.5")
            assert server.told == [None, "Bearer a.token", "Bearer a.token"]
            assert issuer.told == [None if login is None else BASIC]


async def test_a_login_is_told_where_it_is_asked_for_and_one_that_is_not_taken_is_told() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != BASIC:
            return unauthorized('Basic realm="the registry"')
        return tags("1.4")

    async with serving(answer) as server:
        assert await asked(server, ANN) == ("1.4",)
        assert server.told == [None, BASIC]
        for login in (None, RegistryLogin(host="x", username="ann", password="close sesame")):
            assert (await refused(server, login)).code == "registry_denied"


async def test_what_a_registry_redirects_to_gets_no_login() -> None:
    async def other(request: web.Request) -> web.StreamResponse:
        if request.query.get("last") is None:
            return tags("1.4", following=f"{LIST}?last=1.4")
        return unauthorized('Basic realm="give it to me"')

    async with serving(other) as elsewhere:

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") is None:
                return unauthorized('Basic realm="the registry"')
            raise web.HTTPTemporaryRedirect(f"http://{elsewhere.address}{LIST}")

        async with serving(answer) as server:
            assert (await refused(server, ANN)).code == "registry_denied"
            assert server.told == [None, BASIC]
            assert elsewhere.told == [None, None]

        async def open_door(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(f"http://{elsewhere.address}{LIST}")

        async def issuing(request: web.Request) -> web.StreamResponse:
            return web.json_response({"token": "a"}) if request.path == "/token" else unauthorized(bearer)

        bearer = f'Bearer realm="http://{elsewhere.address}/token"'
        elsewhere.answer = issuing
        async with serving(open_door) as server:
            assert (await refused(server, ANN)).code == "registry_denied"
            assert BASIC not in [*server.told, *elsewhere.told]


async def test_a_login_does_not_go_over_a_line_that_the_engine_would_not_use(tmp_path: Path) -> None:
    tls, authority = server_tls(tmp_path)
    private: dict[str, Any] = {"InsecureRegistryCIDRs": []}

    async def issue(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "a.token"})

    async with serving(issue) as issuer:

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path.startswith("/v2/home/moved"):
                raise web.HTTPTemporaryRedirect(f"http://{issuer.address}{LIST}")
            return unauthorized(f'Bearer realm="http://{issuer.address}/token",service="registry"')

        async with serving(answer, tls) as server:
            trusted = tmp_path / "certs.d" / server.address
            trusted.mkdir(parents=True)
            assert (await refused(server, ANN, engine=private)).code == "registry_untrusted"
            assert server.asked == []
            (trusted / "ca.crt").write_text(authority)
            options = {"engine": private, "certificates": tmp_path / "certs.d"}
            assert (await refused(server, ANN, **options)).code == "registry_untrusted"
            assert len(server.asked) == 1
            with pytest.raises(Failed) as failure:
                await list_tags(f"{server.address}/home/moved:1", ANN, private, certificates=tmp_path / "certs.d")
            assert failure.value.code == "registry_untrusted"
            # Nor where the engine would: what is told over TLS does not lead to where anybody listens.
            for path in ("home/notes", "home/moved"):
                with pytest.raises(Failed) as failure:
                    await list_tags(f"{server.address}/{path}:1", ANN, LOOPBACK)
                assert failure.value.code == "registry_untrusted"
            assert issuer.asked == []


async def test_a_registry_elsewhere_does_not_lead_to_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, _ = server_tls(tmp_path)
    is_here = registry_tags._is_here

    async def issue(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "a.token"})

    async def but_for_one(name: str) -> bool:  # the one below, as if it were elsewhere
        return name != "127.0.0.1" and await is_here(name)

    async with serving(issue, tls) as issuer:
        port = issuer.address.rpartition(":")[2]

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path.startswith("/v2/home/moved"):
                raise web.HTTPTemporaryRedirect(f"https://127.0.0.2:{port}{LIST}")
            return unauthorized(f'Bearer realm="https://localhost:{port}/token"')

        monkeypatch.setattr(registry_tags, "_is_here", but_for_one)
        async with serving(answer, tls) as server:
            for path in ("home/notes", "home/moved"):
                with pytest.raises(Failed) as failure:
                    await list_tags(f"{server.address}/{path}:1", ANN, LOOPBACK)
                assert failure.value.code == "registry_tags_unreadable"
                assert "this host itself" in failure.value.message
        assert issuer.asked == []
    here = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "localhost", "2130706433"]
    assert [await is_here(name) for name in here] == [True] * len(here)
    assert [await is_here(name) for name in ("203.0.113.9", "2001:db8::1", "no-such-host.invalid")] == [False] * 3


async def test_a_registry_with_a_certificate_is_asked_over_tls(tmp_path: Path) -> None:
    tls, authority = server_tls(tmp_path)

    async def answer(_request: web.Request) -> web.StreamResponse:
        return tags("1.4")

    async with serving(answer, tls) as server:
        (tmp_path / server.address).mkdir()
        (tmp_path / server.address / "ca.crt").write_text(authority)
        assert await asked(server, engine={}, certificates=tmp_path) == ("1.4",)
        assert await asked(server) == ("1.4",)  # the engine asks for no proof on this host

    async with serving(answer) as server:
        assert (await refused(server, engine={})).code == "registry_untrusted"
        assert server.asked == []


async def test_which_registries_need_no_proof_is_the_engines_word() -> None:
    engine = {
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.0.0.0/8", "::1/128"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "registry.home:5000": {"Secure": False}},
    }
    insecure = Insecure(engine)
    told = ["registry.home:5000", "127.0.0.1:5000", "localhost", "[::1]:5000", "10.1.2.3"]
    assert [await insecure.holds(host) for host in told] == [True] * 5
    others = ["docker.io", "registry.home", "203.0.113.9:5000", "no-such-host.invalid"]
    assert [await insecure.holds(host) for host in others] == [False] * 4
    assert not await Insecure({}).holds("127.0.0.1")


async def test_what_a_registry_refuses_is_told_as_of_a_pull() -> None:
    told = {}
    async with odd_registry() as address:
        for name in ("busy", "closed", "denied", "broken", "none", "silent"):
            with pytest.raises(Failed) as failure:
                await list_tags(f"{address}/{name}/app:1", ANN, LOOPBACK, silence=0.5)
            assert failure.value.details["registry"] == address
            told[name] = failure.value.code
    with pytest.raises(Failed) as failure:
        await list_tags(f"{address}/gone/app:1", None, LOOPBACK)
    assert told | {"gone": failure.value.code} == {
        "busy": "registry_rate_limited",
        "closed": "registry_denied",
        "denied": "registry_denied",
        "broken": "registry_broken",
        "none": "image_not_in_registry",
        "silent": "registry_silent",
        "gone": "registry_unreachable",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"tags": ' + b"9" * 5000 + b"}",
        b'{"tags": "1.4"}',
        b'{"tags": {"1.4": 1}}',
        b'{"tags": ["1.4", 1.5]}',
        b'{"tags": ["1.4", null]}',
        gzip.compress(b'{"tags": ["1.4"]}', mtime=0),
    ],
)
async def test_what_is_no_list_of_tags_is_told(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    async with serving(answer) as server:
        assert (await refused(server)).code == "registry_tags_unreadable"


async def test_a_list_without_end_is_given_up() -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        return tags("1.4", following=f"{LIST}?last={len(request.query_string)}")

    async with serving(pages) as server:
        assert (await refused(server)).code == "registry_tags_unreadable"
        assert len(server.asked) == registry_tags._PAGES

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b'"1.4",' * 100_000)

    async with serving(flood) as server:
        assert (await refused(server)).code == "registry_tags_unreadable"

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with serving(drip) as server:
        assert (await refused(server, together=0.5)).code == "registry_silent"

    async def around(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.path)

    async with serving(around) as server:
        assert (await refused(server)).code == "registry_tags_unreadable"
        assert len(server.asked) == 1 + registry_tags._REDIRECTS

    async def crowd(_request: web.Request) -> web.StreamResponse:
        return tags(*(str(number) for number in range(registry_tags._TAGS + 1)))

    async with serving(crowd) as server:
        assert "100000 tags" in (await refused(server)).message


async def test_what_comes_with_a_redirect_is_not_read() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("moved"):
            return tags("1.4")
        response = web.StreamResponse(status=302, headers={"Location": f"{LIST}?moved=1", "Content-Encoding": "gzip"})
        await response.prepare(request)
        while True:
            await response.write(b"nothing that was packed" * 1000)

    async with serving(answer) as server:
        assert await asked(server, together=5) == ("1.4",)


@pytest.mark.parametrize(
    "address",
    [
        "http://a..b/",
        f"http://{'a' * 70}.com/",
        "https://xn--a/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        f"http://127.0.0.1:{'9' * 4000}/",
        "http://[::1/",
        "https:///",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
    ],
)
async def test_an_address_that_is_none_is_told(address: str) -> None:
    async def issuer(_request: web.Request) -> web.StreamResponse:
        return unauthorized(f'Bearer realm="{address}"')

    async def moved(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": address})

    async def paged(_request: web.Request) -> web.StreamResponse:
        return tags("1.4", following=address)

    for answer in (issuer, moved, paged):
        async with serving(answer) as server:
            assert (await refused(server, ANN)).code == "registry_tags_unreadable"
            assert len(server.asked) == 1


async def test_a_registry_that_is_none_is_told() -> None:
    for registry in (f"{'a' * 70}.com", "127.0.0.1:99999"):
        with pytest.raises(Failed) as failure:
            await list_tags(f"{registry}/home/notes:1", None, LOOPBACK)
        assert failure.value.code == "registry_tags_unreadable"


@pytest.mark.parametrize(
    "answer",
    [
        {"token": 7},
        {"token": ""},
        {"token": "a\r\nX-Injected: yes"},
        {"token": "ключ"},
        {"token": "a" * 70_000},
        {},
        ["token"],
    ],
)
async def test_a_token_that_is_none_is_told_and_not_sent(answer: object) -> None:
    async def both(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.Response(text=json.dumps(answer), content_type="application/json")
        return unauthorized('bearer realm="/token"')

    async with serving(both) as server:
        assert (await refused(server)).code == "registry_tags_unreadable"
        assert server.told == [None, None]


@pytest.mark.parametrize(
    "challenge",
    ["", "Bearer", 'Bearer service="x"', 'Negotiate realm="x"', "Bearer " + "a" * 7000, 'Bearer realm="' + "<" * 7000],
)
async def test_a_challenge_that_cannot_be_met_is_a_refusal(challenge: str) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return unauthorized(challenge)

    async with serving(answer) as server:
        assert (await refused(server)).code == "registry_denied"


async def test_words_of_a_registry_hold_nothing_that_a_terminal_obeys() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"errors": [{"code": "DENIED", "message": "no\x1b[2J" + "!" * 5000}]}, status=403)

    async with serving(answer) as server:
        error = await refused(server)
        assert error.code == "registry_denied"
        assert error.message.isprintable()
        assert len(error.message) < 1000


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("notes:1", ("registry-1.docker.io", "library/notes")),
        ("index.docker.io/ann/notes", ("registry-1.docker.io", "ann/notes")),
        ("ghcr.io/ann/notes:1", ("ghcr.io", "ann/notes")),
        ("localhost:5000/notes:1", ("localhost:5000", "notes")),
    ],
)
def test_the_default_registry_is_asked_where_it_answers(reference: str, place: tuple[str, str]) -> None:
    assert registry_tags._place(parse_image_ref(reference)) == place
