"""PAX extended headers: strict reading of hostile records, exact writing of ours. No I/O.

Strict means: a record's length must be exact, a key must not occur twice, and a global header may say nothing that
would change a later entry's name, size or link. The caller has bounded the number of bytes before they were read.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.engine.archive.problems import UNTRUSTED, printable, refused
from holdfast.engine.archive.tar_headers import PAX, encode, padded

XATTR: Final = b"SCHILY.xattr."
SPARSE: Final = b"GNU.sparse."

_REPEATABLE: Final = frozenset({b"GNU.sparse.offset", b"GNU.sparse.numbytes"})
"""Format 0.0 of GNU sparse files repeats these, one pair a region."""
_GLOBAL: Final = frozenset({b"comment", b"hdrcharset"})
_CHARSETS: Final = frozenset({b"BINARY", b"ISO-IR 10646 2000 UTF-8"})
_LENGTH_DIGITS: Final = 12
_NUMBER: Final = re.compile(rb"[0-9]{1,19}")
_TIME: Final = re.compile(rb"(-?)([0-9]{1,12})(?:\.([0-9]{1,32}))?")
_MAX_NS: Final = 2**63 - 1


def _invalid(message: str) -> Exception:
    return refused("archive_pax_invalid", message, next_step=UNTRUSTED)


def parse(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records of one extended header in their order. Keys are unique but for the sparse map of format 0.0.

    Raises:
        Refused: ``archive_pax_invalid``.
    """
    records: list[tuple[bytes, bytes]] = []
    seen: set[bytes] = set()
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + _LENGTH_DIGITS)
        digits = data[position:space] if space > 0 else b""
        if not _NUMBER.fullmatch(digits) or digits.startswith(b"0"):
            raise _invalid("The archive has an extended header whose record has no length.")
        end = position + int(digits)
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n":
            raise _invalid("The archive has an extended header whose record has a wrong length.")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise _invalid("The archive has an extended header with a record that is no assignment.")
        if key in seen and key not in _REPEATABLE:
            raise _invalid(f"The archive has an extended header that sets {printable(key)} twice.")
        seen.add(key)
        records.append((key, value))
        position = end
    check_charset(dict(records))
    return records


def check_charset(records: dict[bytes, bytes]) -> None:
    """Refuse names in a character set that a file system's raw bytes are not.

    Raises:
        Refused: ``archive_pax_invalid``.
    """
    charset = records.get(b"hdrcharset")
    if charset is not None and charset not in _CHARSETS:
        raise _invalid(f"The archive has names in the unknown character set {printable(charset)}.")


def check_global(records: list[tuple[bytes, bytes]]) -> None:
    """Refuse a global header that would change what later entries are.

    Raises:
        Refused: ``archive_global_header``.
    """
    for key, _ in records:
        if key not in _GLOBAL:
            raise refused(
                "archive_global_header",
                f"The archive sets {printable(key)} for all entries at once, which is not supported.",
            )


def number(records: dict[bytes, bytes], key: bytes) -> int | None:
    """A record's value as a decimal number, ``None`` where there is none.

    Raises:
        Refused: ``archive_pax_invalid``.
    """
    value = records.get(key)
    if value is None or value == b"":
        return None
    if not _NUMBER.fullmatch(value):
        raise _invalid(f"The archive has an extended header whose {printable(key)} is not a number.")
    return int(value)


def time_ns(value: bytes) -> int:
    """A PAX time in nanoseconds, exact; finer digits are dropped towards the past.

    Raises:
        Refused: ``archive_pax_invalid``.
    """
    match = _TIME.fullmatch(value)
    if match is None:
        raise _invalid("The archive has an extended header with a time that is not a number.")
    sign, seconds, fraction = match.groups(b"")
    ns = int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    if sign:
        ns = -ns - (1 if fraction[9:].strip(b"0") else 0)
    if not -_MAX_NS <= ns <= _MAX_NS:
        raise _invalid("The archive has an extended header with a time out of range.")
    return ns


def time_text(ns: int) -> bytes:
    """Nanoseconds as the exact PAX decimal."""
    seconds, rest = divmod(abs(ns), 1_000_000_000)
    sign = b"-" if ns < 0 else b""
    return b"%s%d.%09d" % (sign, seconds, rest) if rest else b"%s%d" % (sign, seconds)


def xattr_name(key: bytes) -> bytes:
    """The attribute that a ``SCHILY.xattr.`` key names, in GNU tar's escaping."""
    return key[len(XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")


def xattr_key(name: bytes) -> bytes:
    """The key for an attribute; ``=`` would end it, so it is escaped as GNU tar does."""
    return XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D")


def _record(key: bytes, value: bytes) -> bytes:
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    # One more digit can make the length itself longer.
    length = bare + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def encode_header(records: list[tuple[bytes, bytes]]) -> bytes:
    """An extended header with all its records, padded to whole blocks."""
    data = b"".join(_record(key, value) for key, value in records)
    header = encode(PAX, b"././@PaxHeader", mode=0o644, uid=0, gid=0, size=len(data), mtime=0, link=b"")
    return header + data + bytes(padded(len(data)) - len(data))
