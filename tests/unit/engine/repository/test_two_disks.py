"""Volumes that are the roots of filesystems: these have one handle each, the same on every disk of their kind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.engine.repository.repository_bench import RepositoryBench

FILES = 200
"""Written to two disks by turns: most of them get one inode number and, ticks being milliseconds long, one ctime."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    made = RepositoryBench(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_files_of_one_disk_are_never_taken_for_those_of_another(
    bench: RepositoryBench, mount: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    disks = []
    for name in ("one", "two"):
        image = tmp_path / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(320 << 20)
        subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
        disks.append(mount("-o", "loop", str(image), at=bench.live(name)))
    for number in range(FILES):
        for disk in disks:
            _write(disk / f"shard{number}", f"{disk.name} {number}")
    alike = [number for number in range(FILES) if len({_looks(disk / f"shard{number}") for disk in disks}) == 1]
    assert alike, "no two files look alike: nothing is tested"
    bench.capture("one", "two")
    second = bench.capture("one", "two")
    trees, _ = bench.stage(second.id, 0, 1)
    for disk, tree in zip(disks, trees.values(), strict=True):
        for number in range(FILES):
            assert (tree / f"shard{number}").read_text() == f"{disk.name} {number}"


def _write(path: Path, content: str) -> None:
    """Without asking for its times, which would have the kernel keep the next ones more exactly."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, content.encode())
    os.close(fd)


def _looks(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_ctime_ns, facts.st_mtime_ns
