"""Bounds on what an archive or a stored tree may make Holdfast write, counted on what is really produced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import TooLarge
from holdfast.engine.entries import Entry, display_path

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_TIB: Final = 1024 * 1024 * _MIB
_NO_BOUND: Final = 2**63 - 1

MAX_PATH_BYTES: Final = 1 << 20
"""The longest path below a volume's root that a snapshot can name: half a million directories of short names below each
other, four thousand of the longest names. There is no other bound of a tree's depth.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for one import or one restore; the defaults are for input that nobody vouches for.

    Attributes:
        entries: files, directories and links together; each may take an inode. Of an archive also what is passed over.
        depth: components of one path.
        name_bytes: one component.
        path_bytes: one path, and the text of one link.
        file_bytes: logical bytes of one file, holes included.
        total_bytes: bytes of data of all files together, holes not counted.
        ratio: bytes that come out of a decompressor per byte that went in.
        ratio_floor_bytes: output up to which the ratio is not looked at; short texts compress well.
        header_bytes: all extended headers of an archive together.
        pax_bytes: one extended header, asked before it is read into memory.
        xattr_bytes: names and values of the extended attributes of one entry.
        sparse_regions: data regions of one sparse file.
    """

    entries: int = 5_000_000
    depth: int = 256
    name_bytes: int = 255
    path_bytes: int = 4096
    file_bytes: int = 1 * _TIB
    total_bytes: int = 4 * _TIB
    ratio: int = 200
    ratio_floor_bytes: int = 64 * _MIB
    header_bytes: int = 1024 * _MIB
    pax_bytes: int = 4 * _MIB
    xattr_bytes: int = 4 * _MIB
    sparse_regions: int = 262_144

    @classmethod
    def for_own_snapshots(cls) -> Limits:
        """What Holdfast captured itself and can prove it: bounded by the disk alone, since refusing it would lose it.

        Only ``name_bytes`` stays, which no filesystem exceeds.
        """
        return cls(
            entries=_NO_BOUND,
            depth=_NO_BOUND,
            path_bytes=_NO_BOUND,
            file_bytes=_NO_BOUND,
            total_bytes=_NO_BOUND,
            ratio=_NO_BOUND,
            header_bytes=_NO_BOUND,
            pax_bytes=64 * _MIB,
            xattr_bytes=64 * _MIB,
            sparse_regions=_NO_BOUND,
        )


class Tally:
    """Counts what one import or restore really produces, over all its volumes.

    The writer counts entries and data; the reader of an archive counts headers and the ratio. Every method raises
    ``TooLarge`` with a code of its own.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries = 0
        self.bytes = 0
        self.header_bytes = 0

    def entry(self, entry: Entry) -> None:
        """Count one entry, before anything is made of it."""
        limits, path = self.limits, entry.path
        self.entries += 1
        if self.entries > limits.entries:
            raise _too_large("archive_too_many_entries", "entries", limits.entries, b"")
        if len(path) > limits.path_bytes or len(entry.link_target) > limits.path_bytes:
            raise _too_large("archive_path_too_long", "bytes in a path", limits.path_bytes, path)
        if path.count(b"/") >= limits.depth:
            raise _too_large("archive_too_deep", "directories below each other", limits.depth, path)
        if len(path) > limits.name_bytes and max(map(len, path.split(b"/"))) > limits.name_bytes:
            raise _too_large("archive_name_too_long", "bytes in a name", limits.name_bytes, path)
        if entry.size > limits.file_bytes:
            raise _too_large("archive_file_too_large", "bytes in a file", limits.file_bytes, path)
        if entry.extents is not None and len(entry.extents) > limits.sparse_regions:
            raise _too_large("archive_too_many_sparse_regions", "regions in a file", limits.sparse_regions, path)
        if entry.xattrs and sum(len(name) + len(value) for name, value in entry.xattrs) > limits.xattr_bytes:
            raise _too_large("archive_xattrs_too_large", "bytes of attributes", limits.xattr_bytes, path)

    def passed_over(self) -> None:
        """Count something that makes no entry (a device, a global header): reading without end has an end too."""
        self.entries += 1
        if self.entries > self.limits.entries:
            raise _too_large("archive_too_many_entries", "entries", self.limits.entries, b"")

    def data(self, count: int, path: bytes) -> None:
        """Count ``count`` bytes of data, before they are written to ``path``."""
        self.bytes += count
        if self.bytes > self.limits.total_bytes:
            raise _too_large("archive_too_large", "bytes of data in all", self.limits.total_bytes, path)

    def pax(self, count: int) -> None:
        """Count one extended header (PAX, or a GNU long name) of ``count`` bytes, before it is read."""
        if count > self.limits.pax_bytes:
            raise _too_large("archive_pax_too_large", "bytes in an extended header", self.limits.pax_bytes, b"")
        self.header(count)

    def header(self, count: int) -> None:
        """Count ``count`` bytes of headers, before they are read."""
        self.header_bytes += count
        if self.header_bytes > self.limits.header_bytes:
            raise _too_large("archive_headers_too_large", "bytes of headers in all", self.limits.header_bytes, b"")

    def expansion(self, consumed: int, produced: int) -> None:
        """Look at the compression ratio so far.

        Args:
            consumed: compressed bytes that went into the decompressor since the start.
            produced: bytes that came out of it since the start.
        """
        if produced > self.limits.ratio_floor_bytes and produced > self.limits.ratio * consumed:
            raise _too_large("archive_ratio_too_high", "times its compressed size", self.limits.ratio, b"")


def _too_large(code: str, what: str, limit: int, path: bytes) -> TooLarge:
    where = f" ({display_path(path[:512])})" if path else ""
    return TooLarge(
        code,
        f"The archive exceeds the limit of {limit} {what}{where}.",
        next_step="If you trust the archive, raise that limit in the settings and import it again.",
        details={"limit": limit, "path": display_path(path[:4096])} if path else {"limit": limit},
    )
