"""Sentences of the restore's promise, each by itself: what its preflight finds, looks at again, and keeps."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

import pytest
from tests.faults.refusal_bench import Bench, assert_told, tmpfs
from tests.faults.restart_bench import ServerDiedError, Servers
from tests.faults.test_review_findings import engine, hooked, hooked_files, running_of

from holdfast.bootstrap import Seams
from holdfast.config import Settings
from holdfast.domain.operation import OperationState, Progress
from holdfast.domain.restore import Identity, OnUnhealthy, RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import Scope, Volume
from holdfast.engine.fs import Fs
from holdfast.engine.requests import Request, WarmRequest
from holdfast.runtime.port import Bind, ContainerSpec
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import (
    TWO_VOLUMES,
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.quick_workers import QuickWorkers, ThreadWorker

R = TypeVar("R")
Fault = Callable[[Bench], AbstractContextManager[None]]

# Who makes a mount namespace of its own copies all mounts of that moment, and then has mounted what a test here binds.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("mount namespaces")]


# --- preflight, and once more before the exchange


@contextmanager
def a_process_that_has_it_mounted(bench: Bench) -> Iterator[None]:
    """A process of nobody's container, in a mount namespace of its own."""
    script = f"mount --bind '{bench.volumes[1]}' /mnt\necho ready\nread line"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.stdin.close()


@contextmanager
def a_container_of_somebody_else(bench: Bench) -> Iterator[None]:
    bind = Bind(source=str(bench.volumes[1]), target="/theirs", read_only=False)
    container = bench.runtime.engine.create(ContainerSpec(name="stranger", image="notes:1", binds=(bind,), labels={}))
    bench.runtime.engine.start(container)
    yield
    bench.runtime.engine.remove(container, force=True)


@contextmanager
def a_mount_below(bench: Bench) -> Iterator[None]:
    with tmpfs(bench.volumes[1] / "below"):
        yield


@contextmanager
def another_directory(bench: Bench) -> Iterator[None]:
    away = bench.volumes[1].with_name("away")
    bench.volumes[1].rename(away)
    bench.volumes[1].mkdir()
    yield
    bench.volumes[1].rmdir()
    away.rename(bench.volumes[1])


CHANGES = [
    (a_process_that_has_it_mounted, "path_mounted_elsewhere"),
    (a_container_of_somebody_else, "path_in_use"),
    (a_mount_below, "mount_in_volume"),
    (another_directory, "volume_moved"),
]


@pytest.mark.parametrize(("fault", "code"), CHANGES)
async def test_what_changes_while_it_stages_is_found_right_before_the_exchange(
    servers: Servers, fault: Fault, code: str
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    changed: list[AbstractContextManager[None]] = []

    async def change() -> None:
        changed.append(fault(bench))
        changed[0].__enter__()

    servers.faults.moments["journal SAFE"] = change
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], code)
    changed[0].__exit__(None, None, None)
    assert bench.facts() == before
    await bench.settled()


