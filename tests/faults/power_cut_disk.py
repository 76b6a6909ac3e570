"""A disk whose power can be cut: a filesystem in an image file, mounted by a loop device, and copied as it stands.

What the filesystem wrote to its device is in the image, and so in the copy; what it still keeps in memory is not. That
is what a power cut leaves of a disk that loses nothing that it was given.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
MAKE: Final[Mapping[str, tuple[int, Sequence[str]]]] = {
    "ext4": (64 * MIB, ("mkfs.ext4", "-q")),
    "xfs": (300 * MIB, ("mkfs.xfs", "-q")),
    "btrfs": (128 * MIB, ("mkfs.btrfs", "-q")),
}
"""Size (of a sparse file) and how to make a filesystem in it."""
_ATTEMPTS: Final = 100
_NEW_MOUNTS: Final = 0x0002_0000
_WRITES, _IN_FLIGHT = 4, 8
"""Fields of a block device's ``stat``."""


class PowerCutDisk:
    """A new filesystem below ``place``; :attr:`path` is where it gets mounted."""

    def __init__(self, kind: str, place: Path) -> None:
        size, command = MAKE[kind]
        self.path = place / "disk"
        self.path.mkdir()
        self.image = place / f"{kind}.img"
        with self.image.open("wb") as image:
            image.truncate(size)
        subprocess.run([*command, str(self.image)], check=True, stdout=subprocess.DEVNULL)
        self._statistics = Path("/dev/null")

    @contextmanager
    def mounted(self, image: Path | None = None) -> Iterator[None]:
        """Mount it, or a copy of it, at its place; the loop device is given back with the unmount."""
        subprocess.run(["mount", "-o", "loop", str(image or self.image), str(self.path)], check=True)
        try:
            source = subprocess.run(
                ["findmnt", "-n", "-o", "SOURCE", str(self.path)], check=True, capture_output=True, text=True
            ).stdout.strip()
            self._statistics = Path("/sys/block") / Path(source).name / "stat"
            yield
        finally:
            subprocess.run(["umount", str(self.path)], check=True)

    def copy(self, to: Path) -> None:
        """Copy the image as it is at one instant, while it is mounted."""
        for _ in range(_ATTEMPTS):
            before = self._written()
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(self.image), str(to)], check=True)
            if self._written() == before:
                return
        raise AssertionError("something writes to the disk all the time")

    def _written(self) -> tuple[str, str]:
        """How many writes the device has carried out, and how many it is at."""
        fields = self._statistics.read_text().split()
        return fields[_WRITES], fields[_IN_FLIGHT]


def with_mounts_of_its_own(work: Callable[[], None], trouble: Path) -> None:
    """Do something in a forked process whose mounts nobody else has: no container's start holds on to them.

    Args:
        trouble: a file for what the work raises.

    Raises:
        AssertionError: with what the work raised.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS)
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the parent tells it; nothing of the test runner may run on in this process
            trouble.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    try:
        status = os.waitpid(pid, 0)[1]
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    if status:
        raise AssertionError(trouble.read_text() if trouble.exists() else f"the process ended with {status}")
