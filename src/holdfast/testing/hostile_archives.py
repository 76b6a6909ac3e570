"""Archives that an import must refuse, one of each kind, with the code that it must refuse them with.

No kind needs more than a few megabytes, and all are built anew each time: no hostile file lies in the repository.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.engine.limits import Limits
from holdfast.testing.hostile_headers import hostile_headers
from holdfast.testing.hostile_manifests import Kinds, hostile_manifests
from holdfast.testing.hostile_streams import hostile_streams
from holdfast.testing.raw_tar import (
    END,
    FILE,
    ROOT,
    archive,
    base256,
    directory,
    extended,
    gzipped,
    hardlink,
    header,
    manifest,
    member,
    old_sparse,
    pax,
    record,
    sparse,
    sparse_map,
    symlink,
    volumes,
    zstandard_frame,
)

SMALL_LIMITS = Limits(
    entries=50,
    depth=20,
    file_bytes=1 << 30,
    total_bytes=1 << 20,
    ratio=50,
    ratio_floor_bytes=1 << 20,
    header_bytes=64 << 10,
    pax_bytes=16 << 10,
    xattr_bytes=8 << 10,
    sparse_regions=100,
)
"""Small enough that an archive of a few kilobytes exceeds each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileArchive:
    """One kind.

    Attributes:
        name: what is wrong with it.
        code: of the error that the import must end with.
        content: the archive's bytes.
    """

    name: str
    code: str
    content: bytes = field(repr=False)


def hostile_archives() -> Iterator[HostileArchive]:
    """All kinds."""
    own = (_names, _relations, _links, _headers, _extended, _sparse, _streams, _bombs)
    groups = (*own, hostile_headers, hostile_streams, hostile_manifests)
    for group in groups:
        for name, (code, content) in group().items():
            yield HostileArchive(name=name, code=code, content=content)


def _names() -> Kinds:
    long = b"0/" + b"n" * 300
    return {
        "absolute name": ("archive_path_escapes", archive(member(b"/0/file"))),
        "name with parent": ("archive_path_escapes", archive(member(b"0/../../file"))),
        "name that is the parent": ("archive_path_escapes", archive(directory(b".."))),
        "parent after dot": ("archive_path_escapes", archive(member(b"./../file"))),
        "parent at the end": ("archive_path_escapes", archive(directory(b"0/a/.."))),
        "absolute PAX path": ("archive_path_escapes", archive(pax((b"path", b"/etc/passwd")), FILE)),
        "PAX path with parent": ("archive_path_escapes", archive(pax((b"path", b"0/../../x")), FILE)),
        "GNU long name with parent": ("archive_path_escapes", archive(extended(b"0/../../x\0", type=b"L"), FILE)),
        "prefix with parent": ("archive_path_escapes", archive(header(b"file", prefix=b"0/../.."))),
        "empty name": ("archive_name_refused", archive(member(b""))),
        "empty PAX path": ("archive_name_refused", archive(pax((b"path", b"")), FILE)),
        "NUL in a PAX path": ("archive_name_refused", archive(pax((b"path", b"0/a\0b")), FILE)),
        "NUL in a GNU long name": ("archive_name_refused", archive(extended(b"0/a\0b\0", type=b"L"), FILE)),
        "dot inside of a name": ("archive_name_refused", archive(member(b"0/./file"))),
        "empty component": ("archive_name_refused", archive(member(b"0//file"))),
        "file with a trailing slash": ("archive_name_refused", archive(member(b"0/file/"))),
        "component too long": ("archive_name_too_long", archive(pax((b"path", long)), FILE)),
        "path too long": ("archive_path_too_long", archive(pax((b"path", b"0" + b"/nnnnnnnnn" * 500)), FILE)),
        "path too deep": ("archive_too_deep", archive(pax((b"path", b"0" + b"/d" * 100)), FILE)),
        "entry of no volume": ("archive_entry_outside", archive(member(b"etc/passwd"))),
        "volume with a leading zero": ("archive_entry_outside", archive(member(b"00/file"))),
        "volume with a sign": ("archive_entry_outside", archive(member(b"-1/file"))),
        "volume out of range": ("archive_entry_outside", archive(member(b"999/file"))),
        "volume that is a file": ("archive_volume_not_directory", gzipped(member(b"0") + manifest() + END)),
        "volume that is a symlink": (
            "archive_volume_not_directory",
            gzipped(symlink(b"0", b"/etc") + manifest() + END),
        ),
    }


