"""Chosen paths: which part of a volume a restore brings back, where it is not the whole of it.

Paths are raw bytes, as files have them. A chosen path stands for itself and everything below it, in the snapshot and in
the live data; all else is the volume's *rest*, which a restore leaves as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from holdfast.domain.errors import InvalidInput, Problem

_SHOWN: Final = 1000
_SEPARATOR: Final = b"\0"


class ChosenPaths:
    """Paths of one volume, relative to its root; ``b""`` is the root itself, and so the whole volume.

    Attributes:
        paths: in walk order, none of them below another.
        above: the directories that lead to them, parents first, without the root.
        parents: those that hold a chosen path directly, the root included.
    """

    __slots__ = ("_keys", "above", "parents", "paths")

    def __init__(self, paths: Iterable[bytes]) -> None:
        kept: list[bytes] = []
        for key in sorted({path.replace(b"/", _SEPARATOR) for path in paths}):
            if not kept or not _is_in(key, kept[-1]):
                kept.append(key)
        self._keys = kept
        self.paths = tuple(key.replace(_SEPARATOR, b"/") for key in kept)
        above = {path[:at] for path in self.paths for at, byte in enumerate(path) if byte == ord("/")}
        self.above = tuple(sorted(above, key=lambda path: path.replace(b"/", _SEPARATOR)))
        self.parents = frozenset(path.rpartition(b"/")[0] for path in self.paths if path)

    @property
    def whole(self) -> bool:
        """Whether that is the whole volume."""
        return self.paths == (b"",)

    def covers(self, path: bytes) -> bool:
        """Whether ``path`` is a chosen one, or lies below one."""
        key = path.replace(b"/", _SEPARATOR)
        at = bisect_right(self._keys, key) - 1
        return at >= 0 and _is_in(key, self._keys[at])


def _is_in(key: bytes, folder: bytes) -> bool:
    return not folder or key == folder or key.startswith(folder + _SEPARATOR)


def container_path(raw: bytes) -> bytes:
    """An absolute path as a container sees it, without what means nothing in it.

    Raises:
        InvalidInput: ``path_malformed``.
    """
    parts = raw.rstrip(b"/").split(b"/")
    if not raw.startswith(b"/") or _SEPARATOR in raw or any(part in (b"", b".", b"..") for part in parts[1:]):
        raise InvalidInput(
            "path_malformed",
            f"{shown(raw) or 'An empty text'} is no path in a container.",
            next_step="Name it as the container sees it, from / on, without '.', '..' and empty parts.",
        )
    return b"/".join(parts) or b"/"


def by_volume(paths: Sequence[bytes], targets: Collection[str]) -> tuple[dict[str, ChosenPaths], tuple[Problem, ...]]:
    """Which volume each path lies in: the one with the longest target that leads to it.

    Args:
        paths: as the container sees them, from :func:`container_path`.
        targets: of the workload's volumes.

    Returns:
        What is chosen of each volume of which something is, by its target; and a problem for each path that is in none.
    """
    found: dict[str, list[bytes]] = {}
    problems = []
    nearest_first = sorted(targets, key=len, reverse=True)
    for path in paths:
        for target in nearest_first:
            root = target.encode().rstrip(b"/")
            if path == root or path.startswith(root + b"/"):
                found.setdefault(target, []).append(path[len(root) + 1 :])
                break
        else:
            problems.append(
                Problem(
                    code="path_outside_volumes",
                    message=f"{shown(path)} lies in none of the workload's volumes.",
                    next_step=f"Name paths below one of these: {', '.join(sorted(targets)) or 'it has no volume'}.",
                    details={"path": shown(path)},
                )
            )
    return {target: ChosenPaths(chosen) for target, chosen in found.items()}, tuple(problems)


def shown(path: bytes) -> str:
    """A path as people may see it: control characters and what is not UTF-8 are written as escapes."""
    text = path[:_SHOWN].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
