"""Tar archives byte by byte, for tests: whatever field is wrong is wrong on purpose.

Shares no code with the engine's own reader and writer, which are tested with it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence

import zstandard

BLOCK = 512
END = bytes(2 * BLOCK)


def padded(data: bytes) -> bytes:
    """``data`` filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def header(
    name: bytes,
    *,
    type: bytes = b"0",  # noqa: A002 - the field's name
    size: int | bytes = 0,
    mode: int = 0o644,
    uid: bytes = b"0000000\0",
    mtime: bytes = b"14000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\00000",
    device: bytes = b"",
    prefix: bytes = b"",
    tail: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header. A ``bytes`` value is put into its field as it is; ``tail`` overlays what follows byte 345."""
    sized = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:108] = b"%07o\0" % mode
    block[108:116] = uid
    block[116:124] = b"0000000\0"
    block[124:136] = sized
    block[136:148] = mtime
    block[148:156] = b" " * 8
    block[156:157] = type
    block[157 : 157 + len(link)] = link
    block[257 : 257 + len(magic)] = magic
    block[337 : 337 + len(device)] = device
    block[345 : 345 + len(prefix)] = prefix
    block[345 : 345 + len(tail)] = tail
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def member(
    name: bytes,
    data: bytes = b"",
    *,
    type: bytes = b"0",  # noqa: A002 - the field's name
    link: bytes = b"",
    mode: int = 0o644,
) -> bytes:
    """A header and its data."""
    return header(name, type=type, size=len(data), link=link, mode=mode) + padded(data)


def directory(name: bytes) -> bytes:
    """A directory."""
    return member(name, type=b"5", mode=0o755)


def symlink(name: bytes, target: bytes) -> bytes:
    """A symlink."""
    return member(name, type=b"2", link=target, mode=0o777)


def hardlink(name: bytes, target: bytes) -> bytes:
    """A hardlink."""
    return member(name, type=b"1", link=target)


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record with its right length."""
    length = len(key) + len(value) + 3
    while True:
        text = b"%d %s=%s\n" % (length, key, value)
        if len(text) == length:
            return text
        length = len(text)


def extended(data: bytes, *, type: bytes = b"x") -> bytes:  # noqa: A002 - the field's name
    """An extended header (``x``, ``g``) or a GNU long name (``L``, ``K``) with this content."""
    return member(b"././@Extended", data, type=type)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A PAX header of these records."""
    return extended(b"".join(record(key, value) for key, value in records))


def base256(number: int) -> bytes:
    """A number in GNU's binary form, for a field of twelve bytes."""
    return (number & (2**96 - 1) | 0x80 << 88).to_bytes(12, "big")


def volumes(count: int) -> list[dict[str, object]]:
    """What a manifest lists for ``count`` ordinary volumes."""
    return [{"index": n, "target": f"/data{n}", "scope": "stage", "source": f"data{n}"} for n in range(count)]


def manifest(document: object = None) -> bytes:
    """A ``manifest.json`` with this content; of one volume, unless told otherwise."""
    text = document if isinstance(document, bytes) else json.dumps(document or volumes(1)).encode()
    return member(b"manifest.json", text)


def sparse(name: bytes, data: bytes, *, size: int, sparse_map: bytes) -> bytes:
    """A sparse file of GNU's format 1.0 with this map, as it is."""
    records = pax(
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", b"%d" % size),
    )
    return records + member(b"GNUSparseFile.0/x", padded(sparse_map) + data)


def sparse_map(regions: Sequence[tuple[int, int]]) -> bytes:
    """The map of format 1.0."""
    return b"%d\n" % len(regions) + b"".join(b"%d\n%d\n" % region for region in regions)


def old_sparse(name: bytes, data: bytes, *, size: int, regions: Iterable[tuple[int, int]]) -> bytes:
    """A sparse file of GNU's oldest format, with up to four regions."""
    structs = b"".join(b"%011o\0%011o\0" % region for region in regions)
    tail = bytes(41) + structs.ljust(96, b"\0") + b"\0" + b"%011o\0" % size
    return header(name, type=b"S", size=len(data), magic=b"ustar  \0", tail=tail) + padded(data)


def gzipped(tar: bytes) -> bytes:
    """As one gzip member."""
    return gzip.compress(tar, compresslevel=1, mtime=0)


def zstandard_frame(tar: bytes) -> bytes:
    """As one zstd frame."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(tar)


ROOT = directory(b"0/")
FILE = member(b"0/file", b"content")


def archive(*members: bytes, listed: object = None, compress: Callable[[bytes], bytes] = gzipped) -> bytes:
    """A volume's root, these members, a manifest and the end."""
    return compress(b"".join((ROOT, *members, manifest(listed), END)))
