"""Looks at all chunks of all packs, and at which of them are needed, side by side: both in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from holdfast.engine.repository.index import Index, PackFacts, Row
from holdfast.engine.repository.needed import Needed
from holdfast.engine.repository.prune_plan import PackUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found.

    Attributes:
        uses: every pack of the index.
        missing: chunks that are needed and in none of them.
        damaged: chunks that are needed, and damaged wherever they lie.
    """

    uses: tuple[PackUse, ...]
    missing: int
    damaged: int


def survey(index: Index, needed: Needed) -> Survey:
    """Find out how much of each pack is needed; has ``needed`` remember what lies in several packs."""
    facts = index.pack_facts()
    uses = {
        number: PackUse(name=pack.name, number=number, size=pack.size, salvaged=pack.salvaged)
        for number, pack in facts.items()
    }
    missing = damaged = 0

    def counted() -> Iterator[bytes]:
        """Count by the way; gives the ids of chunks that lie in several packs."""
        nonlocal missing, damaged
        for chunk_id, rows, wanted in _side_by_side(index, needed, facts):
            for row in rows:
                uses[row.pack].plain += row.length
            if not wanted:
                continue
            if not rows:
                missing += 1
                continue
            home = _home(rows, facts)
            if home.damaged:
                damaged += 1
                for row in rows:
                    uses[row.pack].damaged += 1
            else:
                uses[home.pack].needed += home.length
            if len(rows) > 1:
                yield chunk_id

    needed.remember_twice(counted())
    return Survey(uses=tuple(uses.values()), missing=missing, damaged=damaged)


def remember_moves(index: Index, needed: Needed, packs: Iterable[PackUse]) -> None:
    """Have ``needed`` remember what of these packs is needed, and has its home there."""
    facts = index.pack_facts()
    numbers = {use.number for use in packs}

    def moves() -> Iterator[tuple[int, int, int, bytes]]:
        for chunk_id, rows, wanted in _side_by_side(index, needed, facts):
            if wanted and rows:
                home = _home(rows, facts)
                if home.pack in numbers:
                    yield home.pack, home.frame_offset, home.start, chunk_id

    if numbers:
        needed.remember_moves(moves())


def _side_by_side(
    index: Index, needed: Needed, facts: Mapping[int, PackFacts]
) -> Iterator[tuple[bytes, list[Row], bool]]:
    """Each id that is in a pack or needed: where it lies, and whether it is needed. Newer packs are passed over."""
    ids = needed.ids()
    wanted = next(ids, None)
    for chunk_id, group in groupby(index.rows(), lambda row: row.id):
        while wanted is not None and wanted < chunk_id:
            yield wanted, [], True
            wanted = next(ids, None)
        rows = [row for row in group if row.pack in facts]
        here = wanted == chunk_id
        if here:
            wanted = next(ids, None)
        if rows:
            yield chunk_id, rows, here
    while wanted is not None:
        yield wanted, [], True
        wanted = next(ids, None)


def _home(rows: Iterable[Row], facts: Mapping[int, PackFacts]) -> Row:
    """The one copy of a needed chunk that has to stay: a good one, in a good pack, rather in a newer one."""
    return min(rows, key=lambda row: (row.damaged, facts[row.pack].salvaged, facts[row.pack].condemned, -row.pack))
