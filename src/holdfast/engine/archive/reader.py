"""Reads an archive that nobody vouches for: headers strictly, data in bounded pieces, names never used as paths.

What comes out are entries of numbered volumes; what stands in an archive besides is the manifest. Invariants:

- Everything is refused that two programs could understand differently (``tar_headers``, ``pax``, ``extended``,
  ``sparse``).
- Memory does not grow with what the archive claims: sizes are counted against the limits before anything is read.
- Devices, FIFOs and sockets never come out; they are named in :attr:`ArchiveReader.skipped`.
- An archive is whole only if its end-of-archive mark was seen, nothing but zeros follows it, and the compressed file
  ends there; only then :meth:`ArchiveReader.members` ends without an error.

The reader checks each entry for itself. How entries relate (duplicates, parents, link targets) and how much they are in
all is for whoever takes them: the tree writer while staging, the importer's register while importing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.domain.snapshot import Content
from holdfast.engine.archive import names, pax, sparse
from holdfast.engine.archive.extended import TYPES as EXTENDED_TYPES
from holdfast.engine.archive.extended import Extended
from holdfast.engine.archive.format import MAX_MANIFEST_BYTES
from holdfast.engine.archive.problems import UNTRUSTED, corrupt, printable, refused, too_large, truncated
from holdfast.engine.archive.source import PIECE_BYTES, TarStream
from holdfast.engine.archive.tar_headers import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    CONTIGUOUS,
    DIRECTORY,
    FIFO,
    GNU_SPARSE,
    HARDLINK,
    OLD_REGULAR,
    PAX_GLOBAL,
    REGULAR,
    SYMLINK,
    ZERO_BLOCK,
    Header,
    decode,
    padded,
    sparse_structs,
)
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.limits import Tally
from holdfast.engine.walk import SPECIAL, Names

_KINDS: Final = {
    REGULAR: EntryKind.FILE,
    OLD_REGULAR: EntryKind.FILE,
    CONTIGUOUS: EntryKind.FILE,
    GNU_SPARSE: EntryKind.FILE,
    DIRECTORY: EntryKind.DIRECTORY,
    SYMLINK: EntryKind.SYMLINK,
    HARDLINK: EntryKind.HARDLINK,
}
_SPECIAL: Final = {
    CHARACTER_DEVICE: SPECIAL[stat.S_IFCHR],
    BLOCK_DEVICE: SPECIAL[stat.S_IFBLK],
    FIFO: SPECIAL[stat.S_IFIFO],
}
_MAX_PADDING: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of a volume. ``data`` gives its data regions, concatenated; good until the reader goes on."""

    index: int
    entry: Entry
    data: Iterator[bytes]


