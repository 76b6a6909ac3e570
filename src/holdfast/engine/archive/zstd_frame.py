"""Finds where a zstd frame ends, without decompressing it (RFC 8878, section 3.1.1).

The decompression library neither says whether a frame was complete nor what follows it; an archive that was cut short,
or that carries something after its end, would pass. So the frame's block headers are walked beside it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from holdfast.engine.archive.problems import corrupt

MAGIC: Final = b"\x28\xb5\x2f\xfd"

_CHECKSUM_FLAG: Final = 0x04
_SINGLE_SEGMENT_FLAG: Final = 0x20
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES: Final = (0, 2, 4, 8)
_RLE: Final = 1
_RESERVED: Final = 3
_MAX_EMPTY: Final = 64
"""Blocks without data one after the other. No program writes many, and a file of nothing else is read for hours."""


class FrameWalk:
    """Follows one frame through the pieces in which it arrives.

    Attributes:
        complete: whether the frame's last byte has been seen.
    """

    def __init__(self) -> None:
        self.complete = False
        self._header = b""
        self._steps = self._walk()
        self._missing, self._keep = next(self._steps)

    def feed(self, data: bytes) -> int:
        """How many leading bytes of ``data`` belong to the frame.

        Raises:
            Damaged: ``archive_corrupt``, this is no zstd frame.
        """
        position = 0
        while not self.complete and position < len(data):
            taken = min(self._missing, len(data) - position)
            if self._keep:
                self._header += data[position : position + taken]
            position += taken
            self._missing -= taken
            while not self._missing and not self.complete:
                self._advance()
        return position

    def _advance(self) -> None:
        header, self._header = self._header, b""
        try:
            self._missing, self._keep = self._steps.send(header)
        except StopIteration:
            self.complete = True

    @staticmethod
    def _walk() -> Generator[tuple[int, bool], bytes, None]:
        """Asks for the next so many bytes, and whether it wants to see them."""
        start = yield 5, True
        if start[:4] != MAGIC:
            raise corrupt("The archive is not what its first bytes say: the zstd frame has no magic number.")
        flags = start[4]
        single = bool(flags & _SINGLE_SEGMENT_FLAG)
        content_size = _CONTENT_SIZE_BYTES[flags >> 6] or (1 if single else 0)
        yield (0 if single else 1) + _DICTIONARY_BYTES[flags & 3] + content_size, False
        last, empty = False, 0
        while not last:
            header = int.from_bytes((yield 3, True), "little")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            if kind == _RESERVED:
                raise corrupt("The archive's zstd frame has a block of a type that does not exist.")
            empty = 0 if size else empty + 1
            if empty > _MAX_EMPTY:
                raise corrupt("The archive's zstd frame goes on without data.")
            yield 1 if kind == _RLE else size, False
        yield 4 if flags & _CHECKSUM_FLAG else 0, False
