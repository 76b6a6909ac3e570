"""The law of the repository: whatever was captured is staged as it was, whatever happened before, between and after."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.snapshot_store import WORKLOAD, Bench, FailingFs, OpenStore
from tests.unit.engine.test_tree_law import Tree, lay_out, trees

from holdfast.domain.errors import HoldfastError
from holdfast.engine.entries import EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.tree_writer import TreeWriter, WritePolicy
from holdfast.engine.walk import WalkReport, walk
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import build_sample_tree, describe_tree

KEY = bytes(range(32))
FS = Fs()


class Died(BaseException):
    """The process is no more."""


class DyingFs(FailingFs):
    """From the ``fail_at``-th call on that changes anything, nothing is changed any more."""

    def __init__(self) -> None:
        super().__init__(fail_at=0, error=Died())

    def _call(self) -> None:
        self.calls += 1
        if self.fail_at and self.calls >= self.fail_at:
            raise self.error


AHEAD = 10_000_000_000


def open_store(fs: Fs, root: Path, roots: LiveRoots) -> RepositoryStore:
    """A store whose clock is ten seconds ahead, so that files that were made just now are old enough to be known."""
    repository = Repository.open_local(fs, root, KEY, owner=INSTALLATION, encrypt=False)
    return RepositoryStore(fs, repository, roots, KEY, lambda: time.time_ns() + AHEAD)


@contextmanager
def bench_at(base: Path, fs: Fs | None = None) -> Iterator[Bench]:
    bench = Bench(base, open_store, fs)
    assert isinstance(bench.store, RepositoryStore)
    try:
        yield bench
    finally:
        bench.store.close()
        bench.close()


def write(tree: Tree, path: Path) -> None:
    """Make the tree at ``path``, anew."""
    path.mkdir(mode=0o700)
    fd = FS.open_root(str(path))
    try:
        writer = TreeWriter(FS, fd, WritePolicy(links=True, privileged=True, limits=Limits()))
        for entry, data in tree:
            writer.add(entry, [data])
        writer.finish()
    finally:
        FS.close(fd)


def read(path: Path) -> Tree:
    """The tree at ``path``."""
    found: Tree = []
    fd = FS.open_root(str(path))
    try:
        for walked in walk(FS, fd, WalkReport()):
            data = b""
            if walked.entry.kind is EntryKind.FILE:
                with walked.open() as content:
                    data = b"".join(content)
            found.append((walked.entry, data))
    finally:
        FS.close(fd)
    return found


@given(st.lists(trees, min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_tree_comes_back_whatever_was_captured_besides(versions: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as base, bench_at(Path(base)) as bench:
        live = bench.base / "live" / "data"
        kept: list[tuple[str, Tree]] = []
        for number, version in enumerate(versions):
            expected = lay_out(version)
            if live.exists():
                live.rename(bench.base / f"before-{number}")
            write(expected, live)
            kept.append((bench.capture("data").id, expected))
            assert bench.store.verify(kept[-1][0], QuietJob()) == []
        for snapshot_id, expected in kept:
            paths, _ = bench.stage(snapshot_id, 0)
            assert read(paths[0]) == expected


steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "append", "remove", "rename", "touch back", "capture", "warm"]),
        st.integers(0, 7),
        st.binary(min_size=1, max_size=40),
    ),
    min_size=1,
    max_size=14,
)


def take_step(bench: Bench, root: Path, what: str, path: Path, data: bytes) -> None:
    """Change something in the live tree, or warm up."""
    if what == "warm":
        bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
    elif what == "write":
        path.write_bytes(data * 10)
    elif not path.exists():
        return
    elif what == "append":
        with path.open("ab") as file:
            file.write(data)
    elif what == "remove":
        path.unlink()
    elif what == "rename":
        path.rename(root / f"{path.name}-{data[:3].hex()}")
    elif what == "touch back":
        facts = path.stat()
        with path.open("r+b") as file:
            file.write(data[: facts.st_size])
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@given(steps)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_capture_holds_what_is_there_whatever_changed_since_the_last(steps: list[tuple[str, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as base, bench_at(Path(base)) as bench:
        live = bench.live("data")
        kept: list[tuple[str, object]] = []
        for what, number, data in [*steps, ("capture", 0, b"x")]:
            if what == "capture":
                kept.append((bench.capture("data").id, describe_tree(live)))
            else:
                take_step(bench, live, what, live / str(number), data)
        for snapshot_id, expected in kept:
            paths, _ = bench.stage(snapshot_id, 0)
            assert describe_tree(paths[0]) == expected


def changed(bench: Bench) -> tuple[int, int]:
    """Files and bytes that a pass has to read now."""
    found = bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
    return found.changed_files, found.changed_bytes


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    with bench_at(tmp_path) as bench:
        live = bench.live("data")
        for number in range(30):
            (live / f"{number:02}").write_bytes(bytes([number]) * 1000)
        bench.capture("data")
        assert changed(bench) == (0, 0)
        (live / "07").write_bytes(b"now with other content")
        (live / "08").unlink()
        (live / "new").write_bytes(b"new")
        assert changed(bench) == (2, 25)
        assert changed(bench) == (0, 0)


def test_after_the_clock_went_back_everything_is_read_again(tmp_path: Path) -> None:
    with bench_at(tmp_path) as bench:
        (bench.live("data") / "file").write_bytes(b"x" * 1000)
        bench.capture("data")
        repository = Repository.open_local(FS, bench.store_root, KEY, owner=INSTALLATION, encrypt=False)
        store = RepositoryStore(FS, repository, bench.roots, KEY, lambda: time.time_ns() - AHEAD)
        found = store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
        assert (found.changed_files, found.changed_bytes) == (1, 1000)
        store.close()


def test_what_is_lost_or_damaged_in_the_store_is_stored_again_by_the_next_capture(tmp_path: Path) -> None:
    with bench_at(tmp_path) as bench:
        live = bench.live("data")
        for number in range(5):
            (live / str(number)).write_bytes(os.urandom(50_000))
        first = bench.capture("data")
        pack = max((bench.store_root / "packs").iterdir(), key=lambda path: path.stat().st_size)
        content = pack.read_bytes()
        pack.write_bytes(content[:100_000] + bytes(16) + content[100_016:])
        assert bench.store.verify(first.id, QuietJob())
        second = bench.capture("data")
        assert bench.store.verify(second.id, QuietJob()) == []
        assert bench.store.verify(first.id, QuietJob()) == [], "the same chunks, stored again, heal it"
        for path in (bench.store_root / "packs").iterdir():
            path.unlink()
        third = bench.capture("data")
        paths, _ = bench.stage(third.id, 0)
        assert describe_tree(paths[0]) == describe_tree(live)


def test_a_capture_that_is_killed_at_any_call_harms_no_snapshot_and_the_next_one_works(tmp_path: Path) -> None:
    crashes = 0
    while True:
        crashes += 1
        base = tmp_path / str(crashes)
        base.mkdir()
        fs = DyingFs()
        with bench_at(base, fs) as bench:
            build_sample_tree(bench.live("data"))
            first, before = bench.capture("data"), describe_tree(bench.live("data"))
            (bench.live("data") / "more").write_bytes(os.urandom(200_000))
            fs.calls, fs.fail_at = 0, crashes
            try:
                bench.capture("data")
            except (Died, HoldfastError):
                died = True
            else:
                died = False
        with bench_at(base) as bench:
            assert not [path for path in bench.left() if ".holdfast-tmp-" in path.name] or bench.store.clean_orphans()
            assert bench.store.verify(first.id, QuietJob()) == []
            paths, _ = bench.stage(first.id, 0)
            assert describe_tree(paths[0]) == before
            assert {m.id for m in bench.store.manifests()} >= {first.id}
            after = bench.capture("data")
            paths, _ = bench.stage(after.id, 0)
            assert describe_tree(paths[0]) == describe_tree(bench.live("data"))
            for manifest in bench.store.manifests():
                assert bench.store.verify(manifest.id, QuietJob()) == []
        if not died:
            break
    assert crashes > 6


@pytest.mark.parametrize("encrypt", [False, True])
def test_no_flipped_byte_of_a_repository_stages_wrong_data(tmp_path: Path, encrypt: bool) -> None:
    """Each byte of each file in turn, but for the caches: found and told, or harmless."""
    live = tmp_path / "live" / "data"
    live.mkdir(parents=True)
    (live / "file").write_bytes(b"some content" * 3)
    (live / "link").symlink_to("file")
    expected = describe_tree(live)
    store_root = tmp_path / "data" / "repository"
    (tmp_path / "data").mkdir()

    def opened(fs: Fs, _root: Path, roots: LiveRoots) -> RepositoryStore:
        repository = Repository.open_local(fs, store_root, KEY, owner=INSTALLATION, encrypt=encrypt)
        return RepositoryStore(fs, repository, roots, KEY)

    with bench_at_store(tmp_path, opened) as bench:
        snapshot = bench.capture("data").id
    files = [p for p in sorted(store_root.rglob("*")) if p.is_file() and "cache" not in p.parts and p.name != "lock"]
    flips = told = 0
    for path in files:
        content = path.read_bytes()
        for at in range(0, len(content), STRIDE):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
            flips += 1
            try:
                with bench_at_store(tmp_path, opened) as bench:
                    found = bench.store.verify(snapshot, QuietJob())
                    paths, _ = bench.stage(snapshot, 0)
                    assert describe_tree(paths[0]) == expected
                    assert not found
            except HoldfastError:
                told += 1
        path.write_bytes(content)
    assert flips > 50
    assert told > flips // 3, "most of what is stored is needed"
    with bench_at_store(tmp_path, opened) as bench:
        assert bench.store.verify(snapshot, QuietJob()) == []


STRIDE = 1 if os.environ.get("HOLDFAST_TORTURE") else 23


@contextmanager
def bench_at_store(base: Path, opened: OpenStore) -> Iterator[Bench]:
    bench = Bench(base, opened)
    try:
        yield bench
    finally:
        bench.store.close()  # type: ignore[attr-defined] # it is a RepositoryStore
        bench.close()
