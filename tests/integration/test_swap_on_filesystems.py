"""Staging, exchange, journal and removal on the filesystems that people have, as those really behave."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from holdfast.domain.errors import Failed, NoSpace, Problem
from holdfast.domain.recovery import Direction, decide
from holdfast.domain.restore import OnUnhealthy, RestoreFacts, SwapWay, TreeSide, VolumeFacts
from holdfast.domain.restore_records import (
    BackwardRecord,
    CommitRecord,
    PreparedRecord,
    RevertedRecord,
    SafeRecord,
    StagedRecord,
    SwappedRecord,
)
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import DesiredState
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import FLAG_NO_COW, Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.journal import Journal, read_journal
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.remove_tree import LEVELS
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.staging import stage
from holdfast.engine.swap import exchange_all, observe, remove_wrapper
from holdfast.engine.swap_way import choose_way
from holdfast.engine.tree_writer import TreeWriter
from holdfast.testing.live_volumes import live_tree, live_volume, staged_tree, staged_volume

OLD, NEW = TreeSide.OLD, TreeSide.NEW
MIB = 1024 * 1024
IMAGES: Mapping[str, tuple[int, list[str]]] = {
    "ext4": (32 * MIB, ["mkfs.ext4", "-q"]),
    "xfs": (320 * MIB, ["mkfs.xfs", "-q"]),
    "btrfs": (128 * MIB, ["mkfs.btrfs", "-q"]),
}
"""Size (of a sparse file; the smallest that the tool takes) and how to make a filesystem in it."""


class Disk:
    """A filesystem of its own, in a file or (tmpfs) in memory."""

    def __init__(self, kind: str, place: Path) -> None:
        self.kind = kind
        self.path = place / kind
        self.path.mkdir()
        self._image = place / f"{kind}.img"
        if kind in IMAGES:
            size, command = IMAGES[kind]
            with self._image.open("wb") as image:
                image.truncate(size)
            subprocess.run([*command, str(self._image)], check=True)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount it; the loop device is given back with the unmount."""
        what = ["-o", "loop", str(self._image)] if self.kind in IMAGES else ["-t", "tmpfs", "-o", "size=8m", "tmpfs"]
        subprocess.run(["mount", *what, str(self.path)], check=True)
        try:
            yield self.path
        finally:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave no space that a write could have."""
        for number, size in enumerate((MIB, 4096, 4096)):
            with suppress(OSError), open(self.path / f"filler{number}", "wb", buffering=0) as filler:
                while filler.write(os.urandom(size)):
                    pass
            os.sync()


@pytest.fixture(params=["ext4", "xfs", "btrfs", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(request.param, tmp_path)


@pytest.fixture
def place(disk: Disk) -> Iterator[Path]:
    with disk.mounted() as path:
        yield path


@pytest.fixture
def roots(place: Path) -> Iterator[LiveRoots]:
    with LiveRoots(Fs(), [str(place)]) as held:
        yield held


class Store:
    """A snapshot whose volumes hold one file, of zeros but for its first bytes."""

    def __init__(self, mebibytes: int = 0) -> None:
        self._content = [b"new", *[bytes(MIB)] * mebibytes]

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        return SnapshotManifest(
            id=snapshot_id,
            workload_id="w1",
            workload_name="notes",
            created_at="2026-01-01T00:00:00.000000Z",
            reason=SnapshotReason.MANUAL,
            consistency=Consistency.PAUSED,
            volumes=(),
        )

    def stage(self, snapshot_id: str, writers: Mapping[int, TreeWriter], job: Job) -> None:
        size = sum(len(piece) for piece in self._content)
        entry = Entry(path=b"which", kind=EntryKind.FILE, mode=0o600, uid=0, gid=0, mtime_ns=10**18, size=size)
        for writer in writers.values():
            writer.add(entry, self._content)


def staged(roots: LiveRoots, volumes: list[VolumeFacts], store: Store | None = None) -> list[VolumeFacts]:
    port = cast("SnapshotStore", store or Store())
    result = stage(Fs(), roots, port, "s1", volumes, Limits(), QuietJob())
    return [dataclasses.replace(v, staged_identity=result.identities[v.index]) for v in volumes]


def which(tree: Path) -> str:
    return (tree / "which").read_text()


def sides(roots: LiveRoots, facts: VolumeFacts) -> tuple[TreeSide, TreeSide]:
    seen = observe(Fs(), roots, facts)
    return seen.live, seen.staged


def test_a_volume_is_staged_exchanged_exchanged_back_and_tidied_up(roots: LiveRoots, place: Path) -> None:
    facts = live_volume(place)
    assert choose_way(Fs(), roots, facts.live) is SwapWay.EXCHANGE
    (facts,) = staged(roots, [facts])
    assert sides(roots, facts) == (OLD, NEW)
    exchange_all(Fs(), roots, [facts], NEW)
    assert (which(live_tree(facts)), which(staged_tree(facts))) == ("new", "old")
    exchange_all(Fs(), roots, [facts], OLD)
    assert (which(live_tree(facts)), which(staged_tree(facts))) == ("old", "new")
    remove_wrapper(Fs(), roots, facts)
    assert [path.name for path in live_tree(facts).parent.iterdir()] == ["data"]


@pytest.mark.parametrize("kind", list(IMAGES))
def test_trees_are_known_again_after_a_remount_and_not_while_unmounted(kind: str, tmp_path: Path) -> None:
    disk = Disk(kind, tmp_path)
    with disk.mounted() as path, LiveRoots(Fs(), [str(path)]) as roots:
        (facts,) = staged(roots, [live_volume(path)])
        exchange_all(Fs(), roots, [facts], NEW)
    with LiveRoots(Fs(), [str(disk.path)]) as roots:
        seen = observe(Fs(), roots, facts)
        assert (seen.live, seen.staged) == (TreeSide.MISSING, TreeSide.MISSING)
        problem = decide(Direction.FORWARD, {0: seen}).problem
        assert problem is not None
        assert facts.live.path in problem.message
    with disk.mounted() as path, LiveRoots(Fs(), [str(path)]) as roots:
        assert sides(roots, facts) == (NEW, OLD)


def test_volumes_on_four_filesystems_end_on_one_side_after_each_crash(tmp_path: Path) -> None:
    with ExitStack() as stack:
        places = [stack.enter_context(Disk(kind, tmp_path).mounted()) for kind in (*IMAGES, "tmpfs")]
        roots = stack.enter_context(LiveRoots(Fs(), [str(path) for path in places]))
        volumes = staged(roots, [live_volume(path, index=index) for index, path in enumerate(places)])
        for done in range(len(volumes) + 1):
            for towards, expected in ((Direction.FORWARD, "new"), (Direction.BACKWARD, "old")):
                exchange_all(Fs(), roots, volumes[:done], NEW)
                plan = decide(towards, {v.index: observe(Fs(), roots, v) for v in volumes})
                assert plan.to is not None
                exchange_all(Fs(), roots, volumes, plan.to)
                assert {which(live_tree(v)) for v in volumes} == {expected}
            exchange_all(Fs(), roots, volumes, OLD)


def test_an_immutable_parent_is_refused_cleanly(roots: LiveRoots, place: Path) -> None:
    facts = staged_volume(Fs(), roots, live_volume(place))
    parent = live_tree(facts).parent
    subprocess.run(["chattr", "+i", str(parent)], check=True)
    try:
        assert isinstance(choose_way(Fs(), roots, facts.live), Problem)
        with pytest.raises(Failed, match="Operation not permitted") as caught:
            exchange_all(Fs(), roots, [facts], NEW)
    finally:
        subprocess.run(["chattr", "-i", str(parent)], check=True)
    assert caught.value.code == "exchange_failed"
    assert sides(roots, facts) == (OLD, NEW)


def test_a_mount_below_the_live_directory_forbids_the_exchange(roots: LiveRoots, place: Path) -> None:
    facts = staged_volume(Fs(), roots, live_volume(place))
    below = live_tree(facts) / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(below)], check=True)
    try:
        with pytest.raises(Failed, match="something is mounted"):
            exchange_all(Fs(), roots, [facts], NEW)
        assert sides(roots, facts) == (OLD, NEW)
    finally:
        subprocess.run(["umount", "--lazy", str(below)], check=True)
    exchange_all(Fs(), roots, [facts], NEW)
    assert sides(roots, facts) == (NEW, OLD)


def test_a_full_filesystem_exchanges_or_fails_with_both_trees_whole(disk: Disk, roots: LiveRoots, place: Path) -> None:
    facts = staged_volume(Fs(), roots, live_volume(place))
    disk.fill()
    expected = (NEW, OLD)
    failure = None
    try:
        exchange_all(Fs(), roots, [facts], NEW)
    except Failed as error:
        failure, expected = error, (OLD, NEW)
    assert failure is None or (failure.code == "exchange_failed" and "No space left" in failure.message)
    assert sides(roots, facts) == expected
    assert {which(live_tree(facts)), which(staged_tree(facts))} == {"old", "new"}


def test_a_deep_displaced_tree_is_removed(roots: LiveRoots, place: Path) -> None:
    facts = staged_volume(Fs(), roots, live_volume(place))
    deepest = staged_tree(facts).joinpath(*["deep"] * (LEVELS * 3))
    deepest.mkdir(parents=True)
    (deepest / "file").touch()
    remove_wrapper(Fs(), roots, facts)
    assert [path.name for path in live_tree(facts).parent.iterdir()] == ["data"]


def test_staging_on_a_filesystem_that_fills_up_leaves_nothing(disk: Disk, roots: LiveRoots, place: Path) -> None:
    facts = live_volume(place)
    with pytest.raises(NoSpace):
        staged(roots, [facts], Store(mebibytes=400))
    assert [path.name for path in live_tree(facts).parent.iterdir()] == ["data"]
    assert which(live_tree(facts)) == "old"


def test_the_journal_goes_on_from_the_commit_on_a_full_filesystem(disk: Disk, place: Path) -> None:
    facts = RestoreFacts(
        restore_id="r1",
        operation_id="o1",
        workload_id="w1",
        workload_name="notes",
        lock_ids=("w1",),
        snapshot_id="s1",
        volumes=(live_volume(place),),
        desired=DesiredState.RUNNING,
        on_unhealthy=OnUnhealthy.REVERT,
        actor="ada",
    )
    journal = Journal.create(Fs(), str(place), facts)
    for record in (StagedRecord(staged={}), PreparedRecord(containers=()), SafeRecord(snapshot_id="s2")):
        journal.append(record)
    disk.fill()
    for late in (CommitRecord(), SwappedRecord(), BackwardRecord(why="x" * 2000), RevertedRecord()):
        journal.append(late)
    journal.close()
    assert read_journal(Fs(), journal.path).direction is Direction.REVERTED


def test_staged_files_keep_the_live_directorys_no_copy_on_write_flag(tmp_path: Path) -> None:
    with Disk("btrfs", tmp_path).mounted() as place, LiveRoots(Fs(), [str(place)]) as roots:
        facts = live_volume(place)
        subprocess.run(["chattr", "+C", str(live_tree(facts))], check=True)
        (facts,) = staged(roots, [facts])
        fd = os.open(staged_tree(facts) / "which", os.O_RDONLY)
        try:
            assert Fs().flags(fd) & FLAG_NO_COW
        finally:
            os.close(fd)
