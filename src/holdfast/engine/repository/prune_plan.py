"""Which packs go, which are written anew, which stay: pure.

Invariants:

- A pack goes only if nothing in it is needed, or all of it that is needed lies elsewhere as well.
- A pack with a damaged chunk that a snapshot needs, and of which there is no good copy, stays as it is: some day it may
  be all that is left.
- Packs that are small are put together once there are many of them, and only then: each capture leaves one, and a
  repository of thousands of them is slow to list and to read. What was put together is written anew again only as part
  of as many others, so that nothing is written over and over.
- The parts that are needed of packs to be written anew are taken in the packs' own order, which is that of the paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, kw_only=True)
class PackUse:
    """How much of a pack is needed. Sizes in bytes.

    Attributes:
        number: its number in the index.
        size: of the pack as it is stored.
        plain: of all chunks in it, plain.
        needed: of those that have to be kept here, plain.
        damaged: chunks in it that are needed, damaged, and nowhere else.
        salvaged: what it holds was found without its trailer.
    """

    name: str
    number: int
    size: int
    salvaged: bool = False
    plain: int = 0
    needed: int = 0
    damaged: int = 0

    @property
    def needed_size(self) -> int:
        """What of the stored size is needed, roughly."""
        return self.size * self.needed // self.plain if self.plain else 0

    @property
    def unused_size(self) -> int:
        """What of the stored size is not needed, roughly: what moves is compressed anew, with other neighbours."""
        return self.size - self.needed_size


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallPacks:
    """When small packs are put together.

    Attributes:
        bytes: a pack below this size is small.
        count: so many of them may stay.
    """

    bytes: int
    count: int


SMALL_PACKS: Final = SmallPacks(bytes=4 << 20, count=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What becomes of the packs.

    Attributes:
        dead: nothing in them is needed.
        rewritten: what is needed of them is moved to new packs, and they go: they are mostly unused, or small and many.
        kept: the others.
    """

    dead: tuple[PackUse, ...]
    rewritten: tuple[PackUse, ...]
    kept: tuple[PackUse, ...]


def plan_prune(uses: Iterable[PackUse], *, unused_percent: int, small: SmallPacks = SMALL_PACKS) -> PrunePlan:
    """Decide what becomes of packs.

    Args:
        unused_percent: a pack of which at least so much is not needed is written anew.
        small: when small ones are, whatever is needed of them.
    """
    dead: list[PackUse] = []
    rewritten: list[PackUse] = []
    kept: list[PackUse] = []
    for use in sorted(uses, key=lambda use: use.number):
        if use.damaged:
            kept.append(use)
        elif not use.needed:
            dead.append(use)
        elif use.salvaged or (use.plain - use.needed) * 100 >= use.plain * unused_percent:
            rewritten.append(use)
        else:
            kept.append(use)
    joined = [use for use in kept if use.size < small.bytes and not use.damaged]
    if len(joined) > small.count:
        together = {use.number for use in joined}
        kept = [use for use in kept if use.number not in together]
        rewritten = sorted((*rewritten, *joined), key=lambda use: use.number)
    return PrunePlan(dead=tuple(dead), rewritten=tuple(rewritten), kept=tuple(kept))


def rounds(uses: Sequence[PackUse], limit_bytes: int, limit_packs: int) -> Iterator[list[PackUse]]:
    """Packs in groups, in their order, none of them empty.

    Args:
        limit_bytes: so much at most, about, is needed of the packs of a group, unless it has only one.
    """
    group: list[PackUse] = []
    size = 0
    for use in uses:
        if group and (size + use.needed_size > limit_bytes or len(group) >= limit_packs):
            yield group
            group, size = [], 0
        group.append(use)
        size += use.needed_size
    if group:
        yield group
