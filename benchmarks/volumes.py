"""What the volumes hold whose restore is measured: little, much, one big file, and very much; each changed by 1 MB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import trees

MB = 1_000_000
ROOM = 4
"""A measurement takes so many times the size on the disk: live, stored, staged, displaced; by hand once more."""


@dataclass(frozen=True, slots=True)
class Contents:
    """One kind of volume.

    Attributes:
        bytes: its size.
        runs: how many restores are measured.
        fill: fills the empty volume.
        disturb: changes 1 MB of it; the second argument makes each time another.
        by_hand: whether the way by hand is measured too.
    """

    name: str
    bytes: int
    runs: int
    fill: Callable[[Path], object]
    disturb: Callable[[Path, int], object]
    by_hand: bool = True

    def fits(self, directory: Path) -> bool:
        """Whether the disk that ``directory`` is on has the room."""
        return shutil.disk_usage(directory).free > (ROOM + self.by_hand) * self.bytes


def usual(*, quick: bool) -> tuple[Contents, ...]:
    """What a volume mostly is, and one large file."""
    if quick:
        return (_files("10 MB", 10 * MB, runs=1), _one_file("one file of 50 MB", 50 * MB, runs=1))
    return (
        _files("10 MB", 10 * MB, runs=5),
        _files("1 GB", 1000 * MB, runs=3),
        _one_file("one file of 1 GB", 1000 * MB, runs=3),
    )


def large(*, quick: bool) -> tuple[Contents, ...]:
    """What takes minutes; by hand it would take many of them without the service."""
    size, name = (100 * MB, "100 MB") if quick else (10_000 * MB, "10 GB")
    return (replace(_files(name, size, runs=1 if quick else 2), by_hand=False),)


def _files(name: str, size: int, *, runs: int) -> Contents:
    """Files of 1 MB that do not compress; one of them is replaced."""
    return Contents(name, size, runs, partial(_fill, count=size // MB), lambda volume, _: _file(volume, 0))


def _one_file(name: str, size: int, *, runs: int) -> Contents:
    """A database-like file; pages of it are written anew."""
    return Contents(
        name,
        size,
        runs,
        partial(trees.database, size=size),
        lambda volume, seed: trees.write_pages(str(volume / "rows.db"), seed, MB // trees.PAGE),
    )


def _fill(volume: Path, count: int) -> None:
    for number in range(count):
        _file(volume, number)


def _file(volume: Path, number: int) -> None:
    (volume / f"{number}.bin").write_bytes(os.urandom(MB))