def _relations() -> Kinds:
    return {
        "file twice": ("archive_duplicate_entry", archive(FILE, FILE)),
        "directory twice": ("archive_duplicate_entry", archive(directory(b"0/d/"), directory(b"0/d/"))),
        "root twice": ("archive_duplicate_entry", archive(ROOT)),
        "file, then directory": ("archive_duplicate_entry", archive(FILE, directory(b"0/file/"))),
        "same name spelled twice": ("archive_duplicate_entry", archive(FILE, member(b"./0/file"))),
        "directory becomes a symlink": ("archive_duplicate_entry", archive(member(b"0/d/x"), symlink(b"0/d", b"/etc"))),
        "symlink becomes a file": (
            "archive_duplicate_entry",
            archive(symlink(b"0/x", b"/etc/x"), member(b"0/x", b"!")),
        ),
        "entry below a file": ("archive_parent_not_directory", archive(FILE, member(b"0/file/below"))),
        "entry below a symlink": (
            "archive_parent_not_directory",
            archive(symlink(b"0/link", b"/etc"), member(b"0/link/passwd", b"root::0:0")),
        ),
        "entry far below a symlink": (
            "archive_parent_not_directory",
            archive(symlink(b"0/link", b"../.."), member(b"0/link/a/b/c")),
        ),
        "entry below a hardlink": (
            "archive_parent_not_directory",
            archive(FILE, hardlink(b"0/link", b"0/file"), member(b"0/link/x")),
        ),
    }


def _links() -> Kinds:
    refused = "archive_link_target_refused"
    second = [*volumes(2)]
    return {
        "hardlink to an absolute path": ("archive_path_escapes", archive(hardlink(b"0/link", b"/etc/passwd"))),
        "hardlink with parent": ("archive_path_escapes", archive(hardlink(b"0/link", b"0/../../etc/passwd"))),
        "hardlink out of its volume": (
            refused,
            archive(FILE, directory(b"1/"), hardlink(b"1/x", b"0/file"), listed=second),
        ),
        "hardlink to no volume": (refused, archive(hardlink(b"0/link", b"etc/passwd"))),
        "hardlink to the manifest": (refused, archive(hardlink(b"0/link", b"manifest.json"))),
        "hardlink to a symlink": (refused, archive(symlink(b"0/a", b"/etc/passwd"), hardlink(b"0/b", b"0/a"))),
        "hardlink to a directory": (refused, archive(directory(b"0/a/"), hardlink(b"0/b", b"0/a"))),
        "hardlink to a hardlink": (refused, archive(FILE, hardlink(b"0/b", b"0/file"), hardlink(b"0/c", b"0/b"))),
        "hardlink to a later file": (refused, archive(hardlink(b"0/link", b"0/file"), FILE)),
        "hardlink to itself": (refused, archive(hardlink(b"0/link", b"0/link"))),
        "hardlink to nothing there": (refused, archive(hardlink(b"0/link", b"0/missing"))),
        "hardlink to an implied directory": (refused, archive(member(b"0/d/x"), hardlink(b"0/link", b"0/d"))),
        "hardlink to a volume": (refused, archive(hardlink(b"0/link", b"0"))),
        "symlink to nothing": (refused, archive(symlink(b"0/link", b""))),
        "symlink with a NUL": (refused, archive(pax((b"linkpath", b"a\0b")), symlink(b"0/link", b"a"))),
        "symlink too long": (
            "archive_path_too_long",
            archive(pax((b"linkpath", b"x" * 5000)), symlink(b"0/link", b"a")),
        ),
    }


