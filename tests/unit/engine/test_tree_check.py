"""What lay where containers could write is compared with its snapshot: whatever they changed is found."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.domain import times
from holdfast.domain.errors import Failed, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.restore import TreeSide, VolumeFacts
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Scope
from holdfast.engine import step_swap
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.staging import stage
from holdfast.engine.swap import remove_wrapper
from holdfast.engine.tree_check import check_wrapped
from holdfast.testing.mounted_volumes import mounted_volume, staged_in
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import build_sample_tree

KEY = bytes(range(32))
SPARSE = 3 << 20


class Staged:
    """A mount point with one of everything, its snapshot, and that staged in it."""

    def __init__(self, base: Path, roots: LiveRoots, store: RepositoryStore) -> None:
        self.roots, self.store, self.live = roots, store, base / "data"
        build_sample_tree(self.live)
        (self.live / "zz").mkdir()
        (self.live / "zz" / "file").write_bytes(b"content " * 1000)
        with (self.live / "zz" / "holes").open("wb") as file:
            for offset in (0, SPARSE // 2, SPARSE):
                file.seek(offset)
                file.write(b"data")
        (self.live / "zz" / "link").symlink_to("file")
        os.link(self.live / "zz" / "file", self.live / "zz" / "name")
        facts = mounted_volume(base, "data")
        self.snapshot = self._captured(facts)
        result = stage(Fs(), roots, store, self.snapshot, [facts], Limits.for_own_snapshots(), QuietJob())
        self.facts = replace(facts, staged_identity=result.identities[0], wrapper_identity=result.wrappers[0])
        self.tree = staged_in(self.facts)

    def _captured(self, facts: VolumeFacts) -> str:
        draft = SnapshotManifest(
            id=new_id(),
            workload_id=new_id(),
            workload_name="notes",
            created_at=times.now(),
            reason=SnapshotReason.SAFETY,
            consistency=Consistency.STOPPED,
            volumes=(CapturedVolume(index=0, target=facts.target, scope=Scope.STAGE, source="data"),),
        )
        return self.store.capture(draft, [CaptureSource(index=0, live=facts.live)], QuietJob()).id

    def check(self, side: TreeSide = TreeSide.NEW, fs: Fs | None = None) -> None:
        check_wrapped(fs or Fs(), self.roots, self.store, self.snapshot, {0: self.facts}, side, QuietJob())


@pytest.fixture
def staged(tmp_path: Path, tmpfs: Callable[..., Path]) -> Iterator[Staged]:
    tmpfs("size=64m", at=tmp_path / "data")
    with LiveRoots(Fs(), [str(tmp_path)]) as roots:
        repository = Repository.open_local(Fs(), tmp_path / "store", KEY, owner=INSTALLATION, encrypt=False)
        try:
            yield Staged(tmp_path, roots, RepositoryStore(Fs(), repository, roots, KEY))
        finally:
            repository.close()


def test_what_nobody_touched_is_the_same(staged: Staged) -> None:
    staged.check()
    staged.check(TreeSide.OLD)


class Flushes(Fs):
    """Notes reading and flushing, and fails to flush if it is to."""

    def __init__(self, error: int = 0) -> None:
        self.calls: list[str] = []
        self._error = error

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.calls.append("pread")
        return super().pread(fd, size, offset)

    def syncfs(self, fd: int) -> None:
        self.calls.append("syncfs")
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        super().syncfs(fd)


@pytest.mark.parametrize("side", [TreeSide.NEW, TreeSide.OLD])
def test_what_is_the_same_is_flushed_once_more_since_it_may_have_been_written_anew(
    staged: Staged, side: TreeSide
) -> None:
    """Cut to nothing and written again, a file is as it was, and on the disk perhaps not there."""
    content = (staged.tree / "zz" / "file").read_bytes()
    _bytes_kept(staged.tree / "zz" / "file", lambda path: path.write_bytes(content))
    fs = Flushes()
    staged.check(side, fs)
    assert fs.calls[-2:] == ["pread", "syncfs"]
    with pytest.raises(Failed, match="Input/output error"):
        staged.check(side, Flushes(errno.EIO))


def _bytes_kept(path: Path, change: Callable[[Path], object]) -> None:
    """Make a change, and hide it as well as one can: size and time stay."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _byte(path: Path, offset: int) -> None:
    def write(at: Path) -> None:
        with at.open("r+b") as file:
            file.seek(offset)
            file.write(b"X")

    _bytes_kept(path, write)


