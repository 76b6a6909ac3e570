"""Logs of instances that Holdfast removes: kept by whatever removes them, and in nobody's way."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.services.deploy_bench import Bench, opened

from holdfast.bootstrap import Holdfast
from holdfast.domain.environment import SecretRef
from holdfast.domain.errors import Failed
from holdfast.domain.logs import OWN_STREAM, LogLine, LogQuery
from holdfast.domain.operation import OperationState
from holdfast.domain.workload import Workload
from holdfast.engine.fs import Fs
from holdfast.engine.kept_logs import KeptLogFiles
from holdfast.services.log_keeping import MOST_LINES
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import (
    Installation,
    deployed,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)

pytestmark = pytest.mark.usefixtures("patient_log_keeping")

SECRET = "swordfish-one"
PRINTS = Behaviour(logs=("starting", f"with key {SECRET}"))


@pytest.fixture
async def place(tmp_path: Path) -> Installation:
    return installation(tmp_path, behaviour=PRINTS)


@pytest.fixture
async def holdfast(place: Installation) -> AsyncIterator[Holdfast]:
    async with place.running() as holdfast:
        yield holdfast


def kept(place: Installation, workload: Workload) -> list[list[LogLine]]:
    """What is kept, an instance each, the oldest first."""
    files = KeptLogFiles(Fs(), place.settings.logs_dir, 1)
    return [files.read(workload.id, each, LogQuery()) for each in files.of(workload.id)]


async def again(holdfast: Holdfast, place: Installation, workload: Workload, *lines: str) -> None:
    """Deploy another version, that prints these."""
    runtime = holdfast.runtime
    assert isinstance(runtime, FakeRuntime)
    runtime.add_image("notes:1", Behaviour(logs=lines), version="-".join(lines))
    await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))


async def test_every_instance_that_a_deploy_or_a_restore_removes_can_still_be_read(
    holdfast: Holdfast, place: Installation
) -> None:
    workload = await deployed(holdfast)
    await again(holdfast, place, workload, "second")
    snapshot = await snapshotted(holdfast, workload)
    await succeeded(holdfast, await restore(holdfast, workload, snapshot))
    (first, second) = kept(place, workload)
    assert [line.text for line in first] == ["starting", f"with key {SECRET}"]
    assert [line.text for line in second] == ["second"]
    lines = await holdfast.api.logs.read(workload.id, LogQuery(), tail=100)
    assert [line.text for line in lines] == ["starting", f"with key {SECRET}", "second", "second"]
    assert len({line.instance for line in lines}) == 3
    deletion = await holdfast.api.workloads.delete(workload.id, delete_data=False, actor="ann")
    await succeeded(holdfast, deletion)
    assert list(place.settings.logs_dir.iterdir()) == []


async def test_what_is_kept_holds_no_secret(holdfast: Holdfast, place: Installation) -> None:
    spec = dataclasses.replace(spec_of(), secrets=(SecretRef(name="KEY"),))
    workload = (await holdfast.api.workloads.apply(spec, actor="ann")).workload
    assert workload is not None
    await holdfast.api.secrets.set(workload.id, "KEY", SECRET, actor="ann")
    await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))
    await again(holdfast, place, workload, "second")
    assert [line.text for lines in kept(place, workload) for line in lines] == ["starting", "with key ***"]


async def test_nothing_is_kept_of_a_workload_whose_secrets_can_not_be_opened(
    holdfast: Holdfast, place: Installation
) -> None:
    spec = dataclasses.replace(spec_of(), secrets=(SecretRef(name="KEY"),))
    workload = (await holdfast.api.workloads.apply(spec, actor="ann")).workload
    assert workload is not None
    await holdfast.api.secrets.set(workload.id, "KEY", SECRET, actor="ann")
    await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))
    (place.settings.keys_dir / "sealing.key").unlink()
    deletion = await holdfast.api.workloads.apply(dataclasses.replace(spec, secrets=()), actor="ann")
    assert deletion.workload is not None
    with capture_logs() as told:
        await again(holdfast, place, workload, "second")
    assert kept(place, workload) == []
    assert any("not all secrets" in entry["event"] for entry in told)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


def kept_by(bench: Bench, workload: Workload) -> list[LogLine]:
    listed = bench.kept_logs.of(workload.id)
    return [line for each in listed for line in bench.kept_logs.read(workload.id, each, LogQuery())]


async def replaced(bench: Bench, workload: Workload) -> OperationState:
    """Deploy another version. Returns how that ended."""
    bench.runtime.add_image("notes:2")
    return (await bench.deploy(workload, "notes:2")).state


async def test_an_engine_that_gives_no_log_keeps_no_deployment(bench: Bench) -> None:
    workload = await bench.deployed(behaviour=PRINTS)
    bench.runtime.fail("logs", error=Failed("engine_error", "The engine refused.", next_step="Look."))
    assert await replaced(bench, workload) is OperationState.SUCCEEDED
    assert (len(await bench.there(workload)), kept_by(bench, workload)) == (1, [])


async def test_an_engine_that_never_ends_a_log_keeps_no_deployment_and_what_came_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, log_patience=4.0) as bench:
        workload = await bench.deployed(behaviour=PRINTS)
        bench.runtime.endless_logs = True
        assert await replaced(bench, workload) is OperationState.SUCCEEDED
        assert len(await bench.there(workload)) == 1
        *printed, told = kept_by(bench, workload)
    assert [line.text for line in printed] == list(PRINTS.logs)
    assert (told.stream, told.text) == (OWN_STREAM, "The engine was slow: what came after this was not kept.")


async def test_a_disk_that_takes_nothing_keeps_no_deployment(bench: Bench, tmp_path: Path) -> None:
    workload = await bench.deployed(behaviour=PRINTS)
    (tmp_path / "logs").rmdir()
    (tmp_path / "logs").touch()
    with capture_logs() as told:
        assert await replaced(bench, workload) is OperationState.SUCCEEDED
    assert len(await bench.there(workload)) == 1
    assert any(entry["event"] == "a log is not kept" for entry in told)


async def test_of_a_long_log_the_end_is_kept_and_says_so(bench: Bench) -> None:
    workload = await bench.deployed(behaviour=Behaviour(logs=tuple(map(str, range(MOST_LINES + 5)))))
    assert await replaced(bench, workload) is OperationState.SUCCEEDED
    told, first, *_, last = kept_by(bench, workload)
    assert (told.stream, told.text) == (OWN_STREAM, "What came before this was not kept.")
    assert (first.text, last.text) == ("5", str(MOST_LINES + 4))
