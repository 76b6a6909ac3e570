"""Cuts file data into chunks where the data itself says so (FastCDC), so that an insertion moves no other boundary.

Parameters are part of the repository's format only in so far as they decide what is found again: a reader needs none of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pyfastcdc import FastCDC

WHOLE_BYTES: Final = 256 << 10
"""Files with up to this much data are one chunk."""
MIN_BYTES: Final = 64 << 10
AVERAGE_BYTES: Final = 256 << 10
MAX_BYTES: Final = 1 << 20

_WINDOW_BYTES: Final = 8 << 20


class Chunker:
    """Cuts streams of bytes. Holds no state between streams."""

    def __init__(self) -> None:
        self._cdc = FastCDC(avg_size=AVERAGE_BYTES, min_size=MIN_BYTES, max_size=MAX_BYTES)

    def cut(self, pieces: Iterable[bytes]) -> Iterator[memoryview]:
        """The chunks of the concatenation of ``pieces``. The views stay valid and unchanged.

        Memory is one window of eight mebibytes, and whatever of the views the caller keeps.
        """
        window: list[bytes | memoryview] = []
        size = 0
        for piece in pieces:
            window.append(piece)
            size += len(piece)
            if size >= _WINDOW_BYTES:
                data = memoryview(b"".join(window))
                position = 0
                for length in self._lengths(data):
                    # The last of them ends with the window, not where the data says.
                    if position + length == size:
                        break
                    yield data[position : position + length]
                    position += length
                window, size = [data[position:]], size - position
        if size:
            data = memoryview(b"".join(window))
            position = 0
            for length in self._lengths(data):
                yield data[position : position + length]
                position += length

    def _lengths(self, data: memoryview) -> list[int]:
        return [chunk.length for chunk in self._cdc.cut_buf(data)]
