"""How much of each pack is needed, and what becomes of it: without a store, from an index and a list of ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.engine.repository.packs import chunk_id, pack_of

from holdfast.engine.fs import Fs
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.needed import Needed
from holdfast.engine.repository.pack import Pack
from holdfast.engine.repository.pack_use import Survey, remember_moves, survey
from holdfast.engine.repository.prune_plan import PackUse, SmallPacks, plan_prune, rounds

CHUNKS = [bytes([number]) * 100 * (number + 1) for number in range(6)]
IDS = [chunk_id(chunk) for chunk in CHUNKS]
FIRST, LAST = bytes(32), b"\xff" * 32
"""Ids before and after all others; nothing has them."""


@pytest.fixture
def index(fs: Fs, tmp_path: Path) -> Iterator[Index]:
    with Index(fs, tmp_path / "index.sqlite", "r1") as index:
        yield index


@pytest.fixture
def needed() -> Iterator[Needed]:
    with Needed() as needed:
        yield needed


def added(index: Index, *numbers: int) -> Pack:
    pack = pack_of([CHUNKS[number] for number in numbers])
    index.add_pack(pack.name, pack.size, pack.frames)
    return pack


def homes(found: Survey) -> dict[str, int]:
    """How much of each pack is needed, by its name."""
    return {use.name: use.needed for use in found.uses}


class TestSurvey:
    def test_each_pack_is_measured(self, index: Index, needed: Needed) -> None:
        one, two = added(index, 0, 1, 2), added(index, 3)
        needed.note([IDS[0], IDS[2]])
        found = survey(index, needed)
        assert [(use.name, use.size, use.plain, use.needed) for use in found.uses] == [
            (one.name, one.size, 600, 400),
            (two.name, two.size, 400, 0),
        ]
        assert (found.missing, found.damaged) == (0, 0)

    def test_what_is_needed_and_nowhere_is_counted(self, index: Index, needed: Needed) -> None:
        added(index, 0)
        needed.note([FIRST, LAST, IDS[0], IDS[1]])
        assert survey(index, needed).missing == 3

    def test_a_chunk_in_two_packs_is_needed_in_the_newer_one(self, index: Index, needed: Needed) -> None:
        old, new = added(index, 0, 1), added(index, 0)
        needed.note([IDS[0]])
        assert homes(survey(index, needed)) == {old.name: 0, new.name: 100}
        assert list(needed.twice()) == [IDS[0]]

    @pytest.mark.parametrize("spoil", ["damaged", "condemned", "salvaged"])
    def test_a_copy_in_better_shape_comes_before_a_newer_one(self, index: Index, needed: Needed, spoil: str) -> None:
        old, new = added(index, 0, 1), added(index, 0)
        match spoil:
            case "damaged":
                index.mark_damaged(IDS[0], new.name)
            case "condemned":
                index.condemn([new.name])
            case _:
                index.note_salvaged(new.name)
        needed.note([IDS[0]])
        found = survey(index, needed)
        assert homes(found) == {old.name: 100, new.name: 0}
        assert found.damaged == 0

    def test_damaged_wherever_it_lies_it_holds_on_to_all_its_packs(self, index: Index, needed: Needed) -> None:
        packs = [added(index, 0, 1), added(index, 0), added(index, 2)]
        for pack in packs[:2]:
            index.mark_damaged(IDS[0], pack.name)
        needed.note([IDS[0]])
        found = survey(index, needed)
        assert found.damaged == 1
        assert [use.damaged for use in found.uses] == [1, 1, 0]

    def test_moves_are_what_has_its_home_there_in_its_order(self, index: Index, needed: Needed) -> None:
        added(index, 5, 0, 4, 1, 3)
        added(index, 0)
        needed.note(IDS[:5])
        uses = survey(index, needed).uses
        remember_moves(index, needed, uses[:1])
        assert needed.moves(uses[0].number) == [IDS[4], IDS[1], IDS[3]]
        assert needed.moves(uses[1].number) == []

    def test_what_comes_to_be_needed_after_the_plan_is_late(self, needed: Needed) -> None:
        needed.note(IDS[:2])
        needed.close_plan()
        needed.note(IDS[1:3])
        assert list(needed.late()) == [IDS[2]]
        assert list(needed.ids()) == sorted(IDS[:3])


def use(number: int, needed: int, *, damaged: int = 0, salvaged: bool = False) -> PackUse:
    """A pack of a thousand bytes, half of that stored, of which so many are needed."""
    return PackUse(
        name=str(number), number=number, size=500, plain=1000, needed=needed, damaged=damaged, salvaged=salvaged
    )


class TestPlan:
    def test_packs_go_are_written_anew_or_stay_by_how_much_is_needed(self) -> None:
        plan = plan_prune([use(4, 501), use(3, 500), use(2, 1), use(1, 0)], unused_percent=50)
        assert [each.number for each in plan.dead] == [1]
        assert [each.number for each in plan.rewritten] == [2, 3]
        assert [each.number for each in plan.kept] == [4]

    def test_with_a_threshold_of_all_nothing_is_written_anew(self) -> None:
        assert plan_prune([use(1, 1)], unused_percent=100).rewritten == ()

    def test_a_pack_that_nothing_wrote_right_is_written_anew_however_much_is_needed(self) -> None:
        assert plan_prune([use(1, 1000, salvaged=True)], unused_percent=100).rewritten

    def test_damage_that_is_needed_keeps_a_pack_as_it_is(self) -> None:
        plan = plan_prune([use(1, 0, damaged=1), use(2, 1, damaged=1, salvaged=True)], unused_percent=1)
        assert len(plan.kept) == 2

    def test_small_packs_are_put_together_once_there_are_too_many(self) -> None:
        small = SmallPacks(bytes=501, count=3)
        few = [use(number, 900) for number in (5, 1, 3)]
        assert plan_prune(few, unused_percent=50, small=small).rewritten == ()
        many = plan_prune([*few, use(2, 1000), use(4, 1)], unused_percent=50, small=small)
        assert [each.number for each in many.rewritten] == [1, 2, 3, 4, 5]
        assert many.kept == ()

    def test_neither_large_nor_damaged_packs_count_as_small_or_go_along(self) -> None:
        large, damaged = replace(use(1, 900), size=501), use(2, 900, damaged=1)
        small = [use(number, 900) for number in (3, 4)]
        bounds = SmallPacks(bytes=501, count=2)
        assert plan_prune([large, damaged, *small], unused_percent=50, small=bounds).rewritten == ()
        plan = plan_prune([large, damaged, *small, use(5, 900)], unused_percent=50, small=bounds)
        assert [each.number for each in plan.kept] == [1, 2]

    def test_an_empty_pack_goes(self) -> None:
        empty = PackUse(name="empty", number=1, size=100)
        assert plan_prune([empty], unused_percent=50).dead == (empty,)
        assert empty.unused_size == 100

    def test_rounds_are_bounded_by_what_is_written_and_by_what_is_deleted(self) -> None:
        uses = [use(number, 400) for number in range(5)]  # 200 bytes each, as stored
        assert [[each.number for each in group] for group in rounds(uses, 500, 10)] == [[0, 1], [2, 3], [4]]
        assert [len(group) for group in rounds(uses, 5000, 3)] == [3, 2]
        assert [len(group) for group in rounds(uses, 1, 10)] == [1] * 5
        assert list(rounds([], 1, 1)) == []
