"""A filesystem of its own to measure on: ext4 in a file, made anew.

Three reasons. What others write meanwhile is not flushed along with what is measured. Every run meets the same, young
filesystem. And it has a journal, as nearly every disk out there: ext4 without one passes over inodes that were freed in
the last minutes, one by one, so that whoever creates files after somebody else removed a tree would be the slow one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_filesystem(directory: Path, size: int, *, bytes_per_inode: int = 8192) -> Iterator[bool]:
    """Mount a new filesystem at ``directory``, which is made, and remove it in the end.

    Args:
        size: bytes that it may grow to; it takes what is written to it.
        bytes_per_inode: how many files fit.

    Yields:
        Whether that was allowed. If not, ``directory`` is a plain one.
    """
    directory.mkdir(parents=True)
    image = directory.with_suffix(".img")
    with image.open("xb") as file:
        file.truncate(size)
    settled = "lazy_itable_init=0,lazy_journal_init=0"  # nothing that still goes on in the background
    subprocess.run(["mkfs.ext4", "-q", "-i", str(bytes_per_inode), "-E", settled, image], check=True)
    mounted = os.geteuid() == 0 and _mount(image, directory)
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", directory], check=True)
        image.unlink()
        shutil.rmtree(directory)


def detached(directory: Path) -> None:
    """Unmount what a run that was killed has left mounted at ``directory``."""
    if os.path.ismount(directory):
        subprocess.run(["umount", directory], check=True)


def _mount(image: Path, directory: Path) -> bool:
    """Past the page cache of the filesystem below, or everything would be held and flushed twice."""
    found = subprocess.run(
        ["losetup", "--find", "--show", "--direct-io=on", image], capture_output=True, text=True, check=False
    )
    device = found.stdout.strip()
    if found.returncode:
        return False
    try:
        mounted = subprocess.run(["mount", "-o", "discard", device, directory], capture_output=True, check=False)
        return mounted.returncode == 0
    finally:
        # Detached as soon as nothing is mounted on it any more.
        subprocess.run(["losetup", "--detach", device], check=True)
