"""The edges pass the suite of their port: in memory, a Caddy of Holdfast's own, and one of somebody else's."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from holdfast.domain.edge import Route, Tls
from holdfast.domain.errors import Failed, Refused, Unavailable
from holdfast.edge.caddy import ExistingCaddy, OwnCaddy, end_own
from holdfast.edge.caddy_config import Listen
from holdfast.testing.caddies import (
    PATIENCE,
    StrangersCaddy,
    ask,
    backend,
    own_address,
    own_directory,
    processes,
    request,
    until_gone,
)
from holdfast.testing.fake_edge import FakeEdge
from tests.contract.edge import EdgeContract, Lab
from tests.contract.runtime_lab import eventually


class FakeLab(Lab):
    def __init__(self) -> None:
        self.edge = self.fake = FakeEdge()
        self._asked = 0

    async def ask(self, domain: str) -> tuple[int, str]:
        for route in self.fake.served:
            if domain in route.domains and route.upstreams:
                self.fake.busy, self._asked = True, self._asked + 1
                answer = await request("GET", f"http://{route.upstreams[0]}/")
                self._asked -= 1
                self.fake.busy = self._asked > 0
                return answer.status_code, answer.text
            if domain in route.domains:
                return 503, f"{domain} is being worked on"
        return 404, ""

    async def forget(self) -> None:
        self.fake.come_back()

    async def go_away(self) -> None:
        self.fake.go_away()


class TestFakeEdge(EdgeContract):
    @pytest.fixture
    def lab(self) -> Lab:
        return FakeLab()


class OwnLab(Lab):
    def __init__(self, directory: Path, address: str) -> None:
        self.directory, self.address = directory, address
        self.edge = OwnCaddy("01j0", directory, Listen(address=address, http_port=80, tls=Tls.OFF))

    async def ask(self, domain: str) -> tuple[int, str]:
        answer = await ask(self.address, 80, domain)
        return answer.status_code, answer.text

    async def forget(self) -> None:
        (process,) = processes(str(self.directory))
        os.kill(process, signal.SIGKILL)

    async def go_away(self) -> None:
        self.directory.write_text("no directory: nothing can be started here")


class TestOwnCaddy(EdgeContract):
    @pytest.fixture
    async def lab(self) -> AsyncIterator[OwnLab]:
        async with own_directory() as place:
            lab = OwnLab(place / "edge", own_address())
            yield lab
            await lab.edge.close()

    async def test_it_is_not_started_before_there_is_something_to_serve(self, lab: OwnLab) -> None:
        await lab.edge.serve([])
        assert processes(str(lab.directory)) == []

    async def test_it_outlives_who_started_it_and_is_found_again(self, lab: OwnLab) -> None:
        async with backend("one") as one:
            routes = [Route(domains=("a.test",), upstreams=(one,))]
            await lab.edge.serve(routes)
            before = processes(str(lab.directory))
            await lab.edge.close()
            again = OwnLab(lab.directory, lab.address)
            await again.edge.serve(routes)
            assert processes(str(lab.directory)) == before
            assert await again.ask("a.test") == (200, "one /")
            await again.edge.close()

    async def test_it_ends_when_the_settings_have_no_use_for_it(self, lab: OwnLab) -> None:
        await lab.edge.serve([Route(domains=("a.test",), upstreams=())])
        await end_own(lab.directory)
        await until_gone(lab.directory)
        await end_own(lab.directory)

    async def test_a_port_that_is_taken_is_told_with_who_has_it_and_can_be_freed(self, lab: OwnLab) -> None:
        routes = [Route(domains=("a.test",), upstreams=())]
        with socket.socket() as other:
            other.bind((lab.address, 80))
            other.listen()
            with pytest.raises(Failed) as failure:
                await lab.edge.serve(routes)
        assert failure.value.code == "edge_port_in_use"
        assert f"(process {os.getpid()})" in failure.value.message
        await lab.edge.serve(routes)
        assert (await lab.ask("a.test"))[0] == 503

    async def test_who_is_told_to_come_back_is_told_when(self, lab: OwnLab) -> None:
        await lab.edge.serve([Route(domains=("a.test",), upstreams=())])
        answer = await ask(lab.address, 80, "a.test")
        assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("5", "no-store")
        assert answer.headers["content-type"].startswith("text/html")

    async def test_its_admin_api_is_for_nobody_but_the_owner_of_its_directory(self, lab: OwnLab) -> None:
        await lab.edge.serve([Route(domains=("a.test",), upstreams=())])
        assert lab.directory.stat().st_mode & 0o077 == 0
        with pytest.raises(httpx.ConnectError):
            await ask("127.0.0.1", 2019, "localhost", "/config/")

    async def test_names_get_certificates_and_plain_http_is_sent_on(self) -> None:
        async with own_directory() as directory, backend("one") as one:
            edge = OwnCaddy("01j0", directory, Listen(address=(address := own_address()), tls=Tls.INTERNAL))
            await edge.serve([Route(domains=("a.test",), upstreams=(one,))])
            plain = await ask(address, 80, "a.test", "/page")
            assert (plain.status_code, plain.headers["location"]) == (308, "https://a.test/page")
            root = directory / "storage" / "pki" / "authorities" / "local" / "root.crt"
            trusting = ssl.create_default_context(cafile=str(root))
            async with httpx.AsyncClient(verify=trusting, trust_env=False, timeout=PATIENCE) as client:
                encrypted = partial(
                    client.get,
                    f"https://{address}/page",
                    headers={"Host": "a.test"},
                    extensions={"sni_hostname": "a.test"},
                )
                await eventually(partial(certified, encrypted))
                assert (await encrypted()).text == "one /page"
            await edge.close()


async def certified(asking: Callable[[], Awaitable[httpx.Response]]) -> bool:
    """Whether a certificate is there: Caddy serves at once, and issues it beside that."""
    try:
        await asking()
    except httpx.ConnectError:
        return False
    return True


class StrangersLab(Lab):
    def __init__(self, caddy: StrangersCaddy) -> None:
        self.caddy = caddy
        self.edge = ExistingCaddy("01j0", caddy.admin)

    async def ask(self, domain: str) -> tuple[int, str]:
        answer = await self.caddy.ask(domain)
        return answer.status_code, answer.text

    async def forget(self) -> None:
        self.caddy.stop()
        await self.caddy.start()

    async def go_away(self) -> None:
        self.caddy.stop()


class TestExistingCaddy(EdgeContract):
    @pytest.fixture
    async def lab(self, tmp_path: Path) -> AsyncIterator[StrangersLab]:
        caddy = StrangersCaddy(tmp_path)
        try:
            await caddy.start()
            lab = StrangersLab(caddy)
            yield lab
            await lab.edge.close()
        finally:
            caddy.stop()

    async def test_what_is_not_holdfast_s_is_left_as_it_is(self, lab: StrangersLab) -> None:
        await lab.edge.serve([Route(domains=("a.test",), upstreams=())])
        assert await lab.ask("theirs.test") == (200, "their site")
        assert await lab.ask("unknown.test") == (404, "not known here")
        await lab.edge.serve([])
        found = (await request("GET", f"{lab.caddy.admin}/config/")).json()
        assert found == lab.caddy.config

    async def test_a_domain_of_theirs_stays_theirs_and_the_others_are_served(self, lab: StrangersLab) -> None:
        async with backend("one") as one:
            with pytest.raises(Refused) as refusal:
                await lab.edge.serve([Route(domains=("a.test", "theirs.test"), upstreams=(one,))])
            assert refusal.value.code == "domain_at_edge_already"
            assert await lab.ask("theirs.test") == (200, "their site")
            assert await lab.ask("a.test") == (200, "one /")

    async def test_where_no_server_of_theirs_serves_https_there_is_one_for_it(self, lab: StrangersLab) -> None:
        plain = lab.caddy.config
        plain["apps"]["http"] = {"https_port": 8443, "servers": {}}
        await request("POST", f"{lab.caddy.admin}/load", json=plain)
        await lab.edge.serve([Route(domains=("a.test",), upstreams=())])
        servers = (await request("GET", f"{lab.caddy.admin}/config/apps/http/servers")).json()
        assert [(name, server["listen"]) for name, server in servers.items()] == [("holdfast-01j0", [":8443"])]

    async def test_what_is_no_caddy_is_told_as_such(self) -> None:
        async with backend("hello") as other:
            edge = ExistingCaddy("01j0", f"http://{other}")
            with pytest.raises(Unavailable) as failure:
                await edge.serve([])
        assert failure.value.code == "edge_not_caddy"
        await edge.close()
