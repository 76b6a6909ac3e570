"""Archives whose headers, extended records and sparse maps lie; a part of :mod:`holdfast.testing.hostile_archives`."""

from __future__ import annotations

from holdfast.testing.hostile_manifests import Kinds
from holdfast.testing.raw_tar import (
    BLOCK,
    FILE,
    archive,
    base256,
    directory,
    extended,
    hardlink,
    header,
    member,
    old_sparse,
    padded,
    pax,
    record,
    sparse,
    sparse_map,
    symlink,
)

_INVALID = "archive_sparse_map_invalid"
_DATA = b"x" * BLOCK


def hostile_headers() -> Kinds:
    """All kinds."""
    return {**_spellings(), **_numbers(), **_records(), **_maps(), **_endless()}


def _spellings() -> Kinds:
    """One name in two forms, and forms that programs read in two ways."""
    twice, refused, escapes = "archive_duplicate_entry", "archive_name_refused", "archive_path_escapes"
    return {
        "directory, then file": (twice, archive(directory(b"0/d/"), member(b"0/d"))),
        "implied directory, then file": (twice, archive(member(b"0/d/x"), member(b"0/d"))),
        "implied directory, then symlink": (twice, archive(member(b"0/d/x"), symlink(b"0/d", b"/etc"))),
        "directory with and without a slash": (twice, archive(directory(b"0/d/"), directory(b"0/d"))),
        "directory after many dots": (twice, archive(directory(b"0/d/"), directory(b"././././0/d/"))),
        "old directory, then file": (twice, archive(member(b"0/d/", type=b"\0"), member(b"0/d"))),
        "hardlink over its target": (twice, archive(FILE, hardlink(b"0/file", b"0/file"))),
        "hardlink over a directory": (twice, archive(FILE, directory(b"0/d/"), hardlink(b"0/d", b"0/file"))),
        "hardlink to a chain of symlinks": (
            "archive_link_target_refused",
            archive(symlink(b"0/a", b"b"), symlink(b"0/b", b"c"), hardlink(b"0/x", b"0/a"), member(b"0/c")),
        ),
        "hardlink below a symlink": (
            "archive_link_target_refused",
            archive(symlink(b"0/a", b"/etc"), hardlink(b"0/x", b"0/a/passwd")),
        ),
        "directory with a trailing dot": (refused, archive(directory(b"0/d/."))),
        "directory with two slashes": (refused, archive(directory(b"0/d//"))),
        "symlink with a trailing slash": (refused, archive(symlink(b"0/l/", b"/etc"))),
        "name of slashes": (escapes, archive(member(b"////"))),
        "absolute name after dots": (refused, archive(member(b".//etc/passwd"))),
        "long link with a NUL": (refused, archive(extended(b"a\0b\0", type=b"K"), symlink(b"0/l", b"a"))),
        "empty long name": (refused, archive(extended(b"\0", type=b"L"), FILE)),
        "two long links": (
            "archive_header_conflict",
            archive(extended(b"a\0", type=b"K"), extended(b"b\0", type=b"K"), symlink(b"0/l", b"a")),
        ),
        "long link and PAX link": (
            "archive_header_conflict",
            archive(extended(b"a\0", type=b"K"), pax((b"linkpath", b"b")), symlink(b"0/l", b"a")),
        ),
        "name of a sparse file with parent": (
            escapes,
            archive(sparse(b"0/../../x", _DATA, size=4096, sparse_map=sparse_map([(0, 512)]))),
        ),
        "absolute long name": (escapes, archive(extended(b"/etc/passwd\0", type=b"L"), FILE)),
        "long hardlink out of its volume": (
            escapes,
            archive(extended(b"0/../../etc/passwd\0", type=b"K"), hardlink(b"0/x", b"0/file")),
        ),
    }


