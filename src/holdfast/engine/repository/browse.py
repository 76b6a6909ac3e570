"""Looks into stored trees: the folders of a volume, one file or a whole folder, and what differs between two snapshots.

A folder is listed by jumping over what lies below its folders; two trees are compared by passing over the tree chunks
that they share. So neither reads a large tree where little of it is asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import NotFound
from holdfast.engine.entries import Entry, EntryKind, display_path, encode_path
from holdfast.engine.repository.tree import Tree, TreeEntry, TreePart, sort_key
from holdfast.engine.walk import Walked

_NAMED: Final = 1000
_DIRECTORY: Final = 1
_HARDLINK: Final = 3
_LAST: Final = b"\x01"
"""Behind a name in a sort key: after all that lies below it, before every other name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A page of a folder.

    Attributes:
        entries: what lies directly in it, by name; a hardlink as the file that it is.
        more: whether there are more behind the last of them.
    """

    entries: tuple[Entry, ...]
    more: bool


def list_folder(tree: Tree, folder: bytes, *, after: bytes = b"", limit: int) -> Folder:
    """What lies directly in a folder of a tree.

    Args:
        folder: its path; empty for the volume itself.
        after: a name in it; the page begins behind it.

    Raises:
        NotFound: ``file_unknown``, there is no such folder.
    """
    prefix = folder + b"/" if folder else b""
    start = sort_key(prefix + after) + (_LAST if after else b"")
    found: list[Entry] = []
    for entry in _children(tree, sort_key(prefix), max(start, sort_key(prefix))):
        if len(found) == limit:
            return Folder(entries=tuple(found), more=True)
        found.append(entry)
    if not found and folder and not _is_folder(tree, folder):
        raise unknown(folder)
    return Folder(entries=tuple(found), more=False)


def _children(tree: Tree, prefix: bytes, start: bytes) -> Iterator[Entry]:
    """The direct children under a prefix, from the sort key ``start`` on; folders that have no entry are implied."""
    keys = [sort_key(part.first) for part in tree.parts]
    at = max(0, bisect_right(keys, start) - 1)
    below: bytes | None = None
    while at < len(keys):
        for key, stored in tree.keyed((tree.parts[at],)):
            if key < start or key == prefix.rstrip(b"\0") or (below is not None and key.startswith(below)):
                continue
            if not key.startswith(prefix):
                return
            if not key:
                continue  # the volume's root itself
            name, deeper, _ = key[len(prefix) :].partition(b"\0")
            below = prefix + name + b"\0"
            yield _implied(below[:-1].replace(b"\0", b"/")) if deeper else stored.entry()
        at += 1
        if below is not None:
            at = max(at, bisect_right(keys, below[:-1] + _LAST) - 1)


def _implied(path: bytes) -> Entry:
    return Entry(path=path, kind=EntryKind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime_ns=0)


def is_there(tree: Tree, path: bytes) -> bool:
    """Whether there is an entry of that path, or a folder that only what lies in it implies."""
    found = next(tree.entries(path), None)
    return found is not None and (found.path == path or found.path.startswith(path + b"/"))


def _is_folder(tree: Tree, path: bytes) -> bool:
    found = next(tree.entries(path), None)
    if found is None:
        return False
    if found.path == path:
        return found.kind == _DIRECTORY
    return found.path.startswith(path + b"/")


def find(tree: Tree, path: bytes) -> TreeEntry:
    """One entry; of a hardlink the file that it is a name of.

    Raises:
        NotFound: ``file_unknown``.
    """
    found = next(tree.entries(path), None)
    if found is None or found.path != path:
        raise unknown(path)
    return find(tree, found.link) if found.kind == _HARDLINK else found


def below(tree: Tree, folder: bytes) -> Iterator[TreeEntry]:
    """A folder and everything in it, in walk order.

    Raises:
        NotFound: ``file_unknown``.
    """
    if folder and not _is_folder(tree, folder):
        raise unknown(folder)
    for entry in tree.entries(folder):
        if folder and entry.path != folder and not entry.path.startswith(folder + b"/"):
            return
        yield entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Names of one kind: how many, their bytes, and the first thousand.

    Each of these as it is shown, with its size in bytes, and exactly, as a listing gives it: base64url of its bytes.
    """

    count: int
    bytes: int
    first: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a newer tree differs from an older one. Sizes are those of the newer one, of ``removed`` the older one's."""

    added: Difference
    changed: Difference
    removed: Difference


def compare(old: Tree, new: Tree, check: Callable[[], None]) -> Comparison:
    """What of ``old`` is other in ``new``, contents included.

    Args:
        check: called for every name; may raise to break off.
    """
    shared = {part.id for part in old.parts} & {part.id for part in new.parts}
    return _merge(_unshared(old, shared), _unshared(new, shared), _content_facts, check)


def compare_live(old: Tree, live: Iterator[Walked], check: Callable[[], None]) -> Comparison:
    """What of ``old`` is other in a live tree that is being walked: by metadata; contents are not read."""
    walked = ((sort_key(item.entry.path), TreeEntry.of(item.entry)) for item in live)
    return _merge(old.keyed(old.parts), walked, _metadata, check)


_Keyed = tuple[bytes, TreeEntry]


def _merge(
    before: Iterator[_Keyed],
    after: Iterator[_Keyed],
    facts: Callable[[TreeEntry], tuple[object, ...]],
    check: Callable[[], None],
) -> Comparison:
    # A root that only one side has an entry of, as an archive from elsewhere may have none, is neither new nor gone.
    added, changed, removed = _Found(), _Found(), _Found()
    a, b = next(before, None), next(after, None)
    while a is not None or b is not None:
        check()
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            if a[1].path:
                removed.add(a[1])
            a = next(before, None)
        elif a is None or b[0] < a[0]:
            if b[1].path:
                added.add(b[1])
            b = next(after, None)
        else:
            if facts(a[1]) != facts(b[1]):
                changed.add(b[1])
            a, b = next(before, None), next(after, None)
    return Comparison(added=added.told(), changed=changed.told(), removed=removed.told())


class _Found:
    """Counts names of one kind."""

    def __init__(self) -> None:
        self._count = self._bytes = 0
        self._first: list[tuple[str, int, str]] = []

    def add(self, entry: TreeEntry) -> None:
        self._count += 1
        self._bytes += entry.size
        if len(self._first) < _NAMED:
            self._first.append((display_path(entry.path), entry.size, encode_path(entry.path)))

    def told(self) -> Difference:
        return Difference(count=self._count, bytes=self._bytes, first=tuple(self._first))


def _unshared(tree: Tree, shared: set[bytes]) -> Iterator[_Keyed]:
    """The entries of the tree chunks that only this tree has: in a shared one nothing can differ."""
    parts: Sequence[TreePart] = [part for part in tree.parts if part.id not in shared]
    return tree.keyed(parts)


def _metadata(entry: TreeEntry) -> tuple[object, ...]:
    """What makes an entry another one. Times of directories follow from what is added and removed in them."""
    mtime = 0 if entry.kind == _DIRECTORY else entry.mtime_ns
    return entry.kind, entry.mode, entry.uid, entry.gid, mtime, entry.size, entry.link, entry.xattrs


def _content_facts(entry: TreeEntry) -> tuple[object, ...]:
    return *_metadata(entry), entry.content, entry.extents


def unknown(path: bytes) -> NotFound:
    """Nothing of that name is in the snapshot."""
    return NotFound(
        "file_unknown",
        f"The snapshot has no {display_path(path)[:300]} there.",
        next_step="List the folder above it; names are exact, upper and lower case included.",
        details={"path": display_path(path)[:1000]},
    )