async def test_a_process_that_has_a_volume_mounted_refuses_the_restore(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    with a_process_that_has_it_mounted(bench):
        await bench.refuses(422, "path_mounted_elsewhere", await bench.ask(), before)


async def test_all_that_is_wrong_is_told_at_once(servers: Servers) -> None:
    bench = servers.bench
    away = bench.volumes[0].with_name("away")
    with a_container_of_somebody_else(bench), a_mount_below(bench):
        bench.volumes[0].rename(away)
        before = bench.facts()
        answer = await bench.ask({"volumes": ["/data", "/media", "/nowhere"]})
        error = await bench.refuses(422, "several_problems", answer, before)
        away.rename(bench.volumes[0])
    codes = {problem["code"] for problem in error["details"]["problems"]}
    assert codes == {"volume_unknown", "volume_missing", "mount_in_volume", "path_in_use"}


class WithoutExchange(Fs):
    """A filesystem that knows no flags of renameat2, as old ZFS and NFS."""

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


class WithoutHandles(Fs):
    """A filesystem that has no file handles for the pair on which an exchange is tried."""

    def identity(self, fd: int) -> Identity:
        if ".holdfast-probe-" in self.path_of(fd):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return super().identity(fd)


async def test_where_directories_can_not_be_exchanged_they_change_places_by_renames_which_is_told_before(
    tmp_path: Path,
) -> None:
    place = replace(installation(tmp_path), seams=Seams(fs=WithoutExchange(), workers=QuickWorkers))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        (place.volumes / "notes/data/file").write_text("taken")
        snapshot = await snapshotted(holdfast, workload)
        (place.volumes / "notes/data/file").write_text("worn")
        told = await succeeded(holdfast, await restore(holdfast, workload, snapshot, dry_run=True))
        assert "three renames while everything is stopped" in str(told.outcome["warnings"])
        done = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert done.outcome["swaps"] == {"/data": "renames", "/media": "renames"}
        assert (place.volumes / "notes/data/file").read_text() == "taken"
        await holdfast.reaper.idle()
        assert running_of(engine(holdfast), workload)
    assert place.leftovers() == []


async def test_where_directories_have_no_lasting_identity_the_restore_is_refused_and_the_filesystem_named(
    tmp_path: Path,
) -> None:
    place = replace(installation(tmp_path), seams=Seams(fs=WithoutHandles(), workers=QuickWorkers))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        with pytest.raises(Exception, match="no identity that lasts") as caught:
            await restore(holdfast, workload, snapshot)
        assert "identity_unsupported" in str(getattr(caught.value, "details", ""))
        assert running_of(engine(holdfast), workload)
    assert place.leftovers() == []


@dataclass(frozen=True, kw_only=True)
class WithReserve(Installation):
    """An installation that leaves four MiB of each disk alone."""

    @property
    def settings(self) -> Settings:
        return replace(super().settings, disk_reserve_bytes=4 << 20)


async def test_a_disk_that_fills_up_meanwhile_is_found_before_the_exchange(tmp_path: Path) -> None:
    small, own = tmp_path / "srv", tmp_path / "engine"
    own.mkdir()

    async def fill(record: Record) -> None:
        if record.type is RecordType.SAFE:
            (small / "somebody's").write_bytes(bytes(13 << 20))

    place = WithReserve(
        directory=tmp_path,
        runtime=lambda _: FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(own)),
        seams=Seams(files=hooked_files(after=fill), workers=QuickWorkers),
    )
    place.fake_engine().add_image("notes:1")
    with tmpfs(small):
        media = Volume(target="/media", scope=Scope.ABSOLUTE, source=str(small / "media"))
        async with place.running() as holdfast:
            workload = await deployed(holdfast, replace(spec_of(), volumes=(TWO_VOLUMES[0], media)))
            (small / "media/kept").write_text("kept")
            snapshot = await snapshotted(holdfast, workload)
            end = await ended(holdfast, await restore(holdfast, workload, snapshot))
            assert (end.error or {})["code"] == "no_space_bytes"
            assert str(small) in str((end.error or {})["message"])
            assert running_of(engine(holdfast), workload)


# --- warm, stop, safety snapshot


class Warming(QuickWorkers):
    """Workers whose warm passes are counted; before each, the live data changes a lot if it is to.

    Attributes:
        passes: of all workers.
    """

    passes: list[WarmRequest] = []  # noqa: RUF012 - one for all workers of a test, emptied by it
    busy: Path | None = None

    async def start(self) -> ThreadWorker:
        return await asyncio.to_thread(_CountingWorker, self._settings)


class _CountingWorker(ThreadWorker):
    async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
        if isinstance(request, WarmRequest):
            if Warming.busy is not None:
                for number in range(300):
                    (Warming.busy / f"{len(Warming.passes)}-{number}").write_text("new")
            Warming.passes.append(request)
        return await super().ask(request, on_progress)


