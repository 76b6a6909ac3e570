"""A volume that is a mount point ends on one side, whatever cuts its swap off, its root's own metadata with it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.engine.cut_fs import CutFs, CutOff

from holdfast.domain.errors import Failed, HoldfastError, Problem, Refused
from holdfast.domain.recovery import Direction, decide
from holdfast.domain.restore import Identity, SwapWay, TreeSide, VolumeFacts
from holdfast.engine import step_swap
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.step_swap import list_children, look_at_children, require_listable
from holdfast.engine.swap import exchange_all, observe, remove_wrapper
from holdfast.engine.swap_way import choose_way
from holdfast.testing.live_volumes import live_tree, live_volume, staged_volume
from holdfast.testing.mounted_volumes import listed, mounted_volume, settled, staged_in, with_wrapper
from holdfast.testing.trees import TreeDescription, describe_tree, posix_acl

OLD, NEW, MIXED, OTHER = TreeSide.OLD, TreeSide.NEW, TreeSide.MIXED, TreeSide.OTHER
TIME = 1_700_000_000_987_654_321


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[LiveRoots]:
    (tmp_path / "journals").mkdir()
    with LiveRoots(Fs(), [str(tmp_path)], str(tmp_path / "journals")) as held:
        yield held


@pytest.fixture(params=[SwapWay.CHILDREN, SwapWay.CHILDREN_BY_RENAMES])
def volume(request: pytest.FixtureRequest, tmp_path: Path, roots: LiveRoots, tmpfs: Callable[..., Path]) -> VolumeFacts:
    """A mount point with a small old tree live, and a small new one staged."""
    live = tmpfs(at=tmp_path / "notes" / "data")
    facts = with_wrapper(Fs(), roots, mounted_volume(tmp_path, "notes/data", way=request.param))
    fill(live, "old", only="gone")
    fill(staged_in(facts), "new", only="come")
    live.chmod(0o751)
    os.chown(live, 11, 12)
    os.setxattr(live, "user.old", b"1")
    staged_in(facts).chmod(0o2775)
    os.setxattr(staged_in(facts), "user.new", b"2")
    os.setxattr(staged_in(facts), "system.posix_acl_access", posix_acl(user=77, mode=0o775))
    for path, number in ((live, 1), (staged_in(facts), 2)):
        os.utime(path, ns=(TIME + number, TIME + number))
    return facts


def fill(tree: Path, side: str, *, only: str) -> None:
    (tree / "which").write_text(side)
    (tree / "deep" / "down").mkdir(parents=True)
    (tree / "deep" / "down" / "file").write_text(side)
    (tree / only).symlink_to(side)


def live_part(facts: VolumeFacts) -> TreeDescription:
    """The volume without what is Holdfast's in it."""
    wrapper = facts.wrapper.encode()
    return {p: d for p, d in describe_tree(live_tree(facts)).items() if p.split(b"/")[0] != wrapper}


def sides(roots: LiveRoots, facts: VolumeFacts) -> tuple[TreeSide, TreeSide]:
    seen = observe(Fs(), roots, facts)
    return seen.live, seen.staged


def fs_of(facts: VolumeFacts, cut: int | None = None, *, after: bool = False) -> CutFs:
    return CutFs(cut, after=after, exchanges=facts.way.at_once)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("begin", [OLD, NEW])
