"""Snapshots that somebody is reading: they can't be deleted or pruned (I11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.domain.errors import Conflict


class SnapshotsInUse:
    """Counts the readers of each snapshot, with the words that explain a refusal."""

    def __init__(self) -> None:
        self._readers: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def hold(self, snapshot_id: str, why: str) -> Iterator[None]:
        """Keep a snapshot from being deleted.

        Args:
            why: who reads it: ``restore 01j…``.
        """
        self._readers[snapshot_id, why] += 1
        try:
            yield
        finally:
            self._readers[snapshot_id, why] -= 1
            if not self._readers[snapshot_id, why]:
                del self._readers[snapshot_id, why]

    def is_used(self, snapshot_id: str) -> bool:
        """Whether anybody reads it."""
        return any(reader == snapshot_id for reader, _ in self._readers)

    def check_free(self, snapshot_id: str) -> None:
        """Raises ``Conflict`` (``snapshot_in_use``) while anybody reads it."""
        for reader, why in self._readers:
            if reader == snapshot_id:
                raise Conflict(
                    "snapshot_in_use",
                    f"The snapshot is being used by {why}.",
                    next_step="Wait until that has ended, then try again.",
                    details={"snapshot_id": snapshot_id, "used_by": why},
                )
