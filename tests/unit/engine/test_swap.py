"""The exchange happens between the two trees that the journal names, or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed, Problem, Refused
from holdfast.domain.recovery import Direction, Observation, decide
from holdfast.domain.restore import RootRef, SwapWay, TreeSide, VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.swap import exchange, exchange_all, make_wrapper, observe, remove_wrapper
from holdfast.engine.swap_way import choose_way
from holdfast.testing.live_volumes import live_tree, live_volume, staged_tree, staged_volume

OLD, NEW, OTHER, MISSING = TreeSide.OLD, TreeSide.NEW, TreeSide.OTHER, TreeSide.MISSING


class RecordingFs(Fs):
    """Notes exchanges and flushes, fails where told, and lets somebody in right before or after an exchange."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail: dict[str, OSError] = {}
        self.before_exchange: Callable[[], object] = lambda: None
        self.after_exchange: Callable[[], object] = lambda: None

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        self.calls.append(f"exchange {name_a.decode()}")
        if self.calls[-1] in self.fail:
            raise self.fail[self.calls[-1]]
        self.before_exchange()
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)
        self.after_exchange()

    def fsync(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        self.calls.append(f"fsync {os.path.basename(path)}")
        if self.calls[-1] in self.fail:
            raise self.fail[self.calls[-1]]
        super().fsync(fd)


@pytest.fixture
def fs() -> RecordingFs:
    return RecordingFs()


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[LiveRoots]:
    with LiveRoots(Fs(), [str(tmp_path)]) as held:
        yield held


@pytest.fixture
def volume(tmp_path: Path, roots: LiveRoots) -> VolumeFacts:
    return staged_volume(Fs(), roots, live_volume(tmp_path))


def volumes_of(tmp_path: Path, roots: LiveRoots, count: int) -> list[VolumeFacts]:
    return [staged_volume(Fs(), roots, live_volume(tmp_path, f"notes/v{i}", index=i)) for i in range(count)]


def which(tree: Path) -> str:
    return (tree / "which").read_text()


def sides(seen: Observation) -> tuple[TreeSide, TreeSide]:
    return seen.live, seen.staged


@contextmanager
def mounted(at: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        # Where it was mounted may have been moved along with the tree around it.
        for line in Path("/proc/self/mounts").read_text().splitlines():
            point = line.split()[1]
            if point.startswith(str(at.parents[2])) and point.endswith(at.name):
                subprocess.run(["umount", "--lazy", point], check=True)


@contextmanager
def flagged(path: Path, flag: str) -> Iterator[None]:
    subprocess.run(["chattr", f"+{flag}", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{flag}", str(path)], check=True)


# --- exchange --------------------------------------------------------------------------------------------------------


def test_an_exchange_there_and_back_is_seen_as_such(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    assert sides(observe(fs, roots, volume)) == (OLD, NEW)
    exchange(fs, roots, volume, OLD)
    assert (which(live_tree(volume)), which(staged_tree(volume))) == ("new", "old")
    assert sides(observe(fs, roots, volume)) == (NEW, OLD)
    exchange(fs, roots, volume, NEW)
    assert (which(live_tree(volume)), which(staged_tree(volume))) == ("old", "new")


LOOKING = """
import os, sys
live, wanted = sys.argv[1], {"old", "new"}
print("looking", flush=True)
while not os.path.exists(sys.argv[2]):
    try:
        found = open(os.path.join(live, "which")).read()
    except FileNotFoundError:
        found = "nothing"
    if found not in wanted:
        sys.exit(found)
"""


def test_whoever_looks_at_the_live_path_meanwhile_always_finds_a_whole_tree(
    volume: VolumeFacts, tmp_path: Path, open_dir: Callable[[Path], int]
) -> None:
    done = tmp_path / "done"
    live, wrapper = open_dir(live_tree(volume).parent), open_dir(staged_tree(volume).parent)
    command = [sys.executable, "-c", LOOKING, str(live_tree(volume)), str(done)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as looking:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "looking\n"
        for _ in range(20_000):
            Fs().exchange(live, b"data", wrapper, b"staged")
        done.touch()
        _, found = looking.communicate()
    assert (looking.returncode, found) == (0, "")


def test_both_parents_are_flushed_after_each_exchange_before_the_next(
    fs: RecordingFs, roots: LiveRoots, tmp_path: Path
) -> None:
    first, second = volumes_of(tmp_path, roots, 2)
    exchange_all(fs, roots, [first, second], NEW)
    assert fs.calls == [
        "exchange v0",
        "fsync notes",
        f"fsync {first.wrapper}",
        "exchange v1",
        "fsync notes",
        f"fsync {second.wrapper}",
    ]


def test_a_volume_that_is_there_already_is_flushed_and_not_exchanged(
    fs: RecordingFs, roots: LiveRoots, tmp_path: Path
) -> None:
    first, second = volumes_of(tmp_path, roots, 2)
    exchange(Fs(), roots, first, OLD)
    exchange_all(fs, roots, [first, second], NEW)
    assert fs.calls[:3] == ["fsync notes", f"fsync {first.wrapper}", "exchange v1"]
    assert [which(live_tree(v)) for v in (first, second)] == ["new", "new"]


def test_exchanging_all_twice_changes_nothing_more(fs: RecordingFs, roots: LiveRoots, tmp_path: Path) -> None:
    volumes = volumes_of(tmp_path, roots, 3)
    for _ in range(2):
        exchange_all(fs, roots, volumes, NEW)
        assert [which(live_tree(v)) for v in volumes] == ["new"] * 3
    for _ in range(2):
        exchange_all(fs, roots, volumes, OLD)
        assert [which(live_tree(v)) for v in volumes] == ["old"] * 3


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EXDEV, errno.EPERM, errno.ENOSPC, errno.EIO])
def test_an_exchange_that_fails_leaves_the_rest_alone_and_the_way_back_open(
    fs: RecordingFs, roots: LiveRoots, tmp_path: Path, error: int
) -> None:
    volumes = volumes_of(tmp_path, roots, 3)
    fs.fail["exchange v1"] = OSError(error, os.strerror(error))
    with pytest.raises(Failed) as caught:
        exchange_all(fs, roots, volumes, NEW)
    assert caught.value.code == "exchange_failed"
    assert caught.value.details["index"] == 1
    assert caught.value.details["exchanged"] == [0]
    assert os.strerror(error) in caught.value.message
    assert [which(live_tree(v)) for v in volumes] == ["new", "old", "old"]
    exchange_all(fs, roots, volumes, OLD)
    assert [which(live_tree(v)) for v in volumes] == ["old"] * 3


@pytest.mark.parametrize("parent", ["notes", ".holdfast-r1-0"])
def test_a_flush_that_fails_is_an_exchange_that_failed(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts, parent: str
) -> None:
    fs.fail[f"fsync {parent}"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(Failed) as caught:
        exchange_all(fs, roots, [volume], NEW)
    assert caught.value.details["exchanged"] == []
    assert fs.calls.count(f"fsync {parent}") == 1


def put_another(tree: Path) -> None:
    """Put another directory in the place of ``tree``; its own inode stays in use, so that it isn't given out again."""
    tree.rename(tree.with_name("elsewhere"))
    tree.mkdir()
    (tree / "which").write_text("stranger")


@pytest.mark.parametrize("place", [live_tree, staged_tree])
def test_a_tree_that_the_journal_does_not_name_is_never_exchanged(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts, place: Callable[[VolumeFacts], Path]
) -> None:
    put_another(place(volume))
    attempts: list[Callable[[], object]] = [
        lambda: exchange(fs, roots, volume, OLD),
        lambda: exchange_all(fs, roots, [volume], NEW),
    ]
    for attempt in attempts:
        with pytest.raises(Failed) as caught:
            attempt()
        assert caught.value.code == "exchange_failed"
    assert fs.calls == []
    assert which(place(volume)) == "stranger"


def test_the_same_path_and_inode_number_do_not_make_the_same_tree(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    assert volume.live_identity is not None
    same_number = dataclasses.replace(volume.live_identity, handle=volume.live_identity.handle[:8] + "0" * 8)
    changed = dataclasses.replace(volume, live_identity=same_number)
    assert observe(fs, roots, changed).live is OTHER


def test_no_volume_is_touched_if_any_is_not_understood(fs: RecordingFs, roots: LiveRoots, tmp_path: Path) -> None:
    volumes = volumes_of(tmp_path, roots, 3)
    put_another(live_tree(volumes[2]))
    with pytest.raises(Failed) as caught:
        exchange_all(fs, roots, volumes, NEW)
    assert caught.value.details["index"] == 2
    assert fs.calls == []


def test_a_tree_put_there_in_the_last_moment_is_noticed_after_the_exchange(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    fs.before_exchange = lambda: put_another(staged_tree(volume))
    with pytest.raises(Failed) as caught:
        exchange(fs, roots, volume, OLD)
    assert "live is other" in caught.value.message
    assert sides(observe(fs, roots, volume)) == (OTHER, OLD)
    assert decide(Direction.FORWARD, {0: observe(fs, roots, volume)}).problem is not None


def test_a_replaced_parent_is_seen_as_nothing_there(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    parent = live_tree(volume).parent
    parent.rename(parent.with_name("unmounted"))
    assert sides(observe(fs, roots, volume)) == (MISSING, MISSING)
    shutil.copytree(parent.with_name("unmounted"), parent)
    seen = observe(fs, roots, volume)
    assert sides(seen) == (MISSING, MISSING)
    assert "disk not mounted" in seen.detail
    with pytest.raises(Failed):
        exchange_all(fs, roots, [volume], NEW)


@pytest.mark.parametrize("place", [live_tree, staged_tree])
def test_a_symlink_to_the_right_tree_is_not_the_tree(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts, place: Callable[[VolumeFacts], Path]
) -> None:
    tree = place(volume)
    tree.rename(tree.with_name("elsewhere"))
    tree.symlink_to("elsewhere")
    assert OTHER in sides(observe(fs, roots, volume))
    with pytest.raises(Failed):
        exchange(fs, roots, volume, OLD)
    assert fs.calls == []


def test_a_symlink_in_the_place_of_the_wrapper_is_not_followed(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    wrapper = staged_tree(volume).parent
    wrapper.rename(wrapper.with_name("elsewhere"))
    wrapper.symlink_to("elsewhere")
    assert sides(observe(fs, roots, volume)) == (OLD, OTHER)
    attempts: list[Callable[[], object]] = [
        lambda: exchange(fs, roots, volume, OLD),
        lambda: remove_wrapper(fs, roots, volume),
    ]
    for attempt in attempts:
        with pytest.raises(Failed):
            attempt()
    assert which(wrapper.with_name("elsewhere") / "staged") == "new"


@pytest.mark.parametrize("where", ["data", "data/sub", ".holdfast-r1-0", ".holdfast-r1-0/staged/sub"])
def test_nothing_is_exchanged_with_a_mount_at_or_below_it(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts, where: str
) -> None:
    at = live_tree(volume).parent / where
    at.mkdir(exist_ok=True)
    with mounted(at):
        with pytest.raises(Failed) as caught:
            exchange_all(fs, roots, [volume], NEW)
        assert caught.value.code == "exchange_failed"
        assert fs.calls == []


def test_a_bind_mount_of_the_right_tree_is_not_the_tree(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    live = live_tree(volume)
    subprocess.run(["mount", "--bind", str(live), str(live)], check=True)
    try:
        assert observe(fs, roots, volume).live is OTHER
    finally:
        subprocess.run(["umount", str(live)], check=True)
    assert observe(fs, roots, volume).live is OLD


@pytest.mark.parametrize("flag", ["i", "a"])
def test_a_flag_on_the_parent_is_a_clean_failure(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts, flag: str
) -> None:
    with flagged(live_tree(volume).parent, flag), pytest.raises(Failed, match="Operation not permitted"):
        exchange_all(fs, roots, [volume], NEW)
    assert sides(observe(fs, roots, volume)) == (OLD, NEW)


# --- support ---------------------------------------------------------------------------------------------------------


def test_the_support_of_exchanges_is_tried_without_leaving_anything(
    fs: RecordingFs, roots: LiveRoots, tmp_path: Path
) -> None:
    facts = live_volume(tmp_path)
    assert choose_way(fs, roots, facts.live) is SwapWay.EXCHANGE
    assert fs.calls == ["exchange live"]
    assert [p.name for p in live_tree(facts).parent.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errno.EXDEV, "exchange_unsupported"),
        (errno.ENOSPC, "no_space"),
        (errno.EIO, "disk_error"),
    ],
)
def test_where_exchanges_do_not_work_the_problem_names_the_place(
    fs: RecordingFs, roots: LiveRoots, tmp_path: Path, error: int, code: str
) -> None:
    facts = live_volume(tmp_path)
    fs.fail["exchange live"] = OSError(error, os.strerror(error))
    problem = choose_way(fs, roots, facts.live)
    assert isinstance(problem, Problem)
    assert problem.code == code
    assert facts.live.path in problem.message
    assert [p.name for p in live_tree(facts).parent.iterdir()] == ["data"]


def test_a_flag_on_the_parent_is_a_problem_of_support(fs: RecordingFs, roots: LiveRoots, tmp_path: Path) -> None:
    facts = live_volume(tmp_path)
    with flagged(live_tree(facts).parent, "i"):
        problem = choose_way(fs, roots, facts.live)
    assert isinstance(problem, Problem)
    assert problem.code == "permission_denied"


# --- wrappers --------------------------------------------------------------------------------------------------------


def test_wrapper_and_staged_tree_are_private_whatever_the_parent_hands_down(
    fs: RecordingFs, roots: LiveRoots, tmp_path: Path
) -> None:
    facts = live_volume(tmp_path)
    parent = live_tree(facts).parent
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", str(parent)], check=True)
    os.chown(parent, 0, 4321)
    parent.chmod(0o2777)
    os.close(make_wrapper(fs, roots, facts))
    for made in (staged_tree(facts), staged_tree(facts).parent):
        seen = made.stat()
        assert (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (0o700, os.geteuid(), os.getegid())
        assert not [name for name in os.listxattr(made) if "acl" in name]


def test_a_wrapper_that_exists_is_an_error_and_stays(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    with pytest.raises(Failed) as caught:
        make_wrapper(fs, roots, volume)
    assert caught.value.code == "wrapper_exists"
    assert which(staged_tree(volume)) == "new"


class FullFs(Fs):
    def mkdirat(self, dirfd: int, name: bytes, mode: int = 0o700) -> None:
        if name == b"staged":
            raise OSError(errno.ENOSPC, "No space left on device")
        super().mkdirat(dirfd, name, mode)


def test_a_wrapper_that_can_not_be_completed_is_taken_away_again(roots: LiveRoots, tmp_path: Path) -> None:
    facts = live_volume(tmp_path)
    with pytest.raises(Exception, match="No space left"):
        make_wrapper(FullFs(), roots, facts)
    assert [p.name for p in live_tree(facts).parent.iterdir()] == ["data"]


class RefusingFs(Fs):
    """A filesystem that refuses to say something about the second directory that is asked about."""

    asked = 0

    def removexattr(self, fd: int, name: bytes) -> None:
        """Refuse, of the directory in the wrapper."""
        self.asked += self.path_of(fd).endswith("/staged")
        if self.asked:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().removexattr(fd, name)


def test_a_wrapper_whose_inner_directory_fails_is_taken_away_by_descriptors_that_are_still_open(
    roots: LiveRoots, tmp_path: Path
) -> None:
    facts = live_volume(tmp_path)
    with pytest.raises(Failed) as failed:
        make_wrapper(RefusingFs(), roots, facts)
    assert failed.value.code == "disk_error"
    assert [p.name for p in live_tree(facts).parent.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["..", "data", ".holdfast-r1-0/..", "/etc", ".holdfast-r1-0\n"])
def test_only_a_wrapper_name_is_ever_opened_or_removed(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts, name: str
) -> None:
    with pytest.raises(Failed) as caught:
        remove_wrapper(fs, roots, dataclasses.replace(volume, wrapper=name))
    assert caught.value.code == "wrapper_name_refused"
    assert sides(observe(fs, roots, volume)) == (OLD, NEW)


def test_removing_a_wrapper_is_durable_and_can_be_repeated(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    exchange(Fs(), roots, volume, OLD)
    for _ in range(2):
        remove_wrapper(fs, roots, volume)
        assert fs.calls[-1] == "fsync notes"
        assert [p.name for p in live_tree(volume).parent.iterdir()] == ["data"]
    assert which(live_tree(volume)) == "new"
    assert sides(observe(fs, roots, volume)) == (NEW, MISSING)


class DyingFs(Fs):
    """Dies after so many files were removed."""

    def __init__(self, files: int) -> None:
        self._files = files

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        super().unlinkat(dirfd, name)
        self._files -= 1
        if self._files == 0:
            raise KeyboardInterrupt


def test_a_tree_whose_removal_was_cut_off_is_never_taken_for_a_tree(roots: LiveRoots, volume: VolumeFacts) -> None:
    for number in range(5):
        (staged_tree(volume) / f"{number}").touch()
    with pytest.raises(KeyboardInterrupt):
        remove_wrapper(DyingFs(2), roots, volume)
    assert sides(observe(Fs(), roots, volume)) == (OLD, MISSING)
    remove_wrapper(Fs(), roots, volume)
    assert [p.name for p in live_tree(volume).parent.iterdir()] == ["data"]


def test_the_wrapper_stays_while_nothing_is_live(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    live_tree(volume).rename(live_tree(volume).with_name("elsewhere"))
    with pytest.raises(Failed) as caught:
        remove_wrapper(fs, roots, volume)
    assert caught.value.code == "wrapper_kept"
    assert which(staged_tree(volume)) == "new"


def test_what_is_live_through_a_bind_mount_is_not_removed_from_the_wrapper(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    live = live_tree(volume)
    subprocess.run(["mount", "--bind", str(staged_tree(volume)), str(live)], check=True)
    try:
        with pytest.raises(Failed) as caught:
            remove_wrapper(fs, roots, volume)
        assert which(live) == "new"
    finally:
        subprocess.run(["umount", str(live)], check=True)
    assert caught.value.code == "wrapper_kept"


def test_somebody_elses_directory_of_that_name_stays(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    os.chown(staged_tree(volume).parent, 1234, 1234)
    with pytest.raises(Failed) as caught:
        remove_wrapper(fs, roots, volume)
    assert caught.value.code == "wrapper_kept"


def test_what_holdfast_did_not_put_into_the_wrapper_stays(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    (staged_tree(volume).parent / "notes.txt").write_text("somebody's")
    with pytest.raises(Failed) as caught:
        remove_wrapper(fs, roots, volume)
    assert caught.value.code == "wrapper_kept"
    assert (staged_tree(volume).parent / "notes.txt").read_text() == "somebody's"


def test_a_mount_in_the_wrapper_keeps_all_of_it(fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts) -> None:
    at = staged_tree(volume) / "sub"
    at.mkdir()
    with mounted(at):
        with pytest.raises(Failed) as caught:
            remove_wrapper(fs, roots, volume)
        assert caught.value.code == "mount_in_tree"
        assert sides(observe(fs, roots, volume)) == (OLD, NEW)
    remove_wrapper(fs, roots, volume)


def test_below_a_replaced_parent_nothing_is_made_or_removed(
    fs: RecordingFs, roots: LiveRoots, volume: VolumeFacts
) -> None:
    parent = live_tree(volume).parent
    parent.rename(parent.with_name("unmounted"))
    shutil.copytree(parent.with_name("unmounted"), parent)
    attempts: list[Callable[[], object]] = [
        lambda: remove_wrapper(fs, roots, volume),
        lambda: make_wrapper(fs, roots, volume),
    ]
    for attempt in attempts:
        with pytest.raises(Failed) as caught:
            attempt()
        assert caught.value.code == "parent_replaced"
    assert which(staged_tree(volume)) == "new"


def test_an_unknown_root_is_refused(fs: RecordingFs, roots: LiveRoots, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        choose_way(fs, roots, RootRef(root="/elsewhere", relative="notes/data"))
    assert caught.value.code == "root_unknown"


@pytest.mark.parametrize("done", range(4))
@pytest.mark.parametrize(("towards", "expected"), [(Direction.FORWARD, "new"), (Direction.BACKWARD, "old")])
def test_recovery_ends_on_one_side_after_any_number_of_exchanges(
    roots: LiveRoots, tmp_path: Path, done: int, towards: Direction, expected: str
) -> None:
    volumes = volumes_of(tmp_path, roots, 3)
    exchange_all(Fs(), roots, volumes[:done], NEW)
    plan = decide(towards, {v.index: observe(Fs(), roots, v) for v in volumes})
    assert plan.to is not None
    exchange_all(Fs(), roots, volumes, plan.to)
    assert [which(live_tree(v)) for v in volumes] == [expected] * 3
    assert decide(towards, {v.index: observe(Fs(), roots, v) for v in volumes}).exchange == ()
