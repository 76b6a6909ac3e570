"""What the volumes hold whose restore is measured: little, much, very much, and one big file; each changed by 1 MB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import trees

MB = 1_000_000
ROOM = 6
"""A measurement takes so many times the size on the disk: live, stored, staged, displaced, and an archive by hand."""


@dataclass(frozen=True, slots=True)
class Contents:
    """One kind of volume.

    Attributes:
        bytes: its size.
        fill: fills the empty volume.
        disturb: changes 1 MB of it; the second argument makes each time another.
    """

    name: str
    bytes: int
    fill: Callable[[Path], object]
    disturb: Callable[[Path, int], object]

    def fits(self, directory: Path) -> bool:
        """Whether the disk that ``directory`` is on has the room."""
        return shutil.disk_usage(directory).free > ROOM * self.bytes


def contents(*, quick: bool) -> tuple[Contents, ...]:
    """All kinds."""
    small = _files("10 MB", 10 * MB)
    if quick:
        return (small, _one_file("one file of 50 MB", 50 * MB))
    return (
        small,
        _files("1 GB", 1000 * MB),
        _files("10 GB", 10_000 * MB),
        _one_file("one file of 1 GB", 1000 * MB),
    )


def _files(name: str, size: int) -> Contents:
    """Files of 1 MB that do not compress; one of them is replaced."""
    return Contents(name, size, partial(_fill, count=size // MB), lambda volume, _: _file(volume, 0))


def _one_file(name: str, size: int) -> Contents:
    """A database-like file; pages of it are written anew."""
    return Contents(
        name,
        size,
        partial(trees.database, size=size),
        lambda volume, seed: trees.write_pages(str(volume / "rows.db"), seed, MB // trees.PAGE),
    )


def _fill(volume: Path, count: int) -> None:
    for number in range(count):
        _file(volume, number)


def _file(volume: Path, number: int) -> None:
    (volume / f"{number}.bin").write_bytes(os.urandom(MB))
