"""While a restore works on a workload, whoever asks for it is told to come back; and the restore waits for no edge."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Seams
from holdfast.config import Settings
from holdfast.domain.edge import Route
from holdfast.domain.errors import Refused
from holdfast.domain.operation import OperationState
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import Domain, SnapshotPolicy
from holdfast.testing.caddies import until
from holdfast.testing.fake_edge import FakeEdge
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)

SPEC = replace(spec_of(), domains=(Domain(name="notes.test", port=80),))
TO_NOTES = (Route(domains=("notes.test",), upstreams=("127.0.0.1:80",)),)
TO_NOBODY = (Route(domains=("notes.test",), upstreams=()),)


@dataclass
class Watched:
    """An installation with an edge, and what the edge served whenever the engine was told something."""

    installation: Installation
    edge: FakeEdge
    seen: list[tuple[str, tuple[Route, ...]]]

    def at(self, call: str) -> set[tuple[Route, ...]]:
        return {served for name, served in self.seen if name == call}


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    edge = FakeEdge()
    seen: list[tuple[str, tuple[Route, ...]]] = []

    async def look(call: Call) -> None:
        seen.append((call.name, edge.served))

    def runtime(_settings: Settings) -> FakeRuntime:
        return FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(tmp_path), on_call=look)

    def the_edge(_settings: Settings, _installation: str) -> FakeEdge:
        return edge

    plain = installation(tmp_path)
    whole = replace(plain, runtime=runtime, seams=Seams(edge=the_edge), more={"edge": "caddy"})
    return Watched(installation=whole, edge=edge, seen=seen)


async def served(watched: Watched, routes: tuple[Route, ...]) -> None:
    await until(lambda: watched.edge.served == routes)


async def test_requests_are_held_off_from_before_the_stop_until_the_restored_version_is_confirmed(
    watched: Watched,
) -> None:
    async with watched.installation.running() as holdfast:
        workload = await deployed(holdfast, SPEC)
        snapshot = await snapshotted(holdfast, workload)
        await served(watched, TO_NOTES)
        watched.seen.clear()
        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.state is OperationState.SUCCEEDED, end.error
        assert watched.at("stop") == watched.at("create") == watched.at("start") == {TO_NOBODY}
        await served(watched, TO_NOTES)


async def test_what_a_restore_went_back_to_is_served_again(watched: Watched) -> None:
    watched.installation.fake_engine().add_image("notes:2", Behaviour(requires={"/data/kept": None}))
    async with watched.installation.running() as holdfast:
        workload = await deployed(holdfast, SPEC)
        snapshot = await snapshotted(holdfast, workload)
        data = watched.installation.volumes / "notes" / "data"
        await asyncio.to_thread((data / "kept").write_text, "new")
        await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, image="notes:2", actor="test"))
        end = await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT))
        assert end.outcome.get("result") == "reverted", (end.outcome, end.error)
        await served(watched, TO_NOTES)


async def test_a_restore_does_not_need_the_edge(watched: Watched) -> None:
    async with watched.installation.running() as holdfast:
        workload = await deployed(holdfast, SPEC)
        snapshot = await snapshotted(holdfast, workload)
        watched.edge.go_away()
        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.state is OperationState.SUCCEEDED, end.error
        watched.edge.come_back()
        await holdfast.api.doctor.findings()
        assert watched.edge.served == TO_NOTES


async def test_going_back_with_data_to_a_domain_that_another_workload_has_by_now_is_refused(watched: Watched) -> None:
    async with watched.installation.running() as holdfast:
        with_snapshots = replace(SPEC, snapshots=SnapshotPolicy())
        await deployed(holdfast, with_snapshots)
        await deployed(holdfast, replace(with_snapshots, domains=()))
        await deployed(holdfast, replace(SPEC, name="other", volumes=()))
        found = await holdfast.api.data_rollbacks.plan("notes", None)
        with pytest.raises(Refused, match="belongs to the workload other"):
            await holdfast.api.data_rollbacks.rollback(
                "notes", found.plan.rollback.to.id, confirm=found.snapshot.id, dry_run=False, actor="test"
            )
