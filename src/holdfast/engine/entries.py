"""What a tree is made of, between the walker that reads one and the writer that makes one."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Final

import msgspec


class EntryKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One name in a tree. Millions of them are made, and a struct takes a tenth of a frozen dataclass' time.

    Attributes:
        path: raw bytes relative to the tree's root, components joined by ``/``; ``b""`` is the root directory itself.
        mode: permission bits including setuid, setgid and sticky (``0o7777``), no file type.
        mtime_ns: nanoseconds since 1970.
        size: logical bytes of a FILE, holes included; 0 for all else.
        link_target: SYMLINK: its text, opaque. HARDLINK: the ``path`` of a FILE entry that came earlier.
        xattrs: name and value, sorted by name; POSIX ACLs are among them (``system.posix_acl_*``).
        extents: a sparse FILE's data regions as (offset, length), ascending; ``None`` where all of it is data.
    """

    path: bytes
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    link_target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[int, int], ...] | None = None

    @property
    def data_bytes(self) -> int:
        """Bytes of data that follow the entry, holes not counted."""
        return self.size if self.extents is None else sum(length for _, length in self.extents)


_SHOWN: Final = 4096
"""Bytes of a path that are shown in full: what other programs can name."""


def encode_path(path: bytes) -> str:
    """A raw path as text that travels anywhere, exactly: base64url."""
    return base64.urlsafe_b64encode(path).decode().rstrip("=")


def display_path(path: bytes) -> str:
    """A raw path as people and logs may see it: control characters and what is not UTF-8 are written as escapes.

    Of one that no other program could name, the middle is left out.
    """
    if len(path) > _SHOWN:
        path = path[: _SHOWN // 2] + " … ".encode() + path[-_SHOWN // 2 :]
    text = path.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text or "."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
