"""Staging makes whole, flushed trees beside the live ones, or leaves nothing."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from holdfast.domain.errors import Cancelled, Damaged, Failed, HoldfastError, NoSpace, TooLarge
from holdfast.domain.operation import Progress
from holdfast.domain.restore import VolumeFacts
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.staging import StageResult, stage
from holdfast.engine.tree_writer import TreeWriter
from holdfast.testing.live_volumes import identity_of, live_tree, live_volume, staged_tree

DEFAULT_ACL = b"".join(
    (b"\2\0\0\0", *(struct.pack("<HHI", tag, perm, 0xFFFFFFFF) for tag, perm in ((1, 7), (4, 7), (32, 0))))
)
"""u::rwx,g::rwx,o::---"""
ROOT = Entry(path=b"", kind=EntryKind.DIRECTORY, mode=0o2750, uid=101, gid=102, mtime_ns=1_600_000_000_000_000_000)
FILE = Entry(
    path=b"which", kind=EntryKind.FILE, mode=0o4640, uid=101, gid=102, mtime_ns=1_600_000_001_000_000_000, size=3
)
LINK = Entry(path=b"link", kind=EntryKind.SYMLINK, mode=0o777, uid=0, gid=0, mtime_ns=10**18, link_target=b"/etc")


class Store:
    """A snapshot that is the same in every volume, and what happens while it is staged."""

    def __init__(self, *entries: Entry, own: bool = True, allow_links: bool = False) -> None:
        self._entries = entries or (ROOT, FILE, LINK)
        self._own = own
        self._allow_links = allow_links
        self.meanwhile: Callable[[], object] = lambda: None

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        return SnapshotManifest(
            id=snapshot_id,
            workload_id="w1",
            workload_name="notes",
            created_at="2026-01-01T00:00:00.000000Z",
            reason=SnapshotReason.MANUAL,
            consistency=Consistency.PAUSED,
            volumes=(),
            own=self._own,
            allow_links=self._allow_links,
        )

    def stage(self, snapshot_id: str, writers: Mapping[int, TreeWriter], job: Job) -> None:
        for writer in writers.values():
            for entry in self._entries:
                writer.add(entry, [b"new"] if entry.kind is EntryKind.FILE else ())
        self.meanwhile()


class RecordingFs(Fs):
    """Notes the flushes and what was made, and fails where told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.opened_before: list[bool] = []
        self.fail: dict[str, OSError] = {}
        self._made: dict[int, int] = {}

    def mkdirat(self, dirfd: int, name: bytes, mode: int = 0o700) -> None:
        self.calls.append(f"mkdir {name.decode()}")
        super().mkdirat(dirfd, name, mode)

    def open_beneath(
        self, dirfd: int, relative: str | bytes, flags: int, *, mode: int = 0, no_xdev: bool = False
    ) -> int:
        fd = super().open_beneath(dirfd, relative, flags, mode=mode, no_xdev=no_xdev)
        self._made[fd] = len(self.calls)
        return fd

    def syncfs(self, fd: int) -> None:
        self.calls.append("syncfs")
        self.opened_before.append(self._made[fd] == 0)
        if "syncfs" in self.fail:
            raise self.fail["syncfs"]
        super().syncfs(fd)

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        if "unlink" in self.fail:
            raise self.fail["unlink"]
        super().unlinkat(dirfd, name)


@pytest.fixture
def fs() -> RecordingFs:
    return RecordingFs()


@pytest.fixture
def roots(fs: RecordingFs, tmp_path: Path) -> Iterator[LiveRoots]:
    with LiveRoots(fs, [str(tmp_path)]) as held:
        yield held


@pytest.fixture
def volumes(tmp_path: Path) -> list[VolumeFacts]:
    return [live_volume(tmp_path, f"notes/v{index}", index=index) for index in (0, 1)]


def staged(
    roots: LiveRoots,
    volumes: list[VolumeFacts],
    store: Store | None = None,
    *,
    fs: Fs | None = None,
    job: Job | None = None,
    limits: Limits | None = None,
) -> StageResult:
    return stage(
        fs or Fs(),
        roots,
        cast("SnapshotStore", store or Store()),
        "s1",
        volumes,
        limits or Limits(),
        job or QuietJob(),
    )