def _numbers() -> Kinds:
    invalid, metadata = "archive_header_invalid", "archive_metadata_invalid"
    ones = b"\xff" * 8
    return {
        "negative owner": (invalid, archive(header(b"0/file", uid=ones))),
        "checksum of blanks": ("archive_corrupt", archive(header(b"0/file", checksum=b" " * 8))),
        "checksum of another header": ("archive_corrupt", archive(FILE[:148] + header(b"0/x")[148:])),
        "negative checksum": (invalid, archive(header(b"0/file", checksum=ones))),
        "time long before all": (metadata, archive(header(b"0/file", mtime=b"\x80" + b"\xff" * 11))),
        "time that is negative beyond all": (invalid, archive(header(b"0/file", mtime=b"\xc0" + bytes(11)))),
        "size of all ones": (invalid, archive(header(b"0/file", size=b"\xff" * 12))),
        "size with its highest bit set": (invalid, archive(header(b"0/file", size=base256(2**95 - 1)))),
        "size in octal with an eight": (invalid, archive(header(b"0/file", size=b"00000000008\0"))),
        "size in hexadecimal": (invalid, archive(header(b"0/file", size=b"0x000000010\0"))),
        "prefix in a header of GNU": (invalid, archive(header(b"0/file", magic=b"ustar  \0", prefix=b"0/d"))),
        "prefix in a header of old": (invalid, archive(header(b"0/file", magic=bytes(8), prefix=b"0/d"))),
        "owner in binary that begins otherwise": (invalid, archive(header(b"0/file", uid=b"\x81" + bytes(7)))),
        "device number that is none": (invalid, archive(header(b"0/file", device=b"\xfd" + bytes(7)))),
        "block of ones": (invalid, archive(b"\xff" * BLOCK)),
        "volume label": ("archive_type_unknown", archive(member(b"label", type=b"V"))),
        "directory of names": ("archive_type_unknown", archive(member(b"0/d", b"Yx\0\0", type=b"D"))),
        "extended header of Solaris": ("archive_type_unknown", archive(extended(record(b"path", b"/x"), type=b"X"))),
        "link without data but with a size": (
            "archive_header_conflict",
            archive(FILE, header(b"0/l", type=b"1", size=1 << 40, link=b"0/file")),
        ),
    }


def _records() -> Kinds:
    invalid, conflict = "archive_pax_invalid", "archive_header_conflict"
    return {
        "PAX owner that is negative": (invalid, archive(pax((b"uid", b"-1")), FILE)),
        "PAX owner out of range": ("archive_metadata_invalid", archive(pax((b"uid", b"4294967295")), FILE)),
        "PAX owner of twenty digits": (invalid, archive(pax((b"gid", b"9" * 20)), FILE)),
        "PAX size with a plus": (invalid, archive(pax((b"size", b"+7")), FILE)),
        "PAX size in other digits": (invalid, archive(pax((b"size", "٧".encode())), FILE)),
        "PAX size that hides an entry": (conflict, archive(pax((b"size", b"1536")), FILE, member(b"0/hidden"))),
        "PAX size of a hardlink": (conflict, archive(FILE, pax((b"size", b"8589934592")), hardlink(b"0/l", b"0/file"))),
        "PAX time with an exponent": (invalid, archive(pax((b"mtime", b"1e9")), FILE)),
        "PAX time that is endless": (invalid, archive(pax((b"mtime", b"inf")), FILE)),
        "PAX record with a leading zero": (invalid, archive(extended(b"012 path=0/a\n"), FILE)),
        "PAX record with a length of twelve digits": (invalid, archive(extended(b"999999999999 path=0/a\n"), FILE)),
        "PAX record with a negative length": (invalid, archive(extended(b"-12 path=0/a\n"), FILE)),
        "PAX record that ends in another": (invalid, archive(extended(b"30 path=0/a\n12 path=0/b\n"), FILE)),
        "PAX record without a line feed": (invalid, archive(extended(b"11 path=0/a "), FILE)),
        "PAX records behind a NUL": (invalid, archive(extended(record(b"a", b"b") + bytes(4)), FILE)),
        "global character set": (invalid, archive(extended(record(b"hdrcharset", b"UTF-7"), type=b"g"), FILE)),
        "character set that nobody knows": (invalid, archive(pax((b"hdrcharset", b"utf-16"), (b"path", b"0/a")), FILE)),
        "global owner": ("archive_global_header", archive(extended(record(b"uid", b"0"), type=b"g"), FILE)),
        "attribute with a long name": (
            "archive_xattr_invalid",
            archive(pax((b"SCHILY.xattr.user." + b"n" * 251, b"x")), FILE),
        ),
    }


