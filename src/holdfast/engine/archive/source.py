"""The uncompressed tar stream of an archive file, in bounded pieces.

Invariants: never more than one piece of output is in memory, whatever the compression ratio; exactly one gzip member or
zstd frame is read; a file that ends inside of it is ``archive_truncated``, and one that goes on after it is
``archive_trailing_data`` (gzip's zero padding excepted, zstd has none).
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import IO, Final, Protocol, cast

import zstandard
from blake3 import blake3

from holdfast.domain.errors import Refused
from holdfast.domain.snapshot import Content
from holdfast.engine.archive.problems import corrupt, refused, truncated
from holdfast.engine.archive.zstd_frame import MAGIC as ZSTD_MAGIC
from holdfast.engine.archive.zstd_frame import FrameWalk
from holdfast.engine.fs import Fs

PIECE_BYTES: Final = 1024 * 1024

_INPUT_BYTES: Final = 128 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_MAX_WINDOW: Final = 128 * 1024 * 1024


class Compression(StrEnum):
    """How an archive is compressed; the value is its file's suffix."""

    ZSTD = ".tar.zst"
    GZIP = ".tar.gz"


class Source(Protocol):
    """A decompressor on a file."""

    @property
    def consumed(self) -> int:
        """Compressed bytes read so far."""

    def read(self) -> bytes:
        """The next piece, at most :data:`PIECE_BYTES`; empty at the end.

        Raises:
            Damaged: ``archive_truncated``, ``archive_corrupt``.
            Refused: ``archive_trailing_data``.
        """


def _trailing() -> Refused:
    return refused(
        "archive_trailing_data",
        "The file goes on after the end of the archive. Several archives or frames in one file are not supported.",
        next_step="Nothing was changed. Decompress it and compress it again as one, then import that.",
    )


def recognise(start: bytes) -> Compression:
    """The compression that a file's first bytes state.

    Raises:
        Refused: ``archive_not_recognised``.
    """
    if start.startswith(ZSTD_MAGIC):
        return Compression.ZSTD
    if start.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    raise refused(
        "archive_not_recognised",
        "The file is neither a zstd nor a gzip archive.",
        next_step="Nothing was changed. Import a .tar.zst or .tar.gz file; compress a plain .tar with zstd first.",
    )


class _ZstdInput:
    """What the library reads from: the frame and nothing beyond it."""

    def __init__(self, fs: Fs, fd: int) -> None:
        self._fs, self._fd = fs, fd
        self.walk = FrameWalk()
        self.consumed = 0
        self.more = False

    def read(self, size: int) -> bytes:
        if self.walk.complete:
            return b""
        data = self._fs.read(self._fd, size)
        length = self.walk.feed(data)
        self.consumed += length
        self.more = length < len(data)
        return data[:length]

    def goes_on(self) -> bool:
        return self.more or bool(self._fs.read(self._fd, 1))


class ZstdSource:
    """One zstd frame."""

    def __init__(self, fs: Fs, fd: int) -> None:
        self._input = _ZstdInput(fs, fd)
        # The library asks for no more of a file than read(), which its type stubs don't know.
        self._reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
            cast("IO[bytes]", self._input), read_size=_INPUT_BYTES, closefd=False
        )

    @property
    def consumed(self) -> int:
        """Compressed bytes read so far."""
        return self._input.consumed

    def read(self) -> bytes:
        """See :class:`Source`."""
        try:
            piece = self._reader.read(PIECE_BYTES)
        except zstandard.ZstdError as error:
            raise corrupt(f"The archive can't be decompressed: {error}.") from error
        if not piece:
            if not self._input.walk.complete:
                raise truncated("The archive ends in the middle of its compressed data.")
            if self._input.goes_on():
                raise _trailing()
        return piece


class GzipSource:
    """One gzip member."""

    def __init__(self, fs: Fs, fd: int) -> None:
        self._fs, self._fd = fs, fd
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self.consumed = 0

    def read(self) -> bytes:
        """See :class:`Source`."""
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._next()
            try:
                piece = self._inflate.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise corrupt(f"The archive can't be decompressed: {error}.") from error
            if piece:
                return piece
            if not data:
                raise truncated("The archive ends in the middle of its compressed data.")
        self._expect_padding()
        return b""

    def _next(self) -> bytes:
        data = self._fs.read(self._fd, _INPUT_BYTES)
        self.consumed += len(data)
        return data

    def _expect_padding(self) -> None:
        rest = self._inflate.unused_data
        while rest:
            if rest.strip(b"\0"):
                raise _trailing()
            rest = self._next()


def open_source(fs: Fs, fd: int) -> tuple[Compression, Source]:
    """A decompressor on the file ``fd``, which stays the caller's and is read from its start.

    Raises:
        Refused: ``archive_not_recognised``.
    """
    compression = recognise(fs.pread(fd, len(ZSTD_MAGIC), 0))
    return compression, ZstdSource(fs, fd) if compression is Compression.ZSTD else GzipSource(fs, fd)


class Pulse(Protocol):
    """Called for every piece that is decompressed: the place for limits, cancellation and progress."""

    def __call__(self, consumed: int, produced: int) -> None:
        """Totals since the start, in bytes."""


class TarStream:
    """Reads exact lengths off a source and hashes what was read.

    Hashing lags behind reading, so that it works on large pieces; a mark keeps the digest of an earlier place
    available.

    Attributes:
        offset: bytes of the uncompressed stream that were taken so far.
        mark_offset: the offset of the mark.
    """

    def __init__(self, source: Source, pulse: Pulse) -> None:
        self._source, self._pulse = source, pulse
        self._piece = b""
        self._position = 0
        self._hashed = 0
        self._produced = 0
        self._hasher = blake3()
        self._mark = 0
        self._mark_digest: str | None = None
        self.offset = 0
        self.mark_offset = 0

    def mark(self) -> None:
        """Remember this place for :meth:`digest_at_mark`; forgets the one before."""
        self._mark, self._mark_digest, self.mark_offset = self._position, None, self.offset

    def content_at_mark(self) -> Content:
        """The stream's length and digest up to the mark."""
        return Content(bytes=self.mark_offset, blake3=self._digest_at_mark())

    def _digest_at_mark(self) -> str:
        if self._mark_digest is None:
            self._hash_to(self._mark)
            self._mark_digest = self._hasher.hexdigest()
        return self._mark_digest

    def _hash_to(self, position: int) -> None:
        self._hasher.update(memoryview(self._piece)[self._hashed : position])
        self._hashed = position

    def _next_piece(self) -> None:
        self._digest_at_mark()
        self._hash_to(len(self._piece))
        self._piece, self._position, self._hashed = self._source.read(), 0, 0
        self._produced += len(self._piece)
        self._pulse(self._source.consumed, self._produced)

    def some(self, limit: int) -> bytes:
        """Between 1 and ``limit`` bytes; empty at the end of the stream."""
        if self._position == len(self._piece):
            self._next_piece()
        start = self._position
        end = min(start + limit, len(self._piece))
        self._position = end
        self.offset += end - start
        return self._piece[start:end]

    def exactly(self, size: int) -> bytes:
        """``size`` bytes. The caller has bounded ``size``.

        Raises:
            Damaged: ``archive_truncated``.
        """
        data = self.some(size) if size else b""
        if len(data) == size:
            return data
        parts = [data]
        missing = size - len(data)
        while missing:
            if not parts[-1]:
                raise truncated("The archive ends in the middle of an entry.")
            parts.append(self.some(missing))
            missing -= len(parts[-1])
        return b"".join(parts)
