"""Blob stores that count what is asked of them, and break at any one call."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from holdfast.domain.errors import Unavailable
from holdfast.engine.repository.blobs import BlobInfo, BlobStore, Piece


class Killed(BaseException):
    """The process dies here; nothing can handle it."""


def lost() -> Unavailable:
    """The storage does not answer any more."""
    return Unavailable("blob_store_unreachable", "The storage can't be reached.", next_step="Wait.")


class FaultyBlobs(BlobStore):
    """Passes on to ``inner``.

    Args:
        at: the call from which on nothing works, counted from 1; 0 for none.
        error: what is raised then.
        done: whether that very call is still carried out, and only its answer lost.

    Attributes:
        calls: every call so far: what, and of which blob.
        sent: bytes that were sent, by blob.
        stored: set once there is one.
    """

    def __init__(
        self, inner: BlobStore, at: int = 0, error: BaseException | None = None, *, done: bool = False
    ) -> None:
        self._inner, self._at, self._error, self._done_first = inner, at, error or lost(), done
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []
        self.sent: dict[str, int] = {}
        self.stored = threading.Event()

    def _breaks(self, what: str, name: str) -> bool:
        """Whether this call breaks after it was carried out. Raises if it breaks before."""
        with self._lock:
            self.calls.append((what, name))
            number = len(self.calls)
        if not self._at or number < self._at:
            return False
        if number == self._at and self._done_first:
            return True
        raise self._error

    def _put(self, name: str, pieces: Sequence[Piece]) -> None:
        broken = self._breaks("put", name)
        self._inner.put(name, pieces)
        self.sent[name] = sum(map(len, pieces))
        self.stored.set()
        if broken:
            raise self._error

    def _create(self, name: str, pieces: Sequence[Piece]) -> None:
        broken = self._breaks("create", name)
        self._inner.create(name, pieces)
        self.sent[name] = sum(map(len, pieces))
        self.stored.set()
        if broken:
            raise self._error

    def _delete(self, names: Sequence[str]) -> None:
        broken = self._breaks("delete", names[0])
        self._inner.delete(names)
        if broken:
            raise self._error

    def _get(self, name: str, limit: int) -> bytes:
        if self._breaks("get", name):
            raise self._error
        return self._inner.get(name, limit=limit)

    def _get_range(self, name: str, offset: int, length: int) -> bytes:
        if self._breaks("get_range", name):
            raise self._error
        return self._inner.get_range(name, offset, length)

    def _list(self, folder: str) -> list[BlobInfo]:
        if self._breaks("list", folder):
            raise self._error
        return self._inner.list_blobs(folder)

    def _flush(self, folder: str) -> None:
        self._inner.flush(folder)

    def _clean_temporary(self) -> Sequence[str]:
        return self._inner.clean_temporary()

    def _close(self) -> None:
        """The inner one is opened again and again."""
