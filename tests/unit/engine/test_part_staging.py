"""Staged trees of chosen paths and the live rest: what fails, what moves away, and what is not Holdfast's own."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.engine.part_bench import PartBench, expected

from holdfast.domain.errors import Cancelled, Failed, HoldfastError, NoSpace, Refused, TooLarge
from holdfast.domain.ids import new_id
from holdfast.engine.entries import Entry
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.manifests import StoredSnapshot
from holdfast.engine.repository.part_trees import DIRECTORY, Change
from holdfast.engine.repository.parts import bounded, write_rest
from holdfast.engine.repository.passing_meter import PassingMeter
from holdfast.engine.repository.tree import TreeEntry
from holdfast.engine.tree_writer import TreeWriter
from holdfast.testing.trees import build_sample_tree, describe_tree, posix_acl

CHANGING = (
    "mkdirat",
    "unlinkat",
    "rmdirat",
    "symlinkat",
    "linkat",
    "mknodat",
    "write_all",
    "pwrite_all",
    "ftruncate",
    "fchown",
    "chownat_nofollow",
    "fchmod",
    "chmod_path",
    "utime_fd",
    "utimeat_nofollow",
    "setxattr",
    "removexattr",
    "syncfs",
)

LONG = 1 << 20
"""Bytes of the longest path."""


class FailingFs(Fs):
    """Counts the calls that change something, and fails at the ``fail_at``-th of them."""

    def __init__(self) -> None:
        self.fail_at, self.calls, self.number = 0, 0, errno.EIO
        self.failed = ""
        self.written = 0

    def _counted(self, method: str, *args: Any) -> Any:
        self.calls += 1
        if method in ("write_all", "pwrite_all"):
            self.written += len(args[1])
        if self.calls == self.fail_at:
            self.failed = method
            raise OSError(self.number, os.strerror(self.number))
        return getattr(super(), method)(*args)


for name in CHANGING:
    setattr(FailingFs, name, partialmethod(FailingFs._counted, name))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PartBench]:
    made = PartBench(tmp_path, FailingFs())
    yield made
    made.close()


def failing(bench: PartBench) -> FailingFs:
    assert isinstance(bench.fs, FailingFs)
    return bench.fs


def change_all_kinds(live: Path) -> None:
    """Add, change, replace and remove one of each kind of thing."""
    (live / "a file").write_text("added")
    (live / "a folder/below").mkdir(parents=True)
    (live / "a link").symlink_to("a file")
    os.link(live / "a file", live / "a folder/another name")
    os.mkfifo(live / "a fifo")
    (live / "library/large").write_bytes(b"other" * 1000)
    (live / "empty").unlink()
    (live / "empty").mkdir()
    (live / "empty directory").rmdir()
    os.removexattr(live / "tagged", "user.colour")
    os.chmod(live / "shared", 0o700)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_of_any_call_while_all_else_catches_up_ends_it_and_the_live_data_is_not_touched(
    bench: PartBench, number: int
) -> None:
    build_sample_tree(bench.live)
    snapshot = bench.capture()
    fs = failing(bench)
    bench.stage(snapshot, b"notes.txt")
    change_all_kinds(bench.live)
    safety, staged = bench.capture(), bench.known
    before = describe_tree(bench.live)
    fs.calls = 0
    bench.catch_up(safety)
    calls = fs.calls
    assert calls > 40
    for fail_at in (*range(1, calls, 3), calls):
        bench.restage(staged)
        fs.calls, fs.fail_at, fs.number = 0, fail_at, number
        with pytest.raises((NoSpace, Failed)) as failure:
            bench.catch_up(safety)
        # Where there is room all the same, an attribute was too large for the filesystem.
        full = number == errno.ENOSPC and fs.failed != "setxattr"
        assert isinstance(failure.value, NoSpace if full else Failed)
        fs.fail_at = 0
        assert describe_tree(bench.live) == before
    # The last of them is the flush, which is believed and not tried again.
    assert failure.value.code == ("no_space" if number == errno.ENOSPC else "staging_not_flushed")


def test_only_what_changed_is_written_again(bench: PartBench) -> None:
    (bench.live / "large").write_bytes(os.urandom(3 << 20))
    (bench.live / "small").write_text("1")
    (bench.live / "chosen").write_text("1")
    snapshot = bench.capture()
    bench.stage(snapshot, b"chosen")
    (bench.live / "small").write_text("2")
    os.utime(bench.live / "large")
    safety = bench.capture()
    failing(bench).written = 0
    assert bench.catch_up(safety).changed == 2
    assert failing(bench).written == 1


def _overwritten(content: bytearray) -> None:
    content[2_000_000:2_000_100] = bytes(100)


def _grown(content: bytearray) -> None:
    content += b"appended"


def _cut_off(content: bytearray) -> None:
    del content[3_000_000:]


def _inserted(content: bytearray) -> None:
    content[1_000_000:1_000_000] = b"something in between"


def _moved(content: bytearray) -> None:
    content[:] = content[3_000_000:] + content[:3_000_000]


@pytest.mark.parametrize("edit", [_overwritten, _grown, _cut_off, _inserted, _moved])
def test_of_a_large_file_that_changed_only_that_is_written(bench: PartBench, edit: Callable[[bytearray], None]) -> None:
    content = bytearray(random.Random(7).randbytes(8_000_000))
    (bench.live / "large").write_bytes(content)
    os.link(bench.live / "large", bench.live / "other name")
    (bench.live / "chosen").write_text("1")
    bench.stage(bench.capture(), b"chosen")
    edit(content)
    (bench.live / "large").write_bytes(content)
    os.setxattr(bench.live / "large", "user.colour", b"blue")
    safety = bench.capture()
    failing(bench).written = 0
    bench.catch_up(safety)
    assert (bench.staged / "large").read_bytes() == content
    assert (bench.staged / "other name").samefile(bench.staged / "large")
    assert os.getxattr(bench.staged / "large", "user.colour") == b"blue"
    if edit in (_overwritten, _grown, _cut_off):
        assert failing(bench).written < 5_000_000


def test_a_file_whose_times_say_nothing_is_caught_up_with_all_the_same(bench: PartBench) -> None:
    for name in ("file", "chosen"):
        (bench.live / name).write_text("1")
    facts = os.stat(bench.live / "file")
    snapshot = bench.capture()
    bench.stage(snapshot, b"chosen")
    (bench.live / "file").write_text("2")
    os.utime(bench.live / "file", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    bench.catch_up(bench.capture())
    assert (bench.staged / "file").read_text() == "2"


def test_attributes_that_were_taken_away_go_from_files_and_directories(bench: PartBench) -> None:
    (bench.live / "chosen").write_text("1")
    (bench.live / "file").write_text("1")
    (bench.live / "folder").mkdir()
    for name in ("file", "folder"):
        os.setxattr(bench.live / name, "user.colour", b"blue")
        os.setxattr(bench.live / name, "system.posix_acl_access", posix_acl(user=1234))
    bench.stage(bench.capture(), b"chosen")
    for name in ("file", "folder"):
        os.removexattr(bench.live / name, "user.colour")
        os.removexattr(bench.live / name, "system.posix_acl_access")
    bench.catch_up(bench.capture())
    for name in ("file", "folder"):
        assert os.listxattr(bench.staged / name) == []
        assert (bench.staged / name).stat().st_mode == (bench.live / name).stat().st_mode


def test_what_is_made_in_a_directory_that_hands_down_an_acl_has_none_of_it(bench: PartBench) -> None:
    (bench.live / "chosen").write_text("1")
    (bench.live / "folder").mkdir()
    (bench.live / "folder/below").mkdir()
    os.setxattr(bench.live / "folder/below", "system.posix_acl_default", posix_acl(user=1234))
    snapshot = bench.capture()
    bench.stage(snapshot, b"chosen")
    taken = describe_tree(bench.live)
    (bench.live / "later").mkdir()
    (bench.live / "later/file").write_text("made before it lies there")
    (bench.live / "plain").write_text("and so was this")
    (bench.live / "later").rename(bench.live / "folder/below/later")
    (bench.live / "plain").rename(bench.live / "folder/below/plain")
    bench.catch_up(bench.capture())
    assert describe_tree(bench.staged) == expected(taken, describe_tree(bench.live), [b"chosen"])
    assert not os.listxattr(bench.staged / "folder/below/later")
    assert not os.listxattr(bench.staged / "folder/below/plain")


def test_fifos_keep_their_acls_and_take_none_from_their_directory(bench: PartBench) -> None:
    (bench.live / "chosen").write_text("1")
    (bench.live / "folder").mkdir()
    for name in ("with", "without"):
        os.mkfifo(bench.live / "folder" / name, 0o640)
    os.setxattr(bench.live / "folder/with", "system.posix_acl_access", posix_acl(user=1234))
    os.setxattr(bench.live / "folder", "system.posix_acl_default", posix_acl(user=4321))
    snapshot = bench.capture()
    taken = describe_tree(bench.live)
    bench.stage(snapshot, b"chosen")
    bench.catch_up(bench.capture())
    assert describe_tree(bench.staged) == expected(taken, describe_tree(bench.live), [b"chosen"])


def test_a_device_that_comes_while_it_stages_is_refused_before_anything_is_replaced(bench: PartBench) -> None:
    (bench.live / "chosen").write_text("1")
    bench.stage(bench.capture(), b"chosen")
    os.mknod(bench.live / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with pytest.raises(Refused) as refusal:
        bench.catch_up(bench.capture())
    assert refusal.value.code == "device_in_volume"


def test_a_staged_tree_that_was_moved_away_is_not_written_to(bench: PartBench) -> None:
    (bench.live / "chosen").write_text("1")
    bench.stage(bench.capture(), b"chosen")
    bench.staged.rename(bench.staged.with_name("away"))
    bench.staged.mkdir()
    with pytest.raises(Failed) as failure:
        bench.catch_up(bench.capture())
    assert failure.value.code == "staged_tree_moved"
    assert list(bench.staged.iterdir()) == []


def test_a_staged_rest_that_nobody_can_tell_any_more_ends_it(bench: PartBench) -> None:
    (bench.live / "chosen").write_text("1")
    bench.stage(bench.capture(), b"chosen")
    bench.known = tuple(replace(tree, chunks=(bytes(32),)) for tree in bench.known)
    with pytest.raises(Failed) as failure:
        bench.catch_up(bench.capture())
    assert failure.value.code == "staged_rest_unknown"


def test_a_cancel_while_all_else_catches_up_ends_it(bench: PartBench) -> None:
    class Cancelling:
        def progress(self, progress: object) -> None:
            del progress

        def check(self) -> None:
            raise Cancelled

    (bench.live / "chosen").write_text("1")
    bench.stage(bench.capture(), b"chosen")
    (bench.live / "later").write_text("2")
    safety = bench.capture()
    with pytest.raises(Cancelled):
        bench.catch_up(safety, job=Cancelling())


def test_of_a_snapshot_from_elsewhere_no_more_is_taken_than_by_a_whole_restore_and_all_of_the_rest(
    bench: PartBench,
) -> None:
    (bench.live / "above").mkdir()
    (bench.live / "above/chosen").write_text("1")
    for name in ("chosen", "rest", "above"):
        if name != "above":
            (bench.live / name).write_text("1")
        os.chmod(bench.live / name, 0o4755)
        os.setxattr(bench.live / name, "trusted.origin", b"here")
    stored = bench.repository.manifests.read(bench.capture())
    foreign = replace(stored.manifest, id=new_id(), own=False)
    bench.repository.manifests.write(StoredSnapshot(manifest=foreign, trees=stored.trees))
    shutil.rmtree(bench.live / "above")
    staged = bench.stage(foreign.id, b"chosen", b"above/chosen")
    for name in ("chosen", "above"):
        assert stat.S_IMODE((bench.staged / name).stat().st_mode) == 0o755
        assert os.listxattr(bench.staged / name) == []
    assert stat.S_IMODE((bench.staged / "rest").stat().st_mode) == 0o4755
    assert os.getxattr(bench.staged / "rest", "trusted.origin") == b"here"
    assert "chosen (setuid or setgid bit, or an attribute of the system)" in staged.result.written[0].not_taken


def test_a_failed_staging_leaves_nothing(bench: PartBench) -> None:
    build_sample_tree(bench.live)
    snapshot = bench.capture()
    (bench.live / "library").rename(bench.live / "away")
    (bench.live / "library").write_text("in the way")
    with pytest.raises(HoldfastError):
        bench.stage(snapshot, b"library/deep")
    assert not bench.staged.parent.exists()


def test_what_waits_to_be_written_is_bounded_in_bytes_however_long_the_paths_are(bench: PartBench) -> None:
    waiting: list[TreeEntry] = []

    class Writer:
        def add(self, _entry: Entry, _data: object) -> None:
            del waiting[0]

    def entries() -> Iterator[TreeEntry]:
        for _ in range(30):
            waiting.append(TreeEntry(b"n" * LONG, DIRECTORY, 0o755, 0, 0, 0))
            assert len(waiting) < 12
            yield waiting[-1]

    meter = PassingMeter(QuietJob(), total_files=None, total_bytes=None)
    with bench.repository.reader() as reader:
        write_rest(entries(), lambda _entry: None, cast("TreeWriter", Writer()), reader, meter)
    assert not waiting


def test_more_changes_than_memory_should_hold_are_refused_before_anything_is_edited() -> None:
    entry = TreeEntry(b"n" * LONG, DIRECTORY, 0o755, 0, 0, 0)
    change = Change(old=None, new=entry)
    assert len(bounded([change] * 400)) == 400
    with pytest.raises(TooLarge) as caught:
        bounded([change] * 600)
    assert caught.value.code == "rest_changed_too_much"
