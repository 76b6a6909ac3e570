"""An installation behind its API, on which requests are refused or fail, and everything that must hold then."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import httpx

from holdfast.api.app import create_app
from holdfast.bootstrap import Holdfast
from holdfast.domain.workload import Workload, WorkloadSpec
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation, deployed, snapshotted
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import TreeDescription, describe_tree

PATIENCE = 60.0
"""Seconds after which what does not come is the test's failure."""

Answer = dict[str, Any]
Trees = tuple[TreeDescription, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a refusal must leave as it was: all volumes, and every container's id, state and restart policy."""

    trees: Trees
    containers: tuple[tuple[str, str, str], ...]


@dataclass(kw_only=True)
class Bench:
    """A workload that runs on other data than its snapshot holds.

    Attributes:
        volumes: the live directories.
        taken, worn: what the snapshot holds, and what was live when the server began to be asked for things.
    """

    place: Installation
    holdfast: Holdfast
    client: httpx.AsyncClient
    workload: Workload
    volumes: tuple[Path, ...]
    snapshot_id: str = ""
    taken: Trees = ()
    worn: Trees = ()

    @property
    def runtime(self) -> FakeRuntime:
        return cast("FakeRuntime", self.holdfast.runtime)

    @property
    def restore_path(self) -> str:
        return f"/api/workloads/notes/snapshots/{self.snapshot_id}/restore"

    def facts(self) -> Facts:
        """What is there now."""
        containers = self.runtime.engine.state.containers.values()
        return Facts(
            trees=tuple(map(_described, self.volumes)),
            containers=tuple(sorted((c.id, c.state.value, c.restart.value) for c in containers)),
        )

    def trees(self) -> Trees:
        """What the volumes hold now."""
        return self.facts().trees

    async def post(
        self, path: str, body: object = None, *, confirm: str | None = None, key: str | None = None
    ) -> httpx.Response:
        """Ask for something, as the admin."""
        given = {"X-Confirm-Restore": confirm, "Idempotency-Key": key}
        headers = {name: value for name, value in given.items() if value is not None}
        return await self.client.post(path, json=body, headers=headers)

    async def ask(self, body: object = None) -> httpx.Response:
        """Ask for the restore, confirmed."""
        return await self.post(self.restore_path, body, confirm=self.snapshot_id)

    async def started(self, body: object = None) -> str:
        """Ask for the restore. Returns its operation's id."""
        answer = await self.ask(body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def ended(self, answer: httpx.Response) -> Answer:
        """The operation that an answer tells of, once it has ended."""
        assert answer.status_code == 202, answer.text
        await self.holdfast.operations.wait(answer.json()["id"])
        return await self.operation(answer.json()["id"])

    async def operation(self, operation_id: str) -> Answer:
        """An operation as the API tells it."""
        answer = await self.client.get(f"/api/operations/{operation_id}")
        assert answer.status_code == 200, answer.text
        return cast("Answer", answer.json())

    async def restored(self, body: object = None) -> Answer:
        """A normal restore: it must succeed, bring exactly the snapshot back, and leave nothing behind."""
        end = await self.ended(await self.ask(body))
        assert end["state"] == "succeeded", end["error"]
        await self.settled()
        return end

    async def settled(self) -> None:
        """Nothing is left beside the volumes or in the data directory."""
        await self.holdfast.reaper.idle()
        assert self.place.leftovers() == []

    async def refuses(self, status: int, code: str, answer: httpx.Response, before: Facts) -> Answer:
        """The answer is this refusal, or that of its operation, and nothing whatever has changed since ``before``.

        Args:
            status: 202 for what is only found out by the operation.
        """
        assert answer.status_code == status, answer.text
        error: Answer = answer.json().get("error") or {}
        if status == 202:
            end = await self.ended(answer)
            assert end["state"] == "failed", end
            error = end["error"]
        assert_told(error, code)
        assert self.facts() == before
        await self.settled()
        return error

    async def still_works(self) -> None:
        """After all that, an ordinary restore brings exactly the snapshot back."""
        await self.restored()
        assert self.trees() == self.taken


def assert_told(error: Mapping[str, Any], code: str) -> None:
    """The error is this one, says what to do next, and so does each of its problems."""
    problems = error["details"].get("problems", [])
    coded = [problem for problem in problems if "code" in problem]  # a malformed request's have places in its stead
    codes = {error["code"], *(problem["code"] for problem in coded)}
    assert code in codes, error
    assert error["next_step"], error
    assert error["message"], error
    assert all(problem["next_step"] for problem in coded), error


@asynccontextmanager
async def serving(place: Installation, holdfast: Holdfast, volumes: tuple[Path, ...]) -> AsyncIterator[Bench]:
    """The API of a server, for its admin."""
    token = holdfast.settings.admin_token_file.read_text().strip()
    transport = httpx.ASGITransport(create_app(holdfast.api))
    workload = await holdfast.api.workloads.get("notes")
    async with httpx.AsyncClient(
        transport=transport, base_url="http://holdfast", headers={"Authorization": f"Bearer {token}"}
    ) as client:
        yield Bench(place=place, holdfast=holdfast, client=client, workload=workload, volumes=volumes)


@asynccontextmanager
async def bench_on(
    place: Installation, spec: WorkloadSpec | None = None, volumes: tuple[Path, ...] = ()
) -> AsyncIterator[Bench]:
    """A server with a workload that runs, has a snapshot, and has changed all its volumes since."""
    live = volumes or (place.volumes / "notes/data", place.volumes / "@home/media")
    place = replace(place, seams=replace(place.seams, workers=QuickWorkers))
    async with place.running() as holdfast:
        await deployed(holdfast, spec)
        async with serving(place, holdfast, live) as bench:
            await prepared(bench)
            yield bench


async def prepared(bench: Bench) -> None:
    """Fill the volumes, take a snapshot, and let them change."""
    for number, volume in enumerate(bench.volumes):
        (volume / "kept").write_text(f"taken {number}")
        (volume / "below").mkdir()
        (volume / "below/deep").write_text("deep")
    bench.taken = bench.trees()
    bench.snapshot_id = await snapshotted(bench.holdfast, bench.workload)
    wear(bench)


def wear(bench: Bench) -> None:
    """Let every volume differ from the snapshot."""
    for volume in bench.volumes:
        (volume / "kept").write_text("worn")
        (volume / "newer").write_text("made after the snapshot")
    bench.worn = bench.trees()


@asynccontextmanager
async def held_up(bench: Bench, call: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """The engine's next such call waits until the block ends. Yields what waits until there is one."""
    reached, free, real = asyncio.Event(), asyncio.Event(), getattr(bench.runtime, call)

    async def slow(*args: object, **options: object) -> object:
        reached.set()
        await free.wait()
        return await real(*args, **options)

    with patch.object(bench.runtime, call, slow):
        try:
            yield lambda: asyncio.wait_for(reached.wait(), PATIENCE)
        finally:
            free.set()


@contextmanager
def tmpfs(at: Path, options: str = "size=16m") -> Iterator[None]:
    """A filesystem mounted at ``at``, for the time being."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def _described(path: Path) -> TreeDescription:
    """As :func:`describe_tree`; nothing is described as nothing."""
    return describe_tree(path) if path.is_dir() else {}
