"""What a running engine job may say and must ask: progress out, cancellation in."""

from __future__ import annotations

from typing import Protocol

from holdfast.domain.operation import Progress


class Job(Protocol):
    """Handed to every long-running engine function.

    Implementations rate-limit ``progress`` themselves; callers may report after every file.
    """

    def progress(self, progress: Progress) -> None:
        """Report how far the present step is."""

    def check(self) -> None:
        """Raise :class:`holdfast.domain.errors.Cancelled` if somebody cancelled."""


class QuietJob:
    """A job that nobody watches and nobody cancels."""

    def progress(self, progress: Progress) -> None:
        """Nobody watches."""

    def check(self) -> None:
        """Nobody cancels."""
