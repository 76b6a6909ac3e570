"""Where a walk is, and how names that it met are remembered: by their directories, never by whole paths.

The paths of all the names in a deep place would take more memory than there is; their directories share theirs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Level:
    """A directory that the walk is in, or was. ``parent`` is ``None`` for the root."""

    parent: Level | None
    name: bytes
    names: list[bytes]

    def path_of(self, name: bytes) -> bytes:
        """The path of one of its names."""
        parts, level = [name], self
        while level.parent is not None:
            parts.append(level.name)
            level = level.parent
        return b"/".join(reversed(parts))


class Groups:
    """Which inodes with several names were met, by the name that they were met under first.

    Names are remembered by their directories: the paths of many names in a deep place would take more than there is.
    """

    def __init__(self) -> None:
        self._met: dict[tuple[int, int], tuple[Level, bytes, int]] = {}

    def first_name(self, facts: os.stat_result) -> bytes | None:
        """The path under which the inode was met before. Forgets it with its last name, to bound the memory."""
        key = (facts.st_dev, facts.st_ino)
        if key not in self._met:
            return None
        level, name, seen = self._met.pop(key)
        if seen + 1 < facts.st_nlink:
            self._met[key] = (level, name, seen + 1)
        return level.path_of(name)

    def remember(self, facts: os.stat_result, level: Level, name: bytes) -> None:
        """Note the first name of an inode that has others."""
        self._met[facts.st_dev, facts.st_ino] = (level, name, 1)
