"""Archives that look like an attack and are none: what they must become, name by name, with links allowed.

Refusing them would be safe and wrong: a volume may hold any name and any link. Of a foreign archive setuid bits and
devices are left out; a symlink is text, wherever it points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from holdfast.testing.raw_tar import (
    FILE,
    archive,
    base256,
    directory,
    extended,
    hardlink,
    header,
    member,
    padded,
    pax,
    record,
    sparse,
    sparse_map,
    symlink,
    zstandard_frame,
)

Content = bytes | None | tuple[str, bytes]
"""A file's data, ``None`` for a directory, or what else it is and its text."""

_NFC: Final = b"\xc3\xa9"
_NFD: Final = b"e\xcc\x81"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangeArchive:
    """One of them.

    Attributes:
        name: what is strange in it.
        tree: each path below the volume, and what must stand there; nothing else may.
        content: the archive's bytes.
    """

    name: str
    tree: dict[bytes, Content] = field(repr=False)
    content: bytes = field(repr=False)


def strange_archives() -> Iterator[StrangeArchive]:
    """All of them."""
    for group in (_names(), _links(), _fields(), _shapes()):
        for name, (tree, content) in group.items():
            yield StrangeArchive(name=name, tree=tree, content=content)


_Group = dict[str, tuple[dict[bytes, Content], bytes]]


def _text(target: bytes) -> Content:
    return ("symlink", target)


def _names() -> _Group:
    long = b"n" * 255
    odd = (b"-rf", b"*", b"...", b" ", b"a\nb", b"\x1b[2J", b"\xff\xfe", b".holdfast-x", b"NUL", b"a\\..\\b", b"~root")
    return {
        "names that differ in case": (
            {b"A": b"1", b"a": b"2", b"D": None, b"d": None},
            archive(member(b"0/A", b"1"), member(b"0/a", b"2"), directory(b"0/D"), directory(b"0/d/")),
        ),
        "names that differ in how they are composed": (
            {_NFC: b"1", _NFD: b"2"},
            archive(member(b"0/" + _NFC, b"1"), member(b"0/" + _NFD, b"2")),
        ),
        "names that mean something elsewhere": (
            dict.fromkeys(odd, b"x"),
            archive(*(member(b"0/" + name, b"x") for name in odd)),
        ),
        "names of the greatest length": (
            {long: b"x"},
            archive(extended(b"0/" + long + b"\0", type=b"L"), member(b"cut", b"x")),
        ),
        "name that a PAX record replaces": (
            {b"real": b"content"},
            archive(pax((b"path", b"0/real")), member(b"0/../../etc/passwd", b"content")),
        ),
        "names in raw bytes": (
            {b"\x80": b"content"},
            archive(pax((b"hdrcharset", b"BINARY"), (b"path", b"0/\x80")), FILE),
        ),
        "many dots before a name": ({b"file": b"content"}, archive(*_renamed(b"./" * 200 + b"0/file"))),
        "dots in names": (
            {b"..a": b"x", b"a..": b"x", b"a..b": None},
            archive(member(b"0/..a", b"x"), member(b"0/a..", b"x"), directory(b"0/a..b")),
        ),
    }


def _renamed(name: bytes) -> tuple[bytes, bytes]:
    return extended(name, type=b"L"), FILE


def _links() -> _Group:
    return {
        "symlinks in a chain and in a ring": (
            {b"a": _text(b"b"), b"b": _text(b"c"), b"c": _text(b"a"), b"self": _text(b"self")},
            archive(symlink(b"0/a", b"b"), symlink(b"0/b", b"c"), symlink(b"0/c", b"a"), symlink(b"0/self", b"self")),
        ),
        "symlinks out of the volume": (
            {b"abs": _text(b"/etc/passwd"), b"up": _text(b"../../../x"), b"proc": _text(b"/proc/self/root")},
            archive(
                symlink(b"0/abs", b"/etc/passwd"),
                symlink(b"0/up", b"../../../x"),
                symlink(b"0/proc", b"/proc/self/root"),
            ),
        ),
        "symlink of the greatest length": (
            {b"l": _text(b"x" * 4000)},
            archive(extended(b"x" * 4000, type=b"K"), symlink(b"0/l", b"cut")),
        ),
        "hardlinks of one file": (
            {b"d": None, b"d/a": b"x", b"b": b"x", b"c": b"x"},
            archive(member(b"0/d/a", b"x"), hardlink(b"0/b", b"0/d/a"), hardlink(b"0/c", b"./0/d/a")),
        ),
        "long link of a file": ({b"file": b"content"}, archive(extended(b"/etc/passwd\0", type=b"K"), FILE)),
    }


def _fields() -> _Group:
    signed = bytearray(header(b"0/\xff\xfe", size=0))
    total = sum(signed[:148]) + 8 * 32 + sum(signed[156:]) - 2 * 256
    signed[148:156] = b"%06o\0 " % total
    one: dict[bytes, Content] = {b"file": b"content"}
    content = padded(b"content")
    return {
        "checksum of signed bytes": ({b"\xff\xfe": b""}, archive(bytes(signed))),
        "size in binary": (one, archive(header(b"0/file", size=base256(7)), content)),
        "size with blanks": (one, archive(header(b"0/file", size=b"          7\0"), content)),
        "size said twice alike": (one, archive(pax((b"size", b"7")), FILE)),
        "empty PAX values": (one, archive(pax((b"mtime", b""), (b"uid", b"")), FILE)),
        "time before all times": (one, archive(pax((b"mtime", b"-1.5")), FILE)),
        "setuid root": (one, archive(member(b"0/file", b"content", mode=0o6755))),
        "privileged attribute": (one, archive(pax((b"SCHILY.xattr.security.capability", b"x" * 20)), FILE)),
        "contiguous file": (one, archive(member(b"0/file", b"content", type=b"7"))),
        "unknown records": (one, archive(pax((b"SUN.devmajor", b"9"), (b"LIBARCHIVE.creationtime", b"1")), FILE)),
        "global comment": (one, archive(extended(record(b"comment", b"x" * 400), type=b"g"), FILE)),
    }


def _shapes() -> _Group:
    data = b"x" * 512
    deep: dict[bytes, Content] = {b"/".join([b"d"] * depth): None for depth in range(1, 16)}
    return {
        "devices beside a file": (
            {b"file": b"content"},
            archive(member(b"0/sda", type=b"4"), member(b"0/null", type=b"3"), member(b"0/pipe", type=b"6"), FILE),
        ),
        "deep directories": ({**deep, b"/".join([b"d"] * 15) + b"/f": b""}, archive(member(b"0" + b"/d" * 15 + b"/f"))),
        "children before their parents": (
            {b"a": None, b"a/b": None, b"a/b/c": b"x"},
            archive(member(b"0/a/b/c", b"x"), directory(b"0/a/b/"), directory(b"0/a/")),
        ),
        "file that is all hole": (
            {b"s": bytes(4096)},
            archive(sparse(b"0/s", b"", size=4096, sparse_map=sparse_map([]))),
        ),
        "sparse map of empty regions": (
            {b"s": bytes(100) + data + bytes(388)},
            archive(sparse(b"0/s", data, size=1000, sparse_map=sparse_map([(0, 0), (100, 512), (700, 0), (1000, 0)]))),
        ),
        "zstd in one frame": ({b"file": b"content"}, archive(FILE, compress=zstandard_frame)),
    }
