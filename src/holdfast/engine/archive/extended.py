"""The headers before an entry's own: PAX and GNU's long names, gathered and combined into one description.

Invariants: nothing is read before its size was counted against the limits; one entry has at most one of each; two that
contradict each other, or the entry's own header, are refused as ``archive_header_conflict``.
"""

from __future__ import annotations

from typing import Final

from holdfast.domain.errors import Refused
from holdfast.engine.archive import pax
from holdfast.engine.archive.problems import UNTRUSTED, printable, refused
from holdfast.engine.archive.source import TarStream
from holdfast.engine.archive.tar_headers import (
    GNU_LONG_LINK,
    GNU_LONG_NAME,
    MAX_OCTAL_11,
    PAX,
    PAX_GLOBAL,
    Header,
    padded,
)
from holdfast.engine.limits import Tally

TYPES: Final = frozenset({PAX, PAX_GLOBAL, GNU_LONG_NAME, GNU_LONG_LINK})

_MAX_ID: Final = 2**32 - 2
"""2**32 - 1 means "leave as it is" to chown."""
_MAX_SECONDS: Final = (2**63 - 1) // 1_000_000_000
_MAX_XATTR_NAME: Final = 255
_MAX_XATTR_VALUE: Final = 64 * 1024


def conflict(message: str) -> Refused:
    """Two headers of one entry contradict each other."""
    return refused("archive_header_conflict", message, next_step=UNTRUSTED)


class Extended:
    """What the headers before an entry say.

    Attributes:
        records: PAX keys and values; those that may repeat are only in :attr:`listed`.
        listed: all PAX records in their order.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.listed: list[tuple[bytes, bytes]] = []
        self._seen: set[bytes] = set()
        self._long: dict[bytes, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._seen)

    def read(self, header: Header, stream: TarStream, tally: Tally) -> None:
        """Take in one extended header, whose own block was just read.

        Raises:
            Refused: ``archive_pax_invalid``, ``archive_global_header``, ``archive_header_conflict``,
                ``archive_name_refused``.
            TooLarge: ``archive_pax_too_large``, ``archive_headers_too_large``.
            Damaged: ``archive_truncated``.
        """
        if header.type in self._seen or (header.type == PAX_GLOBAL and self._seen):
            raise conflict("The archive has an extended header that follows another one of its kind.")
        tally.pax(header.size)
        data = stream.exactly(header.size)
        stream.exactly(padded(header.size) - header.size)
        if header.type == PAX_GLOBAL:
            pax.check_global(pax.parse(data))
            return
        self._seen.add(header.type)
        if header.type == PAX:
            self.listed = pax.parse(data)
            self.records = dict(self.listed)
            return
        name = data.removesuffix(b"\0")
        if not name or b"\0" in name:
            raise refused("archive_name_refused", f"The archive has a long name with a NUL or none: {printable(name)}")
        self._long[header.type] = name

    def name(self, header: Header) -> bytes:
        """The entry's name, before it is checked."""
        name = self._text(b"path", GNU_LONG_NAME, header.name)
        return self.records.get(b"GNU.sparse.name") or name

    def link(self, header: Header) -> bytes:
        """The text of a link."""
        return self._text(b"linkpath", GNU_LONG_LINK, header.link_name)

    def _text(self, key: bytes, long: bytes, plain: bytes) -> bytes:
        if key in self.records and long in self._long:
            raise conflict(f"The archive has an entry with two long names: {printable(plain)}")
        if key in self.records:
            return self.records[key]
        return self._long.get(long, plain)

    def size(self, header: Header) -> int:
        """Bytes that the archive holds for the entry.

        An octal field can't hold 8 GiB and more; only then may it be zero while the PAX record says more.
        """
        size = pax.number(self.records, b"size")
        if size is None or size == header.size:
            return header.size
        if header.size == 0 and header.size_is_octal and size > MAX_OCTAL_11:
            return size
        raise conflict(f"The archive has an entry with two different sizes: {printable(self.name(header))}")

    def owner(self, header: Header) -> tuple[int, int]:
        """User and group id."""
        uid, gid = pax.number(self.records, b"uid"), pax.number(self.records, b"gid")
        owner = (header.uid if uid is None else uid, header.gid if gid is None else gid)
        if max(owner) > _MAX_ID:
            raise refused(
                "archive_metadata_invalid",
                f"The archive has an entry whose owner is out of range: {printable(self.name(header))}",
            )
        return owner

    def mtime_ns(self, header: Header) -> int:
        """Nanoseconds since 1970."""
        value = self.records.get(b"mtime")
        if value:
            return pax.time_ns(value)
        if abs(header.mtime) > _MAX_SECONDS:
            raise refused(
                "archive_metadata_invalid",
                f"The archive has an entry whose time is out of range: {printable(self.name(header))}",
            )
        return header.mtime * 1_000_000_000

    def xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted by name."""
        found: dict[bytes, bytes] = {}
        for key, value in self.records.items():
            if not key.startswith(pax.XATTR):
                continue
            name = pax.xattr_name(key)
            if not name or b"\0" in name or name in found:
                raise refused(
                    "archive_xattr_invalid",
                    "The archive has an entry with an extended attribute that has no valid name of its own.",
                    next_step=UNTRUSTED,
                )
            if len(name) > _MAX_XATTR_NAME or len(value) > _MAX_XATTR_VALUE:
                raise refused(
                    "archive_xattr_invalid",
                    f"The archive has an extended attribute larger than Linux allows: {printable(name)}",
                )
            found[name] = value
        return tuple(sorted(found.items()))