def test_recovery_ends_on_either_side_from_wherever_the_swap_was_cut_off(
    roots: LiveRoots, volume: VolumeFacts, begin: TreeSide, after: bool, figure: Callable[[str, int], None]
) -> None:
    trees = {OLD: live_part(volume), NEW: describe_tree(staged_in(volume))}
    facts = listed(Fs(), roots, volume)
    other = NEW if begin is OLD else OLD
    counted = fs_of(facts)
    exchange_all(counted, roots, [facts], NEW)
    assert live_part(facts) == trees[NEW]
    seen = set()
    for cut in range(len(counted.calls)):
        for towards in (Direction.FORWARD, Direction.BACKWARD):
            exchange_all(fs_of(facts), roots, [facts], begin)
            try:
                exchange_all(fs_of(facts, cut, after=after), roots, [facts], other)
            except CutOff:
                seen.add(sides(roots, facts))
            plan = decide(towards, {0: observe(Fs(), roots, facts)})
            assert plan.problem is None
            assert plan.to is (NEW if towards is Direction.FORWARD else OLD)
            exchange_all(fs_of(facts), roots, [facts], plan.to)
            assert live_part(facts) == trees[plan.to]
            figure("swaps by names: cuts of a whole volume recovered from", 1)
            assert decide(towards, {0: observe(Fs(), roots, facts)}).exchange == ()
    assert seen - {(begin, other)} == {(other, begin), (MIXED, MIXED)}


def test_before_anything_is_written_down_the_volume_is_on_its_old_side(roots: LiveRoots, volume: VolumeFacts) -> None:
    assert sides(roots, volume) == (OLD, NEW)
    with pytest.raises(Failed, match="not written down"):
        exchange_all(Fs(), roots, [volume], NEW)


def test_an_abort_needs_nothing_of_what_was_staged(roots: LiveRoots, volume: VolumeFacts) -> None:
    (live_tree(volume) / volume.wrapper).rename(live_tree(volume) / "taken")
    plan = decide(Direction.ABORT, {0: observe(Fs(), roots, volume)})
    assert (plan.problem, plan.exchange) == (None, ())


def test_nothing_is_done_where_the_mount_point_is_not_mounted(
    roots: LiveRoots, volume: VolumeFacts, tmp_path: Path
) -> None:
    facts = listed(Fs(), roots, volume)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    subprocess.run(["mount", "--move", str(live_tree(facts)), str(hidden)], check=True)
    try:
        assert decide(Direction.FORWARD, {0: observe(Fs(), roots, facts)}).problem is not None
        with pytest.raises(HoldfastError):
            exchange_all(Fs(), roots, [facts], NEW)
        assert list(live_tree(facts).iterdir()) == []
    finally:
        subprocess.run(["mount", "--move", str(hidden), str(live_tree(facts))], check=True)


@pytest.mark.parametrize("where", ["live", "staged"])
def test_a_name_that_nobody_wrote_down_stops_it(roots: LiveRoots, volume: VolumeFacts, where: str) -> None:
    facts = listed(Fs(), roots, volume)
    (live_tree(facts) if where == "live" else staged_in(facts)).joinpath("planted").touch()
    assert sides(roots, facts) == (OTHER, OTHER)
    with pytest.raises(Failed, match="planted") as caught:
        exchange_all(Fs(), roots, [facts], NEW)
    assert caught.value.code == "exchange_failed"
    assert (live_tree(facts) / "which").read_text() == "old"