def _longer(tree: Path) -> None:
    with (tree / "zz" / "file").open("ab") as file:
        file.write(b"x")


def _hidden(tree: Path, change: Callable[[Path], object]) -> None:
    _bytes_kept(tree / "zz", lambda _: change(tree / "zz"))


def _another_target(at: Path) -> None:
    (at / "link").unlink()
    (at / "link").symlink_to("/etc")


def _copy_for_link(at: Path) -> None:
    (at / "name").unlink()
    shutil.copy2(at / "file", at / "name")


def _symlink_for_file(at: Path) -> None:
    (at / "holes").unlink()
    (at / "holes").symlink_to("/etc/passwd")


def _symlink_for_directory(tree: Path) -> None:
    (tree / "zz").rename(tree / ".zz")
    (tree / "zz").symlink_to(".zz")


def _another_root(tree: Path) -> None:
    tree.rename(tree.with_name("away"))
    tree.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda tree: _byte(tree / "zz" / "file", 4000),
    "a byte in a hole": lambda tree: _byte(tree / "zz" / "holes", SPARSE // 4),
    "longer": _longer,
    "mode": lambda tree: (tree / "zz" / "file").chmod(0o4755),
    "owner": lambda tree: os.chown(tree / "zz" / "file", 1, 1),
    "time": lambda tree: os.utime(tree / "zz" / "file", ns=(0, 1)),
    "attribute": lambda tree: os.setxattr(tree / "zz" / "file", "user.planted", b"1"),
    "target": lambda tree: _hidden(tree, _another_target),
    "a file more": lambda tree: _hidden(tree, lambda at: (at / "planted").touch()),
    "a directory more": lambda tree: _hidden(tree, lambda at: (at / "planted").mkdir()),
    "a file less": lambda tree: _hidden(tree, lambda at: (at / "holes").unlink()),
    "a link less": lambda tree: _hidden(tree, lambda at: (at / "name").unlink()),
    "a copy for a link": lambda tree: _hidden(tree, _copy_for_link),
    "a symlink for a file": lambda tree: _hidden(tree, _symlink_for_file),
    "a symlink for a directory": _symlink_for_directory,
    "the root's mode": lambda tree: tree.chmod(0o777),
    "the root": _another_root,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_to_what_waits_in_a_wrapper_is_found(
    staged: Staged, change: str, figure: Callable[[str, int], None]
) -> None:
    CHANGES[change](staged.tree)
    with pytest.raises(Refused) as caught:
        staged.check()
    (problem,) = caught.value.problems
    assert problem.code == "staged_tree_changed"
    assert str(staged.tree) in problem.message
    with pytest.raises(Failed) as displaced:
        staged.check(TreeSide.OLD)
    assert displaced.value.code == "displaced_tree_changed"
    figure("mount points: kinds of meddling with what is staged, found", 1)


def test_sockets_belong_to_a_displaced_tree_and_to_no_staged_one(staged: Staged) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(staged.tree, os.O_RDONLY)
        before = staged.tree.stat()
        made.bind(f"/proc/self/fd/{here}/s")
        os.utime(staged.tree, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.close(here)
    staged.check(TreeSide.OLD)
    with pytest.raises(Refused, match="besides"):
        staged.check()


def test_more_names_than_can_be_swapped_are_refused_before_anything_is_stopped(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_wrapper(Fs(), staged.roots, staged.facts)
    count = len(list(staged.live.iterdir()))
    monkeypatch.setattr(step_swap, "MOST_CHILDREN", 2 * count - 1)
    with pytest.raises(Refused) as caught:
        stage(
            Fs(),
            staged.roots,
            staged.store,
            staged.snapshot,
            [mounted_volume(tmp_path, "data")],
            Limits.for_own_snapshots(),
            QuietJob(),
        )
    assert caught.value.code == "too_many_children"
    assert len(list(staged.live.iterdir())) == count


def test_another_wrapper_is_not_looked_into(staged: Staged) -> None:
    wrapper = staged.tree.parent
    shutil.copytree(wrapper, staged.live / "copy", symlinks=True)
    wrapper.rename(staged.live / "away")
    (staged.live / "copy").rename(wrapper)
    with pytest.raises(Failed) as caught:
        staged.check()
    assert caught.value.code == "wrapper_replaced"
