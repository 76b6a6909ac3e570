"""Fixtures of several layers' tests: real mounts, gone again at the end."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mount() -> Iterator[Callable[..., Path]]:
    """Mounts at a place, made if it is missing, until the test ends: ``mount("-t", "tmpfs", "tmpfs", at=path)``."""
    mounted: list[Path] = []

    def mount_one(*arguments: str, at: Path) -> Path:
        if not at.exists():
            at.mkdir(parents=True)
        subprocess.run(["mount", *arguments, str(at)], check=True)
        mounted.append(at)
        return at

    yield mount_one
    for at in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture
def tmpfs(mount: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Mounts a fresh tmpfs with mount options: ``tmpfs("size=1m")``."""

    def mount_one(options: str = "size=16m", at: Path | None = None) -> Path:
        return mount("-t", "tmpfs", "-o", options, "tmpfs", at=at or tmp_path / "tmpfs")

    return mount_one