def test_a_name_that_stands_for_something_else_stops_it(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = listed(Fs(), roots, volume)
    (live_tree(facts) / "which").rename(live_tree(facts) / "deep" / "which")
    (live_tree(facts) / "which").write_text("planted")
    assert sides(roots, facts) == (OTHER, OTHER)
    with pytest.raises(Failed, match="which"):
        exchange_all(Fs(), roots, [facts], NEW)


def test_another_wrapper_under_its_name_stops_it(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = listed(Fs(), roots, volume)
    wrapper = live_tree(facts) / facts.wrapper
    wrapper.rename(live_tree(facts) / "deep" / "moved")
    wrapper.mkdir(mode=0o700)
    (live_tree(facts) / "deep" / "moved" / "staged").rename(wrapper / "staged")
    with pytest.raises(Failed) as caught:
        exchange_all(Fs(), roots, [facts], NEW)
    assert caught.value.code in ("exchange_failed", "wrapper_replaced")
    with pytest.raises(Failed) as kept:
        remove_wrapper(Fs(), roots, facts)
    assert kept.value.code == "wrapper_replaced"
    assert (wrapper / "staged" / "which").read_text() == "new"


@pytest.mark.parametrize("planted", ["aside", "staged/.holdfast-r1-0"])
def test_what_would_stop_the_swap_is_found_before_anything_is_decided(
    roots: LiveRoots, volume: VolumeFacts, planted: str
) -> None:
    """A name where one is to wait, and one in the staged tree that stands for something of Holdfast's in the volume."""
    (live_tree(volume) / volume.wrapper / planted).mkdir()
    with pytest.raises(Failed) as caught:
        list_children(Fs(), roots, volume)
    assert caught.value.code == "children_not_listed"


def test_a_probe_that_is_made_meanwhile_stops_nothing(roots: LiveRoots, volume: VolumeFacts) -> None:
    facts = listed(Fs(), roots, volume)
    probe = live_tree(facts) / ".holdfast-probe-0123456789abcdef"
    (probe / "wrapper" / "staged").mkdir(parents=True)
    exchange_all(fs_of(facts), roots, [facts], NEW)
    assert (live_tree(facts) / "which").read_text() == "new"
    assert probe.is_dir()


def test_what_a_container_called_its_files_is_told_without_control_characters(
    roots: LiveRoots, volume: VolumeFacts
) -> None:
    name = live_tree(volume) / "\x1b[2J"
    name.touch()
    facts = listed(Fs(), roots, volume)
    name.rename(live_tree(facts) / "deep" / "away")
    name.touch()
    with pytest.raises(Failed) as caught:
        exchange_all(Fs(), roots, [facts], NEW)
    assert "[2J" in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["data", "staged", ".holdfast-r1-0"])
def test_it_is_done_only_once_each_directory_is_flushed(roots: LiveRoots, volume: VolumeFacts, name: str) -> None:
    facts = listed(Fs(), roots, volume)

    class Unflushed(CutFs):
        def fsync(self, fd: int) -> None:
            if os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) == name:
                raise OSError(5, "Input/output error")
            super().fsync(fd)

    with pytest.raises(Failed, match="Input/output error") as caught:
        exchange_all(Unflushed(exchanges=facts.way.at_once), roots, [facts], NEW)
    assert caught.value.details["exchanged"] == []
    exchange_all(fs_of(facts), roots, [facts], OLD)


def test_containers_may_have_changed_what_is_live_when_it_goes_back(roots: LiveRoots, volume: VolumeFacts) -> None:
    old = live_part(volume)
    facts = listed(Fs(), roots, volume)
    exchange_all(fs_of(facts), roots, [facts], NEW)
    facts = settled(facts, NEW)
    live = live_tree(facts)
    (live / "which").unlink()
    (live / "deep").rename(live / "renamed")
    (live / "log").write_text("made on trial")
    live.chmod(0o700)
    assert sides(roots, facts) == (NEW, OLD)
    failed = live_part(facts)
    back = listed(Fs(), roots, facts)
    exchange_all(fs_of(back), roots, [back], OLD)
    assert live_part(back) == old
    assert sides(roots, settled(back, OLD)) == (OLD, NEW)
    kept = describe_tree(staged_in(back))
    assert {p: d for p, d in kept.items() if p} == {p: d for p, d in failed.items() if p}


def test_afterwards_what_is_live_is_no_longer_looked_at_and_the_wrapper_goes(
    roots: LiveRoots, volume: VolumeFacts
) -> None:
    facts = listed(Fs(), roots, volume)
    exchange_all(fs_of(facts), roots, [facts], NEW)
    facts = settled(facts, NEW)
    (live_tree(facts) / "which").write_text("in use")
    before = live_part(facts)
    assert decide(Direction.TRIAL_PENDING, {0: observe(Fs(), roots, facts)}).problem is None
    assert decide(Direction.CONFIRMED, {0: observe(Fs(), roots, facts)}).removable == (0,)
    remove_wrapper(Fs(), roots, facts)
    remove_wrapper(Fs(), roots, facts)
    assert live_part(facts) == describe_tree(live_tree(facts)) == before


