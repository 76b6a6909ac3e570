"""How containers end that were told to stop, and what is said of those that did not end well.

A program that was killed leaves what it had written until then: a snapshot of that is whole, and may still hold data
that the program has to repair. So it is said, by the operation that stopped it and by the snapshot that was taken then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.told import Told, told
from holdfast.domain.units import format_duration

KILLED_CODE: Final = 137
"""128 + SIGKILL: how a container ends whose process was killed, by whomever."""

CLEAN_CODES: Final = frozenset({0, 129, 130, 143})
"""Ended well, or by HUP, INT or TERM: the default of a program that does no more when it is told to end. As systemd
sees it (``SuccessExitStatus`` in systemd.service(5))."""


class UncleanEnd(StrEnum):
    """What was wrong with how a container ended."""

    KILLED = "killed"
    """Its grace was over."""
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"
    """It ended with an exit code that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncleanStop:
    """A container that was told to stop and did not end well.

    Attributes:
        container: its name.
        grace_seconds: how long it had to end by itself.
    """

    container: str
    end: UncleanEnd
    exit_code: int
    grace_seconds: float

    @property
    def brief(self) -> str:
        """In a few words: ``killed after 10 s``."""
        match self.end:
            case UncleanEnd.KILLED:
                return f"killed after {format_duration(self.grace_seconds)}"
            case UncleanEnd.OUT_OF_MEMORY:
                return "killed for want of memory"
            case UncleanEnd.FAILED:
                return f"exit code {self.exit_code}"

    @property
    def words(self) -> str:
        """In a sentence without its full stop."""
        return self.told.message

    @property
    def told(self) -> Told:
        """In a sentence without its full stop."""
        match self.end:
            case UncleanEnd.KILLED:
                return told(
                    "stopped_killed",
                    "{container} did not end within its grace of {grace_seconds} and was killed",
                    container=self.container,
                    grace_seconds=self.grace_seconds,
                )
            case UncleanEnd.OUT_OF_MEMORY:
                return told(
                    "stopped_out_of_memory",
                    "{container} was killed for want of memory while it was being stopped",
                    container=self.container,
                )
            case UncleanEnd.FAILED:
                return told(
                    "stopped_failed",
                    "{container} ended with exit code {exit_code}",
                    container=self.container,
                    exit_code=self.exit_code,
                )


def unclean_end(exit_code: int, *, outlasted: bool, out_of_memory: bool) -> UncleanEnd | None:
    """What was wrong with the end of a container that was told to stop; ``None`` if nothing was.

    Args:
        outlasted: it was still there when its grace was over.
        out_of_memory: the kernel killed a process of it for want of memory.
    """
    if exit_code in CLEAN_CODES:
        return None
    if exit_code == KILLED_CODE and outlasted:
        return UncleanEnd.KILLED
    if exit_code == KILLED_CODE and out_of_memory:
        return UncleanEnd.OUT_OF_MEMORY
    return UncleanEnd.FAILED
