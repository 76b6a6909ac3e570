"""A whole Holdfast before a real Caddy: workloads are reached by their domains, whatever ends and comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from holdfast.bootstrap import Holdfast
from holdfast.domain.edge import Tls
from holdfast.domain.errors import Refused
from holdfast.domain.workload import Domain, WorkloadSpec
from holdfast.testing.caddies import ask, backend, own_address, own_directory, processes, until_gone
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    Installation,
    deployed,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)

DOMAIN = "notes.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An installation with a Caddy of its own, whose containers answer at ``port`` of the host.

    Attributes:
        address: where the edge listens, port 80.
    """

    installation: Installation
    address: str
    port: int

    @property
    def spec(self) -> WorkloadSpec:
        return dataclasses.replace(spec_of(), domains=(Domain(name=DOMAIN, port=self.port),))

    async def ask(self) -> tuple[int, str]:
        answer = await ask(self.address, 80, DOMAIN, "/page")
        return answer.status_code, answer.text

    async def until(self, answer: tuple[int, str]) -> None:
        async with asyncio.timeout(60):
            while await self._answer() != answer:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    async def _answer(self) -> tuple[int, str]:
        try:
            return await self.ask()
        except httpx.TransportError:
            return 0, ""

    @property
    def caddies(self) -> list[int]:
        return processes(str(self.installation.settings.edge_dir))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with own_directory() as directory, backend("notes") as upstream:
        address = own_address()
        more = {"edge": "caddy", "edge_listen": address, "edge_tls": Tls.OFF}
        whole = dataclasses.replace(installation(directory), more=more)
        yield Bench(installation=whole, address=address, port=int(upstream.rpartition(":")[2]))


async def test_a_caddy_that_was_killed_is_started_again_and_serves_what_it_served(bench: Bench) -> None:
    async with bench.installation.running() as holdfast:
        await deployed(holdfast, bench.spec)
        assert await bench.ask() == (200, "notes /page")
        (before,) = bench.caddies
        os.kill(before, signal.SIGKILL)
        await bench.until((200, "notes /page"))
        assert bench.caddies != [before]
        assert await problems(holdfast) == []


async def test_caddy_serves_on_while_holdfast_is_away_and_ends_when_it_is_asked_for_no_more(bench: Bench) -> None:
    async with bench.installation.running() as holdfast:
        await deployed(holdfast, bench.spec)
        (before,) = bench.caddies
    assert await bench.ask() == (200, "notes /page")
    async with bench.installation.running() as holdfast:
        assert await problems(holdfast) == []
        assert bench.caddies == [before]
    async with dataclasses.replace(bench.installation, more={}).running():
        await until_gone(bench.installation.settings.edge_dir)


async def test_a_websocket_reaches_the_workload(bench: Bench) -> None:
    async with bench.installation.running() as holdfast:
        await deployed(holdfast, bench.spec)
        reader, writer = await asyncio.open_connection(bench.address, 80)
        writer.write(
            b"GET /live HTTP/1.1\r\nHost: notes.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b"101" in (await reader.readuntil(b"\r\n\r\n")).splitlines()[0]
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_who_asks_while_a_restore_or_a_deployment_has_it_stopped_is_told_to_come_back(bench: Bench) -> None:
    async with bench.installation.running() as holdfast:
        workload = await deployed(holdfast, bench.spec)
        snapshot_id = await snapshotted(holdfast, workload)
        seen: list[tuple[int, bool]] = []

        async def look(call: Call) -> None:
            if call.name in ("stop", "create"):  # from before the old instance stops until the new one proves healthy
                status, text = await bench.ask()
                seen.append((status, DOMAIN in text))

        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime._on_call = look
        await succeeded(holdfast, await restore(holdfast, workload, snapshot_id))
        assert await bench.ask() == (200, "notes /page")
        restored = len(seen)
        holdfast.runtime.add_image("notes:2")
        await succeeded(holdfast, await holdfast.api.deployer.deploy("notes", image="notes:2", actor="test"))
        assert await bench.ask() == (200, "notes /page")
        assert (set(seen), restored >= 2, len(seen) - restored >= 2) == ({(503, True)}, True, True)


async def test_what_is_deleted_is_served_no_more_and_its_domain_is_free(bench: Bench) -> None:
    async with bench.installation.running() as holdfast:
        workload = await deployed(holdfast, bench.spec)
        other = dataclasses.replace(bench.spec, name="other", volumes=())
        with pytest.raises(Refused, match="belongs to the workload notes"):
            await holdfast.api.workloads.apply(other, actor="ann")
        operation = await holdfast.api.workloads.delete(workload.id, delete_data=False, actor="ann")
        await holdfast.operations.wait(operation.id)
        await bench.until((0, ""))
        await deployed(holdfast, other)
        assert await bench.ask() == (200, "notes /page")


async def problems(holdfast: Holdfast) -> list[str]:
    """What the doctor finds about the edge."""
    return [f.message for f in await holdfast.api.doctor.findings() if f.check == "edge" and f.level != "ok"]
