"""Filesystems of one's own in image files, mounted by loop devices, and letting go of them whatever happened."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
_MAKE: Final[Mapping[str, Sequence[str]]] = {
    "ext4": ("mkfs.ext4", "-q"),
    "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q"),
}
SIZE: Final = 768 * MIB
"""Of a sparse file: it takes what is written to it."""
_PATIENCE: Final = 15.0


class Disk:
    """A new filesystem in a new file, mounted at a new directory until :meth:`close`."""

    def __init__(self, kind: str, image: Path, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True)
        with image.open("xb") as file:
            file.truncate(SIZE)
        subprocess.run([*_MAKE[kind], str(image)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)

    def close(self) -> None:
        """Unmount it; the loop device is given back with that. The image stays."""
        unmount_below(self.path)


def mounts_below(place: Path) -> list[str]:
    """Mount points at or below a directory, in this mount namespace, deepest first."""
    inside = str(place)
    with open("/proc/self/mountinfo") as table:
        points = [line.split()[4].encode().decode("unicode_escape") for line in table]
    return sorted((p for p in points if p == inside or p.startswith(f"{inside}/")), key=len, reverse=True)


def unmount_below(place: Path) -> None:
    """Unmount everything at or below a directory. What is just being let go of is waited for, a while."""
    deadline = time.monotonic() + _PATIENCE
    for point in mounts_below(place):
        while subprocess.run(["umount", point], check=False, capture_output=True).returncode:
            if time.monotonic() > deadline or not os.path.ismount(point):
                subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
                break
            time.sleep(0.1)