def _headers() -> Kinds:
    invalid, conflict = "archive_header_invalid", "archive_header_conflict"
    return {
        "negative size": (invalid, archive(header(b"0/file", size=b"\xff" * 12))),
        "size with a minus": (invalid, archive(header(b"0/file", size=b"-0000000001\0"))),
        "size that is no number": (invalid, archive(header(b"0/file", size=b"0000000009z\0"))),
        "size with something after its end": (invalid, archive(header(b"0/file", size=b"0000007\0" + b"007\0"))),
        "size with an underscore": (invalid, archive(header(b"0/file", size=b"0000_000001\0"))),
        "huge size": ("archive_file_too_large", archive(header(b"0/file", size=base256(1 << 62)))),
        "size of ninety bits": (invalid, archive(header(b"0/file", size=base256(1 << 90)))),
        "owner that is no number": (invalid, archive(header(b"0/file", uid=b"zzzzzzz\0"))),
        "owner out of range": (
            "archive_metadata_invalid",
            archive(header(b"0/file", uid=(0x80 << 56 | 2**32 - 1).to_bytes(8, "big"))),
        ),
        "time out of range": ("archive_metadata_invalid", archive(header(b"0/file", mtime=base256(1 << 70)))),
        "wrong checksum": ("archive_corrupt", archive(header(b"0/file", checksum=b"000001\0 "))),
        "checksum that is no number": (invalid, archive(header(b"0/file", checksum=b"zzzzzz\0 "))),
        "unknown format": (invalid, archive(header(b"0/file", magic=b"USTAR\0"))),
        "unknown type": ("archive_type_unknown", archive(member(b"0/file", type=b"Z"))),
        "continuation of another volume": ("archive_type_unknown", archive(member(b"0/file", type=b"M"))),
        "directory with data": (conflict, archive(member(b"0/d/", b"data", type=b"5"))),
        "symlink with data": (conflict, archive(member(b"0/l", b"data", type=b"2", link=b"x"))),
        "hardlink with data": (conflict, archive(FILE, member(b"0/l", b"data", type=b"1", link=b"0/file"))),
        "device with data": (conflict, archive(member(b"0/d", b"data", type=b"3"))),
    }


def _extended() -> Kinds:
    invalid, conflict = "archive_pax_invalid", "archive_header_conflict"
    everywhere = "archive_global_header"
    return {
        "two sizes": (conflict, archive(pax((b"size", b"3")), FILE)),
        "PAX size over a zero": (conflict, archive(pax((b"size", b"512")), header(b"0/file"), bytes(512))),
        "negative PAX size": (invalid, archive(pax((b"size", b"-1")), FILE)),
        "PAX size that is no number": (invalid, archive(pax((b"size", b"0x7")), FILE)),
        "global path": (everywhere, archive(extended(record(b"path", b"0/x"), type=b"g"), FILE)),
        "global size": (everywhere, archive(extended(record(b"size", b"0"), type=b"g"), FILE)),
        "global linkpath": (everywhere, archive(extended(record(b"linkpath", b"/etc"), type=b"g"), FILE)),
        "global attribute": (everywhere, archive(extended(record(b"SCHILY.xattr.user.a", b"b"), type=b"g"), FILE)),
        "global header inside of an entry": (
            conflict,
            archive(pax((b"mtime", b"1")), extended(record(b"comment", b"x"), type=b"g"), FILE),
        ),
        "nested PAX headers": (conflict, archive(pax((b"mtime", b"1")), pax((b"path", b"0/other")), FILE)),
        "two GNU long names": (
            conflict,
            archive(extended(b"0/a\0", type=b"L"), extended(b"0/b\0", type=b"L"), FILE),
        ),
        "PAX path and GNU long name": (conflict, archive(extended(b"0/a\0", type=b"L"), pax((b"path", b"0/b")), FILE)),
        "PAX record twice": (invalid, archive(pax((b"path", b"0/a"), (b"path", b"0/b")), FILE)),
        "PAX record of length zero": (invalid, archive(extended(b"0 path=0/a\n"), FILE)),
        "PAX record longer than its header": (invalid, archive(extended(b"999 path=0/a\n"), FILE)),
        "PAX record shorter than it is": (invalid, archive(extended(b"9 path=0/abc\n"), FILE)),
        "PAX record with a signed length": (invalid, archive(extended(b"+12 path=0/a\n"), FILE)),
        "PAX record without a value": (invalid, archive(extended(b"8 path0\n"), FILE)),
        "PAX record without a key": (invalid, archive(extended(b"6 =ab\n"), FILE)),
        "PAX header of garbage": (invalid, archive(extended(b"\xff" * 600), FILE)),
        "PAX time that is no number": (invalid, archive(pax((b"mtime", b"nan")), FILE)),
        "PAX time out of range": (invalid, archive(pax((b"mtime", b"99999999999")), FILE)),
        "unknown character set": (invalid, archive(pax((b"hdrcharset", b"EBCDIC")), FILE)),
        "attribute without a name": ("archive_xattr_invalid", archive(pax((b"SCHILY.xattr.", b"x")), FILE)),
        "attribute with a NUL": ("archive_xattr_invalid", archive(pax((b"SCHILY.xattr.user.a\0b", b"x")), FILE)),
        "attribute twice": (
            "archive_xattr_invalid",
            archive(pax((b"SCHILY.xattr.user.a%", b"x"), (b"SCHILY.xattr.user.a%25", b"y")), FILE),
        ),
        "PAX header before the end": ("archive_corrupt", gzipped(ROOT + manifest() + pax((b"path", b"0/a")) + END)),
    }


