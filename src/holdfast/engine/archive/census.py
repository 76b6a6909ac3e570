"""Counts what a tree consists of while it passes by, for the manifest and for the question whether it will fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.snapshot import CapturedVolume
from holdfast.engine.entries import Entry, EntryKind

_BLOCK: Final = 4096
_INLINE_LINK: Final = 59
"""Longer texts of symlinks take a block of their own on ext4, the least roomy of the usual filesystems."""


@dataclass(slots=True)
class Census:
    """The counts of one volume; the meaning of each is that of :class:`CapturedVolume`."""

    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    disk_bytes: int = 0

    def add(self, entry: Entry) -> None:
        """Count one entry. A volume's root is not counted among its directories."""
        if entry.kind is EntryKind.FILE:
            self.add_file(entry.size, entry.data_bytes, has_xattrs=bool(entry.xattrs))
            return
        if entry.xattrs:
            self.disk_bytes += _BLOCK
        if entry.kind is EntryKind.DIRECTORY:
            self.add_directories(1 if entry.path else 0)
        else:
            self.links += 1
            if len(entry.link_target) > _INLINE_LINK and entry.kind is EntryKind.SYMLINK:
                self.disk_bytes += _BLOCK

    def add_file(self, size: int, data_bytes: int, *, has_xattrs: bool) -> None:
        """Count a file by what counts of it."""
        self.files += 1
        self.bytes += size
        self.disk_bytes += -(-data_bytes // _BLOCK) * _BLOCK + (_BLOCK if has_xattrs else 0)

    def add_directories(self, count: int) -> None:
        """Count directories of which no more is known."""
        self.directories += count
        self.disk_bytes += count * _BLOCK

    def describe(self, volume: CapturedVolume) -> CapturedVolume:
        """The volume with these counts."""
        return replace(
            volume,
            files=self.files,
            directories=self.directories,
            links=self.links,
            bytes=self.bytes,
            disk_bytes=self.disk_bytes,
        )
