"""How a volume's entries become tree chunks, and back.

A tree is the list of a volume's entries in walk order (parents first, names in byte order), cut into tree chunks where
the paths themselves say so: a stretch in which nothing changed gives the same chunk again and costs nothing. The tree
index names the tree chunks with the first path of each, so that a reader jumps instead of reading everything.

Invariants: what is decoded here is typed, bounded by its chunk's size and in strictly ascending order, or ``Damaged``;
memory is one tree chunk and the index, whatever the number of entries.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Final, Generic, TypeVar
from zlib import crc32

import msgspec

from holdfast.domain.errors import Damaged, TooLarge
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.repository.pack import ID_BYTES, MAX_CHUNK_BYTES

MAX_INLINE_IDS: Final = 1024
"""Chunks of one file that are named in its entry; the ids of more stand in list chunks."""
IDS_PER_LIST: Final = 16_384

_MIN_ENTRIES: Final = 256
_MAX_ENTRIES: Final = 8192
_MAX_TREE_BYTES: Final = 1 << 20
_BOUNDARY_MASK: Final = 0x3FF
_INDEX_BYTES: Final = 1 << 20
_ROUGHLY: Final = 64
"""Bytes of an encoded entry apart from path, link, content and attributes; only to bound a chunk's size."""

_KINDS: Final = (EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.SYMLINK, EntryKind.HARDLINK)

_Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
_Id32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Size = Annotated[int, msgspec.Meta(ge=0)]


class TreeEntry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One entry as it is stored.

    Attributes:
        kind: 0 file, 1 directory, 2 symlink, 3 hardlink.
        inode, ctime_ns: of the live file when it was captured; by them an unchanged file is recognised. Zero where the
            entry did not come from a live tree.
        content: ids of the chunks of the data regions, one after the other; with ``listed``, of list chunks that hold
            those ids.
    """

    path: bytes
    kind: Annotated[int, msgspec.Meta(ge=0, le=3)]
    mode: _Mode
    uid: _Id32
    gid: _Id32
    mtime_ns: int
    inode: _Size = 0
    ctime_ns: int = 0
    size: _Size = 0
    link: bytes = b""
    content: bytes = b""
    listed: bool = False
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[_Size, _Size], ...] | None = None

    @property
    def weight(self) -> int:
        """Bytes of what can be long in it."""
        attributes = sum(len(name) + len(value) for name, value in self.xattrs)
        return len(self.path) + len(self.link) + len(self.content) + attributes + 64 * len(self.extents or ())

    @classmethod
    def of(cls, entry: Entry, *, inode: int = 0, ctime_ns: int = 0) -> TreeEntry:
        """The stored form of ``entry``, still without content."""
        return cls(
            entry.path,
            _KINDS.index(entry.kind),
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime_ns,
            inode,
            ctime_ns,
            entry.size,
            entry.link_target,
            b"",
            False,
            entry.xattrs,
            entry.extents,
        )

    @property
    def data_bytes(self) -> int:
        """Bytes of data, holes not counted."""
        return self.size if self.extents is None else sum(length for _, length in self.extents)

    def with_content(self, content: bytes, *, listed: bool) -> TreeEntry:
        """The same entry with its chunks."""
        return msgspec.structs.replace(self, content=content, listed=listed)

    def at(self, path: bytes) -> TreeEntry:
        """The same under another path."""
        return msgspec.structs.replace(self, path=path)

    @property
    def ids(self) -> list[bytes]:
        """The ids in ``content``."""
        content = self.content
        return [content[at : at + ID_BYTES] for at in range(0, len(content), ID_BYTES)]

    def entry(self) -> Entry:
        """What the rest of the engine knows it as."""
        return Entry(
            path=self.path,
            kind=_KINDS[self.kind],
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime_ns=self.mtime_ns,
            size=self.size,
            link_target=self.link,
            xattrs=self.xattrs,
            extents=self.extents,
        )


class TreePart(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One tree chunk, as the tree index names it."""

    first: bytes
    id: bytes
    entries: Annotated[int, msgspec.Meta(ge=1, le=_MAX_ENTRIES)]


_ENCODER: Final = msgspec.msgpack.Encoder()
_ENTRIES: Final = msgspec.msgpack.Decoder(list[TreeEntry])
_PARTS: Final = msgspec.msgpack.Decoder(list[TreePart])


def sort_key(path: bytes) -> bytes:
    """By this paths are in walk order: ``/`` comes before every byte that a name can hold."""
    return path.replace(b"/", b"\0")


T = TypeVar("T")


