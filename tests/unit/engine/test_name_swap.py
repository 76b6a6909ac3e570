"""Whatever cuts a swap by names off, every name is told again by identity, and gets to either side from there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.engine.cut_fs import CutFs, CutOff

from holdfast.domain.restore import TreeSide
from holdfast.engine.fs import Fs
from holdfast.engine.name_swap import ASIDE, NotUnderstood, Pair, Scene, bring, identity_at, side_of

OLD, NEW, MIXED = TreeSide.OLD, TreeSide.NEW, TreeSide.MIXED
OTHER = {OLD: NEW, NEW: OLD}
Open = Callable[[Path], int]


class Stage:
    """Two directories with things in them that are to change places."""

    def __init__(self, base: Path, open_dir: Open, *, at_once: bool) -> None:
        self.live, self.staged = base / "live", base / "staged"
        live, staged, wrapper = open_dir(self.live), open_dir(self.staged), open_dir(base / "wrapper")
        for name, side in (("both", self.live), ("both", self.staged), ("gone", self.live), ("new", self.staged)):
            (side / name).mkdir()
            (side / name / "from").write_text(side.name)
        (self.live / "file").write_text("live")
        os.link(self.live / "file", self.live / "same")
        os.symlink("/elsewhere", self.staged / "file")
        (self.staged / "same").write_text("staged")
        names = sorted({*os.listdir(self.live), *os.listdir(self.staged)})
        pairs = [
            Pair(
                live=name.encode(),
                staged=name.encode(),
                old=identity_at(Fs(), live, name.encode()),
                new=identity_at(Fs(), staged, name.encode()),
            )
            for name in names
        ]
        self.scene = Scene(live=live, staged=staged, wrapper=wrapper, pairs=pairs, at_once=at_once)
        self.sides = {OLD: self.seen(), NEW: tuple(reversed(self.seen()))}

    def seen(self) -> tuple[dict[str, int], dict[str, int]]:
        return self._of(self.live), self._of(self.staged)

    def _of(self, directory: Path) -> dict[str, int]:
        return {entry.name: entry.inode() for entry in os.scandir(directory)}


@pytest.fixture(params=[True, False], ids=["at_once", "by_renames"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, open_dir: Open) -> Stage:
    return Stage(tmp_path, open_dir, at_once=request.param)


def test_from_each_cut_both_sides_are_reached(stage: Stage, figure: Callable[[str, int], None]) -> None:
    counted = CutFs(exchanges=stage.scene.at_once)
    bring(counted, stage.scene, NEW)
    assert stage.seen() == stage.sides[NEW]
    steps = len(counted.calls)
    cases = itertools.product(range(steps), (False, True), (OLD, NEW), (OLD, NEW))
    for cut, after, begin, end in cases:
        bring(Fs(), stage.scene, begin)
        with pytest.raises(CutOff):
            bring(CutFs(cut, after=after, exchanges=stage.scene.at_once), stage.scene, OTHER[begin])
        assert side_of(Fs(), stage.scene) in (OLD, NEW, MIXED)
        bring(CutFs(exchanges=stage.scene.at_once), stage.scene, end)
        assert side_of(Fs(), stage.scene) is end
        assert stage.seen() == stage.sides[end]
        figure("swaps by names: cuts from which a side was reached", 1)


def test_going_on_may_be_cut_off_as_well(stage: Stage) -> None:
    for first, second in itertools.product(range(0, 12, 3), range(0, 12, 2)):
        for to in (NEW, OLD, NEW):
            for cut in (first, second):
                try:
                    bring(CutFs(cut, exchanges=stage.scene.at_once), stage.scene, to)
                except CutOff:
                    continue
            bring(Fs(), stage.scene, to)
            assert stage.seen() == stage.sides[to]


@pytest.mark.parametrize("name", ["both", "gone", "new", "same"])
@pytest.mark.parametrize("side", ["live", "staged"])
def test_what_is_neither_the_old_nor_the_new_thing_is_left_alone(stage: Stage, name: str, side: str) -> None:
    at = getattr(stage, side) / name
    if at.exists():
        at.rename(stage.live.parent / "away")
    at.write_text("somebody else's")
    before = stage.seen()
    with pytest.raises(NotUnderstood, match=name):
        side_of(Fs(), stage.scene)
    with pytest.raises(NotUnderstood):
        bring(Fs(), replace(stage.scene, pairs=[p for p in stage.scene.pairs if p.live == name.encode()]), NEW)
    assert stage.seen() == before


def test_what_was_taken_away_is_not_understood(stage: Stage) -> None:
    (stage.live / "both").rename(stage.live.parent / "away")
    with pytest.raises(NotUnderstood, match="both"):
        side_of(Fs(), stage.scene)


def test_what_waits_and_belongs_to_nothing_is_not_understood(stage: Stage) -> None:
    (stage.live.parent / "wrapper" / ASIDE.decode()).touch()
    with pytest.raises(NotUnderstood, match="aside"):
        side_of(Fs(), stage.scene)


def test_a_name_that_something_is_mounted_on_is_not_understood(stage: Stage, tmpfs: Callable[..., Path]) -> None:
    tmpfs(at=stage.live / "both")
    with pytest.raises(NotUnderstood, match="mounted"):
        bring(Fs(), stage.scene, NEW)


def test_without_any_name_it_is_the_old_side(stage: Stage) -> None:
    empty = replace(stage.scene, pairs=())
    assert side_of(Fs(), empty) is OLD
    bring(Fs(), empty, NEW)


def test_times_stay_as_they_were(stage: Stage) -> None:
    names: Sequence[Path] = [stage.live / "both", stage.staged / "both"]
    for number, path in enumerate(names):
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    bring(Fs(), stage.scene, NEW)
    assert [path.stat().st_mtime_ns for path in names] == [10**18 + 1, 10**18]
