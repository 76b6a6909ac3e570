"""Blobs in an object store: S3, or whatever else speaks it; in memory for tests.

Everything is asked of the store by requests that may be sent again: the library's own retries are off, and what passes
(no connection, no answer in time, overload, a broken answer) is tried again here, a bounded number of times, by one
rule for all of it.

Invariants beside the port's:

- An answer is used when it is whole: as many bytes as were announced and asked for. Whether they are the right ones
  is for the reader to check: everything in a repository has a hash, a MAC or a seal.
- A listing is believed when it reaches :data:`SENTINEL`, which sorts after all folders, or when that is not there. The
  library takes any page of HTML or XML with status 200 for the end of a list; what is not listed would be deleted.
- A blob that was created, while the answer got lost, is recognised by its content, and is no conflict.
- What the store does not confirm was not stored.

A directory is for ``PosixBlobs``: the library's own local store does not flush what it writes.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import MemoryStore, ObjectStore

from holdfast.domain.errors import HoldfastError
from holdfast.engine.repository.blobs import (
    BlobInfo,
    BlobStore,
    Piece,
    exists,
    is_component,
    missing,
    too_large,
    truncated,
)
from holdfast.engine.repository.object_troubles import Kind, Trouble, TroubleError, error_of, trouble_of

SENTINEL: Final = "repository.json"
"""The blob that every repository has."""

_SINGLE_PUT: Final = 64 * 1024 * 1024
"""Up to here a blob is sent in one request, which leaves nothing behind if it fails. Packs are smaller."""
_PART: Final = 16 * 1024 * 1024
_PAGE: Final = 1000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a store is waited for. Seconds.

    Attributes:
        connect: for a connection.
        silence: for the next byte of an answer.
        request: for a whole request: with a blob of 24 MiB, this is what the slowest line must manage.
        attempts: how often a request is tried in all.
        pause: after the first failed attempt; doubled after each further one.
        longest_pause: what the pause grows to.
        give_up: no attempt begins later than this after the first one.
    """

    connect: float = 10.0
    silence: float = 30.0
    request: float = 300.0
    attempts: int = 6
    pause: float = 0.5
    longest_pause: float = 15.0
    give_up: float = 300.0

    @classmethod
    def of_a_person(cls) -> Patience:
        """Where somebody waits for the answer."""
        return cls(connect=5.0, silence=10.0, request=20.0, attempts=2, give_up=15.0)


