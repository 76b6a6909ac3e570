"""A model of what a power cut leaves on a disk: everything that was flushed, and any part of what was not.

:class:`LossyDisk` is told, in order, what was done (:mod:`holdfast.testing.recording_fs` records it), and tells all
states in which the disk may be found. It is as unkind as POSIX allows, with what ext4, XFS and btrfs all promise:

- A change of names (a file made, renamed, removed, two names exchanged) is done as a whole or not at all. It is durable
  once one of the directories that it concerns was fsynced, or its filesystem was syncfsed; nothing else makes it so, an
  fsync of the file least of all. Of each directory a beginning of its changes is there; directories know nothing of
  each other's.
- A file's content, and the owner, mode, times and attributes of anything, are durable by an fsync of it or a syncfs.
  Content that was not is there, gone, torn (its last write ends in the middle), or of the right length with zeros where
  the file had nothing before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import NamedTuple, TypeAlias

Token: TypeAlias = int
"""Stands for one inode, whatever it is called and whatever took its number later."""


class Kind(StrEnum):
    """What an inode is."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    OTHER = "other"


class Dress(NamedTuple):
    """Owner, mode, time and attributes."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...] = ()


# --- what is done ----------------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """An inode came to be; names for it are given apart. ``text`` is a symlink's."""

    token: Token
    kind: Kind
    filesystem: str
    dress: Dress
    text: bytes = b""


class Named(NamedTuple):
    """Names were changed, in one step: (directory, name, what stands there now)."""

    changes: tuple[tuple[Token, bytes, Token | None], ...]


class Written(NamedTuple):
    """Content was written."""

    token: Token
    offset: int
    data: bytes


class Sized(NamedTuple):
    """A file was cut off or filled up to a size."""

    token: Token
    size: int


class Dressed(NamedTuple):
    """Owner, mode, time or attributes were changed."""

    token: Token
    dress: Dress


class Flushed(NamedTuple):
    """fsync."""

    token: Token


class FlushedAll(NamedTuple):
    """syncfs."""

    filesystem: str


class Passed(NamedTuple):
    """Nothing was done to the disk; the program got to a point."""

    what: str


Step: TypeAlias = Made | Named | Written | Sized | Dressed | Flushed | FlushedAll | Passed


# --- what may be left ------------------------------------------------------------------------------------------------


class Fate(StrEnum):
    """What becomes of what was not flushed of one inode."""

    GONE = "gone"
    THERE = "there"
    TORN = "torn"
    ZEROS = "zeros"