@pytest.mark.parametrize("busy", [False, True])
async def test_the_live_data_is_read_ahead_until_little_is_found_but_not_for_ever(
    tmp_path: Path, *, busy: bool
) -> None:
    place = replace(installation(tmp_path), seams=Seams(workers=Warming))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        Warming.passes.clear()
        Warming.busy = place.volumes / "notes/data" if busy else None
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert len(Warming.passes) == (holdfast.settings.warm_passes_max if busy else 1)
        await holdfast.reaper.idle()


async def test_the_engines_own_state_is_on_disk_before_the_commit(tmp_path: Path) -> None:
    """So that a power cut brings no container back whose policy was set to ``no``."""
    told: list[str] = []

    class Telling(Fs):
        def syncfs(self, fd: int) -> None:
            told.append(f"flushed {self.path_of(fd)}")
            super().syncfs(fd)

    async def tell(record: Record) -> None:
        told.append(str(record.type))

    seams = Seams(fs=Telling(), files=hooked_files(before=tell), workers=QuickWorkers)
    place = replace(installation(tmp_path), seams=seams)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        await holdfast.reaper.idle()
    stopped, committed = told.index("SAFE"), told.index("COMMIT")
    assert told[stopped:committed] == ["SAFE", f"flushed {tmp_path}"]


async def test_an_engines_disk_that_fails_to_flush_calls_the_restore_off(tmp_path: Path) -> None:
    class Failing(Fs):
        def syncfs(self, fd: int) -> None:
            if self.path_of(fd) == str(tmp_path):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().syncfs(fd)

    place = replace(installation(tmp_path), seams=Seams(fs=Failing(), workers=QuickWorkers))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert (end.error or {})["code"] == "engine_state_not_flushed"
        assert running_of(engine(holdfast), workload)
    assert place.leftovers() == []


@pytest.mark.parametrize(
    ("behaviour", "briefs"),
    [
        (Behaviour(), []),
        (Behaviour(ignores_term=True), ["killed after 2 s"]),
        (Behaviour(out_of_memory_at_term=True), ["killed for want of memory"]),
        (Behaviour(term_exit_code=1), ["exit code 1"]),
    ],
)
async def test_the_safety_snapshot_and_the_restore_say_how_what_ran_was_stopped_and_what_it_was(
    tmp_path: Path, behaviour: Behaviour, briefs: list[str]
) -> None:
    place = hooked(installation(tmp_path, behaviour=behaviour))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        for volume in ("notes/data", "@home/media"):
            (place.volumes / volume / "notes").write_text("something, or it would be warned of nothing")
        snapshot = await snapshotted(holdfast, workload)
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        safety = await holdfast.api.snapshots.get(workload.id, str(end.outcome["safety_snapshot_id"]))
        taken = safety.manifest
        assert (taken.reason, taken.consistency, taken.stopped_cleanly) == ("safety", "stopped", not briefs)
        assert [stop.brief for stop in taken.unclean_stops] == briefs
        told = cast("list[dict[str, object]]", end.outcome.get("unclean_stops", []))
        assert [stop["brief"] for stop in told] == briefs
        assert [line.message for line in end.log if line.level == "warning"] == [s.words for s in taken.unclean_stops]
        assert (safety.pinned, safety.safety_for) == (True, end.id)
        assert (taken.image, taken.image_id) == ("notes:1", end.outcome["image_before_id"])
        await holdfast.reaper.idle()


async def test_a_restore_that_another_server_finishes_says_as_well_what_had_to_be_killed(tmp_path: Path) -> None:
    servers = await Servers.at(tmp_path, behaviour=Behaviour(ignores_term=True))

    async def died() -> None:
        raise ServerDiedError

    servers.faults.moments["journal SWAPPED"] = died
    await servers.bench.ended(await servers.bench.ask())
    await servers.restart()
    end = await servers.recovered()
    assert (end["state"], end["outcome"]["result"]) == ("succeeded", "restored")
    assert [stop["brief"] for stop in end["outcome"]["unclean_stops"]] == ["killed after 2 s"]
    safety = await servers.bench.client.get(f"/api/workloads/notes/snapshots/{end['outcome']['safety_snapshot_id']}")
    assert safety.json()["unclean_stops"] == end["outcome"]["unclean_stops"]
    await servers.end_well()