def test_a_wrapper_that_a_container_gave_to_its_user_goes_all_the_same(roots: LiveRoots, volume: VolumeFacts) -> None:
    """As the start of many a database does: chown -R."""
    os.chown(live_tree(volume) / volume.wrapper, 999, 999)
    remove_wrapper(Fs(), roots, volume)
    assert not (live_tree(volume) / volume.wrapper).exists()


def test_a_file_that_is_linked_from_the_staged_tree_to_the_live_one_is_refused(
    roots: LiveRoots, volume: VolumeFacts
) -> None:
    (staged_in(volume) / "which").unlink()
    os.link(live_tree(volume) / "which", staged_in(volume) / "which")
    with pytest.raises(Refused) as caught:
        list_children(Fs(), roots, volume)
    assert caught.value.code == "staged_tree_changed"


def test_too_many_names_are_refused(roots: LiveRoots, volume: VolumeFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_swap, "MOST_CHILDREN", 5)
    fd = os.open(staged_in(volume), os.O_RDONLY)
    with pytest.raises(Refused) as begun:
        require_listable(Fs(), roots, volume, fd)
    os.close(fd)
    assert begun.value.code == "too_many_children"
    assert len(list_children(Fs(), roots, volume).names) == 4, "what was begun goes on"
    monkeypatch.setattr(step_swap, "MOST_LISTED", 5)
    with pytest.raises(Refused) as caught:
        list_children(Fs(), roots, volume)
    assert caught.value.code == "too_many_children"
    monkeypatch.setattr(step_swap, "MOST_CHILDREN", 2)
    count, problems = look_at_children(Fs(), roots, volume.live)
    assert [problem.code for problem in problems] == ["too_many_children"]
    assert count == 4


@pytest.mark.parametrize("flag", ["i", "a"])
def test_a_name_that_can_not_be_moved_is_refused(roots: LiveRoots, volume: VolumeFacts, flag: str) -> None:
    which = live_tree(volume) / "which"
    subprocess.run(["chattr", f"+{flag}", str(which)], check=True)
    try:
        with pytest.raises(Refused) as caught:
            list_children(Fs(), roots, volume)
        _, problems = look_at_children(Fs(), roots, volume.live)
    finally:
        subprocess.run(["chattr", f"-{flag}", str(which)], check=True)
    assert caught.value.code == "child_immutable"
    assert [problem.code for problem in problems] == ["child_immutable"]


def test_a_mount_on_one_of_its_names_is_refused_and_stops_it(
    roots: LiveRoots, volume: VolumeFacts, tmpfs: Callable[..., Path]
) -> None:
    facts = listed(Fs(), roots, volume)
    tmpfs(at=live_tree(facts) / "deep" / "down")
    with pytest.raises(Failed, match="mounted"):
        exchange_all(fs_of(facts), roots, [facts], NEW)
    tmpfs(at=live_tree(facts) / "deep")
    with pytest.raises(Failed, match="mounted"):
        list_children(Fs(), roots, volume)


