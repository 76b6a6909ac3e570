"""What a process and all that it started use of the machine, read from /proc."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Use:
    """What processes have used.

    Attributes:
        cpu: seconds, user and system, of those that run and of those that have ended and were waited for.
        resident: bytes that those that run hold in memory; what they share counts for each.
    """

    cpu: float
    resident: int


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of ``/proc/PID/stat``; see proc(5)."""

    pid: int
    parent: int
    cpu: float
    resident: int

    @staticmethod
    def read(line: str) -> Stat:
        """Of a line. The name in it is in brackets, and may hold anything."""
        pid, _, rest = line.partition(" (")
        fields = rest.rpartition(") ")[2].split()
        ticks = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
        return Stat(pid=int(pid), parent=int(fields[1]), cpu=ticks * _TICK, resident=int(fields[21]) * _PAGE)


def use_of(pid: int) -> Use:
    """Of a process and of all below it."""
    return together(pid, _stats())


def together(pid: int, stats: list[Stat]) -> Use:
    """Of a process and of all below it, by what is known of all."""
    found, cpu, resident = {pid}, 0.0, 0
    while more := {stat.pid for stat in stats if stat.parent in found} - found:
        found |= more
    for stat in stats:
        if stat.pid in found:
            cpu, resident = cpu + stat.cpu, resident + stat.resident
    return Use(cpu=cpu, resident=resident)


def _stats() -> list[Stat]:
    stats = []
    for process in _PROC.iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                stats.append(Stat.read((process / "stat").read_text()))
    return stats