def _sparse() -> Kinds:
    invalid = "archive_sparse_map_invalid"
    data = b"x" * 512

    def with_map(*regions: tuple[int, int], size: int = 4096, content: bytes = data) -> bytes:
        return archive(sparse(b"0/s", content, size=size, sparse_map=sparse_map(regions)))

    def in_records(*records: tuple[bytes, bytes]) -> bytes:
        return archive(pax(*records), member(b"0/s", data))

    return {
        "sparse regions overlap": (invalid, with_map((0, 512), (256, 512), content=2 * data)),
        "sparse regions out of order": (invalid, with_map((2048, 512), (0, 512), content=2 * data)),
        "sparse region beyond the end": (invalid, with_map((4000, 512))),
        "sparse region far beyond the end": (invalid, with_map((1 << 62, 512))),
        "sparse map with less than the data": (invalid, with_map((0, 100))),
        "sparse map with more than the data": (invalid, with_map((0, 1024))),
        "sparse map that does not end": (
            invalid,
            archive(sparse(b"0/s", b"", size=4096, sparse_map=b"9\n" + b"0" * 508 + b"\n")),
        ),
        "sparse map that is no number": (
            invalid,
            archive(sparse(b"0/s", data, size=4096, sparse_map=b"1\n-1\n512\n")),
        ),
        "sparse map of too many regions": (
            "archive_too_many_sparse_regions",
            archive(sparse(b"0/s", data, size=4096, sparse_map=b"99999999999\n0\n1\n")),
        ),
        "sparse file of enormous size": ("archive_file_too_large", with_map((0, 512), size=1 << 60)),
        "sparse file of unknown format": (
            invalid,
            in_records((b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")),
        ),
        "sparse file without a size": (invalid, in_records((b"GNU.sparse.map", b"0,512"))),
        "sparse list that ends half-way": (
            invalid,
            in_records((b"GNU.sparse.size", b"4096"), (b"GNU.sparse.map", b"0,512,9")),
        ),
        "sparse records out of order": (
            invalid,
            in_records((b"GNU.sparse.size", b"4096"), (b"GNU.sparse.numbytes", b"512"), (b"GNU.sparse.offset", b"0")),
        ),
        "sparse directory": (invalid, archive(pax((b"GNU.sparse.name", b"0/x")), directory(b"0/d/"))),
        "old sparse regions overlap": (
            invalid,
            archive(old_sparse(b"0/s", 2 * data, size=4096, regions=((0, 512), (0, 512)))),
        ),
        "old sparse region beyond the end": (invalid, archive(old_sparse(b"0/s", data, size=100, regions=((0, 512),)))),
    }


def _streams() -> Kinds:
    trailing, cut = "archive_trailing_data", "archive_truncated"
    whole = archive(FILE)
    framed = archive(FILE, compress=zstandard_frame)
    body = ROOT + FILE + manifest()
    window = b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00"
    return {
        "data after the end": (trailing, gzipped(body + END + member(b"0/hidden"))),
        "data after the padding": (trailing, gzipped(body + END + bytes(10240) + b"x")),
        "second gzip member": (trailing, whole + whole),
        "second zstd frame": (trailing, framed + framed),
        "garbage after gzip": (trailing, whole + b"garbage"),
        "garbage after zstd": (trailing, framed + b"garbage"),
        "zeros after zstd": (trailing, framed + bytes(100)),
        "no end mark": (cut, gzipped(body)),
        "half an end mark": (cut, gzipped(body + bytes(512))),
        "cut in the data": (cut, gzipped(ROOT + header(b"0/file", size=5000) + b"x" * 700)),
        "cut in a header": (cut, gzipped(ROOT + header(b"0/file")[:300])),
        "cut gzip": (cut, whole[:-9]),
        "cut zstd": (cut, framed[:-3]),
        "empty gzip": (cut, gzipped(b"")),
        "not an archive": ("archive_not_recognised", b"PK\x03\x04 something else entirely"),
        "empty file": ("archive_not_recognised", b""),
        "tar without compression": ("archive_not_recognised", body + END),
        "text in gzip": ("archive_header_invalid", gzipped(b"hello, this is no archive\n" * 100)),
        "damaged gzip": ("archive_corrupt", whole[:-8] + bytes(8)),
        "damaged zstd": ("archive_corrupt", framed[:-4] + bytes(4)),
        "zstd window of terabytes": ("archive_corrupt", window),
        "zstd block of no type": ("archive_corrupt", b"\x28\xb5\x2f\xfd\x00\x58\x07\x00\x00" + bytes(8)),
    }


def _bombs() -> Kinds:
    crowd = b"".join(member(b"0/%d" % number) for number in range(100))
    forest = b"".join(pax((b"path", b"0/%d" % n + b"/d" * 15 + b"/f")) + FILE for n in range(10))
    chatter = b"".join(pax((b"comment", b"x" * 9000), (b"path", b"0/%d" % number)) + FILE for number in range(10))
    attributes = pax(*((b"SCHILY.xattr.user.%d" % number, b"x" * 1000) for number in range(10)))
    zeros = member(b"0/zeros", bytes(8 << 20))
    return {
        "gzip bomb": ("archive_ratio_too_high", archive(zeros, listed=volumes(1))),
        "zstd bomb": ("archive_ratio_too_high", archive(zeros, compress=zstandard_frame)),
        "bomb of padding": ("archive_ratio_too_high", gzipped(ROOT + manifest() + END + bytes(8 << 20))),
        "too much data": ("archive_too_large", archive(member(b"0/file", _noise(2 << 20)))),
        "too many entries": ("archive_too_many_entries", archive(crowd)),
        "too many implied directories": ("archive_too_many_entries", archive(forest)),
        "too many extended headers": ("archive_headers_too_large", archive(chatter)),
        "PAX header of a gigabyte": ("archive_pax_too_large", archive(header(b"x", type=b"x", size=1 << 30))),
        "GNU long name of a gigabyte": ("archive_pax_too_large", archive(header(b"x", type=b"L", size=1 << 30))),
        "global header of a gigabyte": ("archive_pax_too_large", archive(header(b"x", type=b"g", size=1 << 30))),
        "too many attributes": ("archive_xattrs_too_large", archive(attributes, FILE)),
    }


def _noise(size: int) -> bytes:
    """Incompressible, and the same each time."""
    return random.Random(1).randbytes(size)  # noqa: S311 - not for secrets