async def test_the_dry_run_says_how_long_what_runs_gets_to_end(tmp_path: Path) -> None:
    place = hooked(installation(tmp_path))
    async with place.running() as holdfast:
        workload = await deployed(holdfast, replace(spec_of(), stop_grace=12.5))
        await deployed(holdfast, replace(spec_of("shelf", volumes=TWO_VOLUMES[1:]), stop_grace=40.0))
        snapshot = await snapshotted(holdfast, workload)
        both = (await succeeded(holdfast, await restore(holdfast, workload, snapshot, dry_run=True))).outcome["stops"]
        await succeeded(holdfast, await holdfast.api.deployer.stop("shelf", actor="test"))
        one = (await succeeded(holdfast, await restore(holdfast, workload, snapshot, dry_run=True))).outcome["stops"]
    own = {"workload": "notes", "grace_seconds": 12.5}
    assert sorted(cast("list[dict[str, object]]", both), key=str) == sorted(
        [own, {"workload": "shelf", "grace_seconds": 40.0}], key=str
    )
    assert one == [own]


# --- what runs afterwards


async def test_what_should_run_and_is_down_runs_its_last_version_on_the_restored_data(tmp_path: Path) -> None:
    place = hooked(installation(tmp_path, behaviour=Behaviour(requires={"/data/good": None})))
    good = place.volumes / "notes/data/good"
    async with place.running() as holdfast:
        good.parent.mkdir(parents=True)
        good.touch()
        good.with_name("other").touch()
        workload = await deployed(holdfast)
        whole = await snapshotted(holdfast, workload)
        good.unlink()
        broken = await snapshotted(holdfast, workload)
        for container in running_of(engine(holdfast), workload):
            engine(holdfast).crash(container)
        plan = await succeeded(holdfast, await restore(holdfast, workload, broken, dry_run=True))
        assert plan.outcome["on_unhealthy"] == OnUnhealthy.KEEP, "it was not healthy on its old data either"
        end = await succeeded(holdfast, await restore(holdfast, workload, whole))
        assert end.outcome["result"] == "restored"
        assert running_of(engine(holdfast), workload)
        await holdfast.reaper.idle()


async def test_an_old_version_that_is_unhealthy_after_the_way_back_is_said_to_be_and_nothing_is_tried_again(
    tmp_path: Path,
) -> None:
    place = hooked(installation(tmp_path, behaviour=Behaviour(requires={"/data/good": None})))
    good = place.volumes / "notes/data/good"
    async with place.running() as holdfast:
        good.parent.mkdir(parents=True)
        good.touch()
        good.with_name("other").touch()
        workload = await deployed(holdfast)
        good.unlink()  # what runs does not mind, but would not start on it again
        snapshot = await snapshotted(holdfast, workload)
        end = await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT))
        assert (end.state, end.outcome["result"]) == (OperationState.FAILED, "reverted_unhealthy")
        assert (end.error or {})["code"] == "restore_reverted_unhealthy"
        assert await holdfast.api.restores.undecided(workload.id) is None
        restores = [o for o in (await holdfast.operations.list(limit=50)).items if o.kind == "restore"]
        assert [operation.id for operation in restores] == [end.id]


async def test_a_restore_that_was_admitted_before_a_shutdown_is_redeployed_and_ends_well(tmp_path: Path) -> None:
    on_trial = asyncio.Event()

    async def hook(record: Record) -> None:
        if record.type is RecordType.SWAPPED:
            on_trial.set()
            await asyncio.sleep(0)

    place = installation(tmp_path)
    async with hooked(place, after=hook).running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        operation = await restore(holdfast, workload, snapshot)
        await on_trial.wait()
    async with hooked(place).running() as holdfast:
        end = await holdfast.operations.get(operation.id)
        assert (end.state, end.outcome["result"]) == (OperationState.SUCCEEDED, "restored")
        assert not [line for line in end.log if "interrupted" in line.message]
        await holdfast.reaper.idle()
    assert place.leftovers() == []
