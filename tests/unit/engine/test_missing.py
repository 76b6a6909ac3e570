"""What stands in for a missing directory: known by its identity, made late, and taken away only while it is empty."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed
from holdfast.domain.restore import LiveBefore, TreeSide, VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.missing import make_empty, place_empty, remove_empty, remove_parents
from holdfast.engine.swap import exchange, observe, remove_wrapper
from holdfast.testing.live_volumes import identity_of, live_tree, live_volume, staged_tree, staged_volume


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[LiveRoots]:
    with LiveRoots(Fs(), [str(tmp_path)]) as roots:
        yield roots


@pytest.fixture
def volume(tmp_path: Path, roots: LiveRoots) -> VolumeFacts:
    """Its tree is staged, and nothing is live."""
    facts = staged_volume(Fs(), roots, live_volume(tmp_path))
    shutil.rmtree(live_tree(facts))
    os.chown(staged_tree(facts), 101, 102)
    staged_tree(facts).chmod(0o2750)
    return dataclasses.replace(facts, live_identity=None, before=LiveBefore.MISSING)


def made(roots: LiveRoots, volume: VolumeFacts) -> VolumeFacts:
    """With the identity of the empty directory, as the journal knows it once MADE is written."""
    return dataclasses.replace(volume, live_identity=make_empty(Fs(), roots, volume))


def placed(roots: LiveRoots, volume: VolumeFacts) -> VolumeFacts:
    facts = made(roots, volume)
    place_empty(Fs(), roots, facts)
    return facts


def beside(volume: VolumeFacts) -> list[str]:
    return sorted(path.name for path in live_tree(volume).parent.iterdir())


def test_it_has_the_owner_and_mode_of_what_was_staged_and_nothing_in_it(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = placed(roots, volume)
    live = live_tree(facts).stat()
    assert (live.st_uid, live.st_gid, stat.S_IMODE(live.st_mode)) == (101, 102, 0o2750)
    assert list(live_tree(facts).iterdir()) == []
    assert identity_of(live_tree(facts)) == facts.live_identity


def test_nothing_is_at_the_live_path_before_it_is_placed(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = made(roots, volume)
    assert beside(facts) == [facts.wrapper]
    seen = observe(Fs(), roots, facts)
    assert (seen.live, seen.staged, seen.was_missing) == (TreeSide.MISSING, TreeSide.NEW, True)


def test_it_is_exchanged_like_any_other_and_back(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = placed(roots, volume)
    exchange(Fs(), roots, facts, TreeSide.OLD)
    assert (live_tree(facts) / "which").read_text() == "new"
    exchange(Fs(), roots, facts, TreeSide.NEW)
    assert list(live_tree(facts).iterdir()) == []


def test_what_appeared_at_the_live_path_meanwhile_stays_as_it_is(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = made(roots, volume)
    live_tree(facts).mkdir()
    (live_tree(facts) / "theirs").write_text("theirs")
    with pytest.raises(Failed) as caught:
        place_empty(Fs(), roots, facts)
    assert caught.value.code == "volume_appeared"
    assert remove_empty(Fs(), roots, facts), "ours never got there"
    assert (live_tree(facts) / "theirs").read_text() == "theirs"


def test_it_is_taken_away_again_however_often_that_is_asked(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = placed(roots, volume)
    for _ in range(2):
        assert remove_empty(Fs(), roots, facts)
        assert beside(facts) == [facts.wrapper]
    remove_wrapper(Fs(), roots, facts)
    assert beside(facts) == []


def test_it_stays_once_somebody_has_put_something_in_it(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = placed(roots, volume)
    (live_tree(facts) / "theirs").write_text("theirs")
    assert not remove_empty(Fs(), roots, facts)
    assert (live_tree(facts) / "theirs").read_text() == "theirs"


def test_an_empty_directory_of_somebody_else_is_not_taken_for_it(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = placed(roots, volume)
    live_tree(facts).rename(live_tree(facts).with_name("moved"))
    live_tree(facts).mkdir()
    assert remove_empty(Fs(), roots, facts)
    assert live_tree(facts).is_dir()


def test_a_wrapper_in_which_it_still_waits_goes_with_it(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = made(roots, volume)
    remove_wrapper(Fs(), roots, facts)
    assert beside(facts) == []


def test_a_directory_that_was_there_is_never_taken_away(roots: LiveRoots, tmp_path: Path) -> None:
    facts = live_volume(tmp_path)
    (live_tree(facts) / "which").unlink()
    assert remove_empty(Fs(), roots, facts)
    assert live_tree(facts).is_dir()


@pytest.mark.parametrize("kept", [None, "a", "a/b"])
def test_directories_above_it_go_as_far_as_they_were_made_and_are_empty(
    roots: LiveRoots, tmp_path: Path, kept: str | None
) -> None:
    (tmp_path / "before").mkdir()
    facts = live_volume(tmp_path, "before/a/b/data")
    shutil.rmtree(live_tree(facts))
    if kept is not None:
        (tmp_path / "before" / kept / "theirs").touch()
    missing = dataclasses.replace(facts, before=LiveBefore.MISSING, missing_parents=2)
    for _ in range(2):
        remove_parents(Fs(), roots, missing)
        assert (tmp_path / "before/a").exists() is (kept is not None)
        assert (tmp_path / "before/a/b").exists() is (kept == "a/b")
        assert (tmp_path / "before").is_dir()


def test_it_is_gone_with_the_directories_above_it_however_often_that_is_asked(
    roots: LiveRoots, volume: VolumeFacts
) -> None:
    facts = dataclasses.replace(placed(roots, volume), missing_parents=1)
    remove_wrapper(Fs(), roots, facts)
    for _ in range(2):
        assert remove_empty(Fs(), roots, facts)
        remove_wrapper(Fs(), roots, facts)
        remove_parents(Fs(), roots, facts)
        assert not live_tree(facts).parent.exists()
