"""A cancel until COMMIT changes nothing, during the trial it means backward, and in between it is refused."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from tests.faults.refusal_bench import assert_told
from tests.faults.restart_bench import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


LAST_LOOK = "the last look before COMMIT"


class Cancelling:
    """Cancels the newest operation when it is told to, once."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.answer: httpx.Response | None = None

    async def __call__(self) -> None:
        client = self._servers.bench.client
        newest = (await client.get("/api/operations?limit=1")).json()["items"][0]["id"]
        self.answer = await client.post(f"/api/operations/{newest}/cancel")

    @property
    def status(self) -> int | None:
        return None if self.answer is None else self.answer.status_code


@pytest.mark.parametrize(
    "moment",
    [
        "journal STAGING",
        "journal STAGED",
        "journal PREPARED",
        "engine set_restart_policy",
        "engine stop",
        "journal SAFE",
        LAST_LOOK,
    ],
)
async def test_a_cancel_before_commit_leaves_everything_as_it_was(servers: Servers, moment: str) -> None:
    bench, before, cancel = servers.bench, servers.bench.facts(), Cancelling(servers)

    async def safe() -> None:
        servers.faults.moments["engine info"] = cancel

    servers.faults.moments |= {"journal SAFE": safe} if moment == LAST_LOOK else {moment: cancel}
    end = await bench.ended(await bench.ask())
    assert cancel.status == 202
    assert end["state"] == "cancelled", end["error"]
    assert_told(end["error"], "cancelled")
    assert bench.facts() == before
    await bench.settled()
    if moment == LAST_LOOK:
        await safety_is_kept(servers)


async def safety_is_kept(servers: Servers) -> None:
    """The safety snapshot of a restore that was called off stays, pinned, until a person releases it (I5)."""
    client = servers.bench.client
    newest = (await client.get("/api/workloads/notes/snapshots?limit=1")).json()["items"][0]
    assert (newest["reason"], newest["pinned"]) == ("safety", True)
    path = f"/api/workloads/notes/snapshots/{newest['id']}"
    refused = await client.delete(path)
    assert refused.status_code == 409
    assert_told(refused.json()["error"], "snapshot_pinned")
    assert (await client.patch(path, json={"pinned": False})).status_code == 200
    assert (await client.delete(path)).status_code == 204


async def test_a_cancel_while_it_waits_for_another_operation_ends_the_restore_at_once(servers: Servers) -> None:
    bench, before, cancel = servers.bench, servers.bench.facts(), Cancelling(servers)
    reached, free = asyncio.Event(), asyncio.Event()

    async def hold_up() -> None:
        reached.set()
        await free.wait()

    servers.faults.moments["engine pause"] = hold_up
    snapshot = await bench.post("/api/workloads/notes/snapshots", {})
    await reached.wait()
    waiting = await bench.ask()
    async for operation in bench.holdfast.operations.events(waiting.json()["id"]):
        if operation.waiting_for:
            break
    assert snapshot.json()["id"] in operation.waiting_for
    await cancel()
    end = await bench.ended(waiting)
    assert end["state"] == "cancelled"
    free.set()
    assert (await bench.ended(snapshot))["state"] == "succeeded"
    assert bench.facts() == before


@pytest.mark.parametrize("moment", ["journal COMMIT", "journal SWAPPED", "journal CONFIRMED"])
async def test_a_cancel_that_comes_too_late_is_refused_and_the_restore_ends_well(servers: Servers, moment: str) -> None:
    bench, cancel = servers.bench, Cancelling(servers)
    servers.faults.moments[moment] = cancel
    end = await bench.restored()
    assert bench.trees() == bench.taken
    assert cancel.answer is not None
    afterwards = await bench.client.post(f"/api/operations/{end['id']}/cancel")
    for answer in (cancel.answer, afterwards):
        assert answer.status_code == 409
        assert_told(answer.json()["error"], "not_cancellable")


@pytest.mark.parametrize("call", ["engine create", "engine start"])
async def test_a_cancel_during_the_trial_brings_the_data_back(servers: Servers, call: str) -> None:
    bench, before, cancel = servers.bench, servers.bench.facts(), Cancelling(servers)

    async def on_trial() -> None:
        servers.faults.moments[call] = cancel

    servers.faults.moments["journal TRIAL"] = on_trial
    end = await bench.ended(await bench.ask())
    assert cancel.status == 202
    assert_told(end["error"], "restore_reverted")
    assert end["outcome"]["result"] == "reverted"
    assert bench.facts() == before
    released = await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"})
    assert (await bench.ended(released))["state"] == "succeeded"
    await bench.settled()


async def test_a_cancel_with_the_last_look_of_the_health_gate_brings_the_data_back_too(servers: Servers) -> None:
    """What was answered with yes is done: between the gate's verdict and CONFIRMED there is no moment for less."""
    bench, moments = servers.bench, servers.faults.moments
    seen: list[list[str]] = []

    async def note() -> None:
        seen.append([call.name for call in bench.runtime.calls])

    moments |= {"journal TRIAL": note, "journal CONFIRMED": note}
    await bench.restored()
    since = seen[1][len(seen[0]) :]
    looks = since[: since.index("set_restart_policy")].count("inspect")

    before, cancel, left = servers.ready().facts(), Cancelling(servers), [looks]

    async def look() -> None:
        left[0] -= 1
        if left[0]:
            moments["engine inspect"] = look
        else:
            await cancel()

    async def on_trial() -> None:
        moments["engine inspect"] = look

    moments["journal TRIAL"] = on_trial
    end = await bench.ended(await bench.ask())
    assert cancel.status == 202
    assert_told(end["error"], "restore_reverted")
    assert bench.facts() == before
    await bench.ended(await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"}))
    await bench.settled()
