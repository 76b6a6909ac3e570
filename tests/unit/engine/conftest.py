"""Fixtures of the engine's tests: real directories, descriptors that are closed again."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.engine.fs import Fs


@pytest.fixture
def fs() -> Fs:
    return Fs()


@pytest.fixture
def open_dir() -> Iterator[Callable[[Path], int]]:
    """Opens a directory, made if it is missing, until the test ends."""
    opened: list[int] = []

    def open_one(path: Path) -> int:
        path.mkdir(mode=0o700, exist_ok=True)
        opened.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        return opened[-1]

    yield open_one
    for fd in opened:
        os.close(fd)
