"""The blob-store port: named, immutable objects, on a directory or on object storage.

What a repository keeps is kept here: ``repository.json``, ``packs/…``, ``manifests/…``, ``condemned/…``. A blob's name
is one component, or a folder and one component; both are lower-case ASCII letters, digits, ``.``, ``_`` and ``-``, and
begin with a letter or a digit. Nothing else goes in, and nothing else that may lie in the store comes out.

Invariants, which ``tests/contract/blob_store.py`` holds every adapter to:

- A blob is there whole, or not at all: also after a crash, a full disk, a broken connection. When :meth:`BlobStore.put`
  or :meth:`BlobStore.create` returns, it is durable.
- After an error of ``put`` or ``create`` the blob may be there, whole, or not (the error may have hit the
  confirmation). Of a replaced one, the old or the new content is there.
- What is read is what was asked for, to the byte, or an error. Memory is bounded by what the caller allows.

Errors, the same from every adapter, all of them ``HoldfastError``:

==============  ==============================  ==========================================================
class           code                            when
==============  ==============================  ==========================================================
NotFound        ``blob_missing``                get, get_range: there is no such blob
Conflict        ``blob_exists``                 create: there is one already; it was not touched
Damaged         ``blob_truncated``              get_range: the blob ends before the range does
Damaged         ``blob_too_large``              get: the blob has more bytes than the caller allows
InvalidInput    ``blob_name_malformed``         any: the name is none; nothing was done
NoSpace         ``no_space``                    the store is full
Failed          see ``engine/os_errors.py``     a directory's file system refused
Failed          ``blob_store_…``                a remote store refused (access, no such bucket)
Unavailable     ``blob_store_…``                a remote store does not answer, or not in time, or brokenly
==============  ==============================  ==========================================================
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeAlias

from holdfast.domain.errors import Conflict, Damaged, InvalidInput, NotFound

Piece: TypeAlias = bytes | memoryview
"""A part of a blob's content; memoryviews are of bytes and contiguous."""

_MAX_OFFSET: Final = (1 << 63) - 1
_COMPONENT: Final = re.compile(r"[0-9a-z][0-9a-z._-]{0,127}", re.ASCII)
_STEP: Final = "Check the disk or the storage, and what else writes there; then verify the repository."


class BlobInfo(NamedTuple):
    """A blob as listed: its full name, and its size in bytes."""

    name: str
    size: int


class BlobStore(ABC):
    """Keeps blobs. Public methods check names and are the same for all; adapters implement those with an underscore.

    Synchronous, and safe to use from several threads and processes at once. Every method raises ``HoldfastError``
    subclasses only, as the module's table says. :meth:`close` it, or use it as a context manager.
    """

    def put(self, name: str, pieces: Sequence[Piece]) -> None:
        """Store a blob, whole and durable, replacing what is there.

        Args:
            pieces: its content, in parts, so that nobody has to copy them together.
        """
        _check_name(name)
        self._put(name, pieces)

    def create(self, name: str, pieces: Sequence[Piece]) -> None:
        """Store a blob, whole and durable, if there is none of that name.

        Of several who create the same name at once, one succeeds. An adapter that has to send again after a lost
        answer takes a blob of exactly this content for its own: put something unique into it.

        Raises:
            Conflict: ``blob_exists``.
        """
        _check_name(name)
        self._create(name, pieces)

    def get(self, name: str, *, limit: int) -> bytes:
        """A whole blob.

        Args:
            limit: the most bytes that it may have.

        Raises:
            NotFound: ``blob_missing``.
            Damaged: ``blob_too_large``.
        """
        _check_name(name)
        return self._get(name, limit)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.

        Raises:
            NotFound: ``blob_missing``.
            Damaged: ``blob_truncated``; before anything is allocated or sent.
        """
        _check_name(name)
        if offset < 0 or length < 0 or offset + length > _MAX_OFFSET:
            raise truncated(name, offset, length)
        return self._get_range(name, offset, length)

    def list_blobs(self, folder: str) -> list[BlobInfo]:
        """The blobs of one folder, by name; empty if there is no such folder.

        Args:
            folder: ``packs``; or the empty text for the blobs that are in none.
        """
        if folder:
            _check_component(folder)
        return sorted(self._list(folder))

    def delete(self, names: Sequence[str]) -> None:
        """Delete blobs, durably once it returns. Missing ones are fine; after an error some may be left."""
        for name in names:
            _check_name(name)
        if names:
            self._delete(names)

    def flush(self, folder: str) -> None:
        """Make durable that the blobs of a folder are there, those too whose writer died before it could."""
        _check_component(folder)
        self._flush(folder)

    def clean_temporary(self) -> Sequence[str]:
        """Remove what interrupted writes left, and return its names. Only while nobody else writes to the store."""
        return self._clean_temporary()

    def close(self) -> None:
        """Let go of descriptors and connections. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _put(self, name: str, pieces: Sequence[Piece]) -> None: ...

    @abstractmethod
    def _create(self, name: str, pieces: Sequence[Piece]) -> None: ...

    @abstractmethod
    def _get(self, name: str, limit: int) -> bytes: ...

    @abstractmethod
    def _get_range(self, name: str, offset: int, length: int) -> bytes: ...

    @abstractmethod
    def _list(self, folder: str) -> list[BlobInfo]: ...

    @abstractmethod
    def _delete(self, names: Sequence[str]) -> None: ...

    @abstractmethod
    def _flush(self, folder: str) -> None: ...

    @abstractmethod
    def _clean_temporary(self) -> Sequence[str]: ...

    @abstractmethod
    def _close(self) -> None: ...


# --- for adapters ------------------------------------------------------------------------------------------------


def is_component(text: str) -> bool:
    """Whether ``text`` may be a folder, or the last part of a blob's name."""
    return _COMPONENT.fullmatch(text) is not None


def missing(name: str) -> NotFound:
    """There is no such blob."""
    return NotFound(
        "blob_missing",
        f"The repository has no {name}.",
        next_step="If it was not deleted on purpose, verify the repository: that names what is affected.",
        details={"blob": name},
    )


def exists(name: str) -> Conflict:
    """A blob that was to be created is there already."""
    return Conflict(
        "blob_exists",
        f"The repository has {name} already; it was left as it is.",
        next_step="Try again; if it stays so, check whether another Holdfast writes to this repository.",
        details={"blob": name},
    )


def truncated(name: str, offset: int, length: int) -> Damaged:
    """A blob ends before the range that was asked for."""
    return Damaged(
        "blob_truncated",
        f"{name} is cut off: it has not the {length} bytes from {offset} on that it should have.",
        next_step=_STEP,
        details={"blob": name, "offset": offset, "length": length},
    )


def too_large(name: str, limit: int) -> Damaged:
    """A blob is larger than anything that belongs under its name."""
    return Damaged(
        "blob_too_large",
        f"{name} has more than the {limit} bytes that it may have.",
        next_step=_STEP,
        details={"blob": name, "limit": limit},
    )


def _check_name(name: str) -> None:
    parts = name.split("/")
    if len(parts) > 2:
        raise _malformed(name)
    for part in parts:
        _check_component(part)


def _check_component(text: str) -> None:
    if not is_component(text):
        raise _malformed(text)


def _malformed(name: str) -> InvalidInput:
    return InvalidInput(
        "blob_name_malformed",
        f"{name[:100]!r} can't be the name of anything in a repository.",
        next_step="Nothing was done. Use the names that the repository lists.",
    )
