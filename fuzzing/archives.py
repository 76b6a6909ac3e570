"""Fuzz targets of the archive reader: the tar stream, and what is around it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import zstandard

from holdfast.domain.errors import HoldfastError
from holdfast.engine.archive import names
from holdfast.engine.archive.importer import Findings
from holdfast.engine.archive.problems import is_archive_problem
from holdfast.engine.archive.reader import ArchiveReader
from holdfast.engine.archive.source import TarStream, open_source
from holdfast.engine.archive.writer import encode_entry
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.limits import Tally
from holdfast.engine.tree_writer import TreeWriter, WritePolicy
from holdfast.testing.hostile_archives import SMALL_LIMITS, hostile_archives
from holdfast.testing.raw_tar import BLOCK, END, padded
from holdfast.testing.strange_archives import strange_archives

Read = list[tuple[int, Entry, bytes]]

_LONGEST: Final = 64 << 10
_SIZE: Final = slice(124, 136)
_CHECKSUM: Final = slice(148, 156)
_LIMITS: Final = SMALL_LIMITS


class _Bytes:
    """A source of a stream that is there already."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)
        self.consumed = len(content)

    def read(self) -> bytes:
        return self._file.read(4096)


def read_tar(data: bytes) -> bool:
    """The first byte says whether checksums are put right, so that changed headers are looked at, too."""
    tar = _with_right_checksums(data[1:]) if data[:1] >= b"\x40" else data[1:]
    try:
        found = _read(tar)
    except HoldfastError as error:
        assert is_archive_problem(error), error
        assert error.message.isprintable()
        assert len(error.message) < 1000
        return False
    _check_limits(found)
    again = b"".join(encode_entry(index, entry) + padded(content) for index, entry, content in found)
    assert _read(again + END) == found
    _check_against_python(tar, found)
    _check_staged(found)
    return True


def _read(tar: bytes) -> Read:
    tally = Tally(_LIMITS)
    findings = Findings(tally)
    found: Read = []
    for member in ArchiveReader(TarStream(_Bytes(tar), tally.expansion), tally).members():
        content = b"".join(member.data)
        findings.take(type(member)(index=member.index, entry=member.entry, data=iter((content,))))
        found.append((member.index, member.entry, content))
    return found


def _check_limits(found: Read) -> None:
    assert len(found) <= _LIMITS.entries
    assert sum(len(content) for _, _, content in found) <= _LIMITS.total_bytes
    for _, entry, content in found:
        assert len(content) == entry.data_bytes
        assert entry.size <= _LIMITS.file_bytes
        assert len(entry.path) <= _LIMITS.path_bytes
        components = entry.path.split(b"/") if entry.path else []
        assert not {b"", b".", b".."} & set(components)
        assert len(components) <= _LIMITS.depth


def _check_against_python(tar: bytes, found: Read) -> None:
    """Python's own reader sees the same names, kinds and sizes: no two programs understand it differently."""
    theirs = _as_python_reads_it(tar)
    kinds = {EntryKind.FILE: "file", EntryKind.DIRECTORY: "dir", EntryKind.SYMLINK: "sym", EntryKind.HARDLINK: "link"}
    ours = sorted((b"%d/%s" % (index, entry.path), kinds[entry.kind], entry.size) for index, entry, _ in found)
    assert ours == sorted(theirs), (ours, theirs)


def _as_python_reads_it(tar: bytes) -> list[tuple[bytes, str, int]]:
    theirs = []
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            name = member.name.encode("utf-8", "surrogateescape")
            kind = "dir" if member.isdir() else "sym" if member.issym() else "link" if member.islnk() else "file"
            if member.isdev():
                continue
            path = names.normalise(name, directory=kind == "dir")
            if path not in (b"", names.MANIFEST_NAME):
                whole = path + b"/" if b"/" not in path else path
                theirs.append((whole, kind, member.size if kind == "file" else 0))
    return theirs


def _check_staged(found: Read) -> None:
    """What is written is inside of the tree, and is what was read."""
    fs = Fs()
    place = Path(tempfile.mkdtemp(prefix="holdfast-fuzz-"))
    try:
        (place / "tree").mkdir(0o700)
        root = fs.open_root(str(place / "tree"))
        try:
            writer = TreeWriter(fs, root, WritePolicy(links=True, privileged=False, limits=_LIMITS))
            try:
                for index, entry, content in found:
                    if not index:
                        writer.add(entry, (content,))
                writer.finish()
            except HoldfastError:
                writer.close()  # what only a filesystem can refuse: a name, an attribute, the space
            else:
                for index, entry, _ in found:
                    if not index and entry.path:
                        facts = os.lstat(os.path.join(os.fsencode(place / "tree"), entry.path))
                        assert entry.kind is not EntryKind.FILE or facts.st_size == entry.size
        finally:
            os.close(root)
        assert [path.name for path in place.iterdir()] == ["tree"]
    finally:
        shutil.rmtree(place)


def _with_right_checksums(tar: bytes) -> bytes:
    blocks = bytearray(tar)
    at = 0
    while at + BLOCK <= len(blocks):
        block = blocks[at : at + BLOCK]
        if not any(block):
            break
        block[_CHECKSUM] = b" " * 8
        block[_CHECKSUM] = b"%06o\0 " % sum(block)
        blocks[at : at + BLOCK] = block
        try:
            size = int(bytes(block[_SIZE]).strip(b"\0 ") or b"0", 8)
        except ValueError:
            size = 0
        at += BLOCK + -(-size // BLOCK) * BLOCK
    return bytes(blocks)


def tar_seeds() -> Iterable[bytes]:
    """The corpus, decompressed."""
    for content in _corpus():
        tar = _decompressed(content, 24 << 10)
        if tar is not None:
            yield b"\x40" + tar
            yield b"\0" + tar


def read_compressed(data: bytes) -> bool:
    """What comes out is what the library gives for the whole input, and what is taken is one member or frame."""
    fs = Fs()
    fd = os.memfd_create("fuzz")
    produced = bytearray()
    try:
        fs.pwrite_all(fd, data, 0)
        try:
            _, source = open_source(fs, fd)
            while piece := source.read():
                assert len(piece) <= 1 << 20
                produced += piece
                if len(produced) > 8 << 20:
                    return False
        except HoldfastError as error:
            assert is_archive_problem(error), error
            return False
    finally:
        os.close(fd)
    if data.startswith(b"\x1f\x8b"):
        inflate = zlib.decompressobj(31)
        assert inflate.decompress(data) == produced
        assert inflate.eof
        assert not inflate.unused_data.strip(b"\0")
    else:
        whole = zstandard.ZstdDecompressor().decompressobj(read_across_frames=False)
        assert whole.decompress(data) == produced
        assert whole.eof
        assert not whole.unused_data
    return True


def compressed_seeds() -> Iterable[bytes]:
    """The corpus, as far as it is small."""
    return _corpus()


def _corpus() -> list[bytes]:
    return [*(each.content for each in hostile_archives()), *(each.content for each in strange_archives())]


def _decompressed(content: bytes, limit: int) -> bytes | None:
    try:
        if content.startswith(b"\x1f\x8b"):
            tar = zlib.decompressobj(31).decompress(content, limit + 1)
        else:
            tar = zstandard.ZstdDecompressor().decompressobj().decompress(content) if len(content) < limit else b""
    except (zlib.error, zstandard.ZstdError):
        return None
    return tar if 0 < len(tar) <= limit else None