def beside(volumes: list[VolumeFacts]) -> list[str]:
    return sorted(path.name for path in live_tree(volumes[0]).parent.iterdir())


def test_every_volume_gets_its_whole_tree_and_live_stays(roots: LiveRoots, volumes: list[VolumeFacts]) -> None:
    result = staged(roots, volumes)
    for facts in volumes:
        tree = staged_tree(facts)
        assert (tree / "which").read_text() == "new"
        assert (tree / "link").readlink() == Path("/etc")
        assert (live_tree(facts) / "which").read_text() == "old"
        assert result.identities[facts.index] == identity_of(tree)
        assert result.written[facts.index].files == 1
        assert stat.S_IMODE(tree.parent.stat().st_mode) == 0o700


def test_the_staged_root_has_the_metadata_of_the_snapshots_root(roots: LiveRoots, volumes: list[VolumeFacts]) -> None:
    staged(roots, volumes)
    seen = staged_tree(volumes[0]).stat()
    assert (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_mtime_ns) == (0o2750, 101, 102, ROOT.mtime_ns)


@pytest.mark.parametrize("own", [True, False])
def test_a_root_without_an_entry_gets_all_of_the_live_roots_metadata(
    roots: LiveRoots, volumes: list[VolumeFacts], own: bool
) -> None:
    live = live_tree(volumes[0])
    os.chown(live, 1000, 1001)
    live.chmod(0o2770)  # a directory that a group shares
    os.setxattr(live, "user.note", b"kept")
    os.setxattr(live, "system.posix_acl_default", DEFAULT_ACL)
    os.utime(live, ns=(0, 1_600_000_000_123_456_789))
    result = staged(roots, volumes, Store(FILE, own=own))
    tree = staged_tree(volumes[0])
    seen = tree.stat()
    assert (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (0o2770, 1000, 1001)
    assert seen.st_mtime_ns == 1_600_000_000_123_456_789
    assert os.getxattr(tree, "user.note") == b"kept"
    assert os.getxattr(tree, "system.posix_acl_default") == DEFAULT_ACL
    assert os.listxattr(tree / FILE.path.decode()) == []
    assert not any(what.startswith(". ") for what in result.written[0].not_taken)


@pytest.mark.parametrize(
    ("store", "link", "mode"),
    [
        (Store(own=True), True, 0o4640),
        (Store(own=False), False, 0o640),
        (Store(own=False, allow_links=True), True, 0o640),
    ],
)
def test_links_and_setuid_bits_are_taken_from_whom_they_may_be(
    roots: LiveRoots, volumes: list[VolumeFacts], store: Store, link: bool, mode: int
) -> None:
    result = staged(roots, volumes, store)
    tree = staged_tree(volumes[0])
    assert (tree / "link").is_symlink() == link
    assert stat.S_IMODE((tree / "which").stat().st_mode) == mode
    assert bool(result.written[0].not_taken) == (mode != 0o4640)


def test_one_filesystem_is_flushed_once_by_a_descriptor_from_before_the_first_write(
    fs: RecordingFs, roots: LiveRoots, volumes: list[VolumeFacts]
) -> None:
    staged(roots, volumes, fs=fs)
    assert fs.calls.count("syncfs") == 1
    assert fs.calls[-1] == "syncfs"
    assert fs.opened_before == [True]


def test_each_of_two_filesystems_is_flushed(fs: RecordingFs, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(other)], check=True)
    try:
        with LiveRoots(fs, [str(tmp_path), str(other)]) as roots:
            staged(roots, [live_volume(tmp_path, index=0), live_volume(other, index=1)], fs=fs)
    finally:
        subprocess.run(["umount", "--lazy", str(other)], check=True)
    assert fs.opened_before == [True, True]


