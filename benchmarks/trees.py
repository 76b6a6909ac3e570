"""Trees that anyone can make: many small files, a database-like file, a mix; and what a day changes in them.

All but the system's documentation, which is copied as it is installed, comes from seeds: two runs measure the same.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

PAGE: Final = 8192
LARGE: Final = 4 << 20
"""Files from this size on change by pages, smaller ones as a whole."""
MIB: Final = 1 << 20
ROWS: Final = 45
"""In a page."""


@dataclass(frozen=True, slots=True)
class Count:
    """What a tree consists of; ``bytes`` are the sizes of its regular files."""

    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.files:,} files, {self.directories:,} directories, {self.links:,} links, {self.bytes / 1e6:,.0f} MB"
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What :func:`change` did. ``pages`` of 8 KiB were written in large files; ``changed`` counts the small ones."""

    changed: int
    added: int
    removed: int
    renamed: int
    pages: int

    def __str__(self) -> str:
        files = f"{self.changed} files changed, {self.added} added, {self.removed} removed, {self.renamed} renamed"
        return f"{files}, {self.pages} pages written"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree to measure on: its name, what it is in words, and what makes it in a directory that does not exist yet."""

    name: str
    about: str
    make: Callable[[Path], None]


def standard(*, quick: bool) -> tuple[Tree, ...]:
    """The three trees of the comparison."""
    scale = 16 if quick else 1
    parts = ("/usr/include",) if quick else ("/usr/share/doc", "/usr/share/man", "/usr/include")
    return (
        Tree("small files", f"A copy of {', '.join(parts)} as installed", partial(copies, parts=parts)),
        Tree(
            "database",
            "One file of 8 KiB pages of rows: text, numbers, random keys, free space",
            partial(database, size=256 * MIB // scale),
        ),
        Tree(
            "mix",
            "A copy of /usr/include, photos that don't compress, logs, and three databases",
            partial(mix, scale=scale),
        ),
    )


def copies(directory: Path, parts: tuple[str, ...]) -> None:
    """A copy of what the system has installed at ``parts``."""
    directory.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--one-file-system", "--", *parts, directory], check=True)


def database(directory: Path, size: int, *, name: str = "rows.db", seed: int = 1) -> None:
    """One file of ``size`` bytes in ``directory``, which is made if it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = _pages(seed)
    with (directory / name).open("wb") as file:
        for _ in range(size // PAGE):
            file.write(next(pages))


def mix(directory: Path, scale: int = 1) -> None:
    """What a small server has: many small files, photos, logs and databases; about 500 MB for a ``scale`` of 1."""
    rng = random.Random(2)
    copies(directory / "site", ("/usr/include",))
    photos, logs = directory / "photos", directory / "logs"
    photos.mkdir()
    for number in range(80 // scale):
        (photos / f"{number:04}.jpg").write_bytes(rng.randbytes(rng.randrange(1 * MIB, 4 * MIB)))
    logs.mkdir()
    for number in range(10):
        (logs / f"{number}.log").write_bytes(_log(rng, 8 * MIB // scale))
    for number in range(3):
        database(directory / "databases", 32 * MIB // scale, name=f"{number}.db", seed=3 + number)


def many(directory: Path, count: int) -> None:
    """``count`` files of up to a kilobyte in directories of a thousand, made on all processors at once."""
    directory.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_thousand, *zip(*_thousands(directory, count), strict=True)))


def _thousands(directory: Path, count: int) -> Iterator[tuple[str, int, int]]:
    for number, first in enumerate(range(0, count, 1000)):
        path = directory / f"{number // 100:02}" / f"{number % 100:02}"
        path.parent.mkdir(exist_ok=True)
        yield str(path), number, min(1000, count - first)


def _thousand(path: str, seed: int, count: int) -> None:
    rng = random.Random(seed)
    text = b" ".join(_phrases())
    os.mkdir(path)
    for number in range(count):
        start, length = rng.randrange(len(text) - 1024), rng.randrange(16, 1024)
        fd = os.open(f"{path}/{number:03}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, b"%d %d\n" % (seed, number) + text[start : start + length])
        os.close(fd)


def count(directory: Path) -> Count:
    """What there is below ``directory``, itself not counted."""
    files = directories = links = size = 0
    for root, subdirectories, names in os.walk(directory):
        for name in subdirectories:
            # A symlink to a directory is listed among the directories.
            linked = (Path(root) / name).is_symlink()
            links += linked
            directories += not linked
        for name in names:
            facts = os.lstat(f"{root}/{name}")
            if stat.S_ISREG(facts.st_mode):
                files += 1
                size += facts.st_size
            else:
                links += 1
    return Count(files=files, directories=directories, links=links, bytes=size)


def change(directory: Path, seed: int, share: float = 0.01) -> Changes:
    """Change ``share`` of a tree, the same in every copy of it.

    Of the small files ``share`` are touched: of ten, seven are changed, and one each is added, removed and renamed. In
    every large file ``share`` of its pages are written anew, in place.
    """
    rng = random.Random(seed)
    small, large = _regular(directory)
    picked = rng.sample(small, min(len(small), max(10, round(share * len(small))))) if small else []
    tenth = len(picked) // 10
    added, removed, renamed, changed = (
        picked[:tenth],
        picked[tenth : 2 * tenth],
        picked[2 * tenth : 3 * tenth],
        picked[3 * tenth :],
    )
    for path in added:
        Path(f"{path}.{seed}.new").write_bytes(b"added on day %d\n" % seed + Path(path).read_bytes())
    for path in removed:
        os.unlink(path)
    for path in renamed:
        os.rename(path, f"{path}.{seed}.moved")
    for path in changed:
        _edit(path, rng)
    return Changes(
        changed=len(changed),
        added=len(added),
        removed=len(removed),
        renamed=len(renamed),
        pages=sum(write_pages(path, rng.getrandbits(32), _share_of_pages(path, share)) for path in large),
    )


def _regular(directory: Path) -> tuple[list[str], list[str]]:
    """The paths of all regular files with one name, small ones and large ones, each sorted."""
    small: list[str] = []
    large: list[str] = []
    for root, _, names in os.walk(directory):
        for name in names:
            facts = os.lstat(f"{root}/{name}")
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
                (large if facts.st_size >= LARGE else small).append(f"{root}/{name}")
    return sorted(small), sorted(large)


def _share_of_pages(path: str, share: float) -> int:
    return max(1, round(share * (os.path.getsize(path) // PAGE)))


def _edit(path: str, rng: random.Random) -> None:
    """What an editor does: a line goes in somewhere, and the file is written anew in its place."""
    data = Path(path).read_bytes()
    at = rng.randrange(len(data) + 1)
    Path(path).write_bytes(data[:at] + b"a line of %d\n" % rng.getrandbits(32) + data[at:])


def write_pages(path: str, seed: int, number: int) -> int:
    """What a database does: so many pages, here and there, are written anew in place. Returns how many."""
    rng = random.Random(seed)
    total = os.path.getsize(path) // PAGE
    pages = _pages(seed)
    with open(path, "r+b") as file:
        for page in rng.sample(range(total), number):
            file.seek(page * PAGE)
            file.write(next(pages))
    return number


def _pages(seed: int) -> Iterator[bytes]:
    """Pages as databases have them: a header, rows of keys, numbers and text, and free space."""
    rng = random.Random(seed)
    phrases, digits = _phrases(), bytes(b"0123456789"[value % 10] for value in range(256))
    number = 0
    while True:
        number += 1
        keys, figures = rng.randbytes(ROWS * 24), rng.randbytes(ROWS * 12).translate(digits)
        texts = rng.choices(phrases, k=3 * ROWS)
        rows = [
            b"%b%b|%b %b %b"
            % (keys[row * 24 : row * 24 + 24], figures[row * 12 : row * 12 + 12], *texts[3 * row : 3 * row + 3])
            for row in range(ROWS)
        ]
        page = number.to_bytes(8, "big") + b"\0\1\0\x28" + b"".join(rows)
        yield page[:PAGE].ljust(PAGE, b"\0")


@cache
def _phrases() -> list[bytes]:
    """Texts of some words each; common words occur much more often than rare ones."""
    rng = random.Random(0)
    words = [
        "".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", weights=range(27, 1, -1), k=rng.randrange(2, 11)))
        for _ in range(3000)
    ]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    return [" ".join(rng.choices(words, weights=weights, k=rng.randrange(3, 9))).encode() for _ in range(8192)]


def _log(rng: random.Random, size: int) -> bytes:
    """Lines as servers write them, about ``size`` bytes."""
    paths = [phrase[:40].replace(b" ", b"/") for phrase in _phrases()[:200]]
    lines, second, length = [], 1_700_000_000, 0
    while length < size:
        second += rng.randrange(3)
        lines.append(
            b'%d 10.0.%d.%d "GET /%b" 200 %d\n'
            % (second, rng.randrange(4), rng.randrange(256), rng.choice(paths), rng.randrange(100_000))
        )
        length += len(lines[-1])
    return b"".join(lines)