class TreeBuilder(Generic[T]):
    """Makes the tree chunks of one volume.

    Args:
        put: stores a chunk; what it returns stands for the chunk's id.
        wait: the id, once it is known.
    """

    def __init__(self, put: Callable[[bytes], T], wait: Callable[[T], bytes]) -> None:
        self._put, self._wait = put, wait
        self._entries: list[TreeEntry] = []
        self._bytes = 0
        self._parts: list[tuple[bytes, T, int]] = []

    def add(self, entry: TreeEntry) -> None:
        """Append the next entry in walk order."""
        self._entries.append(entry)
        self._bytes += _ROUGHLY + len(entry.path) + len(entry.link) + len(entry.content)
        if entry.xattrs:
            self._bytes += sum(len(name) + len(value) for name, value in entry.xattrs)
        if entry.extents is not None:
            self._bytes += 18 * len(entry.extents)
        count = len(self._entries)
        if (
            (count >= _MIN_ENTRIES and not crc32(entry.path) & _BOUNDARY_MASK)
            or count >= _MAX_ENTRIES
            or self._bytes >= _MAX_TREE_BYTES
        ):
            self._close()

    def finish(self) -> tuple[bytes, ...]:
        """Store what is left, and the index. Returns the ids of the index' chunks, in order."""
        if self._entries:
            self._close()
        pieces: list[T] = []
        parts: list[TreePart] = []
        size = 0
        for first, chunk, count in self._parts:
            parts.append(TreePart(first, self._wait(chunk), count))
            size += _ROUGHLY + len(first)
            if size >= _INDEX_BYTES:
                pieces.append(self._put(_ENCODER.encode(parts)))
                parts, size = [], 0
        if parts:
            pieces.append(self._put(_ENCODER.encode(parts)))
        return tuple(self._wait(piece) for piece in pieces)

    def _close(self) -> None:
        first = self._entries[0].path
        encoded = _ENCODER.encode(self._entries)
        if len(encoded) > MAX_CHUNK_BYTES:
            raise _too_large(self._entries)
        chunk = self._put(encoded)
        self._parts.append((first, chunk, len(self._entries)))
        self._entries, self._bytes = [], 0


class Tree:
    """A stored tree, read part by part.

    Args:
        index: the ids of the index' chunks.
        read: gives the content of chunks, in the order that is asked for.

    Raises:
        Damaged: ``tree_malformed``, and what ``read`` raises.
    """

    def __init__(self, index: Sequence[bytes], read: Callable[[Iterable[bytes]], Iterator[bytes | memoryview]]) -> None:
        self._read = read
        self.parts: list[TreePart] = []
        for chunk in read(index):
            try:
                self.parts += _PARTS.decode(chunk)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise _malformed("its index can't be decoded") from error
        keys = [sort_key(part.first) for part in self.parts]
        if any(len(part.id) != ID_BYTES for part in self.parts) or any(a >= b for a, b in pairwise(keys)):
            raise _malformed("its index is not in order")
        self._keys = keys

    @property
    def entries_total(self) -> int:
        return sum(part.entries for part in self.parts)

    def entries(self, start: bytes = b"") -> Iterator[TreeEntry]:
        """All entries in walk order, from the first at or after the path ``start`` on."""
        wanted = sort_key(start)
        at = max(0, bisect_right(self._keys, wanted) - 1)
        found = self.of_parts(self.parts[at:])
        if not start:
            yield from found
            return
        for entry in found:
            if sort_key(entry.path) >= wanted:
                yield entry
                break
        yield from found

    def of_parts(self, parts: Sequence[TreePart]) -> Iterator[TreeEntry]:
        """The entries of some tree chunks, which are to be in their order."""
        return (entry for _, entry in self.keyed(parts))

    def keyed(self, parts: Sequence[TreePart]) -> Iterator[tuple[bytes, TreeEntry]]:
        """As :meth:`of_parts`, each with its :func:`sort_key`."""
        before: bytes | None = None
        for part, chunk in zip(parts, self._read(part.id for part in parts), strict=True):
            entries = decode_entries(chunk)
            if len(entries) != part.entries or not entries or entries[0].path != part.first:
                raise _malformed("a part of it is not the one that its index names")
            for entry in entries:
                key = sort_key(entry.path)
                if before is not None and key <= before:
                    raise _malformed(f"{display_path(entry.path)} is out of order")
                before = key
                yield key, entry


def decode_entries(chunk: bytes | memoryview) -> list[TreeEntry]:
    """The entries of one tree chunk.

    Raises:
        Damaged: ``tree_malformed``.
    """
    try:
        entries = _ENTRIES.decode(chunk)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _malformed("a part of it can't be decoded") from error
    for entry in entries:
        if len(entry.content) % ID_BYTES or (entry.content and entry.kind):
            raise _malformed(f"{display_path(entry.path)} names no whole chunks")
    return entries


def split_list(chunk: bytes | memoryview) -> list[bytes]:
    """The ids in a list chunk.

    Raises:
        Damaged: ``tree_malformed``.
    """
    data = bytes(chunk)
    if not data or len(data) % ID_BYTES:
        raise _malformed("a list of chunks in it is cut off")
    return [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]


def _too_large(entries: Sequence[TreeEntry]) -> TooLarge:
    largest = max(entries, key=lambda entry: len(_ENCODER.encode(entry)))
    return TooLarge(
        "tree_entry_too_large",
        f"The extended attributes of {display_path(largest.path)} take more than three mebibytes.",
        next_step="Remove attributes that nobody needs (getfattr -d, setfattr -x), then take the snapshot again.",
        details={"path": display_path(largest.path)},
    )


def _malformed(why: str) -> Damaged:
    return Damaged(
        "tree_malformed",
        f"A tree in the repository can't be understood: {why}.",
        next_step="Verify the repository, and restore another snapshot meanwhile.",
    )