def failures(fs: RecordingFs, store: Store) -> dict[str, tuple[Callable[[], object], type[HoldfastError]]]:
    def raises(error: Exception) -> Callable[[], object]:
        def fail() -> object:
            raise error

        return lambda: setattr(store, "meanwhile", fail)

    return {
        "damaged": (raises(Damaged("archive_damaged", "hash")), Damaged),
        "cancelled": (raises(Cancelled()), Cancelled),
        "not flushed": (lambda: fs.fail.update(syncfs=OSError(errno.EIO, "Input/output error")), Failed),
        "full": (lambda: fs.fail.update(syncfs=OSError(errno.ENOSPC, "No space left on device")), NoSpace),
    }


@pytest.mark.parametrize("cause", ["damaged", "cancelled", "not flushed", "full"])
def test_after_any_failure_the_wrappers_are_gone_and_live_stays(
    fs: RecordingFs, roots: LiveRoots, volumes: list[VolumeFacts], cause: str
) -> None:
    store = Store()
    arrange, expected = failures(fs, store)[cause]
    arrange()
    with pytest.raises(expected) as caught:
        staged(roots, volumes, store, fs=fs)
    assert "left_behind" not in caught.value.details
    assert beside(volumes) == ["v0", "v1"]
    assert [(live_tree(v) / "which").read_text() for v in volumes] == ["old", "old"]


def test_a_flush_that_failed_is_not_tried_again(fs: RecordingFs, roots: LiveRoots, volumes: list[VolumeFacts]) -> None:
    fs.fail["syncfs"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(Failed) as caught:
        staged(roots, volumes, fs=fs)
    assert caught.value.code == "staging_not_flushed"
    assert fs.calls.count("syncfs") == 1


def test_wrappers_that_can_not_be_removed_are_named_without_hiding_the_failure(
    fs: RecordingFs, roots: LiveRoots, volumes: list[VolumeFacts]
) -> None:
    fs.fail = {"syncfs": OSError(errno.EIO, "first"), "unlink": OSError(errno.EROFS, "second")}
    with pytest.raises(Failed, match="first") as caught:
        staged(roots, volumes, fs=fs)
    left = caught.value.details["left_behind"]
    assert isinstance(left, list)
    assert [volumes[0].wrapper in left[0], volumes[1].wrapper in left[1]] == [True, True]
    assert "second" in caught.value.__notes__[0]


def test_a_wrapper_of_somebody_else_is_kept_and_our_own_is_removed(
    roots: LiveRoots, volumes: list[VolumeFacts]
) -> None:
    staged_tree(volumes[1]).parent.mkdir()
    with pytest.raises(Failed) as caught:
        staged(roots, volumes)
    assert caught.value.code == "wrapper_exists"
    assert beside(volumes) == [volumes[1].wrapper, "v0", "v1"]


class CancelledAtTheEnd(QuietJob):
    """Somebody cancels while the last byte is written."""

    def progress(self, progress: Progress) -> None:
        raise AssertionError("the fake store reports nothing")

    def check(self) -> None:
        raise Cancelled


def test_a_cancel_is_honoured_until_the_end(roots: LiveRoots, volumes: list[VolumeFacts]) -> None:
    with pytest.raises(Cancelled):
        staged(roots, volumes, job=CancelledAtTheEnd())
    assert beside(volumes) == ["v0", "v1"]


def test_limits_hold_for_all_volumes_together(roots: LiveRoots, volumes: list[VolumeFacts]) -> None:
    staged(roots, volumes[:1], limits=Limits(total_bytes=5))
    with pytest.raises(TooLarge):
        staged(
            roots,
            [*volumes[1:], live_volume(Path(volumes[0].live.root), "notes/v2", index=2)],
            limits=Limits(total_bytes=5),
        )


def test_no_access_for_others_comes_from_the_parents_default_acl(roots: LiveRoots, volumes: list[VolumeFacts]) -> None:
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", str(live_tree(volumes[0]).parent)], check=True)
    staged(roots, volumes)
    for path in (staged_tree(volumes[0]), staged_tree(volumes[0]) / "which"):
        assert not [name for name in os.listxattr(path) if "acl" in name]
