"""Fixtures of the engine's tests: real directories, descriptors that are closed again."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.engine.fs import Fs
from holdfast.testing.descriptors import open_descriptors


@pytest.fixture(autouse=True)
def no_descriptor_stays_open() -> Iterator[None]:
    """Each one would be missing later: in the worker, and in a test that has but few."""
    before = set(open_descriptors())
    yield
    left = {fd: what for fd, what in open_descriptors().items() if fd not in before}
    assert left == {}


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
