"""The two parts of a volume's tree where only chosen paths are restored: those, from the snapshot, and the rest.

A hardlink whose file belongs to the other part can't stay one: the first such name of a group becomes a file of its
own, further ones links to that. What was split so is counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from holdfast.domain.chosen_paths import ChosenPaths
from holdfast.domain.errors import Problem, Refused
from holdfast.engine.entries import Entry, display_path
from holdfast.engine.repository.browse import find
from holdfast.engine.repository.tree import Tree, TreeEntry, sort_key
from holdfast.engine.walk import Names

FILE: Final = 0
DIRECTORY: Final = 1
SYMLINK: Final = 2
HARDLINK: Final = 3

_SPECIAL_BITS: Final = 0o6000

Keyed = tuple[bytes, TreeEntry]
E = TypeVar("E", Entry, TreeEntry)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTrees:
    """What a staged tree is made of.

    Attributes:
        snapshot: where the chosen paths come from, and directories that lead to them and are not live.
        live: the live tree, as it was captured at some moment: where the rest comes from.
        touched_ns: the modification time that live directories get in which a chosen path lies; nanoseconds.
        own: whether the snapshot is Holdfast's own, so that privileges are taken from it.
    """

    snapshot: Tree
    own: bool
    live: Tree
    chosen: ChosenPaths
    touched_ns: int

    def inside(self, split: Names) -> Iterator[TreeEntry]:
        """The chosen paths and all below them, parents first; ``split`` is told of hardlinks."""
        links = _Links(self.snapshot, self.chosen, split, inside=True)
        for path in self.chosen.paths:
            for entry in self.snapshot.entries(path):
                if path and entry.path != path and not entry.path.startswith(path + b"/"):
                    break
                yield links.kept(entry)

    def rest(self, split: Names) -> Iterator[Keyed]:
        """All else in walk order, each with its sort key.

        Raises:
            Refused: ``path_parent_not_directory``.
        """
        links = _Links(self.live, self.chosen, split, inside=False)
        made = [(sort_key(path), self.made(path)) for path in self.missing_above()]
        yield from heapq.merge(self._live_rest(links), made, key=_key) if made else self._live_rest(links)

    def _live_rest(self, links: _Links) -> Iterator[Keyed]:
        covers = self.chosen.covers
        for key, entry in self.live.keyed(self.live.parts):
            if not covers(entry.path):
                yield key, self._touched(links.kept(entry))

    def _touched(self, entry: TreeEntry) -> TreeEntry:
        if entry.kind == DIRECTORY and entry.path in self.chosen.parents:
            return msgspec.structs.replace(entry, mtime_ns=self.touched_ns)
        return entry

    def missing_above(self) -> list[bytes]:
        """The directories above chosen paths that are not live, parents first.

        Raises:
            Refused: ``path_parent_not_directory``; something else is live there.
        """
        missing = []
        for path in self.chosen.above:
            found = _exactly(self.live, path)
            if found is None:
                missing.append(path)
            elif found.kind != DIRECTORY:
                raise Refused([parent_not_directory(path)])
        return missing

    def made(self, path: bytes) -> TreeEntry:
        """A directory above a chosen path as the snapshot has it."""
        found = _exactly(self.snapshot, path)
        if found is None:
            return TreeEntry(path, DIRECTORY, 0o755, 0, 0, self.touched_ns)
        return found if self.own else without_privileges(found)

    def directory(self, path: bytes) -> TreeEntry:
        """What a directory of the rest is to be."""
        found = _exactly(self.live, path)
        return self.made(path) if found is None else self._touched(found)


class _Links:
    """Turns hardlinks to what is in the other part into files and links of this one."""

    def __init__(self, tree: Tree, chosen: ChosenPaths, split: Names, *, inside: bool) -> None:
        self._tree, self._chosen, self._split, self._inside = tree, chosen, split, inside
        self._first: dict[bytes, bytes] = {}

    def kept(self, entry: TreeEntry) -> TreeEntry:
        """The entry as it stands in this part. Entries come in walk order."""
        if entry.kind != HARDLINK or self._chosen.covers(entry.link) is self._inside:
            return entry
        self._split.add(entry.path)
        first = self._first.setdefault(entry.link, entry.path)
        if first == entry.path:
            return find(self._tree, entry.link).at(entry.path)
        return msgspec.structs.replace(entry, link=first)


def without_privileges(entry: E) -> E:
    """What a snapshot that is not Holdfast's own may say of an entry: no setuid, no setgid, no system's attributes."""
    kept = tuple(item for item in entry.xattrs if not item[0].startswith((b"security.", b"trusted.")))
    return msgspec.structs.replace(entry, mode=entry.mode & ~_SPECIAL_BITS, xattrs=kept)


def parent_not_directory(path: bytes) -> Problem:
    """A directory is needed above a chosen path, and something else is live there."""
    return Problem(
        code="path_parent_not_directory",
        message=f"In the live data {display_path(path)[:1000]} is no directory, though a chosen path lies below it.",
        next_step=f"Choose {display_path(path)[:300]} itself, which replaces it, or move it away. Nothing was changed.",
        details={"path": display_path(path)[:1000]},
    )


def _exactly(tree: Tree, path: bytes) -> TreeEntry | None:
    found = next(tree.entries(path), None)
    return found if found is not None and found.path == path else None


def _key(keyed: Keyed) -> bytes:
    return keyed[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One path of the rest: what a staged tree has there, and what it is to have; ``None`` for nothing."""

    old: TreeEntry | None
    new: TreeEntry | None

    @property
    def stays(self) -> bool:
        """Whether the inode that is there stays, with other content or metadata."""
        old, new = self.old, self.new
        return old is not None and new is not None and old.kind == new.kind and old.kind in (FILE, DIRECTORY)

    @property
    def weight(self) -> int:
        """Bytes of what can be long in it."""
        return sum(entry.weight for entry in (self.old, self.new) if entry is not None)

    @property
    def content_differs(self) -> bool:
        old, new = self.old, self.new
        return old is None or new is None or _content(old) != _content(new)


def changes(old: Iterator[Keyed], new: Iterator[Keyed]) -> Iterator[Change]:
    """What is other in ``new``, in walk order."""
    a, b = next(old, None), next(new, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield Change(old=a[1], new=None)
            a = next(old, None)
        elif a is None or b[0] < a[0]:
            yield Change(old=None, new=b[1])
            b = next(new, None)
        else:
            if _facts(a[1]) != _facts(b[1]):
                yield Change(old=a[1], new=b[1])
            a, b = next(old, None), next(new, None)


def _facts(entry: TreeEntry) -> tuple[object, ...]:
    """All that a staged tree shows of an entry. A further name of a file is that name and nothing else."""
    if entry.kind == HARDLINK:
        return entry.kind, entry.link
    return (entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.link, entry.xattrs, *_content(entry))


def _content(entry: TreeEntry) -> tuple[object, ...]:
    return entry.size, entry.extents, entry.content, entry.listed
