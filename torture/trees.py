"""The trees of the tortured workload: their fixed part, which only the torturer changes, and how they are read.

``fixed/`` holds one of everything that a tree can hold, and many small files. Between two rounds some of them change,
and ``fixed/marker`` names the whole anew: so no two captures hold the same, and each is known by its marker.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import zstandard

from holdfast.testing.trees import TreeDescription, build_sample_tree, describe_tree
from torture.judge import Data, Tree
from torture.writer import POISON, lines

FILES: Final = 250
LARGEST: Final = 24_000
CHANGED: Final = 25
"""Files of the fixed part that each change replaces, and so many others it removes or adds."""

_Name = TypeVar("_Name", str, bytes)
Contents = Mapping[str, str]
"""Path → hash of the content, or text of the symlink: what an archive is compared by."""


class FixedParts:
    """Makes and changes the fixed parts of both volumes, and knows what belongs to which marker.

    Args:
        volumes: the live directories.
        draw: what the files' contents come from.
    """

    def __init__(self, volumes: Sequence[Path], draw: random.Random) -> None:
        self._fixed = [volume / "fixed" for volume in volumes]
        self._draw = draw
        self._number = 0
        self._known: dict[str, list[TreeDescription]] = {}

    def make(self) -> str:
        """Fill both volumes. Returns the marker."""
        for fixed in self._fixed:
            build_sample_tree(fixed / "sample")
            for number in range(FILES):
                self._write(fixed / f"{number % 10}" / f"{number}.bin")
        return self._mark()

    def change(self, *, poisoned: bool = False) -> str:
        """Have both volumes hold something that they never held. Returns the marker.

        Args:
            poisoned: whether the workload fails on it.
        """
        for fixed in self._fixed:
            for number in self._draw.sample(range(FILES), CHANGED):
                self._write(fixed / f"{number % 10}" / f"{number}.bin")
            for number in self._draw.sample(range(FILES, FILES + 2 * CHANGED), CHANGED):
                file = fixed / "coming and going" / f"{number}.bin"
                file.unlink() if file.exists() else self._write(file)
        poison = self._fixed[0].parent / POISON
        if poisoned:
            poison.touch()
        else:
            poison.unlink(missing_ok=True)
        return self._mark()

    def unlike(self, volume: int, marker: str) -> tuple[str, ...]:
        """What of a live volume is not as its marker says."""
        return _differences(self._known_as(marker, volume), describe_tree(self._fixed[volume]))

    def unlike_contents(self, volume: int, marker: str, contents: Contents) -> tuple[str, ...]:
        """What of an archive's volume is not as its marker says."""
        known = {os.fsdecode(name): _content(facts) for name, facts in self._known_as(marker, volume).items()}
        return _differences({name: content for name, content in known.items() if content}, contents)

    def _known_as(self, marker: str, volume: int) -> TreeDescription:
        return self._known[marker][volume] if marker in self._known else {}

    def _mark(self) -> str:
        self._number += 1
        marker = f"marker-{self._number}"
        for fixed in self._fixed:
            (fixed / "marker").write_text(marker)
        self._known[marker] = [describe_tree(fixed) for fixed in self._fixed]
        return marker

    def _write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self._draw.randbytes(self._draw.randrange(LARGEST)))


class Observer:
    """Keeps the logs of the trees that are live now open, and so sees all that is ever written to them."""

    def __init__(self, volumes: Sequence[Path]) -> None:
        self._markers = [(volume / "fixed/marker").read_text() for volume in volumes]
        self._logs = [os.open(volume / "log", os.O_RDONLY | os.O_CLOEXEC) for volume in volumes]
        self.seen = self._lengths()

    def data(self) -> Data:
        """What was written to those trees until now."""
        return _both(
            [
                Tree(marker=marker, log=tuple(lines(_everything(fd))))
                for marker, fd in zip(self._markers, self._logs, strict=True)
            ]
        )

    def close(self) -> None:
        for fd in self._logs:
            os.close(fd)

    def _lengths(self) -> tuple[int, int]:
        first, second = (len(tuple(lines(_everything(fd)))) for fd in self._logs)
        return first, second


@contextmanager
def observing(volumes: Sequence[Path]) -> Iterator[Observer]:
    """Watch the logs of what is live now until the end of the block."""
    observer = Observer(volumes)
    try:
        yield observer
    finally:
        observer.close()


def live_data(volumes: Sequence[Path], fixed: FixedParts) -> Data:
    """What both volumes hold. The workload must be held meanwhile."""
    return _both([_live(index, volume, fixed) for index, volume in enumerate(volumes)])


def _live(index: int, volume: Path, fixed: FixedParts) -> Tree:
    marker = _text(volume / "fixed/marker")
    slots = volume / "slots"
    names = [name for name in os.listdir(slots) if name != ".next"] if slots.is_dir() else []
    log = volume / "log"
    return Tree(
        marker=marker,
        log=tuple(lines(log.read_bytes() if log.exists() else b"")),
        unlike=fixed.unlike(index, marker),
        slots={name: _text(slots / name).removesuffix("\n") for name in names},
    )


def archived_data(archive: bytes, fixed: FixedParts) -> Data:
    """What a snapshot holds, from its export."""
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive)).read()
    files: list[dict[str, bytes]] = [{}, {}]
    links: list[dict[str, str]] = [{}, {}]
    with tarfile.open(fileobj=io.BytesIO(plain), errors="surrogateescape") as tar:
        for member in tar:
            index, _, name = member.name.partition("/")
            if index not in ("0", "1"):
                continue
            if member.issym():
                links[int(index)][name] = member.linkname
            elif (content := tar.extractfile(member)) is not None:
                files[int(index)][name] = content.read()
    return _both([_archived(index, files[index], links[index], fixed) for index in (0, 1)])


def _archived(index: int, files: Mapping[str, bytes], links: Mapping[str, str], fixed: FixedParts) -> Tree:
    marker = files.get("fixed/marker", b"").decode()
    contents = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} | dict(links)
    below = {name.removeprefix("fixed/"): c for name, c in contents.items() if name.startswith("fixed/")}
    slots = {name.removeprefix("slots/"): content for name, content in files.items() if name.startswith("slots/")}
    return Tree(
        marker=marker,
        log=tuple(lines(files.get("log", b""))),
        unlike=fixed.unlike_contents(index, marker, below),
        slots={name: content.decode().removesuffix("\n") for name, content in slots.items() if name != ".next"},
    )


def _both(trees: Sequence[Tree]) -> Data:
    first, second = trees
    return first, second


def _everything(fd: int) -> bytes:
    pieces, at = [], 0
    while piece := os.pread(fd, 1 << 20, at):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="backslashreplace")
    except FileNotFoundError:
        return ""


def _content(facts: tuple[object, ...]) -> str:
    """Of a description: the hash of a file, the text of a symlink, nothing for all else."""
    match facts[0]:
        case "file":
            return str(facts[7])
        case "symlink":
            return os.fsdecode(facts[-1]) if isinstance(facts[-1], bytes) else ""
        case _:
            return ""


def _differences(wanted: Mapping[_Name, object], there: Mapping[_Name, object]) -> tuple[str, ...]:
    if not wanted:
        return ("(a marker that was never set)",)
    names = {name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)}
    return tuple(sorted(map(os.fsdecode, names)))
