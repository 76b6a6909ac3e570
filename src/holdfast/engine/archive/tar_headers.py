"""One 512-byte tar header, decoded strictly and encoded exactly.

Strict means: whatever two tar programs could read in two ways is refused (a number that isn't one, bytes after a
number's end, a wrong checksum, a negative size), so that what was checked is what any other program would see. The
library's own parser is lenient there on purpose, which is why this is not :mod:`tarfile`. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.engine.archive.problems import UNTRUSTED, corrupt, printable, refused

BLOCK: Final = 512
ZERO_BLOCK: Final = bytes(BLOCK)
MAX_OCTAL_7: Final = 0o7777777
"""Largest user or group id that a header field holds."""
MAX_OCTAL_11: Final = 0o77777777777
"""Largest size or time that a header field holds."""

REGULAR: Final = b"0"
HARDLINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
CONTIGUOUS: Final = b"7"
OLD_REGULAR: Final = b"\0"
PAX: Final = b"x"
PAX_GLOBAL: Final = b"g"
GNU_LONG_NAME: Final = b"L"
GNU_LONG_LINK: Final = b"K"
GNU_SPARSE: Final = b"S"

_OCTAL: Final = b"01234567"
_POSIX_MAGIC: Final = b"ustar\0"
_GNU_MAGIC: Final = b"ustar "
_SPARSE_STRUCT: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header's fields as they stand in it, before any extended header overrides them.

    Attributes:
        size_is_octal: whether ``size`` came from an octal field, which can't hold more than :data:`MAX_OCTAL_11`.
        mtime: whole seconds since 1970.
        old_sparse: type ``S`` only: the map entries in this header, in order.
        old_sparse_more: type ``S`` only: another block of map entries follows.
        old_sparse_size: type ``S`` only: the file's logical size.
    """

    type: bytes
    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    size_is_octal: bool
    mtime: int
    link_name: bytes
    old_sparse: tuple[tuple[int, int], ...] = ()
    old_sparse_more: bool = False
    old_sparse_size: int = 0


def padded(size: int) -> int:
    """``size`` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str, *, signed: bool = False) -> int:
    """An octal or base-256 number.

    Raises:
        Refused: ``archive_header_invalid``.
    """
    if field[0] in (0x80, 0xFF):  # what else has the highest bit set some programs take for a number, and others don't
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            value -= 0x80 << 8 * (len(field) - 1)
        if value < 0 and not signed:
            raise refused("archive_header_invalid", f"The archive states a negative {what}.", next_step=UNTRUSTED)
        return value
    text, _, rest = field.partition(b"\0")
    text = text.strip(b" ")
    if text.strip(_OCTAL) or rest.strip(b" \0"):
        raise refused(
            "archive_header_invalid", f"The archive states a {what} that is not a number.", next_step=UNTRUSTED
        )
    return int(text, 8) if text else 0


def _checksum_matches(block: bytes) -> bool:
    stored = _number(block[148:156], "checksum")
    unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20
    if stored == unsigned:
        return True
    # Some old programs summed signed bytes.
    high = sum(1 for byte in block[:148] + block[156:] if byte & 0x80)
    return stored == unsigned - 256 * high


def sparse_structs(area: bytes) -> tuple[tuple[int, int], ...]:
    """The (offset, length) pairs of an old GNU sparse map; an empty one ends it."""
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(area) - _SPARSE_STRUCT + 1, _SPARSE_STRUCT):
        struct = area[start : start + _SPARSE_STRUCT]
        if not struct[0] and not struct[12]:
            break
        pairs.append((_number(struct[:12], "sparse offset"), _number(struct[12:], "sparse length")))
    return tuple(pairs)


def decode(block: bytes) -> Header:
    """The header in a block of 512 bytes that is not all zero.

    Raises:
        Damaged: ``archive_corrupt``, the checksum is wrong.
        Refused: ``archive_header_invalid``, a field is not what it must be.
    """
    if not _checksum_matches(block):
        raise corrupt("The archive has a header with a wrong checksum.")
    name = _text(block[0:100])
    magic = block[257:263]
    if magic == _POSIX_MAGIC and block[345]:
        name = _text(block[345:500]) + b"/" + name
    elif magic not in (_POSIX_MAGIC, _GNU_MAGIC, bytes(6)):
        raise refused("archive_header_invalid", f"A header before {printable(name)} is of no known tar format.")
    kind = block[156:157]
    if magic != _POSIX_MAGIC and block[345] and kind != GNU_SPARSE:
        raise refused(
            "archive_header_invalid",
            f"The archive has a name of which some programs read the first part, and others don't: {printable(name)}",
        )
    if kind == OLD_REGULAR and name.endswith(b"/"):
        kind = DIRECTORY
    for device in (block[329:337], block[337:345]):  # of no use here; but without a number some programs stop reading
        _number(device, "device number", signed=True)
    sparse = kind == GNU_SPARSE
    return Header(
        type=kind,
        name=name,
        mode=_number(block[100:108], "mode", signed=True) & 0o7777,
        uid=_number(block[108:116], "user id"),
        gid=_number(block[116:124], "group id"),
        size=_number(block[124:136], "size"),
        size_is_octal=not block[124] & 0x80,
        mtime=_number(block[136:148], "time", signed=True),
        link_name=_text(block[157:257]),
        old_sparse=sparse_structs(block[386:482]) if sparse else (),
        old_sparse_more=bool(block[482]) if sparse else False,
        old_sparse_size=_number(block[483:495], "sparse size") if sparse else 0,
    )


def encode(
    kind: bytes, name: bytes, *, prefix: bytes = b"", mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes
) -> bytes:
    """One POSIX header. All values must fit their fields: names ≤ 100 bytes, prefix ≤ 155, see ``MAX_OCTAL_*``."""
    block = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0        %s%sustar\00000%s%07o\0%07o\0%s" % (
        name.ljust(100, b"\0"),
        mode,
        uid,
        gid,
        size,
        mtime,
        kind,
        link.ljust(100, b"\0"),
        bytes(64),
        0,
        0,
        prefix.ljust(167, b"\0"),
    )
    return b"%s%06o\0 %s" % (block[:148], sum(block), block[156:])
