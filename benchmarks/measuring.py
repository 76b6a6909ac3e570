"""What a command takes: seconds, processor seconds, peak memory; and the state of the machine that it ran on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CHILD: Final = Path(__file__).with_name("child.py")
_DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one command took.

    Attributes:
        seconds: on the wall's clock.
        cpu: user and system together, of the command and all that it started.
        peak: bytes of memory that the largest of its processes had at once.
    """

    seconds: float
    cpu: float
    peak: int


def run(script: str, variables: Mapping[str, str]) -> Usage:
    """Run a shell script.

    Args:
        variables: beside the environment's own.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    reading, writing = os.pipe()
    try:
        result = subprocess.run(
            [sys.executable, "-I", "-S", _CHILD, str(writing), "sh", "-ec", script],
            env={**os.environ, **variables},
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if result.returncode:
            printed = result.stdout.decode("utf-8", "backslashreplace")
            raise RuntimeError(f"`{script}` ended with {result.returncode}: {printed[-2000:]}")
        seconds, user, system, peak = os.read(reading, 200).split()
    finally:
        os.close(reading)
        os.close(writing)
    return Usage(seconds=float(seconds), cpu=float(user) + float(system), peak=int(peak))


def settle() -> None:
    """Have everything written so far on the disk, so that the next command doesn't pay for the one before."""
    os.sync()


def drop_caches() -> bool:
    """Forget what the kernel has read: the next command reads from the disk. ``False`` if that is not allowed."""
    settle()
    try:
        _DROP_CACHES.write_text("3")
    except OSError:
        return False
    return True


def load() -> str:
    """The load averages, as the machine tells them."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def machine(directory: Path) -> dict[str, str]:
    """What is measured on; ``directory`` is where."""
    return {
        "kernel": platform.release(),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB",
        "filesystem": said(["findmnt", "-no", "FSTYPE", "-T", str(directory)]),
        "python": platform.python_version(),
    }


def said(command: Sequence[str]) -> str:
    """The first line that a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[0]


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{os.cpu_count()} × {name}"


def disk_bytes(directory: Path, *, without: str = "") -> int:
    """What a directory takes on the disk; ``without`` one of its subdirectories."""
    total = 0
    for root, subdirectories, names in os.walk(directory):
        if Path(root) == directory and without in subdirectories:
            subdirectories.remove(without)
        total += sum(os.lstat(f"{root}/{name}").st_blocks * 512 for name in (*names, *subdirectories))
    return total
