"""Writes the content of one file: its data regions, one after the other, and its holes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.domain.errors import InvalidInput
from holdfast.engine.entries import Entry, display_path
from holdfast.engine.fs import Fs


def write_content(
    fs: Fs, fd: int, entry: Entry, data: Iterable[bytes | memoryview], count: Callable[[int], object]
) -> None:
    """Write a FILE's data to an empty file that stands at its beginning.

    Args:
        data: its data regions, concatenated, in pieces of any size.
        count: called with the bytes of each piece before it is written; what it raises ends the writing.

    Raises:
        InvalidInput: ``archive_size_disagrees``; more or less came than was announced.
        OSError: from the file system.
    """
    left = entry.data_bytes
    regions = iter(entry.extents or ())
    position = end = 0
    for piece in data:
        left -= len(piece)
        if left < 0:
            raise _wrong_size(entry)
        count(len(piece))
        if entry.extents is None:
            fs.write_all(fd, piece)
            continue
        rest = memoryview(piece)
        while rest:
            if position == end:
                position, length = next(regions)
                end = position + length
            part = rest[: end - position]
            fs.pwrite_all(fd, part, position)
            position += len(part)
            rest = rest[len(part) :]
    if left:
        raise _wrong_size(entry)
    if entry.extents is not None:
        fs.ftruncate(fd, entry.size)


def _wrong_size(entry: Entry) -> InvalidInput:
    return InvalidInput(
        "archive_size_disagrees",
        f"{display_path(entry.path)} was announced with {entry.data_bytes} bytes of data and has another number.",
        next_step="The archive is malformed or was cut off; make a new one.",
        details={"path": display_path(entry.path), "announced": entry.data_bytes},
    )
