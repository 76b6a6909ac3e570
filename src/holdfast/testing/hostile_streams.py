"""Archives whose compressed form is what is wrong; a part of :mod:`holdfast.testing.hostile_archives`."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib

import zstandard

from holdfast.testing.hostile_manifests import Kinds
from holdfast.testing.raw_tar import END, FILE, ROOT, archive, gzipped, header, manifest, member, zstandard_frame


def hostile_streams() -> Kinds:
    """All kinds."""
    return {**_gzip(), **_zstd(), **_other()}


def _kept(tar: bytes) -> bytes:
    return tar


def _gzip_with(flags: int, extra: bytes, tar: bytes, *, size: int | None = None) -> bytes:
    """One gzip member with these header flags and what belongs to them, and a size at its end that may lie."""
    raw = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = raw.compress(tar) + raw.flush()
    stated = len(tar) if size is None else size
    return b"\x1f\x8b\x08%c\0\0\0\0\0\x03" % flags + extra + body + struct.pack("<II", zlib.crc32(tar), stated)


def _gzip() -> Kinds:
    tar = archive(FILE, compress=_kept)
    empty_blocks = b"\0\0\0\xff\xff" * 20_000
    flat = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
    return {
        "gzip with a wrong size": ("archive_corrupt", _gzip_with(0, b"", tar, size=7)),
        "gzip of another method": ("archive_corrupt", b"\x1f\x8b\x07" + gzipped(tar)[3:]),
        "gzip with reserved flags": ("archive_corrupt", _gzip_with(0xE0, b"", tar)),
        "gzip with a header checksum that is wrong": ("archive_corrupt", _gzip_with(2, b"\0\0", tar)),
        "gzip with a name that does not end": ("archive_truncated", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 100_000),
        "gzip of empty blocks only": ("archive_truncated", flat + empty_blocks),
        "gzip of a dictionary that is too far": ("archive_corrupt", flat + b"\x63\x00\x42\x00\xff\xff"),
        "many gzip members": ("archive_trailing_data", gzipped(b"") * 3 + gzipped(tar)),
        "archive in pieces of gzip": ("archive_trailing_data", gzipped(tar[:512]) + gzipped(tar[512:])),
        "gzip in gzip": ("archive_header_invalid", gzipped(gzipped(tar).ljust(1024, b"\1"))),
        "gzip of gzip of zeros": (
            "archive_ratio_too_high",
            gzip.compress(ROOT + header(b"0/x", size=16 << 20) + bytes(16 << 20) + manifest() + END, 9, mtime=0),
        ),
    }


def _zstd() -> Kinds:
    tar = archive(FILE, compress=_kept)
    frame = zstandard_frame(tar)
    parameters = zstandard.get_frame_parameters(frame)
    at = 5 if frame[4] & 0x20 else 6
    size = parameters.content_size
    lying = frame[:at] + (size + 256).to_bytes(2, "little") + frame[at + 2 :]
    magic = b"\x28\xb5\x2f\xfd"
    empty = b"\0\0\0"
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 100) + bytes(100)
    repeated = (2 << 3 | 1 << 1).to_bytes(3, "little")
    dictionary = zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(tar, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    ).compress(tar)
    return {
        "zstd with a wrong content size": ("archive_corrupt", lying),
        "zstd with a reserved bit": ("archive_corrupt", frame[:4] + bytes([frame[4] | 8]) + frame[5:]),
        "zstd with an unknown dictionary": (
            "archive_corrupt",
            frame[:4] + bytes([frame[4] | 1]) + frame[5:at] + b"\7" + frame[at:],
        ),
        "zstd made with a dictionary": ("archive_corrupt", dictionary),
        "zstd frame to be skipped": ("archive_not_recognised", skippable + frame),
        "zstd frame to be skipped at the end": ("archive_trailing_data", frame + skippable),
        "zstd of empty blocks only": ("archive_corrupt", magic + b"\x00\x58" + empty * 50_000),
        "zstd of nothing": ("archive_truncated", zstandard_frame(b"")),
        "zstd blocks that repeat a byte": (
            "archive_truncated",
            magic + b"\x00\x58" + (repeated + b"\0") * 3 + b"\x01\0\0",
        ),
        "zstd with a block larger than its window": (
            "archive_corrupt",
            magic + b"\x00\x00" + (0x1F_FFFF << 3).to_bytes(3, "little") + bytes(4096),
        ),
        "archive in pieces of zstd": ("archive_trailing_data", zstandard_frame(tar[:512]) + zstandard_frame(tar[512:])),
        "zstd bomb of noughts and ones": (
            "archive_ratio_too_high",
            archive(member(b"0/x", b"01" * (8 << 20)), compress=zstandard_frame),
        ),
    }


def _other() -> Kinds:
    tar = archive(FILE, compress=_kept)
    unknown = "archive_not_recognised"
    return {
        "bzip2": (unknown, bz2.compress(tar, 1)),
        "xz": (unknown, lzma.compress(tar, preset=0)),
        "old lzma": (unknown, lzma.compress(tar, format=lzma.FORMAT_ALONE, preset=0)),
        "bzip2 bomb": (unknown, bz2.compress(bytes(32 << 20), 1)),
        "xz bomb": (unknown, lzma.compress(bytes(32 << 20), preset=0)),
        "compress": (unknown, b"\x1f\x9d\x90" + bytes(100)),
        "one byte": (unknown, b"\x1f"),
        "magic number only": ("archive_truncated", b"\x1f\x8b"),
        "zstd magic number only": ("archive_truncated", b"\x28\xb5\x2f\xfd"),
        "text before gzip": (unknown, b"\n" + gzipped(tar)),
    }
