"""Writes a folder of a stored tree as a tar or zip stream, and a file with its holes filled.

What is written is for people to look at and take out; an exact copy is what an archive of the whole snapshot or a
restore gives. Memory is bounded by a chunk or two.
"""

from __future__ import annotations

import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from io import RawIOBase
from typing import Final

from holdfast.domain.snapshot import FolderFormat
from holdfast.engine.entries import display_path
from holdfast.engine.job import Job
from holdfast.engine.repository.browse import below, find
from holdfast.engine.repository.chunk_reader import Chunk, ChunkReader
from holdfast.engine.repository.contents import with_data
from holdfast.engine.repository.tree import Tree, TreeEntry

Write = Callable[[bytes], object]

_ZEROS: Final = bytes(1 << 20)
_FILE, _DIRECTORY, _SYMLINK, _HARDLINK = range(4)
_OLDEST_ZIP: Final = (1980, 1, 1, 0, 0, 0)
_NEWEST_ZIP: Final = (2107, 12, 31, 23, 59, 58)


def send_file(tree: Tree, path: bytes, reader: ChunkReader, write: Write, job: Job) -> None:
    """Write a file's content, ``size`` bytes of it.

    Raises:
        NotFound: ``file_unknown``.
        Damaged: a part of it is damaged or missing; what was written before is right.
    """
    for entry, chunks in with_data([find(tree, path)], reader):
        for piece in _dense(entry, chunks):
            job.check()
            write(bytes(piece))


def send_folder(tree: Tree, folder: bytes, kind: FolderFormat, reader: ChunkReader, write: Write, job: Job) -> None:
    """Write a folder and everything in it. Names begin with the folder's own.

    Raises:
        NotFound: ``file_unknown``.
        Damaged: a part of it is damaged or missing; the stream breaks off.
    """
    out = _Out(write)
    send = _Tar(out) if kind is FolderFormat.TAR else _Zip(out)
    cut = len(folder) - len(folder.rpartition(b"/")[2])
    inner = kind is FolderFormat.TAR
    for entry, chunks in with_data(_resolved(tree, folder, keep_inner_links=inner), reader):
        job.check()
        if entry.path:
            send.add(entry, entry.path[cut:], entry.link[cut:] if entry.kind == _HARDLINK else entry.link, chunks)
    send.close()


def _resolved(tree: Tree, folder: bytes, *, keep_inner_links: bool) -> Iterator[TreeEntry]:
    """The folder's entries; hardlinks that can't be kept as the files that they are names of."""
    prefix = folder + b"/" if folder else b""
    for entry in below(tree, folder):
        if entry.kind == _HARDLINK and not (keep_inner_links and entry.link.startswith(prefix)):
            yield find(tree, entry.link).at(entry.path)
        else:
            yield entry


def _dense(entry: TreeEntry, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """A file's content with its holes as zeros."""
    if entry.extents is None:
        yield from chunks
        return
    position = 0
    rest: memoryview = memoryview(b"")
    for start, length in entry.extents:
        yield from _hole(start - position)
        left = length
        while left:
            if not rest:
                rest = memoryview(next(chunks))
            piece, rest = rest[:left], rest[left:]
            left -= len(piece)
            yield piece
        position = start + length
    yield from _hole(entry.size - position)


def _hole(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= len(_ZEROS)


class _Out(RawIOBase):
    """A file that can only be written to, from its start to its end."""

    def __init__(self, write: Write) -> None:
        self._write, self._position = write, 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload] # a buffer of any kind
        if piece:
            self._write(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position


class _Pieces(RawIOBase):
    """A file that can only be read, from pieces."""

    def __init__(self, pieces: Iterator[Chunk]) -> None:
        self._pieces = pieces
        self._rest: memoryview = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type] # a writable buffer
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        piece, self._rest = self._rest[: len(target)], self._rest[len(target) :]
        target[: len(piece)] = piece
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        wanted = size if size is not None and size >= 0 else 1 << 62
        found = []
        while wanted:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    break
            piece, self._rest = self._rest[:wanted], self._rest[wanted:]
            found.append(bytes(piece))
            wanted -= len(piece)
        return b"".join(found)


class _Tar:
    def __init__(self, out: _Out) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 - closed by close()
            fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        )

    def add(self, entry: TreeEntry, name: bytes, link: bytes, chunks: Iterator[Chunk]) -> None:
        info = tarfile.TarInfo(os.fsdecode(name))
        info.mode, info.uid, info.gid = entry.mode & 0o777, entry.uid, entry.gid
        info.mtime = entry.mtime_ns // 1_000_000_000
        info.type = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)[entry.kind]
        info.linkname = os.fsdecode(link)
        if entry.kind == _FILE:
            info.size = entry.size
            self._tar.addfile(info, _Pieces(_dense(entry, chunks)))
        else:
            self._tar.addfile(info)

    def close(self) -> None:
        self._tar.close()


class _Zip:
    """A zip has no hardlinks; the caller gives none."""

    def __init__(self, out: _Out) -> None:
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def add(self, entry: TreeEntry, name: bytes, link: bytes, chunks: Iterator[Chunk]) -> None:
        info = zipfile.ZipInfo(
            display_path(name) + ("/" if entry.kind == _DIRECTORY else ""), _zip_time(entry.mtime_ns)
        )
        info.compress_type = zipfile.ZIP_DEFLATED
        kind = {_FILE: stat.S_IFREG, _DIRECTORY: stat.S_IFDIR, _SYMLINK: stat.S_IFLNK}[entry.kind]
        info.external_attr = (kind | entry.mode & 0o777) << 16
        with self._zip.open(info, "w", force_zip64=True) as file:
            if entry.kind == _SYMLINK:
                file.write(link)
            elif entry.kind == _FILE:
                for piece in _dense(entry, chunks):
                    file.write(piece)

    def close(self) -> None:
        self._zip.close()


def _zip_time(mtime_ns: int) -> tuple[int, int, int, int, int, int]:
    facts = time.gmtime(min(max(mtime_ns // 1_000_000_000, 0), 4_354_819_198))[:6]
    return min(max((facts[0], facts[1], facts[2], facts[3], facts[4], facts[5]), _OLDEST_ZIP), _NEWEST_ZIP)