@dataclass(slots=True)
class _Inode:
    kind: Kind
    filesystem: str
    dress: Dress
    text: bytes
    data: bytes = b""
    names: dict[bytes, Token] = field(default_factory=dict)
    unflushed: list[Written | Sized] = field(default_factory=list)
    new_dress: Dress | None = None

    @property
    def fates(self) -> tuple[Fate, ...]:
        if self.unflushed:
            return tuple(Fate)
        return (Fate.GONE, Fate.THERE) if self.new_dress is not None else (Fate.THERE,)

    def flush(self) -> None:
        self.data = self.content(Fate.THERE)
        self.dress = self.new_dress or self.dress
        self.unflushed, self.new_dress = [], None

    def content(self, fate: Fate) -> bytes:
        if fate is Fate.GONE or not self.unflushed:
            return self.data
        data = bytearray(self.data)
        for number, step in enumerate(self.unflushed, 1):
            if isinstance(step, Sized):
                del data[step.size :]
                data.extend(bytes(step.size - len(data)))
                continue
            piece = step.data
            if fate is Fate.ZEROS:
                before = self.data[step.offset : step.offset + len(piece)]
                piece = before + bytes(len(piece) - len(before))
            if fate is Fate.TORN and number == len(self.unflushed):
                piece = piece[: len(piece) // 2]
            data.extend(bytes(max(0, step.offset - len(data))))
            data[step.offset : step.offset + len(piece)] = piece
        return bytes(data)


class Found(NamedTuple):
    """What stands at one place of a disk after a power cut. Two that are equal can't be told apart."""

    token: Token
    kind: Kind
    dress: Dress
    content: bytes = b""
    names: tuple[tuple[bytes, Found], ...] = ()


State: TypeAlias = tuple[Found, ...]
"""What is found of each root, in their order."""


class LossyDisk:
    """The disk; ``roots`` are the directories that are looked at. What it is told of first is durable.

    Attributes:
        exhaustive: whether the last :meth:`states` gave all of them.
    """

    def __init__(self, roots: Sequence[Token], given: Sequence[Step]) -> None:
        self._roots = tuple(roots)
        self._inodes: dict[Token, _Inode] = {}
        self._unflushed: list[Named] = []
        self.exhaustive = True
        for step in given:
            self.do(step)
        self._apply(self._unflushed)
        self._unflushed = []
        for inode in self._inodes.values():
            inode.flush()

    def do(self, step: Step) -> None:
        """Take note of what was done."""
        match step:
            case Made():
                self._inodes[step.token] = _Inode(step.kind, step.filesystem, step.dress, step.text)
            case Named():
                self._unflushed.append(step)
            case Written() | Sized():
                self._inodes[step.token].unflushed.append(step)
            case Dressed():
                inode = self._inodes[step.token]
                if step.dress != (inode.new_dress or inode.dress):
                    inode.new_dress = step.dress
            case Flushed():
                self._inodes[step.token].flush()
                self._flush_names({step.token})
            case FlushedAll():
                mine = {token for token, inode in self._inodes.items() if inode.filesystem == step.filesystem}
                for token in mine:
                    self._inodes[token].flush()
                self._flush_names(mine)

    def states(self, limit: int, dice: random.Random) -> Iterator[State]:
        """What may be found if the power fails now: all there is, up to ``limit``; beyond that so many at random.

        Among those at random are the two in which everything was lost, and nothing.
        """
        kept_sets = self._all_kept(limit)
        if kept_sets is not None:
            disks = [(names, self._open_fates(names)) for names in map(self._names_with, kept_sets)]
            if sum(_product(fates) for _, fates in disks) <= limit:
                self.exhaustive = True
                for names, fates in disks:
                    for chosen in product(*fates.values()):
                        yield self._state(names, dict(zip(fates, chosen, strict=True)))
                return
        self.exhaustive = False
        for number in range(limit):
            share = float(number) if number < 2 else dice.random()
            names = self._names_with(self._some_kept(share, dice))
            fates = self._open_fates(names)
            if number < 2:
                yield self._state(names, dict.fromkeys(fates, Fate.THERE if number else Fate.GONE))
            else:
                yield self._state(names, {token: dice.choice(choice) for token, choice in fates.items()})

    # --- names -------------------------------------------------------------------------------------------------------

    def _apply(self, changes: Sequence[Named], names: dict[Token, dict[bytes, Token]] | None = None) -> None:
        for named in changes:
            for directory, name, token in named.changes:
                here = self._inodes[directory].names if names is None else names[directory]
                if token is None:
                    here.pop(name, None)
                else:
                    here[name] = token

    def _flush_names(self, directories: set[Token]) -> None:
        """Make the changes of some directories durable, with what has to come before them in others."""
        wanted, kept = set(directories), []
        for named in reversed(self._unflushed):
            mine = {directory for directory, _, _ in named.changes}
            if mine & wanted:
                wanted |= mine
                kept.append(named)
        self._apply(kept[::-1])
        done = set(map(id, kept))
        self._unflushed = [named for named in self._unflushed if id(named) not in done]

    def _all_kept(self, limit: int) -> list[list[Named]] | None:
        """Every beginning of the changes of each directory that goes together; ``None`` if there are too many."""
        found: list[tuple[list[Named], frozenset[Token]]] = [([], frozenset())]
        for named in self._that_matter():
            mine = {directory for directory, _, _ in named.changes}
            more: list[tuple[list[Named], frozenset[Token]]] = []
            for kept, ended in found:
                if not mine & ended:
                    more.append(([*kept, named], ended))
                more.append((kept, ended | mine))
            found = more
            if len(found) > limit:
                return None
        return [kept for kept, _ in found]

    def _some_kept(self, share: float, dice: random.Random) -> list[Named]:
        kept, ended = [], set[Token]()
        for named in self._that_matter():
            mine = {directory for directory, _, _ in named.changes}
            if mine & ended or dice.random() >= share ** (1 / 4):
                ended |= mine
            else:
                kept.append(named)
        return kept

    def _that_matter(self) -> list[Named]:
        """The changes that are not durable, without those in directories that can't be found any more."""
        below: dict[Token, set[Token]] = {}
        for named in self._unflushed:
            for directory, _, token in named.changes:
                below.setdefault(directory, set()).add(token if token is not None else directory)
        waiting, seen = list(self._roots), set[Token]()
        while waiting:
            token = waiting.pop()
            if token not in seen:
                seen.add(token)
                waiting += (*self._inodes[token].names.values(), *below.get(token, ()))
        return [named for named in self._unflushed if any(directory in seen for directory, _, _ in named.changes)]

    def _names_with(self, kept: Sequence[Named]) -> Mapping[Token, Mapping[bytes, Token]]:
        names = {token: inode.names for token, inode in self._inodes.items() if inode.kind is Kind.DIRECTORY}
        for token in {directory for named in kept for directory, _, _ in named.changes}:
            names[token] = dict(names[token])
        self._apply(kept, names)
        return names

    # --- states ------------------------------------------------------------------------------------------------------

    def _open_fates(self, names: Mapping[Token, Mapping[bytes, Token]]) -> dict[Token, tuple[Fate, ...]]:
        """What may become of each inode that can be reached and was not flushed."""
        waiting, seen = list(self._roots), set[Token]()
        while waiting:
            token = waiting.pop()
            if token not in seen:
                seen.add(token)
                waiting += names.get(token, {}).values()
        return {token: fates for token in sorted(seen) if len(fates := self._inodes[token].fates) > 1}

    def _state(self, names: Mapping[Token, Mapping[bytes, Token]], fates: Mapping[Token, Fate]) -> State:
        def found(token: Token) -> Found:
            inode, fate = self._inodes[token], fates.get(token, Fate.THERE)
            dress = inode.dress if fate is Fate.GONE or inode.new_dress is None else inode.new_dress
            if inode.kind is Kind.DIRECTORY:
                below = tuple((name, found(child)) for name, child in sorted(names[token].items()))
                return Found(token, inode.kind, dress, names=below)
            content = inode.text if inode.kind is Kind.SYMLINK else inode.content(fate)
            return Found(token, inode.kind, dress, content)

        return tuple(map(found, self._roots))


def _product(fates: Mapping[Token, tuple[Fate, ...]]) -> int:
    total = 1
    for choice in fates.values():
        total *= len(choice)
    return total
