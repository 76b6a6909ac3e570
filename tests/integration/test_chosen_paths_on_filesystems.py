"""Staged trees of chosen paths on the filesystems that people have: what is kept, and what is shared, not copied."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.swap import remove_wrapper
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.test_swap_on_filesystems import Disk
from tests.unit.engine.part_bench import PartBench, expected

pytestmark = pytest.mark.xdist_group("loop mounts")

LARGE = 4 << 20
SHARING = ("xfs", "btrfs")


class TouchyFs(Fs):
    """Writes to a live file right before it is shared, once."""

    def __init__(self) -> None:
        self.shared, self.touch = 0, Path()

    def clone(self, fd: int, source: int) -> None:
        if os.fstat(source).st_size:  # else it is only tried whether that can be
            self.shared += 1
            if self.touch.name:
                with self.touch.open("r+b") as file:
                    file.write(b"newer")
        super().clone(fd, source)


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(request.param, tmp_path)
    with disk.mounted():
        yield disk


@pytest.fixture
def bench(disk: Disk) -> Iterator[PartBench]:
    made = PartBench(disk.path, TouchyFs())
    yield made
    made.close()


def settle(path: Path) -> None:
    """Wait until a file's times are old enough for it to be known again."""
    while time.time_ns() - path.stat().st_ctime_ns < 1_100_000_000:
        os.stat(path)


def test_everything_a_tree_can_hold_is_kept_beside_chosen_paths(bench: PartBench) -> None:
    build_sample_tree(bench.live)
    taken = describe_tree(bench.live)
    snapshot = bench.capture()
    chosen = [b"library/deep", b"notes.txt", b"sparse"]
    (bench.live / "notes.txt").write_text("damaged")
    (bench.live / "sparse").unlink()
    bench.stage(snapshot, *chosen)
    build_sample_tree(bench.live / "a second one")
    (bench.live / "tagged").unlink()
    os.rename(bench.live / "acl directory", bench.live / "shared/acl directory")
    os.mkfifo(bench.live / "queue")
    bench.catch_up(bench.capture())
    assert describe_tree(bench.staged) == expected(taken, describe_tree(bench.live), chosen)


def test_large_files_that_stood_still_share_their_room_where_the_filesystem_can(bench: PartBench, disk: Disk) -> None:
    large = bench.live / "large"
    large.write_bytes(os.urandom(LARGE))
    (bench.live / "chosen").write_text("1")
    settle(large)
    snapshot = bench.capture()
    look = bench.look(snapshot, b"chosen")
    before = free(disk.path)
    bench.stage(snapshot, b"chosen")
    bench.catch_up(bench.capture())
    taken = before - free(disk.path)
    if disk.kind in SHARING:
        assert look.staged_bytes < LARGE // 8
        assert taken < LARGE // 2
    else:
        assert look.staged_bytes > LARGE
        assert taken > LARGE // 2
    assert (bench.staged / "large").read_bytes() == large.read_bytes()


def test_a_file_that_is_written_to_while_it_is_shared_is_what_was_captured_and_catches_up(
    bench: PartBench, disk: Disk
) -> None:
    large = bench.live / "large"
    large.write_bytes(os.urandom(LARGE // 4))
    (bench.live / "chosen").write_text("1")
    captured = large.read_bytes()
    snapshot = bench.capture()
    assert isinstance(bench.fs, TouchyFs)
    bench.stage(snapshot, b"chosen")
    assert bench.fs.shared == 0, "it was written to a moment ago: its times don't tell it from a newer one"
    remove_wrapper(bench.fs, bench.roots, bench.facts)
    settle(large)
    bench.fs.touch = large
    bench.stage(snapshot, b"chosen")
    assert bench.fs.shared == 1
    if disk.kind in SHARING:
        assert (bench.staged / "large").read_bytes() == captured
    bench.catch_up(bench.capture())
    assert (bench.staged / "large").read_bytes() == large.read_bytes()


def free(path: Path) -> int:
    """Free bytes of the filesystem that ``path`` is on, once all that is known to be on its way is written."""
    os.sync()
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
