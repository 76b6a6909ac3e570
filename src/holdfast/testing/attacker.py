"""A container that attacks from inside its volume while something works on it, and what it must not reach.

It exchanges directories and files with symlinks to a canary outside, with FIFOs and sockets, lets a file grow under its
reader and a directory fill: one step before each call to the file system, from a seed, so that a run can be repeated;
or from a thread, as fast as it can. The canary is told apart by what only it holds.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from holdfast.engine.fs import Fs
from holdfast.engine.repository.pack import scan_frames
from holdfast.engine.repository.seal import PlainSealer
from holdfast.engine.syscalls import RENAME_EXCHANGE, renameat2
from holdfast.testing.trees import TreeDescription, describe_tree

SECRET: Final = b"canary: nobody's snapshot may hold this"
ONLY_THERE: Final = "only-in-the-canary"

_PAIRS: Final = 4
_MOST_GROWTH: Final = 4 << 20
_MOST_FILES: Final = 500


class Canary:
    """A directory outside of all volumes, with names that the volumes have, too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "deep").mkdir(parents=True)
        for name in ("passwd", "shadow", "deep/file", ONLY_THERE):
            (path / name).write_bytes(SECRET)
            (path / name).chmod(0o640)
            os.setxattr(path / name, "user.canary", b"sings")
            os.utime(path / name, ns=(1, 1_000_000_000))
        self._before = self._look()

    def _look(self) -> TreeDescription:
        return describe_tree(self.path)

    def harm(self) -> list[str]:
        """What happened to it: content, names, modes, owners, times, attributes."""
        now = self._look() if self.path.is_dir() else {}
        return [
            f"the canary was changed: {path.decode()}"
            for path in sorted(now.keys() | self._before.keys())
            if now.get(path) != self._before.get(path)
        ]


def leaked(packs: Path) -> list[str]:
    """What packs that are not encrypted hold of the canary."""
    found = set()
    for path in sorted(packs.glob("*")):
        content = path.read_bytes()
        for _, chunks in scan_frames(partial(_slice, content), len(content), PlainSealer()):
            for _, chunk in chunks:
                if SECRET in bytes(chunk):
                    found.add("the canary's content is in a snapshot")
                if ONLY_THERE.encode() in bytes(chunk):
                    found.add("the canary's listing is in a snapshot")
    return sorted(found)


def _slice(content: bytes, offset: int, length: int) -> bytes:
    return content[offset : offset + length]


class Attacker:
    """What runs in the container. :meth:`step` is one move.

    Attributes:
        flips: how many moves were made.
    """

    def __init__(self, volume: Path, canary: Path, seed: int) -> None:
        self.flips = 0
        self._volume, self._chance = volume, random.Random(seed)  # noqa: S311 - to be repeated
        self._fd = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
        self._moves: list[Callable[[], object]] = []
        self._files = self._grown = 0
        for number in range(_PAIRS):
            self._pair(f"d{number}", self._directory, lambda path: path.symlink_to(canary))
        self._pair("passwd", self._file, lambda path: path.symlink_to(canary / "passwd"))
        self._pair("shadow", self._file, os.mkfifo)
        self._pair("ring", self._file, lambda path: path.symlink_to(path.name))
        self._pair("kind", self._file, self._directory)
        self._pair("queue", self._file, _make_socket)
        (volume / "many").mkdir()
        (volume / "large").write_bytes(b"grows " * 50_000)
        self._moves += [self._grow, self._fill]

    def close(self) -> None:
        """Let go of the volume."""
        os.close(self._fd)

    def step(self) -> None:
        """One move. What it works on may be gone by now."""
        self.flips += 1
        try:
            self._chance.choice(self._moves)()
        except OSError:
            return

    def _pair(self, name: str, make: Callable[[Path], object], make_other: Callable[[Path], object]) -> None:
        other = f".{name}"
        make(self._volume / name)
        make_other(self._volume / other)
        one, two = name.encode(), other.encode()
        self._moves += [lambda: renameat2(self._fd, one, self._fd, two, RENAME_EXCHANGE)] * 2

    @staticmethod
    def _directory(path: Path) -> None:
        (path / "deep").mkdir(parents=True)
        for name in ("passwd", "shadow", "deep/file"):
            (path / name).write_bytes(b"the volume's own " + name.encode())

    @staticmethod
    def _file(path: Path) -> None:
        path.write_bytes(b"the volume's own " + path.name.encode())

    def _grow(self) -> None:
        if self._grown < _MOST_GROWTH:
            self._grown += 100_000
            with open(self._volume / "large", "ab") as file:
                file.write(b"grown " * 17_000)

    def _fill(self) -> None:
        if self._files < _MOST_FILES:
            self._files += 1
            (self._volume / "many" / f"{self._chance.random()}").touch()


def _make_socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    try:
        at = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{at}/{path.name}")  # a socket's path is short
        finally:
            os.close(at)
    finally:
        server.close()


class WatchedFs(Fs):
    """The file system with an attacker on it: ``step`` is called before each call. Notes what must never be opened.

    Attributes:
        findings: descriptors inside of the canary, and FIFOs, sockets and devices that were opened for reading.
        calls: how many there were.
    """

    def __init__(self, step: Callable[[], object], canary: Path) -> None:
        self.findings: set[str] = set()
        self.calls = 0
        self._step, self._canary = step, str(canary)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in ("findings", "calls"):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            self._step()
            answer = found(*arguments, **named)
            if name.startswith(("open", "reopen")):
                self._watch(name, answer)
            return answer

        return call

    def _watch(self, name: str, fd: int) -> None:
        at = os.readlink(f"/proc/self/fd/{fd}")
        if at == self._canary or at.startswith(f"{self._canary}/"):
            self.findings.add(f"{name} opened the canary")
        kind = os.fstat(fd).st_mode
        plain = stat.S_ISREG(kind) or stat.S_ISDIR(kind)
        if not plain and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
            self.findings.add(f"{name} opened what is no file: {stat.filemode(kind)[0]}")


@contextmanager
def tight_loop(attacker: Attacker, *, most: int) -> Iterator[None]:
    """Let it move in a thread, without a pause, as long as what is inside runs, but no more than ``most`` times."""
    ended = threading.Event()

    def run() -> None:
        for _ in range(most):
            if ended.is_set():
                return
            attacker.step()

    thread = threading.Thread(target=run, name="attacker")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
