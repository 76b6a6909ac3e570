"""A run of ``make torture`` has its place to itself, and clears away what one that was killed left there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from torture.disks import Disk, mounts_below, unmount_below
from torture.leftovers import InUse, alone_at, kept_at, world_at

from holdfast.testing.docker_engine import DockerEngine

pytestmark = pytest.mark.xdist_group("loop mounts")


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: there are sockets below it."""
    with tempfile.TemporaryDirectory(prefix="hf-") as path:
        yield Path(path)
        unmount_below(Path(path))


HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from holdfast.engine.data_lock import DataLock
with DataLock.acquire(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_is_ended_unmounted_and_removed_but_for_what_failed_rounds_keep(place: Path) -> None:
    world = world_at(place)
    image = world / "disk0.img"
    world.mkdir()
    disk = Disk("ext4", image, world / "disk0")
    data = disk.path / "holdfast"
    data.mkdir()
    DockerEngine(world / "engine", network=False).run_dir.mkdir()
    kept = kept_at(place, 7, 3)
    kept.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"held\n"
        with alone_at(place):
            assert server.wait() == -9
            assert mounts_below(place) == []
            assert sorted(os.listdir(place)) == [kept.name, "lock"]


def test_a_second_run_at_the_same_place_is_refused(tmp_path: Path) -> None:
    with alone_at(tmp_path), pytest.raises(InUse, match="another run"), alone_at(tmp_path):
        pass


def test_a_place_of_somebody_else_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.symlink_to(tmp_path)
    with pytest.raises(InUse, match="somebody else"), alone_at(place):
        pass
