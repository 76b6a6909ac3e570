"""Writes our own archives: a PAX tar stream, compressed with zstd, hashed on its way.

``docs/reference/archive-format.md`` is the format. Invariants: memory is bounded by a few buffers; what leaves here is
accepted by our own strict reader and by GNU tar, holes, hardlinks and extended attributes included; the content's
digest covers every byte before the manifest, which is the last member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import zstandard
from blake3 import blake3

from holdfast.domain.snapshot import Content
from holdfast.engine.archive import pax
from holdfast.engine.archive.names import MANIFEST_NAME
from holdfast.engine.archive.sparse import encode_map
from holdfast.engine.archive.tar_headers import (
    BLOCK,
    DIRECTORY,
    HARDLINK,
    MAX_OCTAL_7,
    MAX_OCTAL_11,
    REGULAR,
    SYMLINK,
    encode,
    padded,
)
from holdfast.engine.entries import Entry, EntryKind

LEVEL: Final = 3

_BUFFER_BYTES: Final = 1024 * 1024
_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_TYPES: Final = {
    EntryKind.FILE: REGULAR,
    EntryKind.DIRECTORY: DIRECTORY,
    EntryKind.SYMLINK: SYMLINK,
    EntryKind.HARDLINK: HARDLINK,
}
_BINARY: Final = (b"hdrcharset", b"BINARY")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name for a header's fields, ``None`` where they don't fit."""
    if len(name) <= _NAME_BYTES:
        return b"", name
    slash = name.find(b"/", len(name) - _NAME_BYTES - 1, len(name) - 1)
    return (name[:slash], name[slash + 1 :]) if 0 < slash <= _PREFIX_BYTES else None


def encode_entry(index: int, entry: Entry) -> bytes:
    """All headers of one entry, and its map if it is sparse; ``entry.data_bytes`` bytes of data must follow."""
    slash = b"/" if entry.kind is EntryKind.DIRECTORY else b""
    name = b"%d/%s%s" % (index, entry.path, slash) if entry.path else b"%d/" % index
    records: list[tuple[bytes, bytes]] = []
    sparse_map = b""
    if entry.extents is not None:
        sparse_map = encode_map(entry.extents, entry.size)
        records += [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
            (b"GNU.sparse.realsize", b"%d" % entry.size),
        ]
        prefix, shown = b"", (b"GNUSparseFile.0/" + name)[:_NAME_BYTES]
    else:
        fitting = _split(name)
        if fitting is None:
            records.append((b"path", name))
        prefix, shown = fitting or (b"", name[:_NAME_BYTES])
    link = b"%d/%s" % (index, entry.link_target) if entry.kind is EntryKind.HARDLINK else entry.link_target
    if len(link) > _NAME_BYTES:
        records.append((b"linkpath", link))
    size = len(sparse_map) + entry.data_bytes if entry.kind is EntryKind.FILE else 0
    seconds, nanoseconds = divmod(entry.mtime_ns, 1_000_000_000)
    for key, value, bound in (
        (b"size", size, MAX_OCTAL_11),
        (b"uid", entry.uid, MAX_OCTAL_7),
        (b"gid", entry.gid, MAX_OCTAL_7),
    ):
        if value > bound:
            records.append((key, b"%d" % value))
    if nanoseconds or not 0 <= seconds <= MAX_OCTAL_11:
        records.append((b"mtime", pax.time_text(entry.mtime_ns)))
    records += [(pax.xattr_key(attribute), value) for attribute, value in entry.xattrs]
    if not all(_is_utf8(value) for key, value in records if not key.startswith(pax.XATTR)):
        records.insert(0, _BINARY)
    header = encode(
        _TYPES[entry.kind],
        shown,
        prefix=prefix,
        mode=entry.mode,
        uid=entry.uid if entry.uid <= MAX_OCTAL_7 else 0,
        gid=entry.gid if entry.gid <= MAX_OCTAL_7 else 0,
        size=size if size <= MAX_OCTAL_11 else 0,
        mtime=seconds if 0 <= seconds <= MAX_OCTAL_11 else 0,
        link=link[:_NAME_BYTES],
    )
    return (pax.encode_header(records) if records else b"") + header + sparse_map


class ArchiveWriter:
    """Writes one archive.

    Args:
        write: takes compressed bytes, in their order.
        threads: of the compressor, besides the caller's own.

    Attributes:
        offset: bytes of the uncompressed stream so far.
        stored: compressed bytes handed to ``write`` so far.
    """

    def __init__(self, write: Callable[[bytes], object], *, threads: int) -> None:
        self._write = write
        self._compress = zstandard.ZstdCompressor(level=LEVEL, threads=threads, write_checksum=True).compressobj()
        self._hasher = blake3()
        self._buffer = bytearray()
        self.offset = 0
        self.stored = 0

    def add(self, index: int, entry: Entry, data: Iterable[bytes | memoryview]) -> None:
        """Append an entry. ``data`` gives exactly ``entry.data_bytes`` bytes."""
        self._put(encode_entry(index, entry))
        if entry.kind is not EntryKind.FILE:
            return
        start = self.offset
        for piece in data:
            self._put(piece)
        if self.offset - start != entry.data_bytes:
            raise ValueError("the data does not have the length that its entry promised")
        self._put(bytes(padded(self.offset) - self.offset))

    def content(self) -> Content:
        """Length and digest of all that was added."""
        self._flush()
        return Content(bytes=self.offset, blake3=self._hasher.hexdigest())

    def finish(self, manifest: bytes, mtime: int) -> None:
        """Append the manifest and end the archive.

        Args:
            mtime: seconds since 1970, of the manifest.
        """
        header = encode(REGULAR, MANIFEST_NAME, mode=0o644, uid=0, gid=0, size=len(manifest), mtime=mtime, link=b"")
        self._put(header)
        self._put(manifest)
        self._put(bytes(padded(self.offset) - self.offset + 2 * BLOCK))
        self._flush()
        self._store(self._compress.flush())

    def _put(self, data: bytes | memoryview) -> None:
        self.offset += len(data)
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._hasher.update(self._buffer)
        self._store(self._compress.compress(self._buffer))
        self._buffer = bytearray()

    def _store(self, data: bytes) -> None:
        if data:
            self.stored += len(data)
            self._write(data)
