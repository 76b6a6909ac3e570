"""Restores of chosen paths: these come back, and of all else nothing is lost, whenever it was written."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from tests.faults.fault_seams import Faults

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.errors import NoSpace, Refused
from holdfast.domain.operation import Progress
from holdfast.domain.workload import Workload
from holdfast.engine.requests import CatchUpRequest, Request
from holdfast.runtime.port import ContainerState
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import deployed, ended, installation, restore, snapshotted, succeeded, undone
from holdfast.testing.live_volumes import identity_of
from holdfast.testing.quick_workers import QuickWorkers, ThreadWorker
from holdfast.testing.trees import build_sample_tree, describe_tree

R = TypeVar("R")


class Place:
    """A server with a workload whose first volume has a sample tree in it, of which a snapshot was taken."""

    def __init__(self, holdfast: Holdfast, workload: Workload, faults: Faults, data: Path, media: Path) -> None:
        self.holdfast, self.workload, self.faults, self.data, self.media = holdfast, workload, faults, data, media
        self.snapshot = ""

    async def restore(self, *paths: bytes, **options: Any) -> dict[str, Any]:
        """Restore chosen paths, and see it end well. Returns the outcome."""
        operation = await restore(self.holdfast, self.workload, self.snapshot, paths=paths, **options)
        return (await succeeded(self.holdfast, operation)).outcome

    def at(self, moment: str, act: Callable[[], object]) -> None:
        """Do something once at a moment of the server."""

        async def hook() -> None:
            act()

        self.faults.moments[moment] = hook


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    faults = Faults(directory=tmp_path)
    standing = faults.on(installation(tmp_path))
    async with standing.running() as holdfast:
        workload = await deployed(holdfast)
        found = Place(
            holdfast,
            workload,
            faults,
            standing.volumes / "notes/data",
            standing.volumes / "@home/media",
        )
        build_sample_tree(found.data)
        found.snapshot = await snapshotted(holdfast, workload)
        yield found
        faults.heal()
        await holdfast.reaper.idle()
    assert standing.leftovers() == []


async def test_what_is_written_beside_chosen_paths_while_they_are_staged_is_there_afterwards(place: Place) -> None:
    (place.data / "notes.txt").write_text("damaged")
    (place.data / "library/deep/owned").unlink()
    place.at("journal STAGED", lambda: (place.data / "late").write_text("written while it was staged"))
    place.at("engine stop", lambda: (place.data / "last").write_text("written at the very last"))

    outcome = await place.restore(b"/data/notes.txt", b"/data/library/deep")

    assert (place.data / "notes.txt").read_text() == "plain text\n"
    assert (place.data / "library/deep/owned").stat().st_uid == 1000
    assert (place.data / "late").read_text() == "written while it was staged"
    assert (place.data / "last").read_text() == "written at the very last"
    assert outcome["paths"] == ["/data/library/deep", "/data/notes.txt"]
    assert outcome["volumes"] == ["/data"]


async def test_an_undo_of_chosen_paths_takes_them_back_and_only_their_volume_was_exchanged(place: Place) -> None:
    (place.data / "notes.txt").write_text("newer")
    os.mkdir(place.data / "library/deep/newer")
    before, other = describe_tree(place.data), identity_of(place.media)

    await place.restore(b"/data/notes.txt", b"/data/library/deep")
    assert not (place.data / "library/deep/newer").exists()
    assert identity_of(place.media) == other

    undo = await undone(place.holdfast, place.workload)
    assert describe_tree(place.data) == before
    assert undo.outcome["volumes"] == ["/data"]
    assert "paths" not in undo.outcome


async def test_a_dry_run_tells_what_would_change_at_the_chosen_paths_alone(place: Place) -> None:
    (place.data / "notes.txt").write_text("newer")
    (place.data / "beside").write_text("not chosen")
    (place.data / "library/newer").write_text("goes")
    (place.data / "library/deep/owned").unlink()
    before = describe_tree(place.data)

    plan = await place.restore(b"/data/library", b"/data/notes.txt", dry_run=True)

    assert describe_tree(place.data) == before
    (volume,) = plan["volumes"]
    assert volume["paths"] == plan["paths"] == ["/data/library", "/data/notes.txt"]
    assert (volume["added_paths"], volume["removed_paths"]) == (["library/deep/owned"], ["library/newer"])
    assert volume["changed_paths"] == ["notes.txt"]
    # "first name" has another name in the library, which is chosen without it.
    assert "library/second name" in str(plan["warnings"])


async def test_the_root_of_a_volume_is_the_whole_volume(place: Place) -> None:
    taken = describe_tree(place.data)
    (place.data / "newer").write_text("goes")
    (place.media / "kept").write_text("kept")
    await place.restore(b"/data/notes.txt", volumes=("/data",))
    assert describe_tree(place.data) == taken
    assert (place.media / "kept").exists()


async def test_what_is_wrong_with_chosen_paths_is_told_at_once_and_nothing_is_touched(place: Place) -> None:
    with pytest.raises(Refused) as refusal:
        await place.restore(b"/data/library/depe", b"/elsewhere/notes.txt", b"/data/NOTES.txt", b"/data/notes.txt")
    found = {problem.details["path"]: problem for problem in refusal.value.problems}
    assert {path: problem.code for path, problem in found.items()} == {
        "/data/library/depe": "path_not_in_snapshot",
        "/data/NOTES.txt": "path_not_in_snapshot",
        "/elsewhere/notes.txt": "path_outside_volumes",
    }
    assert found["/data/library/depe"].details["near"] == ["/data/library/deep"]


async def test_what_would_be_lost_or_is_in_the_way_refuses_a_restore_of_chosen_paths(place: Place) -> None:
    (place.data / "library").rename(place.data / "moved away")
    (place.data / "library").write_text("no directory")
    os.mknod(place.data / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(place.data / "setgid/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    before = describe_tree(place.data)
    operation = await restore(
        place.holdfast, place.workload, place.snapshot, paths=(b"/data/library/deep", b"/data/setgid")
    )
    end = await ended(place.holdfast, operation)
    details: Any = (end.error or {})["details"]
    codes = {problem["details"]["path"]: problem["code"] for problem in details["problems"]}
    assert codes == {"library": "path_parent_not_directory", "device": "device_in_volume"}
    assert describe_tree(place.data) == before


async def test_a_volume_that_is_missing_has_nothing_that_paths_could_be_put_into(place: Place) -> None:
    place.data.rename(place.data.with_name("elsewhere"))
    with pytest.raises(Refused) as refusal:
        await place.restore(b"/data/notes.txt", create_missing=True)
    assert refusal.value.code == "paths_of_missing_volume"
    place.data.with_name("elsewhere").rename(place.data)


async def test_sockets_and_fifos_beside_chosen_paths_are_made_anew(place: Place) -> None:
    os.mkfifo(place.data / "library/deep/gone with it")
    os.mkfifo(place.data / "setgid/queue")
    os.chmod(place.data / "setgid/queue", 0o666)
    os.chown(place.data / "setgid/queue", 1000, 1001)
    os.mknod(place.data / "talk.sock", stat.S_IFSOCK | 0o640)
    before = describe_tree(place.data)
    await place.restore(b"/data/library/deep")
    after = describe_tree(place.data)
    for path in (b"setgid/queue", b"talk.sock", b"setgid"):
        assert after[path] == before[path]
    assert b"library/deep/gone with it" not in after


async def test_paths_of_any_bytes_are_restored(place: Place) -> None:
    for name in (b"caf\xe9 latin-1", b"line\nbreak", b"...", b"-rf"):
        (place.data / os.fsdecode(name)).write_text("damaged")
    outcome = await place.restore(*(b"/data/" + name for name in (b"caf\xe9 latin-1", b"line\nbreak", b"...", b"-rf")))
    for name in (b"caf\xe9 latin-1", b"line\nbreak", b"...", b"-rf"):
        assert (place.data / os.fsdecode(name)).read_bytes() == name
    assert outcome["paths"] == ["/data/-rf", "/data/...", "/data/caf\\xe9 latin-1", "/data/line\\nbreak"]


class FailingLast(QuickWorkers):
    """Workers that fail where all else is brought up to the stop."""

    async def start(self) -> ThreadWorker:
        return FailingLastWorker(self._settings)


class FailingLastWorker(ThreadWorker):
    """One of them."""

    async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
        if isinstance(request, CatchUpRequest) and request.stopped_as is not None:
            raise NoSpace("no_space", "The filesystem is full.", next_step="Free space.")
        return await super().ask(request, on_progress)


async def test_a_restore_that_cannot_catch_up_is_called_off_with_everything_as_it_was(tmp_path: Path) -> None:
    standing = replace(installation(tmp_path), seams=Seams(workers=FailingLast))
    async with standing.running() as holdfast:
        workload = await deployed(holdfast)
        data = standing.volumes / "notes/data"
        (data / "notes").write_text("old")
        snapshot = await snapshotted(holdfast, workload)
        (data / "notes").write_text("newer")
        before, running = describe_tree(data), identity_of(data)
        end = await ended(holdfast, await restore(holdfast, workload, snapshot, paths=(b"/data/notes",)))
        assert (end.error or {})["code"] == "no_space"
        assert (describe_tree(data), identity_of(data)) == (before, running)
        assert isinstance(holdfast.runtime, FakeRuntime)
        assert [c.state for c in holdfast.runtime.engine.state.containers.values()] == [ContainerState.RUNNING]
        await holdfast.reaper.idle()
    assert standing.leftovers() == []