class ArchiveReader:
    """Reads one archive, once, from its start to its end.

    Args:
        tally: counts headers and what does not come out; entries and data are counted by whoever takes them.

    Attributes:
        manifest: the bytes of ``manifest.json``, when it has been met.
        manifest_at: what came before it: offset and digest.
        manifest_is_last: whether nothing came after it, known at the end.
        end: all of it up to the end-of-archive mark: offset and digest, known at the end.
        skipped: devices and FIFOs.
        acls: entries whose access lists are in a text form that is not taken.
        last: the entry met last, for messages.
    """

    def __init__(self, stream: TarStream, tally: Tally) -> None:
        self._stream, self._tally = stream, tally
        self._left = 0
        self._padding = 0
        self.manifest: bytes | None = None
        self.manifest_at: Content | None = None
        self.manifest_is_last = False
        self.end: Content | None = None
        self.skipped = Names()
        self.acls = Names()
        self.last = b""

    def members(self) -> Iterator[Member]:
        """All entries of all volumes in their order. What is left of an entry's data is passed over.

        Raises:
            Damaged: ``archive_truncated``, ``archive_corrupt``.
            TooLarge: a bound was exceeded.
            Refused: something in it is not acceptable.
        """
        extended = Extended()
        while True:
            self._drain()
            if not extended:
                self._stream.mark()
            block = self._stream.exactly(BLOCK)
            if block == ZERO_BLOCK:
                if extended:
                    raise corrupt("The archive ends between an extended header and its entry.")
                self._finish()
                return
            header = decode(block)
            if header.type in EXTENDED_TYPES:
                if header.type == PAX_GLOBAL:
                    self._tally.passed_over()
                extended.read(header, self._stream, self._tally)
                continue
            member = self._member(header, extended)
            extended = Extended()
            if member is not None:
                yield member

    def _member(self, header: Header, extended: Extended) -> Member | None:
        kind = _KINDS.get(header.type)
        raw = extended.name(header)
        if kind is None and header.type not in _SPECIAL:
            raise refused(
                "archive_type_unknown",
                f"The archive has an entry of the unknown type {printable(header.type)}: {printable(raw)}",
            )
        stored = extended.size(header)
        if stored and kind is not EntryKind.FILE:
            raise refused(
                "archive_header_conflict",
                f"The archive has data for an entry that can't have any: {printable(raw)}",
                next_step=UNTRUSTED,
            )
        if kind is not EntryKind.FILE and any(key.startswith(pax.SPARSE) for key in extended.records):
            raise sparse.invalid("that is no file at all")
        name = names.normalise(raw, directory=kind is EntryKind.DIRECTORY)
        self.last = name
        if name == names.MANIFEST_NAME:
            self._read_manifest(header, extended, kind, stored)
            return None
        self.manifest_is_last = False
        if not name:
            self._tally.passed_over()
            return None
        index, path = names.locate(name)
        if kind is None:
            self._tally.passed_over()
            self.skipped.add(name, _SPECIAL[header.type])
            return None
        if not path and kind is not EntryKind.DIRECTORY:
            raise refused(
                "archive_volume_not_directory", f"The archive has a volume that is no directory: {printable(name)}"
            )
        entry = self._entry(header, extended, kind, index, path, stored)
        return Member(index=index, entry=entry, data=self._data())

    def _entry(
        self, header: Header, extended: Extended, kind: EntryKind, index: int, path: bytes, stored: int
    ) -> Entry:
        size, extents = stored, None
        self._expect(stored)
        if kind is EntryKind.FILE:
            size, extents = self._sparse(header, extended, stored)
        link = b""
        if kind is EntryKind.SYMLINK:
            link = self._symlink_text(extended.link(header))
        elif kind is EntryKind.HARDLINK:
            link = self._hardlink_target(extended.link(header), index)
        if any(key.startswith(b"SCHILY.acl.") for key in extended.records):
            self.acls.add(self.last)
        uid, gid = extended.owner(header)
        return Entry(
            path=path,
            kind=kind,
            mode=header.mode,
            uid=uid,
            gid=gid,
            mtime_ns=extended.mtime_ns(header),
            size=size,
            link_target=link,
            xattrs=() if kind is EntryKind.HARDLINK else extended.xattrs(),
            extents=extents,
        )

    def _symlink_text(self, text: bytes) -> bytes:
        if not text or b"\0" in text:
            raise refused(
                "archive_link_target_refused", f"The archive has a symlink to nothing: {printable(self.last)}"
            )
        return text

    def _hardlink_target(self, text: bytes, index: int) -> bytes:
        target = names.normalise(text, directory=False)
        first, _, path = target.partition(b"/")
        if first != b"%d" % index or not path:
            raise refused(
                "archive_link_target_refused",
                f"The archive has a hardlink to something outside of its volume: {printable(self.last)}",
                next_step=UNTRUSTED,
            )
        return path

    def _sparse(
        self, header: Header, extended: Extended, stored: int
    ) -> tuple[int, tuple[tuple[int, int], ...] | None]:
        """Logical size and data regions. For the map that stands in the data, reads it."""
        limit, records = self._tally.limits.sparse_regions, extended.records
        if header.type == GNU_SPARSE:
            if any(key.startswith(pax.SPARSE) for key in records):
                raise sparse.invalid("that is described twice")
            size, regions = header.old_sparse_size, self._old_map(header, limit)
        elif b"GNU.sparse.major" in records or b"GNU.sparse.minor" in records:
            version = (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor"))
            if version != (b"1", b"0"):
                raise sparse.invalid("of an unknown format")
            size, regions = self._sparse_size(records, b"GNU.sparse.realsize"), self._map_in_data(limit)
        elif any(key.startswith(pax.SPARSE) for key in records):
            size = self._sparse_size(records, b"GNU.sparse.size")
            regions = self._map_in_records(extended, limit)
        else:
            return stored, None
        return size, sparse.check(regions, size=size, stored=self._left)

    @staticmethod
    def _sparse_size(records: dict[bytes, bytes], key: bytes) -> int:
        size = pax.number(records, key)
        if size is None:
            raise sparse.invalid("without a size")
        return size

    def _old_map(self, header: Header, limit: int) -> list[tuple[int, int]]:
        regions, more = list(header.old_sparse), header.old_sparse_more
        while more:
            self._tally.header(BLOCK)
            block = self._stream.exactly(BLOCK)
            regions += sparse_structs(block[:504])
            more = bool(block[504])
            sparse.check_count(len(regions), limit)
        return regions

    @staticmethod
    def _map_in_records(extended: Extended, limit: int) -> list[tuple[int, int]]:
        if b"GNU.sparse.map" in extended.records:
            return sparse.parse_list(extended.records[b"GNU.sparse.map"], limit)
        pairs = [item for item in extended.listed if item[0] in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
        sparse.check_count(len(pairs) // 2, limit)
        offsets, lengths = pairs[::2], pairs[1::2]
        if len(offsets) != len(lengths) or any(key != b"GNU.sparse.offset" for key, _ in offsets):
            raise sparse.invalid("whose map is out of order")
        return [
            (sparse.parse_number(offset), sparse.parse_number(length))
            for (_, offset), (_, length) in zip(offsets, lengths, strict=True)
        ]

    def _map_in_data(self, limit: int) -> list[tuple[int, int]]:
        """The map of format 1.0: decimal numbers, one a line, the number of regions first, in whole blocks."""
        lines = self._map_lines()
        count = sparse.parse_number(next(lines))
        sparse.check_count(count, limit)
        return [(sparse.parse_number(next(lines)), sparse.parse_number(next(lines))) for _ in range(count)]

    def _map_lines(self) -> Iterator[bytes]:
        rest = b""
        while True:
            if self._left < BLOCK:
                raise sparse.invalid("whose map does not end")
            self._left -= BLOCK
            *lines, rest = (rest + self._stream.exactly(BLOCK)).split(b"\n")
            yield from lines
            if len(rest) > sparse.MAX_DIGITS:  # more was asked for: this is no padding behind the last number
                raise sparse.invalid("whose map says something that is not a number")

    def _read_manifest(self, header: Header, extended: Extended, kind: EntryKind | None, size: int) -> None:
        if self.manifest is not None:
            raise refused("archive_manifest_twice", "The archive has more than one manifest.json.", next_step=UNTRUSTED)
        plain = kind is EntryKind.FILE and header.type != GNU_SPARSE
        if not plain or any(key.startswith(pax.SPARSE) for key in extended.records):
            raise refused("archive_manifest_malformed", "The archive's manifest.json is no plain file.")
        if size > MAX_MANIFEST_BYTES:
            raise too_large(
                "archive_manifest_too_large",
                f"The archive's manifest.json is larger than {MAX_MANIFEST_BYTES} bytes.",
                limit=MAX_MANIFEST_BYTES,
                next_step="Nothing was changed. It needs to list no more than the volumes; see the reference.",
            )
        # The mark stands before this entry's first header.
        self.manifest_at = self._stream.content_at_mark()
        self.manifest = self._stream.exactly(size)
        self._stream.exactly(padded(size) - size)
        self.manifest_is_last = True

    def _expect(self, size: int) -> None:
        self._left, self._padding = size, padded(size) - size

    def _data(self) -> Iterator[bytes]:
        while self._left:
            piece = self._stream.some(min(self._left, PIECE_BYTES))
            if not piece:
                raise truncated(f"The archive ends in the middle of {printable(self.last)}.")
            self._left -= len(piece)
            yield piece

    def _drain(self) -> None:
        for _ in self._data():
            pass
        self._stream.exactly(self._padding)
        self._padding = 0

    def _finish(self) -> None:
        """After the first block of the end-of-archive mark: the second, padding, and the end of the file."""
        self.end = self._stream.content_at_mark()
        padding = 0
        while piece := self._stream.some(PIECE_BYTES):
            padding += len(piece)
            if padding > _MAX_PADDING or piece.strip(b"\0"):
                raise refused(
                    "archive_trailing_data",
                    "The archive goes on after its end with something other than padding.",
                    next_step=UNTRUSTED,
                )
        if padding < BLOCK:
            raise truncated("The archive has only half of an end-of-archive mark.")