def _maps() -> Kinds:
    huge = base256(1 << 64)
    overflow = huge + huge
    old_tail = bytes(41) + overflow.ljust(96, b"\0") + b"\0" + b"%011o\0" % 4096
    chained = bytearray(old_sparse(b"0/s", b"", size=4096, regions=()))
    chained[482] = 1
    chained[148:156] = b" " * 8
    chained[148:156] = b"%06o\0 " % sum(chained[:BLOCK])
    endless = bytes(504) + b"\1" + bytes(7)

    def in_records(*records: tuple[bytes, bytes], data: bytes = _DATA) -> bytes:
        return archive(pax(*records), member(b"0/s", data))

    size = (b"GNU.sparse.size", b"4096")
    pairs = [((b"GNU.sparse.offset", b"%d" % n), (b"GNU.sparse.numbytes", b"1")) for n in range(0, 400, 2)]
    return {
        "old sparse region beyond all numbers": (
            _INVALID,
            archive(header(b"0/s", type=b"S", size=512, magic=b"ustar  \0", tail=old_tail) + _DATA),
        ),
        "old sparse map without end": ("archive_headers_too_large", archive(bytes(chained) + endless * 200)),
        "old sparse file with another map": (
            _INVALID,
            archive(pax((b"GNU.sparse.map", b"0,512")), old_sparse(b"0/s", _DATA, size=4096, regions=((0, 512),))),
        ),
        "sparse list of minus one": (_INVALID, in_records(size, (b"GNU.sparse.map", b"-1,512"))),
        "sparse list with empty numbers": (_INVALID, in_records(size, (b"GNU.sparse.map", b"0,,512,"))),
        "sparse list that overlaps": (_INVALID, in_records(size, (b"GNU.sparse.map", b"0,512,0,512"), data=2 * _DATA)),
        "sparse list of numbers beyond all": (
            _INVALID,
            in_records(size, (b"GNU.sparse.map", b"9223372036854775807,9223372036854775807")),
        ),
        "sparse list of too many regions": (
            "archive_too_many_sparse_regions",
            in_records(size, (b"GNU.sparse.map", b",".join(b"%d,1" % n for n in range(0, 400, 2)))),
        ),
        "sparse records of too many regions": (
            "archive_too_many_sparse_regions",
            in_records(size, *(item for pair in pairs for item in pair)),
        ),
        "sparse records with half a pair": (_INVALID, in_records(size, (b"GNU.sparse.offset", b"0"))),
        "sparse version without a number": (_INVALID, in_records((b"GNU.sparse.major", b"1"))),
        "sparse size that is negative": (
            "archive_pax_invalid",
            in_records((b"GNU.sparse.size", b"-1"), (b"GNU.sparse.map", b"0,512")),
        ),
        "sparse hardlink": (_INVALID, archive(FILE, pax(size), hardlink(b"0/l", b"0/file"))),
        "sparse device": (_INVALID, archive(pax(size), member(b"0/dev", type=b"3"))),
    }


def _endless() -> Kinds:
    """What costs the reader more than it costs the writer, unless it is bounded."""
    dots = b"./" * 5000 + b"0/file"
    no_line_feed = sparse(b"0/s", b"", size=4096, sparse_map=b"0" * (64 << 10))
    crowd = "archive_too_many_entries"
    return {
        "sparse map of one long number": (_INVALID, archive(no_line_feed)),
        "long name of dots, then another of the same": ("archive_duplicate_entry", archive(FILE, *_named(dots))),
        "long name of parents": ("archive_path_escapes", archive(*_named(b"0/" + b"../" * 5000 + b"x"))),
        "long name of slashes": ("archive_name_refused", archive(*_named(b"0" + b"/" * 15000 + b"x"))),
        "long name of directories": (
            "archive_path_too_long",
            archive(*_named(b"0/" + (b"d" * 20 + b"/") * 300 + b"x")),
        ),
        "FIFOs without end": (crowd, archive(*(member(b"0/f%d" % n, type=b"6") for n in range(60)))),
        "devices without end": (crowd, archive(*[member(b"0/dev", type=b"3")] * 60)),
        "roots without end": (crowd, archive(*[directory(b"./")] * 60)),
        "global headers without end": (crowd, archive(*[member(b"g", type=b"g")] * 60)),
        "records without end": (
            "archive_pax_too_large",
            archive(extended(b"".join(record(b"%d" % n, b"") for n in range(4000))), FILE),
        ),
    }


def _named(name: bytes) -> tuple[bytes, bytes]:
    return extended(name, type=b"L"), padded(FILE)
