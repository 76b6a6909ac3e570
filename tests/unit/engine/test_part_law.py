"""The law of restores of chosen paths: these as in the snapshot, and everything else as it is live at the stop."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.unit.engine.part_bench import PartBench, blocked, expected

from holdfast.domain.errors import Refused
from holdfast.testing.trees import describe_tree, posix_acl

Step = tuple[str, bytes, bytes, int]

PATHS = [b"a", b"a/a", b"a/a/\xff", b"a/a/c", b"a/b", b"a.b", b"b", b"b/a", b"b/a/b", b"b/c", b"c", b"d"]
KINDS = ("file", "dense", "sparse", "directory", "symlink", "link", "remove", "move")
DRESS = ("mode", "owner", "attribute", "acl", "default acl", "same time", "fifo", "append")

steps = st.lists(
    st.tuples(st.sampled_from(KINDS + DRESS), st.sampled_from(PATHS), st.sampled_from(PATHS), st.integers(0, 3)),
    min_size=3,
    max_size=15,
)
FIRST: tuple[Step, ...] = (
    *(("directory", path, b"", 0) for path in (b"a", b"a/a", b"b", b"b/a")),
    *(("file", path, b"", 1) for path in (b"a/a/c", b"a/b", b"b/a/b", b"c")),
    ("link", b"b/c", b"a/b", 0),
    ("link", b"a.b", b"a/b", 0),
    ("sparse", b"c", b"", 2),
)
EPOCH_NS = 1_600_000_000_000_000_000


def act(root: Path, step: Step) -> None:
    """Do one thing to a tree, if it can be done as the tree is."""
    what, path, other, number = step
    at, there = os.path.join(os.fsencode(root), path), os.path.join(os.fsencode(root), other)
    with suppress(OSError):
        _ACTS[what](at, there, number)


def _file(at: bytes, _there: bytes, number: int) -> None:
    with open(at, "xb") as file:
        file.write(b"%d" % number * 3)


def _dense(at: bytes, _there: bytes, number: int) -> None:
    with open(at, "r+b") as file:
        file.truncate()
        file.write(bytes([number]) * 9000)


def _sparse(at: bytes, _there: bytes, number: int) -> None:
    with open(at, "r+b") as file:
        file.truncate()
        file.truncate(4096 * (2 + number))
        file.seek(4096)
        file.write(bytes([65 + number]) * 4096)


def _remove(at: bytes, _there: bytes, _number: int) -> None:
    (os.rmdir if stat.S_ISDIR(os.lstat(at).st_mode) else os.unlink)(at)


def _append(at: bytes, _there: bytes, number: int) -> None:
    with open(at, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"%d" % number)


def _attribute(at: bytes, _there: bytes, number: int) -> None:
    if number:
        os.setxattr(at, "user.colour", b"%d" % number, follow_symlinks=False)
    else:
        os.removexattr(at, "user.colour", follow_symlinks=False)


def _acl(at: bytes, _there: bytes, number: int) -> None:
    if number:
        os.setxattr(at, "system.posix_acl_access", posix_acl(user=1000 + number), follow_symlinks=False)
    else:
        os.removexattr(at, "system.posix_acl_access", follow_symlinks=False)


def _rewritten_without_a_trace_in_mtime(at: bytes, _there: bytes, number: int) -> None:
    with open(at, "r+b") as file:
        file.write(b"%d" % number)
    os.utime(at, ns=(EPOCH_NS, EPOCH_NS))


_ACTS = {
    "file": _file,
    "dense": _dense,
    "sparse": _sparse,
    "directory": lambda at, _there, _number: os.mkdir(at),
    "symlink": lambda at, there, _number: os.symlink(there, at),
    "link": lambda at, there, _number: os.link(there, at, follow_symlinks=False),
    "remove": _remove,
    "move": lambda at, there, _number: os.rename(there, at),
    "mode": lambda at, _there, number: os.chmod(at, 0o700 | number) if not os.path.islink(at) else None,
    "owner": lambda at, _there, number: os.chown(at, 1000 + number, 2000, follow_symlinks=False),
    "attribute": _attribute,
    "acl": _acl,
    "default acl": lambda at, _there, number: os.setxattr(
        at, "system.posix_acl_default", posix_acl(user=3000 + number)
    ),
    "same time": _rewritten_without_a_trace_in_mtime,
    "fifo": lambda at, _there, number: os.mkfifo(at, 0o600 | number),
    "append": _append,
}


def live_through(root: Path, history: Sequence[Step]) -> None:
    for step in history:
        act(root, step)


@given(
    before=steps,
    since=steps,
    while_staged=steps,
    at_last=steps,
    chosen=st.lists(st.sampled_from([*PATHS, b""]), min_size=1, max_size=3),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_chosen_paths_are_as_in_the_snapshot_and_all_else_as_it_is_at_the_stop(
    before: list[Step], since: list[Step], while_staged: list[Step], at_last: list[Step], chosen: list[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bench = PartBench(Path(directory))
        try:
            _restored(bench, before, since, while_staged, at_last, chosen)
        finally:
            bench.close()


def _restored(
    bench: PartBench,
    before: list[Step],
    since: list[Step],
    while_staged: list[Step],
    at_last: list[Step],
    chosen: list[bytes],
) -> None:
    live_through(bench.live, [*FIRST, *before])
    snapshot = bench.capture()
    taken = {path: facts for path, facts in describe_tree(bench.live).items() if facts[0] != "special"}
    chosen = [path for path in chosen if path in taken]
    if not chosen:
        event("nothing chosen")
        return
    live_through(bench.live, since)
    if refused(bench, chosen, lambda: bench.stage(snapshot, *chosen)):
        return
    live_through(bench.live, while_staged)
    if refused(bench, chosen, bench.catch_up):
        return
    live_through(bench.live, at_last)
    safety = bench.capture()
    if refused(bench, chosen, lambda: bench.catch_up(safety), at_last=True):
        return
    event("restored")
    now = describe_tree(bench.live)
    assert describe_tree(bench.staged) == expected(taken, now, chosen)


def refused(bench: PartBench, chosen: list[bytes], step: Callable[[], object], *, at_last: bool = False) -> bool:
    """Whether a step is refused, which it is where something blocks the way to a chosen path, and only there.

    Of FIFOs the stored trees know nothing: they are looked for at the last.
    """
    live = describe_tree(bench.live)
    if not at_last:
        live = {path: facts for path, facts in live.items() if facts[0] != "special"}
    if not blocked(live, chosen):
        step()
        return False
    event("blocked")
    with pytest.raises(Refused) as refusal:
        step()
    assert refusal.value.code == "path_parent_not_directory"
    return True
