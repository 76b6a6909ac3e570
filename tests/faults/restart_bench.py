"""Servers one after the other on one installation, behind one API, with faults in a test's hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import httpx
from tests.faults.fault_seams import Faults
from tests.faults.refusal_bench import Answer, Bench, prepared, wear

from holdfast.api.app import create_app
from holdfast.bootstrap import Holdfast
from holdfast.domain.workload import WorkloadSpec
from holdfast.testing.fake_records import Behaviour, FakeContainer
from holdfast.testing.installation import Installation, deployed, installation


class ServerDiedError(Exception):
    """Raised at a moment: the operation goes no further, and nothing that it would put back is put back."""


class Servers:
    """The server that runs now, and how to get to the next one.

    Attributes:
        bench: the API of the server that runs now.
    """

    bench: Bench

    def __init__(self, directory: Path) -> None:
        self.faults = Faults(directory=directory)
        self._place = self.faults.on(installation(directory))
        self._running = AsyncExitStack()
        self._holdfast: Holdfast | None = None

    @property
    def place(self) -> Installation:
        return self._place

    @classmethod
    async def at(cls, directory: Path, spec: WorkloadSpec | None = None, behaviour: Behaviour | None = None) -> Self:
        """A first server with a workload that runs, has a snapshot, and has changed all its volumes since."""
        servers = cls(directory)
        if behaviour is not None:
            servers.place.fake_engine().add_image("notes:1", behaviour)
        await servers._start()
        assert servers._holdfast is not None
        await deployed(servers._holdfast, spec)
        await servers._serve()
        await prepared(servers.bench)
        return servers

    async def restart(self, between: Callable[[], Awaitable[object]] | None = None) -> Bench:
        """Stop the server in order, let ``between`` happen, and start another one. All faults are gone by then."""
        before = self.bench
        await self._running.aclose()
        self.faults.heal()
        if between is not None:
            await between()
        await self._start()
        await self._serve()
        self.bench.snapshot_id, self.bench.taken, self.bench.worn = before.snapshot_id, before.taken, before.worn
        return self.bench

    async def end_well(self) -> None:
        """After all that was done to them, an ordinary restore brings exactly the snapshot back. Stops the server."""
        try:
            await self.ready().still_works()
        finally:
            await self._running.aclose()
        assert open_journals(self._place.directory) == []

    def ready(self) -> Bench:
        """The bench for the next test: nothing fails, and all volumes differ from the snapshot."""
        self.faults.heal()
        self.bench.runtime.heal()
        wear(self.bench)
        return self.bench

    def containers(self) -> list[FakeContainer]:
        """All containers, by name."""
        return sorted(self.bench.runtime.engine.state.containers.values(), key=lambda c: c.spec.name)

    async def waiting(self, operation_id: str) -> str:
        """What an operation waits for, once it waits for anything."""
        async for operation in self.bench.holdfast.operations.events(operation_id):
            if operation.waiting_for:
                return operation.waiting_for
        raise AssertionError(f"it ended: {operation.error}")

    def nobody_runs(self) -> bool:
        """Whether no container runs, and none would be started by the engine."""
        return all(not c.alive and c.restart == "no" for c in self.containers())

    async def recovered(self) -> Answer:
        """The newest restore (or snapshot), once all that the server found to do at its start has ended."""
        operations = (await self.bench.client.get("/api/operations?limit=20")).json()["items"]
        for operation in operations:
            await self.bench.holdfast.operations.wait(operation["id"])
        await self.bench.holdfast.reaper.idle()
        return await self.bench.operation(next(o["id"] for o in operations if o["kind"] in ("restore", "snapshot")))

    async def _start(self) -> None:
        self._holdfast = await self._running.enter_async_context(self._place.running())
        while not self._holdfast.api.readiness.ready()[0]:  # noqa: ASYNC110 - the engine's answer is told to nobody
            await asyncio.sleep(0.001)

    async def _serve(self) -> None:
        holdfast = self._holdfast
        assert holdfast is not None
        token = holdfast.settings.admin_token_file.read_text().strip()
        app = create_app(holdfast.api)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://holdfast",
            headers={"Authorization": f"Bearer {token}"},
        )
        await self._running.enter_async_context(client)
        self.bench = Bench(
            place=self._place,
            holdfast=holdfast,
            client=client,
            workload=await holdfast.api.workloads.get("notes"),
            volumes=(self._place.volumes / "notes/data", self._place.volumes / "@home/media"),
        )


def open_journals(below: Path) -> list[str]:
    """The journals of an installation that this process has open."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    targets = (os.readlink(link) for link in links if link.is_symlink())
    return [target for target in targets if ".journal" in target and target.startswith(f"{below}/")]