def test_lost_and_found_stays_where_it_is_and_one_of_the_snapshots_only_if_it_is_empty(
    roots: LiveRoots, tmp_path: Path, mount: Callable[..., Path]
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    live = mount("-o", "loop", str(image), at=tmp_path / "disk")
    own = (live / "lost+found").stat().st_ino
    facts = with_wrapper(Fs(), roots, mounted_volume(tmp_path, "disk"))
    (live / "old").touch()
    (staged_in(facts) / "lost+found").mkdir()
    (staged_in(facts) / "new").touch()
    facts = listed(Fs(), roots, facts)
    exchange_all(Fs(), roots, [facts], NEW)
    assert sorted(path.name for path in live.iterdir()) == [facts.wrapper, "lost+found", "new"]
    assert (live / "lost+found").stat().st_ino == own
    exchange_all(Fs(), roots, [facts], OLD)
    (staged_in(facts) / "lost+found" / "data").touch()
    with pytest.raises(Refused) as caught:
        list_children(Fs(), roots, replace(facts, children=None))
    assert caught.value.code == "lost_and_found_in_snapshot"


def test_what_is_made_and_removed_in_a_volume_leaves_its_time(roots: LiveRoots, volume: VolumeFacts) -> None:
    before = live_tree(volume).stat().st_mtime_ns
    assert choose_way(Fs(), roots, volume.live) is SwapWay.CHILDREN
    remove_wrapper(Fs(), roots, volume)
    with_wrapper(Fs(), roots, replace(volume, staged_identity=None, wrapper_identity=None))
    assert live_tree(volume).stat().st_mtime_ns == before


# --- whole directories, by renames -----------------------------------------------------------------------------------


def test_a_filesystem_without_exchange_gets_renames(roots: LiveRoots, tmp_path: Path, volume: VolumeFacts) -> None:
    facts = live_volume(tmp_path, "plain/data")
    assert choose_way(CutFs(exchanges=False), roots, facts.live) is SwapWay.RENAMES
    assert choose_way(CutFs(exchanges=False), roots, volume.live) is SwapWay.CHILDREN_BY_RENAMES
    assert [path.name for path in live_tree(facts).parent.iterdir()] == ["data"]


@pytest.mark.parametrize("kind", ["fuse", "no handles"])
def test_a_filesystem_whose_identities_do_not_last_is_refused(roots: LiveRoots, tmp_path: Path, kind: str) -> None:
    class Without(Fs):
        def filesystem_type(self, fd: int) -> int:
            return 0x6573_5546 if kind == "fuse" else super().filesystem_type(fd)

        def identity(self, fd: int) -> Identity:
            if kind == "no handles":
                raise OSError(95, "Operation not supported")
            return super().identity(fd)

    problem = choose_way(Without(), roots, live_volume(tmp_path).live)
    assert isinstance(problem, Problem)
    assert problem.code == "identity_unsupported"


@pytest.mark.parametrize("after", [False, True])
def test_whole_directories_end_on_either_side_from_each_rename(roots: LiveRoots, tmp_path: Path, after: bool) -> None:
    facts = replace(staged_volume(Fs(), roots, live_volume(tmp_path, "plain/data")), way=SwapWay.RENAMES)
    trees = {OLD: describe_tree(live_tree(facts)), NEW: describe_tree(staged_tree_of(facts))}
    counted = fs_of(facts)
    exchange_all(counted, roots, [facts], NEW)
    seen = set()
    for cut in range(len(counted.calls)):
        for towards in (Direction.FORWARD, Direction.BACKWARD):
            exchange_all(fs_of(facts), roots, [facts], OLD)
            with pytest.raises(CutOff):
                exchange_all(fs_of(facts, cut, after=after), roots, [facts], NEW)
            seen.add(sides(roots, facts))
            plan = decide(towards, {0: observe(Fs(), roots, facts)})
            assert plan.to is not None
            exchange_all(fs_of(facts), roots, [facts], plan.to)
            assert describe_tree(live_tree(facts)) == trees[plan.to]
    assert seen - {(OLD, NEW)} == {(NEW, OLD), (MIXED, MIXED)}


def staged_tree_of(facts: VolumeFacts) -> Path:
    return live_tree(facts).parent / facts.wrapper / "staged"


class ByName(Fs):
    """Takes whatever stands at a name for what stood there first: identity, taken out."""

    def __init__(self) -> None:
        self._first: dict[str, Identity] = {}

    def identity(self, fd: int) -> Identity:
        return self._first.setdefault(self.path_of(fd), super().identity(fd))


def test_without_identities_what_somebody_else_put_there_would_be_acted_upon(
    roots: LiveRoots, volume: VolumeFacts
) -> None:
    by_name = ByName()
    facts = listed(by_name, roots, volume)
    (live_tree(facts) / "which").rename(live_tree(facts) / "deep" / "which")
    (live_tree(facts) / "which").write_text("planted")
    assert decide(Direction.FORWARD, {0: observe(by_name, roots, facts)}).exchange == (0,)
    assert decide(Direction.FORWARD, {0: observe(Fs(), roots, facts)}).problem is not None
