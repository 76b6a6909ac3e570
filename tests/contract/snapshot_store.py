"""What every snapshot store has to do: the suite for adapters of ``holdfast.engine.snapshot_store``.

An adapter's test module subclasses ``SnapshotStoreContract`` and provides the fixture ``open_store``: a function that
opens the store in a directory, on a file system that the suite may hand in to make it fail. Needs real files, and root.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.domain import times
from holdfast.domain.errors import Cancelled, Conflict, Damaged, Failed, HoldfastError, NoSpace, NotFound, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Progress
from holdfast.domain.restore import Identity, RootRef
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.stopping import UncleanEnd, UncleanStop
from holdfast.domain.workload import Scope
from holdfast.engine.entries import EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.remove_tree import remove_tree
from holdfast.engine.snapshot_store import CaptureSource, SnapshotStore
from holdfast.engine.tree_writer import TreeWriter, WritePolicy, Written
from holdfast.engine.walk import WalkReport, walk
from holdfast.testing.trees import build_sample_tree, describe_tree

OpenStore = Callable[[Fs, Path, LiveRoots], SnapshotStore]
"""Opens the store in a directory, whose parent exists."""

WORKLOAD = new_id()


class FailingFs(Fs):
    """Fails once, at the ``fail_at``-th call from now on that changes something or makes it durable; 0 never does."""

    def __init__(self, *, fail_at: int, error: BaseException) -> None:
        self.fail_at, self.error, self.calls = fail_at, error, 0

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error

    def openat(self, dirfd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
        if flags & os.O_CREAT:
            self._call()
        return super().openat(dirfd, name, flags, mode)

    def mkdirat(self, dirfd: int, name: bytes, mode: int = 0o700) -> None:
        self._call()
        super().mkdirat(dirfd, name, mode)

    def write_all(self, fd: int, data: bytes | memoryview) -> None:
        self._call()
        super().write_all(fd, data)

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        self._call()
        super().rename(from_dirfd, from_name, to_dirfd, to_name)

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        self._call()
        super().rename_noreplace(from_dirfd, from_name, to_dirfd, to_name)

    def fsync(self, fd: int) -> None:
        self._call()
        super().fsync(fd)


class CountingJob:
    """Counts what is reported, and cancels at the ``cancel_at``-th check."""

    def __init__(self, cancel_at: int = 0) -> None:
        self.cancel_at, self.checks = cancel_at, 0
        self.reports: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.reports.append(progress)

    def check(self) -> None:
        self.checks += 1
        if self.checks == self.cancel_at:
            raise Cancelled


class Bench:
    """A place with live volumes, a store, and room to stage."""

    def __init__(self, base: Path, open_store: OpenStore, fs: Fs | None = None) -> None:
        self.base, self.fs = base, fs or Fs()
        for name in ("live", "staged", "data"):
            (base / name).mkdir(exist_ok=True)
        self.roots = LiveRoots(self.fs, [str(base / "live")])
        self.store_root = base / "data" / "snapshots"
        try:
            self.store = open_store(self.fs, self.store_root, self.roots)
        except BaseException:
            self.close()
            raise

    def live(self, name: str) -> Path:
        path = self.base / "live" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def source(self, index: int, name: str, expected: Identity | None = None) -> CaptureSource:
        return CaptureSource(index=index, live=RootRef(root=str(self.base / "live"), relative=name), expected=expected)

    def draft(self, *names: str, **changes: Any) -> SnapshotManifest:
        manifest = SnapshotManifest(
            id=new_id(),
            workload_id=WORKLOAD,
            workload_name="notes",
            created_at=times.now(),
            reason=SnapshotReason.MANUAL,
            consistency=Consistency.STOPPED,
            volumes=tuple(
                CapturedVolume(index=index, target=f"/{name}", scope=Scope.STAGE, source=name)
                for index, name in enumerate(names)
            ),
            note="before the upgrade",
            actor="admin",
        )
        return replace(manifest, **changes)

    def capture(self, *names: str, job: Any = None, **changes: Any) -> SnapshotManifest:
        sources = [self.source(index, name) for index, name in enumerate(names)]
        return self.store.capture(self.draft(*names, **changes), sources, job or QuietJob())

    def stage(self, snapshot_id: str, *indices: int, job: Any = None) -> tuple[dict[int, Path], dict[int, Written]]:
        policy = WritePolicy(links=True, privileged=True, limits=Limits.for_own_snapshots())
        paths = {index: self.base / "staged" / f"{new_id()}-{index}" for index in indices}
        fds, writers = [], {}
        try:
            for index, path in paths.items():
                path.mkdir(0o700)
                fds.append(self.fs.open_root(str(path)))
                writers[index] = TreeWriter(self.fs, fds[-1], policy)
            self.store.stage(snapshot_id, writers, job or QuietJob())
            return paths, {index: writer.finish() for index, writer in writers.items()}
        finally:
            for writer in writers.values():
                writer.close()
            for fd in fds:
                os.close(fd)

    def stored(self) -> list[Path]:
        """All files of the store."""
        return sorted(path for path in self.store_root.rglob("*") if path.is_file())

    def left(self) -> list[Path]:
        """The files that stand for snapshots, or are left of one that came to nothing.

        Not a repository's own: what it is known by, its caches, and packs, which later captures use and prunes remove.
        """
        own = ("packs/", "cache/", "lock", "repository.json")
        files = [path for path in self.stored() if not str(path.relative_to(self.store_root)).startswith(own)]
        return files + [path for path in self.stored() if path.name.startswith(".")]

    def largest(self) -> Path:
        return max(self.stored(), key=lambda path: path.stat().st_size)

    def close(self) -> None:
        self.roots.close()


def flip_byte(path: Path, offset: int) -> None:
    """Change one byte of a file in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x41]))


