"""What an entry of a tree must look like before anything is made of it."""

from __future__ import annotations

from typing import Final

from holdfast.domain.errors import InvalidInput
from holdfast.engine.entries import Entry, EntryKind, display_path

_MAX_ID: Final = 2**32 - 2
"""The kernel takes ``2**32 - 1`` for "leave as it is"."""
_MAX_TIME_NS: Final = 2**40 * 10**9
"""Beyond what any filesystem keeps, and within what the kernel's call takes."""
_MAX_SIZE: Final = 2**63 - 1


def check_path(path: bytes) -> None:
    """Refuse absolute paths, ``.``, ``..``, empty components, NUL, and the empty path. Raises ``InvalidInput``."""
    framed = b"/%b/" % path
    if b"//" in framed or b"/./" in framed or b"/../" in framed or b"\0" in path:
        raise InvalidInput(
            "archive_name_refused",
            f"The name {display_path(path[:512])!r} is absolute, empty, or has components that lead elsewhere.",
            next_step="The archive is malformed or hostile; make a new one.",
            details={"path": display_path(path[:4096])},
        )


def check_entry(entry: Entry) -> None:
    """Refuse what no walk of a real tree can give. Raises ``InvalidInput``."""
    if entry.path:
        check_path(entry.path)
    elif entry.kind is not EntryKind.DIRECTORY:
        raise _malformed(entry, "archive_metadata_invalid", "the root is not a directory")
    if not (0 <= entry.mode <= 0o7777 and 0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise _malformed(entry, "archive_metadata_invalid", "mode or owner are out of range")
    if not -_MAX_TIME_NS < entry.mtime_ns < _MAX_TIME_NS:
        raise _malformed(entry, "archive_metadata_invalid", "the modification time is out of range")
    if not 0 <= entry.size <= _MAX_SIZE or (entry.size and entry.kind is not EntryKind.FILE):
        raise _malformed(entry, "archive_metadata_invalid", "the size is out of range")
    if entry.extents is not None:
        _check_extents(entry, entry.extents)
    if entry.kind is EntryKind.SYMLINK and (not entry.link_target or b"\0" in entry.link_target):
        raise _malformed(entry, "archive_link_target_refused", "the symlink's text is empty or contains NUL")
    if entry.xattrs and len({name for name, _ in entry.xattrs}) < len(entry.xattrs):
        raise _malformed(entry, "archive_xattr_invalid", "an extended attribute occurs twice")


def _check_extents(entry: Entry, extents: tuple[tuple[int, int], ...]) -> None:
    position = 0
    for offset, length in extents:
        if offset < position or length <= 0:
            raise _malformed(entry, "archive_sparse_map_invalid", "its data regions overlap or are out of order")
        position = offset + length
    if position > entry.size or entry.kind is not EntryKind.FILE:
        raise _malformed(entry, "archive_sparse_map_invalid", "its data regions reach beyond its end")


def _malformed(entry: Entry, code: str, why: str) -> InvalidInput:
    return InvalidInput(
        code,
        f"{display_path(entry.path[:512])}: {why}.",
        next_step="The archive is malformed or hostile; make a new one.",
        details={"path": display_path(entry.path[:4096])},
    )
