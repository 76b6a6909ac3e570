"""Sparse files in tar: the maps of GNU's formats, checked. No I/O.

A map is data regions as (offset, length), ascending, not overlapping, inside the file, together exactly the bytes
that the archive holds. Anything else is refused as ``archive_sparse_map_invalid``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from holdfast.domain.errors import Refused
from holdfast.engine.archive.problems import UNTRUSTED, refused, too_large
from holdfast.engine.archive.tar_headers import padded

Regions = Sequence[tuple[int, int]]

MAX_DIGITS: Final = 19
"""Of a number in a map: as many as 2**63 - 1 has."""

_NUMBER: Final = re.compile(rb"[0-9]{1,%d}" % MAX_DIGITS)


def invalid(why: str) -> Refused:
    """The refusal of a map, with its reason."""
    return refused("archive_sparse_map_invalid", f"The archive has a sparse file {why}.", next_step=UNTRUSTED)


def parse_number(text: bytes) -> int:
    """A decimal number of a map.

    Raises:
        Refused: ``archive_sparse_map_invalid``.
    """
    if not _NUMBER.fullmatch(text):
        raise invalid("whose map has something that is not a number")
    return int(text)


def check_count(count: int, limit: int) -> None:
    """Refuse a map of more regions than allowed, before any of it is kept.

    Raises:
        TooLarge: ``archive_too_many_sparse_regions``.
    """
    if count > limit:
        raise too_large(
            "archive_too_many_sparse_regions",
            f"The archive has a sparse file of more than {limit} regions.",
            limit=limit,
        )


def parse_list(text: bytes, limit: int) -> list[tuple[int, int]]:
    """The map of format 0.1: ``offset,length,offset,length,…``."""
    check_count((text.count(b",") + 1) // 2, limit)
    numbers = [parse_number(part) for part in text.split(b",")] if text else []
    if len(numbers) % 2:
        raise invalid("whose map ends half-way")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check(regions: Regions, *, size: int, stored: int) -> tuple[tuple[int, int], ...]:
    """The map without its empty regions.

    Args:
        size: the file's logical size in bytes.
        stored: bytes of data that the archive holds for it.

    Raises:
        Refused: ``archive_sparse_map_invalid``.
    """
    end = total = 0
    for offset, length in regions:
        if offset < end:
            raise invalid("whose regions overlap or are out of order")
        end = offset + length
        if end > size:
            raise invalid("with data beyond its end")
        total += length
    if total != stored:
        raise invalid("whose map does not match its data")
    return tuple((offset, length) for offset, length in regions if length)


def encode_map(regions: Regions, size: int) -> bytes:
    """The map of format 1.0, padded to whole blocks; as GNU tar has it, a trailing hole ends with an empty region."""
    listed = list(regions)
    if not listed or sum(listed[-1]) < size:
        listed.append((size, 0))
    lines = [str(len(listed)), *(f"{number}" for region in listed for number in region)]
    text = ("\n".join(lines) + "\n").encode("ascii")
    return text + bytes(padded(len(text)) - len(text))
