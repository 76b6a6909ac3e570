"""Users, sessions and tokens over HTTP, in front of real services and a real database."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from holdfast.api.auth import onlooker
from holdfast.domain.accounts import Role
from holdfast.domain.errors import Unauthorized
from tests.unit.api.standins import WORKLOAD, Api
from tests.unit.services.account_bench import PASSWORD, AccountBench, account_bench

OTHER = "a password, another one"
HEADER = {"X-Holdfast-Request": "1"}


class Site:
    """The application as somebody sees it who signs in."""

    def __init__(self, api: Api, bench: AccountBench, client: httpx.AsyncClient) -> None:
        self.api = api
        self.bench = bench
        self.client = client
        self.sent: dict[str, str] = {}

    async def ask(
        self, method: str, path: str, document: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self.client.request(
            method, path, json=document, headers=self.sent | HEADER if headers is None else headers
        )

    async def sign_in(self, name: str = "ann", password: str = PASSWORD) -> httpx.Response:
        answer = await self.ask("POST", "/api/session", {"username": name, "password": password}, HEADER)
        if answer.is_success:
            self.sent = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
            self.client.cookies.clear()
        return answer

    async def token(self, **wish: Any) -> tuple[str, dict[str, str]]:
        """A new token's id, and the header that it is sent with."""
        made = (await self.ask("POST", "/api/tokens", {"name": "ci"} | wish)).json()
        return made["id"], {"Authorization": f"Bearer {made['token']}"}