class ObjectBlobs(BlobStore):
    """Blobs in an object store.

    Args:
        reading: the store, for requests whose answers are what takes long.
        writing: the same one, for requests that send much.
        where: the store in words, for messages.
        sleep: pauses between attempts.
        pace: is told how many bytes are about to be sent, before every attempt, and returns when they may be.
    """

    def __init__(
        self,
        *,
        reading: ObjectStore,
        writing: ObjectStore,
        where: str,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        pace: Callable[[int], object] | None = None,
    ) -> None:
        self._reading, self._writing, self._where = reading, writing, where
        self._pace = pace or (lambda _size: None)
        self._patience, self._sleep = patience or Patience(), sleep

    @classmethod
    def in_memory(cls) -> ObjectBlobs:
        """A store that is gone with the process: for tests."""
        store = MemoryStore()
        return cls(reading=store, writing=store, where="The store in memory")

    def _close(self) -> None:
        """Connections are the library's; it closes the idle ones."""

    # --- writing -------------------------------------------------------------------------------------------------

    def _put(self, name: str, pieces: Sequence[Piece]) -> None:
        content = [piece for piece in pieces if len(piece)]
        size = sum(map(len, content))

        def attempt() -> None:
            self._pace(size)
            # One part at a time: the line is what limits, and no two parts then share the time that each has.
            large = size > _SINGLE_PUT
            obstore.put(self._writing, name, content, use_multipart=large, chunk_size=_PART, max_concurrency=1)

        self._tried(f"writing {name}", attempt)

    def _create(self, name: str, pieces: Sequence[Piece]) -> None:
        content = [piece for piece in pieces if len(piece)]
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            self._pace(sum(map(len, content)))
            try:
                obstore.put(self._writing, name, content, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                self._settle(name, content, error, maybe_ours=attempts > 1)

        self._tried(f"writing {name}", attempt)

    def _settle(self, name: str, content: Sequence[Piece], error: AlreadyExistsError, *, maybe_ours: bool) -> None:
        """The store says that the blob is there: by an earlier attempt of ours, by somebody else, or not at all."""
        size = sum(map(len, content))
        try:
            there = obstore.get(self._reading, name)
            ours = maybe_ours and there.meta["size"] == size and self._whole(there) == b"".join(content)
        except FileNotFoundError:
            # S3 answers 409 to a creation that crossed a deletion, and the library says the same as for 412.
            raise TroubleError(Kind.BUSY, "somebody else was writing the same") from error
        if not ours:
            raise exists(name) from error

    def _delete(self, names: Sequence[str]) -> None:
        self._tried(f"deleting {len(names)} blobs", lambda: obstore.delete(self._writing, list(dict.fromkeys(names))))

    def _flush(self, folder: str) -> None:
        """Nothing: what is in a bucket is durable."""

    def _clean_temporary(self) -> Sequence[str]:
        """Nothing: no half blob shows. Parts of large ones that were cut off expire by the bucket's own rules."""
        return ()

    # --- reading -------------------------------------------------------------------------------------------------

    def _get(self, name: str, limit: int) -> bytes:
        def attempt() -> bytes:
            answer = obstore.get(self._reading, name)
            if answer.meta["size"] > limit:
                raise too_large(name, limit)
            return self._whole(answer)

        return self._tried(f"reading {name}", attempt, name=name)

    def _get_range(self, name: str, offset: int, length: int) -> bytes:
        if not length:
            return self._nothing(name, offset)

        def attempt() -> bytes:
            answer = obstore.get(self._reading, name, options={"range": (offset, offset + length)})
            if answer.range != (offset, offset + length):
                raise truncated(name, offset, length)
            return self._whole(answer)

        return self._tried(f"reading {name}", attempt, name=name, span=(offset, length))

    def _nothing(self, name: str, offset: int) -> bytes:
        """An empty range, which can't be asked for."""
        facts = self._tried(f"looking at {name}", lambda: obstore.head(self._reading, name), name=name)
        if offset > facts["size"]:
            raise truncated(name, offset, 0)
        return b""

    def _whole(self, answer: obstore.GetResult) -> bytes:
        if answer.meta["e_tag"] is None:
            raise TroubleError(Kind.CUT_OFF, "an answer that is no object store's")
        start, end = answer.range
        data = bytes(answer.bytes())
        if len(data) != end - start:
            raise TroubleError(Kind.CUT_OFF, "an answer that ends early")
        return data

    def _list(self, folder: str) -> list[BlobInfo]:
        if not folder:
            return self._tried("listing the repository", self._list_root)
        return self._tried(f"listing {folder}", lambda: self._list_folder(folder))

    def _list_folder(self, folder: str) -> list[BlobInfo]:
        """From the folder's first blob to the first one that sorts after all of it, which proves it whole."""
        prefix, found, last = f"{folder}/", list[BlobInfo](), ""
        for page in obstore.list(self._reading, offset=folder, chunk_size=_PAGE):
            for each in page:
                path = each["path"]
                if path <= last:
                    raise TroubleError(Kind.REFUSED, "it lists in no order, which no S3 does")
                last = path
                if path.startswith(prefix):
                    if is_component(path.removeprefix(prefix)):
                        found.append(BlobInfo(path, each["size"]))
                elif path > prefix:
                    return found
        self._expect_no_sentinel()
        return found

    def _list_root(self) -> list[BlobInfo]:
        objects = obstore.list_with_delimiter(self._reading)["objects"]
        found = [BlobInfo(each["path"], each["size"]) for each in objects if is_component(each["path"])]
        if all(info.name != SENTINEL for info in found):
            self._expect_no_sentinel()
        return found

    def _expect_no_sentinel(self) -> None:
        """A listing ended without the sentinel: so there must be none, or something of it is missing."""
        try:
            obstore.head(self._reading, SENTINEL)
        except FileNotFoundError:
            return
        raise TroubleError(Kind.CUT_OFF, "a list that is not whole")

    # --- trying --------------------------------------------------------------------------------------------------

    def _tried(
        self, doing: str, attempt: Callable[[], _T], *, name: str | None = None, span: tuple[int, int] | None = None
    ) -> _T:
        """The result of ``attempt``, made as often as makes sense.

        Args:
            name: the blob that is asked for, if it is one that may be missing.
            span: offset and length of the range that is asked for.
        """
        patience, begun, attempts = self._patience, time.monotonic(), 0
        while True:
            attempts += 1
            try:
                return attempt()
            except HoldfastError:
                raise
            except (BaseError, TroubleError, OSError, ValueError) as error:
                trouble = trouble_of(error)
                spent = attempts >= patience.attempts or time.monotonic() - begun >= patience.give_up
                if not trouble.passing or spent:
                    raise self._error(trouble, doing, attempts, name, span) from error
            pause = min(patience.pause * 2 ** (attempts - 1), patience.longest_pause)
            self._sleep(pause * (0.5 + secrets.randbelow(512) / 1024))

    def _error(
        self, trouble: Trouble, doing: str, attempts: int, name: str | None, span: tuple[int, int] | None
    ) -> HoldfastError:
        if trouble.kind is Kind.MISSING and name is not None:
            return missing(name)
        if trouble.kind is Kind.NO_SUCH_RANGE and name is not None and span is not None:
            return truncated(name, *span)
        if trouble.kind is Kind.MISSING:
            return error_of(trouble._replace(kind=Kind.BUCKET_MISSING), self._where, doing, attempts)
        return error_of(trouble, self._where, doing, attempts)