class SnapshotStoreContract:
    """The suite. Subclass it and provide ``open_store``."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        raise NotImplementedError

    @pytest.fixture
    def bench(self, tmp_path: Path, open_store: OpenStore) -> Iterator[Bench]:
        bench = Bench(tmp_path, open_store)
        yield bench
        bench.close()

    # --- what is captured comes back -----------------------------------------------------------------------------

    def test_everything_that_a_tree_can_hold_comes_back_exactly(self, bench: Bench) -> None:
        build_sample_tree(bench.live("data"))
        manifest = bench.capture("data")
        paths, _ = bench.stage(manifest.id, 0)
        assert describe_tree(paths[0]) == describe_tree(bench.live("data"))

    def test_an_empty_volume_comes_back_empty(self, bench: Bench) -> None:
        os.chmod(bench.live("data"), 0o1750)
        manifest = bench.capture("data")
        paths, _ = bench.stage(manifest.id, 0)
        assert describe_tree(paths[0]) == describe_tree(bench.live("data"))

    def test_a_tree_deeper_than_any_path_can_name_comes_back(self, bench: Bench) -> None:
        at = os.open(bench.live("data"), os.O_RDONLY)
        for _ in range(300):
            os.mkdir(b"directory " * 10, dir_fd=at)
            below = os.open(b"directory " * 10, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        os.close(os.open(b"at the bottom", os.O_CREAT, dir_fd=at))
        os.close(at)
        manifest = bench.capture("data")
        assert manifest.volumes[0].directories == 300
        paths, _ = bench.stage(manifest.id, 0)
        trees = []
        for path in (bench.live("data"), paths[0]):
            at = bench.fs.open_root(str(path.parent))
            root = bench.fs.openat(at, path.name.encode(), os.O_RDONLY)
            trees.append([walked.entry for walked in walk(bench.fs, root, WalkReport())])
            os.close(root)
            remove_tree(bench.fs, at, path.name.encode(), QuietJob())  # by path nobody else could
            os.close(at)
        assert trees[0] == trees[1]
        assert len(trees[0][-1].path) > 30_000

    def test_files_of_awkward_sizes_come_back(self, bench: Bench) -> None:
        live = bench.live("data")
        for size in (0, 1, 511, 512, 513, 1023, 1024, 1 << 20, (1 << 20) + 1, 3_500_001):
            (live / str(size)).write_bytes(os.urandom(size))
        manifest = bench.capture("data")
        paths, _ = bench.stage(manifest.id, 0)
        assert describe_tree(paths[0]) == describe_tree(live)

    def test_each_volume_comes_back_as_its_own_tree(self, bench: Bench) -> None:
        for name in ("data", "uploads"):
            (bench.live(name) / "which").write_text(name)
        manifest = bench.capture("data", "uploads")
        paths, _ = bench.stage(manifest.id, 0, 1)
        assert [(paths[index] / "which").read_text() for index in (0, 1)] == ["data", "uploads"]

    def test_volumes_that_nobody_asked_for_are_passed_over(self, bench: Bench) -> None:
        for name in ("data", "uploads", "cache"):
            (bench.live(name) / "which").write_text(name)
        manifest = bench.capture("data", "uploads", "cache")
        paths, written = bench.stage(manifest.id, 1)
        assert (paths[1] / "which").read_text() == "uploads"
        assert written[1].files == 1

    def test_the_same_name_in_two_volumes_is_no_hardlink(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_text("one")
        os.link(bench.live("data") / "file", bench.live("uploads") / "file")
        manifest = bench.capture("data", "uploads")
        paths, _ = bench.stage(manifest.id, 0, 1)
        assert [(paths[index] / "file").stat().st_nlink for index in (0, 1)] == [1, 1]

    def test_deep_trees_and_long_names_come_back(self, bench: Bench) -> None:
        directory = os.open(bench.live("data"), os.O_RDONLY)
        for _ in range(40):
            os.mkdir("d" * 200, dir_fd=directory)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=directory)
            os.close(directory)
            directory = below
        os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
        os.close(directory)
        manifest = bench.capture("data")
        _, written = bench.stage(manifest.id, 0)
        assert (written[0].directories, written[0].files) == (40, 1)

    def test_entries_list_a_volume_with_parents_before_children(self, bench: Bench) -> None:
        build_sample_tree(bench.live("data"))
        (bench.live("uploads") / "which").write_text("uploads")
        manifest = bench.capture("data", "uploads")
        entries = list(bench.store.entries(manifest.id, 0, QuietJob()))
        assert {entry.path for entry in entries} == set(describe_tree(bench.live("data")))
        seen: set[bytes] = set()
        for entry in entries:
            assert not entry.path or entry.path.rpartition(b"/")[0] in seen
            seen.add(entry.path)
        assert [entry.path for entry in bench.store.entries(manifest.id, 1, QuietJob())] == [b"", b"which"]

    def test_entries_say_what_the_tree_says(self, bench: Bench) -> None:
        build_sample_tree(bench.live("data"))
        manifest = bench.capture("data")
        described = describe_tree(bench.live("data"))
        for entry in bench.store.entries(manifest.id, 0, QuietJob()):
            assert described[entry.path][1:5] == (entry.mode, entry.uid, entry.gid, entry.mtime_ns)
            if entry.kind is EntryKind.FILE:
                assert described[entry.path][6] == entry.size
                assert described[entry.path][8] == entry.extents

    # --- manifests -----------------------------------------------------------------------------------------------

    def test_the_manifest_reads_as_it_was_returned(self, bench: Bench) -> None:
        build_sample_tree(bench.live("data"))
        killed = UncleanStop(container="notes-1", end=UncleanEnd.KILLED, exit_code=137, grace_seconds=2.5)
        manifest = bench.capture(
            "data", image="notes:1", image_id="sha256:1", stopped_cleanly=False, unclean_stops=(killed,)
        )
        assert bench.store.manifest(manifest.id) == manifest
        assert list(bench.store.manifests()) == [manifest]

    def test_a_manifest_counts_what_was_captured(self, bench: Bench) -> None:
        live = bench.live("data")
        (live / "directory").mkdir()
        (live / "directory" / "file").write_bytes(b"x" * 5000)
        (live / "other").write_bytes(b"")
        (live / "link").symlink_to("other")
        os.link(live / "other", live / "second name")
        with (live / "sparse").open("wb") as file:
            file.truncate(1 << 30)
        manifest = bench.capture("data")
        volume = manifest.volumes[0]
        assert (volume.files, volume.directories, volume.links) == (3, 1, 2)
        assert volume.bytes == 5000 + (1 << 30)
        assert 5000 <= volume.disk_bytes < 100_000
        assert manifest.stored_bytes > 0
        assert manifest.own

    def test_a_changed_manifest_is_not_believed(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_text("x")
        manifest = bench.capture("data")
        changed = [path for path in bench.stored() if b"before the upgrade" in path.read_bytes()]
        for path in changed:
            path.write_bytes(path.read_bytes().replace(b"before the upgrade", b"before the UPGRADE"))
        if not changed:  # it is encrypted
            (path,) = bench.left()
            flip_byte(path, path.stat().st_size // 2)
        with pytest.raises(Damaged):
            bench.store.manifest(manifest.id)
        assert list(bench.store.manifests()) == []
        assert bench.store.verify(manifest.id, QuietJob())

    def test_an_unknown_snapshot_is_not_found(self, bench: Bench) -> None:
        for unknown in (new_id(), "", "../../etc/passwd", "x" * 10_000, "a/b", "\0"):
            for ask in (bench.store.manifest, bench.store.delete):
                with pytest.raises(NotFound) as caught:
                    ask(unknown)
                assert caught.value.code == "snapshot_unknown"
            with pytest.raises(NotFound):
                bench.store.stage(unknown, {}, QuietJob())

    def test_an_empty_store_has_no_snapshots(self, bench: Bench) -> None:
        assert list(bench.store.manifests()) == []
        assert bench.store.clean_orphans() == []

    def test_two_snapshots_never_share_an_id(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_text("first")
        manifest = bench.capture("data")
        (bench.live("data") / "file").write_text("second")
        with pytest.raises(Conflict) as caught:
            bench.capture("data", id=manifest.id)
        assert caught.value.code == "snapshot_exists"
        paths, _ = bench.stage(manifest.id, 0)
        assert (paths[0] / "file").read_text() == "first"

    # --- what a container may do ---------------------------------------------------------------------------------

    def test_nothing_is_read_through_a_symlink(self, bench: Bench, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("not for this volume")
        (bench.live("data") / "link").symlink_to(secret)
        (bench.live("data") / "directory").symlink_to(tmp_path)
        manifest = bench.capture("data")
        paths, _ = bench.stage(manifest.id, 0)
        assert os.readlink(paths[0] / "link") == str(secret)
        assert all(b"not for this volume" not in path.read_bytes() for path in bench.stored())
        assert manifest.volumes[0].bytes == 0

    def test_what_can_not_be_captured_is_named(self, bench: Bench) -> None:
        os.mkfifo(bench.live("data") / "a pipe")
        manifest = bench.capture("data")
        assert any("a pipe" in str(warning) for warning in manifest.warnings)
        assert bench.store.manifest(manifest.id).warnings == manifest.warnings

    def test_all_live_directories_that_are_not_as_expected_are_named_at_once(self, bench: Bench) -> None:
        bench.live("data")
        other = Identity(handle_type=1, handle="00")
        draft = bench.draft("data", "gone")
        with pytest.raises(Refused) as caught:
            bench.store.capture(draft, [bench.source(0, "data", other), bench.source(1, "gone")], QuietJob())
        assert {problem.code for problem in caught.value.problems} == {"volume_replaced", "volume_missing"}
        assert bench.left() == []

    def test_a_directory_that_is_the_expected_one_is_captured(self, bench: Bench) -> None:
        fd = os.open(bench.live("data"), os.O_RDONLY)
        identity = bench.fs.identity(fd)
        os.close(fd)
        bench.store.capture(bench.draft("data"), [bench.source(0, "data", identity)], QuietJob())

    def test_a_live_directory_that_is_a_symlink_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        (bench.base / "live" / "data").symlink_to(tmp_path)
        with pytest.raises(Refused):
            bench.capture("data")

    # --- failures ------------------------------------------------------------------------------------------------

    def test_a_cancelled_capture_leaves_nothing(self, bench: Bench) -> None:
        build_sample_tree(bench.live("data"))
        counted = CountingJob()
        bench.capture("data", job=counted)
        before = bench.left()
        for cancel_at in range(1, counted.checks + 1):
            with pytest.raises(Cancelled):
                bench.capture("data", job=CountingJob(cancel_at))
            assert bench.left() == before

    @pytest.mark.parametrize(
        ("failure", "expected"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, Failed)]
    )
    def test_whichever_call_fails_a_capture_leaves_nothing(
        self, tmp_path: Path, open_store: OpenStore, failure: int, expected: type[HoldfastError]
    ) -> None:
        fail_at = 0
        while True:
            fail_at += 1
            base = tmp_path / str(fail_at)
            base.mkdir()
            fs = FailingFs(fail_at=0, error=OSError(failure, os.strerror(failure)))
            bench = Bench(base, open_store, fs)
            fs.calls, fs.fail_at = 0, fail_at
            (bench.live("data") / "file").write_bytes(os.urandom(3000))
            try:
                manifest = bench.capture("data")
            except HoldfastError as error:
                assert type(error) is expected  # noqa: PT017 - the loop ends with the first capture that succeeds
                assert bench.left() == []
                assert list(bench.store.manifests()) == []
                bench.capture("data")
            else:
                assert bench.store.verify(manifest.id, QuietJob()) == []
                break
            finally:
                bench.close()
        assert fail_at > 5

    def test_staging_can_be_cancelled(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(3 << 20))
        manifest = bench.capture("data")
        with pytest.raises(Cancelled):
            bench.stage(manifest.id, 0, job=CountingJob(2))
        bench.stage(manifest.id, 0)

    def test_capture_and_staging_report_progress(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(3 << 20))
        job = CountingJob()
        manifest = bench.capture("data", job=job)
        assert max(report.done_bytes for report in job.reports) >= 3 << 20
        job = CountingJob()
        bench.stage(manifest.id, 0, job=job)
        assert job.reports[-1].done_bytes >= 3 << 20
        done = [report.done_bytes for report in job.reports]
        assert done == sorted(done)

    # --- damage --------------------------------------------------------------------------------------------------

    def test_a_whole_snapshot_verifies(self, bench: Bench) -> None:
        build_sample_tree(bench.live("data"))
        manifest = bench.capture("data")
        assert bench.store.check(manifest) == ()
        assert bench.store.verify(manifest.id, QuietJob()) == []

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.7, 0.999])
    def test_damage_anywhere_is_found_and_never_staged_or_does_no_harm(self, bench: Bench, share: float) -> None:
        for number in range(20):
            (bench.live("data") / str(number)).write_bytes(os.urandom(20_000))
        manifest = bench.capture("data")
        largest = bench.largest()
        flip_byte(largest, int(largest.stat().st_size * share))
        if not bench.store.verify(manifest.id, QuietJob()):
            assert share in (0.0, 0.999), "only headers and lists that are not needed may be damaged without harm"
            paths, _ = bench.stage(manifest.id, 0)
            assert describe_tree(paths[0]) == describe_tree(bench.live("data"))
            return
        with pytest.raises(Damaged) as caught:
            bench.stage(manifest.id, 0)
        assert caught.value.next_step

    def test_missing_and_shortened_data_is_found_without_reading(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(100_000))
        manifest = bench.capture("data")
        largest = bench.largest()
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
        for lost in (False, True):
            if lost:
                largest.unlink()
            assert [problem.code for problem in bench.store.check(manifest)] == ["snapshot_incomplete"]
            assert bench.store.verify(manifest.id, QuietJob())
            with pytest.raises(Damaged):
                bench.stage(manifest.id, 0)

    def test_damage_of_one_snapshot_does_not_touch_another(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(50_000))
        first = bench.capture("data")
        known = set(bench.stored())
        (bench.live("data") / "file").write_bytes(os.urandom(50_000))
        second = bench.capture("data")
        added = [path for path in bench.stored() if path not in known]
        flip_byte(max(added, key=lambda path: path.stat().st_size), 20_000)
        assert bench.store.verify(first.id, QuietJob()) == []
        assert bench.store.verify(second.id, QuietJob())

    # --- deleting, exporting, cleaning ---------------------------------------------------------------------------

    def test_a_deleted_snapshot_is_gone_and_the_others_are_not(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(50_000))
        first, second = bench.capture("data"), bench.capture("data")
        assert bench.store.delete(first.id) >= 0
        with pytest.raises(NotFound):
            bench.store.manifest(first.id)
        assert list(bench.store.manifests()) == [second]
        assert bench.store.verify(second.id, QuietJob()) == []
        bench.store.delete(second.id)
        assert bench.left() == []

    def test_an_export_opens_with_tar(self, bench: Bench, tmp_path: Path) -> None:
        build_sample_tree(bench.live("data"), privileged=False)
        (bench.live("uploads") / "which").write_text("uploads")
        manifest = bench.capture("data", "uploads")
        exported = tmp_path / "export.tar.zst"
        buffer = io.BytesIO()
        bench.store.export(manifest.id, buffer.write, QuietJob())
        exported.write_bytes(buffer.getvalue())
        opened = tmp_path / "opened"
        opened.mkdir()
        run_tar(exported, opened)
        assert sorted(path.name for path in opened.iterdir()) == ["0", "1", "manifest.json"]
        assert without_acls(describe_tree(opened / "0")) == without_acls(describe_tree(bench.live("data")))
        assert (opened / "1" / "which").read_text() == "uploads"

    def test_cleaning_leaves_whole_snapshots_and_foreign_files_alone(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(50_000))
        manifest = bench.capture("data")
        foreign = bench.store_root / "somebody's notes.txt"
        foreign.write_text("keep me")
        before = bench.stored()
        assert bench.store.clean_orphans() == []
        assert bench.stored() == before
        assert bench.store.verify(manifest.id, QuietJob()) == []

    def test_a_warm_pass_is_harmless(self, bench: Bench) -> None:
        (bench.live("data") / "file").write_bytes(os.urandom(50_000))
        before = describe_tree(bench.live("data"))
        warmed = bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
        assert warmed.changed_files >= 0
        assert describe_tree(bench.live("data")) == before
        assert list(bench.store.manifests()) == []


def run_tar(archive: Path, into: Path, *options: str) -> None:
    """Extract with the system's own tar, everything that it can."""
    everything = ("--numeric-owner", "--same-owner", "-p", "--xattrs", "--xattrs-include=user.*")
    subprocess.run(["tar", "--zstd", *everything, *options, "-xf", archive, "-C", into], check=True)


def without_acls(description: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """A description as GNU tar can keep it: of extended attributes, only the user's."""
    return {
        path: (*facts[:5], tuple(item for item in _attributes(facts) if item[0].startswith("user.")), *facts[6:])
        for path, facts in description.items()
    }


def _attributes(facts: Sequence[object]) -> Sequence[tuple[str, bytes]]:
    attributes = facts[5]
    assert isinstance(attributes, tuple)
    return attributes