@pytest.fixture
async def site(app: FastAPI, tmp_path: Path) -> AsyncIterator[Site]:
    async with account_bench(tmp_path) as bench:
        api = Api(app, tmp_path)
        app.state.services = dataclasses.replace(
            api.services, accounts=bench.accounts, sessions=bench.sessions, tokens=bench.tokens
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            yield Site(api, bench, client)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_the_first_token_makes_the_first_admin_and_ends(site: Site) -> None:
    first = {"Authorization": f"Bearer {await site.bench.tokens.ensure_first_admin()}"}
    user = {"name": "ann", "password": PASSWORD, "role": "admin"}
    told = (await site.ask("GET", "/api/session", headers=first)).json()
    assert told == {"name": "first-token", "role": "admin", "signed_in": False, "scopes": [], "position": "here-1"}
    assert refused(await site.ask("POST", "/api/tokens", {"name": "ci"}, first)) == (403, "session_needed")
    made = await site.ask("POST", "/api/users", user, first)
    assert (made.status_code, made.json()["name"], made.json()["role"]) == (201, "ann", "admin")
    assert PASSWORD not in made.text
    assert refused(await site.ask("GET", "/api/users", headers=first)) == (401, "token_unknown")
    assert (await site.sign_in()).status_code == 201
    assert [user["name"] for user in (await site.ask("GET", "/api/users")).json()["items"]] == ["ann"]


async def test_who_was_not_first_with_the_first_token_makes_no_second_admin(site: Site) -> None:
    first = {"Authorization": f"Bearer {await site.bench.tokens.ensure_first_admin()}"}
    users = [{"name": name, "password": PASSWORD, "role": "admin"} for name in ("ann", "eve")]
    answers = await asyncio.gather(*(site.ask("POST", "/api/users", user, first) for user in users))
    assert sorted(answer.status_code for answer in answers) in ([201, 401], [201, 409])
    assert len(await site.bench.accounts.list()) == 1


async def test_the_cookie_is_out_of_reach_for_scripts_other_sites_and_open_lines(site: Site) -> None:
    await site.bench.user()
    answer = await site.sign_in()
    name, _, attributes = answer.headers["Set-Cookie"].partition("=")
    assert name == "holdfast"
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=2592000"} <= set(attributes.split("; "))
    assert "Domain" not in attributes
    assert site.sent["Cookie"].removeprefix("holdfast=") not in answer.text
    services = site.api.app.state.services
    site.api.app.state.services = dataclasses.replace(services, tls=True)
    assert (await site.sign_in()).headers["Set-Cookie"].startswith("__Host-holdfast=")
    assert (await site.ask("GET", "/api/session")).status_code == 200
    neighbours = {"Cookie": site.sent["Cookie"].replace("__Host-", "")}
    assert refused(await site.ask("GET", "/api/session", headers=neighbours)) == (401, "token_missing")


async def test_what_another_site_makes_a_browser_send_changes_nothing(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    document = {"username": "ann", "password": PASSWORD}
    for method, path, body in (
        ("POST", "/api/workloads/notes/deploy", None),
        ("PUT", "/api/password", {"current": PASSWORD, "password": OTHER}),
        ("DELETE", "/api/sessions", None),
        ("POST", "/api/session", document),
    ):
        assert refused(await site.ask(method, path, body, site.sent)) == (403, "request_header_missing")
        assert refused(await site.ask(method, path, body, site.sent | {"X-Holdfast-Request": ""})) == (
            403,
            "request_header_missing",
        )
    assert not site.api.deployer.calls
    assert (await site.ask("GET", "/api/session", headers=site.sent)).status_code == 200
    simple = await site.client.post(
        "/api/session", content=str(document), headers=HEADER | {"Content-Type": "text/plain"}
    )
    assert refused(simple) == (400, "request_malformed")


async def test_who_acts_is_named_by_the_user_and_with_a_token_by_both(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    await site.ask("POST", "/api/workloads/notes/deploy", {})
    assert site.api.deployer.last["actor"] == "ann"
    _, token = await site.token()
    await site.ask("POST", "/api/workloads/notes/deploy", {}, token)
    assert site.api.deployer.last["actor"] == "ann/ci"


async def test_a_stolen_cookie_is_useless_after_signing_out(site: Site) -> None:
    await site.bench.user()
    for way in ("/api/session", "/api/sessions"):
        await site.sign_in()
        stolen = dict(site.sent)
        assert (await site.ask("GET", "/api/session", headers=stolen)).json()["name"] == "ann"
        answer = await site.ask("DELETE", way)
        assert answer.status_code == (204 if way == "/api/session" else 200)
        assert refused(await site.ask("GET", "/api/session", headers=stolen)) == (401, "session_over")
    assert 'holdfast=""' in (await _signed_out(site)).headers["Set-Cookie"]


async def _signed_out(site: Site) -> httpx.Response:
    await site.sign_in()
    return await site.ask("DELETE", "/api/session")


async def test_sessions_are_listed_and_ended_one_by_one(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    elsewhere = dict(site.sent)
    await site.sign_in()
    here, there = (await site.ask("GET", "/api/sessions")).json()["items"]
    assert (here["current"], there["current"]) == (True, False)
    assert there["address"] == "127.0.0.1"
    assert there["agent"].startswith("python-httpx")
    assert (await site.ask("DELETE", f"/api/sessions/{there['id']}")).status_code == 204
    assert refused(await site.ask("DELETE", f"/api/sessions/{there['id']}")) == (404, "session_unknown")
    assert refused(await site.ask("GET", "/api/session", headers=elsewhere)) == (401, "session_over")


async def test_others_sessions_and_tokens_are_for_admins(site: Site) -> None:
    await site.bench.user()
    bob = await site.bench.user("bob", Role.OPERATOR)
    await site.sign_in("bob")
    token_id, _ = await site.token()
    for method, path in (("GET", "sessions"), ("DELETE", "sessions"), ("GET", "tokens")):
        assert refused(await site.ask(method, f"/api/{path}?user=ann")) == (403, "role_insufficient")
        assert refused(await site.ask(method, f"/api/{path}?user=nobody")) == (403, "role_insufficient")
    assert (await site.ask("GET", "/api/sessions?user=bob")).is_success
    bobs = dict(site.sent)
    await site.sign_in()
    mine, _ = await site.token()
    assert [token["user"] for token in (await site.ask("GET", "/api/tokens")).json()["items"]] == ["ann", "bob"]
    assert [token["id"] for token in (await site.ask("GET", "/api/tokens?user=bob")).json()["items"]] == [token_id]
    site.sent, anns = bobs, site.sent
    assert [token["user"] for token in (await site.ask("GET", "/api/tokens")).json()["items"]] == ["bob"]
    assert refused(await site.ask("DELETE", f"/api/tokens/{mine}")) == (404, "token_not_there")
    site.sent = anns
    assert (await site.ask("DELETE", f"/api/tokens/{token_id}")).status_code == 204
    assert (await site.ask("DELETE", "/api/sessions?user=bob")).json() == {"ended": 1}
    assert await site.bench.sessions.list(bob.id) == ()
    assert refused(await site.ask("DELETE", "/api/sessions?user=nobody")) == (404, "user_unknown")


async def test_a_token_does_what_it_is_for_and_makes_no_tokens(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    _, token = await site.token(role="viewer", scopes=["workloads"], expires_in=60)
    assert (await site.ask("GET", "/api/workloads/notes", headers=token)).json()["id"] == WORKLOAD.id
    assert refused(await site.ask("GET", "/api/version", headers=token)) == (403, "scope_insufficient")
    assert refused(await site.ask("DELETE", "/api/workloads/notes", headers=token)) == (403, "role_insufficient")
    _, free = await site.token(name="free")
    for method, path, body in (
        ("POST", "/api/tokens", {"name": "more"}),
        ("PUT", "/api/password", {"current": PASSWORD, "password": OTHER}),
        ("DELETE", "/api/sessions", None),
    ):
        assert refused(await site.ask(method, path, body, free)) == (403, "session_needed")
    site.bench.clock.at += 60
    assert refused(await site.ask("GET", "/api/workloads/notes", headers=token)) == (401, "token_unknown")


async def test_a_token_ends_no_greater_one_and_a_confined_one_makes_nobody_greater(site: Site) -> None:
    await site.bench.user()
    await site.bench.user("bob", Role.VIEWER)
    await site.sign_in()
    great, _ = await site.token(name="great")
    lesser_id, lesser = await site.token(name="lesser", role="viewer")
    assert refused(await site.ask("DELETE", f"/api/tokens/{great}", headers=lesser)) == (403, "role_insufficient")
    assert (await site.ask("DELETE", f"/api/tokens/{lesser_id}", headers=lesser)).status_code == 204
    _, confined = await site.token(name="confined", scopes=["users", "tokens", "sessions"])
    assert (await site.ask("GET", "/api/users", headers=confined)).is_success
    for method, path, body in (
        ("POST", "/api/users", {"name": "eve", "role": "admin", "password": PASSWORD}),
        ("DELETE", "/api/users/bob", None),
        ("DELETE", f"/api/tokens/{great}", None),
    ):
        assert refused(await site.ask(method, path, body, confined)) == (403, "scope_insufficient")
    assert (await site.ask("DELETE", f"/api/tokens/{great}")).status_code == 204


async def test_a_token_is_told_once(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    made = (await site.ask("POST", "/api/tokens", {"name": "ci"})).json()
    (listed,) = (await site.ask("GET", "/api/tokens")).json()["items"]
    assert listed == {key: value for key, value in made.items() if key != "token"}
    assert (listed["role"], listed["scopes"]) == ("admin", [])
    assert refused(await site.ask("POST", "/api/tokens", {"name": "ci"})) == (409, "token_exists")
    for wrong in ({"expires_in": 0}, {"expires_in": 1e300}, {"scopes": ["everything"]}, {"name": "a/b"}):
        assert refused(await site.ask("POST", "/api/tokens", {"name": "x"} | wrong)) == (400, "request_malformed")


async def test_admins_change_users_and_the_last_one_stays(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    bob = {"name": "bob", "password": PASSWORD, "role": "operator"}
    assert (await site.ask("POST", "/api/users", bob)).status_code == 201
    assert refused(await site.ask("POST", "/api/users", bob)) == (409, "user_exists")
    changed = (await site.ask("PATCH", "/api/users/bob", {"role": "viewer", "disabled": True})).json()
    assert (changed["role"], changed["disabled"]) == ("viewer", True)
    assert (await site.ask("PUT", "/api/users/bob/password", {"password": OTHER})).is_success
    assert refused(await site.sign_in("bob", OTHER)) == (401, "sign_in_failed")
    assert (await site.ask("PATCH", "/api/users/bob", {"disabled": False})).is_success
    for method, path, body in (
        ("DELETE", "/api/users/ann", None),
        ("PATCH", "/api/users/ann", {"role": "operator"}),
        ("PATCH", "/api/users/ann", {"disabled": True}),
    ):
        assert refused(await site.ask(method, path, body)) == (409, "last_admin")
    assert (await site.ask("DELETE", "/api/users/bob")).status_code == 204
    assert refused(await site.ask("DELETE", "/api/users/bob")) == (404, "user_unknown")
    assert refused(await site.ask("DELETE", "/api/users/No%00body")) == (404, "user_unknown")


async def test_ones_own_password_is_changed_with_the_present_one(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    wrong = {"current": OTHER, "password": OTHER}
    assert refused(await site.ask("PUT", "/api/password", wrong)) == (403, "password_wrong")
    assert (await site.ask("PUT", "/api/password", {"current": PASSWORD, "password": OTHER})).status_code == 204
    assert refused(await site.sign_in("ann", PASSWORD)) == (401, "sign_in_failed")
    assert (await site.sign_in("ann", OTHER)).status_code == 201


async def test_guessing_is_told_to_wait_and_nothing_more(site: Site) -> None:
    await site.bench.user()
    told = [await site.sign_in(name, OTHER) for _ in range(6) for name in ("ann", "nobody")]
    assert {refused(answer) for answer in told[:10]} == {(401, "sign_in_failed")}
    assert {refused(answer) for answer in told[10:]} == {(429, "sign_in_too_often")}
    assert len({answer.text for answer in told}) == 2
    assert "Retry-After" in told[-1].headers
    assert not any("Set-Cookie" in answer.headers for answer in told)
    for odd in ('{"username": "\\ud800", "password": "x"}', '{"username": "ann", "password": "\\ud800"}'):
        answer = await site.client.post(
            "/api/session", content=odd, headers=HEADER | {"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 401, 429)


@pytest.mark.parametrize(
    ("proxies", "told", "seen"),
    [
        ((), "192.0.2.1", "127.0.0.1"),
        (("10.0.0.0/8",), "192.0.2.1", "127.0.0.1"),
        (("10.0.0.0/8", "127.0.0.1"), "192.0.2.1, 198.51.100.7", "198.51.100.7"),
        (("127.0.0.0/8",), "::ffff:198.51.100.7", "198.51.100.7"),
        (("127.0.0.0/8",), "nonsense", "127.0.0.1"),
    ],
)
async def test_only_a_trusted_proxy_says_where_a_request_comes_from_and_only_what_it_saw(
    site: Site, proxies: tuple[str, ...], told: str, seen: str
) -> None:
    await site.bench.user()
    services = site.api.app.state.services
    site.api.app.state.services = dataclasses.replace(services, proxies=tuple(map(ip_network, proxies)))
    await site.client.post(
        "/api/session", json={"username": "ann", "password": PASSWORD}, headers=HEADER | {"X-Forwarded-For": told}
    )
    user = await site.bench.accounts.get("ann")
    assert (await site.bench.sessions.list(user.id))[0].address == seen


async def test_who_follows_is_asked_for_as_at_first(site: Site) -> None:
    await site.bench.user()
    await site.sign_in()
    headers = [(name.lower().encode(), value.encode()) for name, value in site.sent.items()]
    request = Request({"type": "http", "method": "GET", "headers": headers, "app": site.api.app})
    async with asynccontextmanager(onlooker)(request, site.api.app.state.services) as follower:
        await follower.still_allowed()
        await site.ask("DELETE", "/api/session")
        with pytest.raises(Unauthorized) as caught:
            await follower.still_allowed()
    assert caught.value.code == "session_over"
