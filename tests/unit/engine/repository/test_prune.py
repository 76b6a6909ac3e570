"""Prune: what goes and what stays, beside whatever else is at work."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.contract.snapshot_store import WORKLOAD, CountingJob
from tests.unit.engine.repository.repository_bench import RepositoryBench, Seam, age, data

from holdfast.domain.errors import Cancelled, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Progress
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.repository.locking import RepositoryLock
from holdfast.engine.repository.manifests import StoredSnapshot, VolumeTree
from holdfast.engine.repository.prune import PruneResult
from holdfast.engine.repository.prune_plan import SMALL_PACKS, SmallPacks
from holdfast.engine.repository.tree import Tree, TreeBuilder, TreeEntry
from holdfast.testing.trees import describe_tree

ONE, TWO, THREE, FOUR = (data(seed) for seed in range(1, 5))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    bench = RepositoryBench(tmp_path)
    yield bench
    bench.close()


class TestWhatGoes:
    def test_nothing_goes_while_snapshots_need_everything(self, bench: RepositoryBench) -> None:
        bench.take({"a": ONE})
        bench.take({"a": ONE, "b": TWO})
        before = bench.files()
        result = bench.prune()
        assert bench.files() == before
        assert (result.packs, result.bytes) == (2, sum(bench.packs().values()))
        assert (result.deleted_packs, result.rewritten_packs, result.freed_bytes) == (0, 0, 0)

    def test_packs_that_nothing_needs_go(self, bench: RepositoryBench) -> None:
        gone = bench.take({"a": ONE})
        alone = set(bench.packs())
        bench.take({"b": TWO})
        bench.delete(gone)
        before = bench.packs()
        result = bench.prune()
        assert set(bench.packs()) == set(before) - alone
        assert result.deleted_packs == 1
        assert result.freed_bytes == sum(before.values()) - sum(bench.packs().values())
        bench.check_all()

    def test_a_repository_whose_snapshots_are_all_deleted_ends_empty_and_works_on(self, bench: RepositoryBench) -> None:
        bench.delete(bench.take({"a": ONE}))
        bench.prune()
        assert bench.files() == ["repository.json"]
        bench.take({"a": ONE})
        bench.check_all()

    def test_many_small_packs_become_one_and_are_left_alone_from_then_on(self, bench: RepositoryBench) -> None:
        small = SmallPacks(bytes=1 << 20, count=4)
        for seed in range(4):
            bench.take({f"{seed}": data(seed)})
        assert bench.prune(small=small).rewritten_packs == 0
        bench.take({"large": data(9, 2 << 20)})
        large = max(bench.packs(), key=bench.packs().__getitem__)
        bench.take({"4": data(4)})
        assert bench.prune(small=small, dry_run=True).rewritten_packs == 5
        result = bench.prune(small=small)
        assert (result.rewritten_packs, result.deleted_packs, result.missing_chunks) == (5, 0, 0)
        assert large in bench.packs()
        assert len(bench.packs()) == 2
        bench.check_all()
        before = bench.files()
        assert bench.prune(small=small).rewritten_packs == 0
        assert bench.files() == before
        assert abs(result.freed_bytes) < 2000, "what was written is told"

    def test_by_default_a_few_dozen_small_packs_stay(self, bench: RepositoryBench) -> None:
        for seed in range(SMALL_PACKS.count):
            bench.take({f"{seed}": data(seed, 100)})
        assert bench.prune().rewritten_packs == 0
        bench.take({"one more": data(99, 100)})
        assert bench.prune().rewritten_packs == SMALL_PACKS.count + 1
        assert len(bench.packs()) == 1
        bench.check_all()

    def test_a_pack_that_is_mostly_unused_is_written_anew(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2), "d": data(3)})
        bench.delete(gone)
        before = bench.packs()
        result = bench.prune()
        assert result.rewritten_packs == 1
        assert result.deleted_packs == 0
        assert result.freed_bytes == sum(before.values()) - sum(bench.packs().values())
        assert result.freed_bytes > 5 * len(ONE)
        bench.check_all()

    def test_an_encrypted_repository_is_pruned_as_well(self, tmp_path: Path) -> None:
        bench = RepositoryBench(tmp_path, encrypt=True)
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2), "d": data(3)})
        bench.delete(gone)
        assert bench.prune().rewritten_packs == 1
        bench.check_all()
        bench.close()

    def test_what_is_written_anew_keeps_its_order(self, bench: RepositoryBench) -> None:
        files = {f"{number:02}": data(number, 2000) for number in range(40)}
        gone = bench.take(files)
        kept = bench.take(dict(list(files.items())[::4]))
        bench.delete(gone)
        bench.prune()
        stored = bench.repository.manifests.read(kept)
        with bench.repository.reader() as reader:
            entries = list(Tree(stored.trees[0].chunks, reader.read_many).entries())
        places = bench.repository.index.locate([entry.content for entry in entries if entry.content])
        order = [places[entry.content] for entry in entries if entry.content]
        assert order == sorted(order, key=lambda place: (place.frame_offset, place.start))

    @pytest.mark.parametrize(("percent", "rewritten"), [(20, 1), (90, 0)])
    def test_how_much_has_to_be_unused_is_the_callers_choice(
        self, bench: RepositoryBench, percent: int, rewritten: int
    ) -> None:
        gone = bench.take({"a": ONE, "b": TWO})
        bench.take({"b": TWO})
        bench.delete(gone)
        assert bench.prune(unused_percent=percent).rewritten_packs == rewritten
        bench.check_all()

    def test_pruned_again_there_is_nothing_left_to_do(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2)})
        bench.delete(gone)
        bench.prune()
        before = bench.files()
        again = bench.prune()
        assert (again.deleted_packs, again.rewritten_packs, again.freed_bytes) == (0, 0, 0)
        assert bench.files() == before

    def test_a_dry_run_tells_what_would_happen_and_changes_nothing(self, bench: RepositoryBench) -> None:
        gone = [bench.take({"a": ONE}), bench.take({name: data(seed) for seed, name in enumerate("efghijkl")})]
        bench.take({"e": data(0)})
        before = bench.files()
        told = bench.prune(dry_run=True, without=gone)
        assert bench.files() == before
        assert (told.deleted_packs, told.rewritten_packs) == (1, 1)
        for snapshot_id in gone:
            bench.delete(snapshot_id)
        done = bench.prune()
        assert (done.deleted_packs, done.rewritten_packs) == (1, 1)
        assert told.freed_bytes == pytest.approx(done.freed_bytes, rel=0.1)
        bench.check_all()

    def test_files_of_very_many_chunks_keep_all_of_them(self, bench: RepositoryBench) -> None:
        kept = by_hand(bench, [data(seed, 600) for seed in range(3)])
        bench.prune()
        assert bench.store.verify(kept, QuietJob()) == []

    def test_a_file_that_holds_the_bytes_of_a_tree_does_not_hide_what_the_tree_needs(
        self, bench: RepositoryBench
    ) -> None:
        kept = bench.take({"a": ONE})
        stored = bench.repository.manifests.read(kept)
        with bench.repository.reader() as reader:
            (part,) = Tree(stored.trees[0].chunks, reader.read_many).parts
            tree_index, tree_part = (bytes(reader.read(chunk)) for chunk in (stored.trees[0].chunks[0], part.id))
        # Captured first, so that a prune meets these bytes as a file's before it meets them as a tree's.
        earlier = bench.take({"index": tree_index, "part": tree_part}, id="00" + kept[2:])
        assert [manifest.id for manifest in bench.store.manifests()] == [earlier, kept]
        bench.prune()
        bench.check_all()

    def test_what_a_warm_pass_read_ahead_is_kept_for_the_capture_that_follows(self, bench: RepositoryBench) -> None:
        bench.write({"a": ONE})
        bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
        before = bench.packs()
        assert bench.prune().deleted_packs == 0
        snapshot = bench.take()
        assert bench.packs() == before
        first = bench.store.manifest(snapshot).stored_bytes
        assert first >= len(ONE), "the snapshot is told to have added what the warm pass before it stored"
        bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
        bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
        assert bench.store.manifest(bench.take()).stored_bytes < first, "and once only"

    def test_what_a_warm_pass_read_that_no_capture_followed_goes(self, bench: RepositoryBench) -> None:
        bench.write({"a": ONE})
        bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob())
        (warm,) = (bench.store_root / "cache").glob("warm-*.json")
        age(warm, 4000)
        assert bench.prune().deleted_packs == 1
        assert bench.packs() == {}
        bench.take()
        bench.check_all()


def by_hand(bench: RepositoryBench, chunks: list[bytes]) -> str:
    """A snapshot of one file whose chunks are named in a list chunk, as only those of huge files are."""
    repository = bench.repository
    content = b"".join(chunks)
    draft = bench.draft("data")
    with repository.writer() as writer:
        ids = [writer.wait(writer.put(chunk)) for chunk in chunks]
        listed = writer.wait(writer.put(b"".join(ids)))
        builder = TreeBuilder(writer.put, writer.wait)
        builder.add(TreeEntry(b"", 1, 0o755, 0, 0, 0))
        builder.add(TreeEntry(b"huge", 0, 0o644, 0, 0, 0, size=len(content)).with_content(listed, listed=True))
        tree = VolumeTree(index=0, chunks=builder.finish(), root=None, scan_started_ns=0)
        writer.finish()
    repository.manifests.write(StoredSnapshot(manifest=draft, trees=(tree,)))
    return draft.id


class TestBesideOthers:
    def test_while_somebody_is_at_work_it_gives_up_and_the_next_one_does_it(self, bench: RepositoryBench) -> None:
        bench.delete(bench.take({"a": ONE}))
        before = bench.packs()
        with bench.repository.lock.shared(QuietJob()):
            result = bench.prune()
        assert bench.packs() == before
        assert (result.deleted_packs, result.freed_bytes) == (0, 0)
        assert (result.postponed_packs, result.postponed_bytes) == (1, sum(before.values()))
        assert "at work" in str(result.postponed_why)
        assert bench.prune().deleted_packs == 1

    def test_a_capture_that_relies_on_what_is_being_pruned_gets_it(self, bench: RepositoryBench) -> None:
        # The snapshot that held the data is gone, the capture has met it alive, its own manifest is not written yet.
        bench.delete(bench.take({"a": ONE, "b": TWO}))
        found: list[PruneResult] = []
        middle = Seam(lambda: found.append(bench.prune()))
        snapshot = bench.take({"a": ONE, "b": TWO}, job=middle)
        assert found[0].postponed_packs == 1
        assert bench.restored(snapshot) == bench.described[snapshot]
        assert bench.store.manifest(snapshot).stored_bytes < len(ONE)
        assert bench.store.check(bench.store.manifest(snapshot)) == ()  # what is condemned is still there
        assert bench.prune().deleted_packs == 0
        bench.check_all()

    def test_what_a_capture_refers_to_that_began_and_ended_meanwhile_stays(self, bench: RepositoryBench) -> None:
        gone = bench.take({"a": ONE, "b": TWO})
        bench.delete(gone)
        met, go = threading.Event(), threading.Event()

        def wait() -> None:
            met.set()
            assert go.wait(PATIENCE)

        def capture() -> RepositoryBench:
            other = RepositoryBench(bench.base)  # as another process has it
            other.take({"a": ONE, "b": TWO}, job=Seam(wait))
            return other

        class Lock(RepositoryLock):
            @contextmanager
            def exclusive(self, job: Job, *, wait: float | None = None) -> Iterator[None]:
                go.set()
                capturing.result(PATIENCE)
                with super().exclusive(job, wait=wait):
                    yield

        with ThreadPoolExecutor(1) as pool:
            # It has met the data before anything is condemned; its manifest comes after the prune has read all others.
            capturing = pool.submit(capture)
            assert met.wait(PATIENCE)
            bench.repository.lock = Lock(bench.fs, bench.store_root)
            result = bench.prune()
            with closing(capturing.result()) as other:
                bench.described = other.described
        assert (result.deleted_packs, result.postponed_packs) == (0, 0)
        bench.check_all()

    def test_captures_that_begin_after_the_first_phase_rely_on_nothing_that_is_to_go(
        self, bench: RepositoryBench
    ) -> None:
        bench.delete(bench.take({"a": ONE}))
        (before,) = bench.packs()
        with bench.repository.lock.shared(QuietJob()):
            bench.prune()
        bench.reopen()
        bench.take({"a": ONE})
        assert bench.prune().deleted_packs == 1
        assert before not in bench.packs()
        bench.check_all()

    def test_a_restore_holds_on_to_what_it_reads_though_its_snapshot_is_deleted(self, bench: RepositoryBench) -> None:
        files = {f"{number}": data(number, 90_000) for number in range(3)}
        snapshot = bench.take(files)
        described = bench.described[snapshot]

        def pull_away() -> None:
            bench.delete(snapshot)
            assert bench.prune().postponed_packs == 1

        paths, _ = bench.stage(snapshot, 0, job=Seam(pull_away))
        assert describe_tree(paths[0]) == described
        assert bench.prune().deleted_packs == 1

    def test_nothing_is_taken_away_from_somebody_who_checks_a_snapshot(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        kept = bench.take({"c": data(2), "d": data(3)})
        bench.delete(gone)
        other = RepositoryBench(bench.base)
        results: list[PruneResult] = []

        class Reading(Fs):
            def pread(self, fd: int, size: int, offset: int) -> bytes:
                if not results and "/packs/" in self.path_of(fd):
                    results.append(other.prune())
                return super().pread(fd, size, offset)

        bench.repository.index.condemn(bench.packs())  # so that it has to look at the trees
        bench.reopen(Reading())
        assert bench.store.check(bench.store.manifest(kept)) == ()
        assert results[0].postponed_packs == 1
        other.close()

    def test_two_prunes_at_once_lose_nothing(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2), "d": data(3)})
        bench.delete(gone)
        bench.delete(bench.take({"x": THREE}))
        other = RepositoryBench(bench.base)

        class Lock(RepositoryLock):
            @contextmanager
            def exclusive(self, job: Job, *, wait: float | None = None) -> Iterator[None]:
                other.prune()
                with super().exclusive(job, wait=wait):
                    yield

        bench.repository.lock = Lock(bench.fs, bench.store_root)
        bench.prune()
        other.close()
        bench.check_all()
        bench.reopen()
        bench.prune()
        assert len(bench.packs()) == 2

    def test_a_snapshot_deleted_while_it_is_looked_at_is_no_problem(self, bench: RepositoryBench) -> None:
        bench.take({"a": ONE})
        gone = bench.take({"b": TWO})
        result = bench.prune(job=ProgressSeam(lambda: bench.delete(gone)))
        assert result.deleted_packs == 0
        assert bench.prune().deleted_packs == 1
        bench.check_all()


class TestWhatIsUnclear:
    def test_a_snapshot_whose_tree_can_not_be_read_keeps_everything(self, bench: RepositoryBench) -> None:
        damaged, gone = bench.take({"a": ONE}), bench.take({"b": TWO})
        bench.delete(gone)
        lose_tree(bench, damaged)
        before = bench.files()
        with pytest.raises(Refused) as refusal:
            bench.prune()
        assert refusal.value.code == "prune_snapshot_unreadable"
        assert damaged in refusal.value.message
        assert bench.files() == before
        bench.delete(damaged)
        assert bench.prune().deleted_packs == 2

    def test_every_unreadable_snapshot_is_named(self, bench: RepositoryBench) -> None:
        one, two = bench.take({"a": ONE}), bench.take({"b": TWO})
        lose_tree(bench, one)
        bench.damage(bench.store_root / "manifests" / two, 20)
        with pytest.raises(Refused) as refusal:
            bench.prune()
        assert [problem.details["snapshot"] for problem in refusal.value.problems] == [two, one]

    def test_a_snapshot_that_becomes_unreadable_meanwhile_keeps_everything(self, bench: RepositoryBench) -> None:
        bench.delete(bench.take({"a": ONE}))
        before = bench.packs()

        class Lock(RepositoryLock):
            @contextmanager
            def exclusive(self, job: Job, *, wait: float | None = None) -> Iterator[None]:
                (bench.store_root / "manifests" / new_id()).write_bytes(b"{}")
                with super().exclusive(job, wait=wait):
                    yield

        bench.repository.lock = Lock(bench.fs, bench.store_root)
        with pytest.raises(Refused):
            bench.prune()
        assert bench.packs() == before
        assert not (bench.store_root / "condemned").exists() or not any((bench.store_root / "condemned").iterdir())

    def test_a_pack_with_a_damaged_chunk_that_is_needed_stays(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        kept = bench.take({"c": data(2)})
        bench.delete(gone)
        (chunk,) = ids_of(bench, kept, "c")
        place = bench.repository.index.locate([chunk])[chunk]
        bench.repository.index.mark_damaged(chunk, place.pack)
        result = bench.prune()
        assert (result.damaged_chunks, result.rewritten_packs) == (1, 0)
        bench.check_all()  # it was not damaged after all

    def test_a_pack_found_damaged_while_it_is_written_anew_stays(self, bench: RepositoryBench) -> None:
        files = {name: data(seed, 1_100_000) for seed, name in enumerate("abcdef")}  # a frame each, at least
        gone = bench.take(files)
        kept = bench.take({"b": files["b"], "d": files["d"]})
        bench.delete(gone)
        chunks = ids_of(bench, kept, "d")
        where = bench.repository.index.locate(chunks)[chunks[0]]
        path = bench.store_root / "packs" / where.pack
        whole = path.read_bytes()
        bench.damage(path, where.frame_offset + where.frame_length // 2)
        result = bench.prune()
        assert (result.rewritten_packs, result.postponed_packs) == (0, 0)
        assert path.exists()
        bench.repository.sync_index()
        assert bench.repository.index.missing(chunks)  # so that it is stored again where it is met
        path.write_bytes(whole)  # the disk is mended
        bench.check_all()

    def test_a_good_copy_elsewhere_lets_the_damaged_one_go(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE})
        (chunk,) = ids_of(bench, first, "a")
        (pack,) = bench.packs()
        bench.damage(bench.store_root / "packs" / pack, 1000)
        assert bench.store.verify(first, QuietJob())
        (bench.live("data") / "a").touch()
        bench.take()
        assert bench.store.verify(first, QuietJob()) == []
        bench.prune()
        assert chunk not in bench.repository.index.missing([chunk])
        bench.check_all()

    def test_a_copy_that_turns_out_to_be_damaged_meanwhile_spares_the_other(self, bench: RepositoryBench) -> None:
        index = bench.repository.index
        first = bench.take({"a": ONE})
        (chunk,) = ids_of(bench, first, "a")
        (old,) = bench.packs()
        index.mark_damaged(chunk, old)
        (bench.live("data") / "a").touch()
        bench.take()
        (new,) = set(bench.packs()) - {old}
        index.note_verified(old, 1, ())  # it was a false alarm: the chunk lies in two packs now
        bench.delete(first)

        class Lock(RepositoryLock):
            @contextmanager
            def exclusive(self, job: Job, *, wait: float | None = None) -> Iterator[None]:
                index.mark_damaged(chunk, new)
                with super().exclusive(job, wait=wait):
                    yield

        bench.repository.lock = Lock(bench.fs, bench.store_root)
        assert bench.prune().deleted_packs == 0
        bench.damage(bench.store_root / "packs" / new, 1000)
        bench.check_all()

    def test_missing_chunks_are_counted_and_stop_nothing(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE})
        (pack,) = bench.packs()
        second = bench.take({"a": ONE, "b": TWO})
        bench.delete(bench.take({"c": THREE}))
        (bench.store_root / "packs" / pack).unlink()
        bench.delete(first)
        result = bench.prune()
        assert (result.missing_chunks, result.deleted_packs) == (1, 1)
        assert "a" in str(bench.store.check(bench.store.manifest(second)))

    def test_a_pack_of_which_nothing_can_be_read_goes_unless_something_is_missing(self, bench: RepositoryBench) -> None:
        snapshot = bench.take({"a": ONE})
        (pack,) = bench.packs()
        dead = bench.store_root / "packs" / ("ab" * 32)
        dead.write_bytes(b"no pack at all, and rather short of what one needs to begin with")
        (bench.store_root / "packs" / pack).rename(bench.base / "aside")
        bench.reopen()
        with pytest.raises(Refused):  # the tree was in there
            bench.prune()
        assert dead.exists()
        (bench.base / "aside").rename(bench.store_root / "packs" / pack)
        result = bench.prune()
        assert not dead.exists()
        assert len(result.problems) == 1
        assert bench.restored(snapshot) == bench.described[snapshot]

    def test_a_pack_of_which_nothing_can_be_read_stays_while_data_is_missing(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE})
        (pack,) = bench.packs()
        bench.take({"a": ONE, "b": TWO})
        bench.delete(first)
        lost = bench.store_root / "packs" / pack
        lost.write_bytes(bytes(100))
        result = bench.prune()
        assert lost.exists()
        assert result.missing_chunks == 1

    def test_a_pack_of_a_newer_format_stays(self, bench: RepositoryBench) -> None:
        bench.take({"a": ONE})
        newer = bench.store_root / "packs" / ("ab" * 32)
        newer.write_bytes(b"HOLDPACK\x02" + bytes(100))
        result = bench.prune()
        assert newer.exists()
        assert "version 2" in str(result.problems[0])


class TestOrphans:
    def test_what_interrupted_writes_left_is_removed_and_nothing_else(self, bench: RepositoryBench) -> None:
        bench.take({"a": ONE})
        left = [bench.store_root / folder / ".holdfast-tmp-0123456789abcdef" for folder in ("packs", "manifests", ".")]
        others = [
            bench.store_root / "packs" / "README",
            bench.store_root / "packs" / "ABCDEF",
            bench.store_root / "packs" / ("0" * 63),
            bench.store_root / "manifests" / "notes.txt",
            bench.store_root / "somebody's own",
        ]
        for path in (*left, *others):
            path.write_bytes(b"x")
        result = bench.prune()
        assert len(result.temporary) == len(left)
        assert [path.exists() for path in left] == [False] * len(left)
        assert [path.exists() for path in others] == [True] * len(others)

    def test_nothing_is_removed_while_others_write(self, bench: RepositoryBench) -> None:
        temporary = bench.store_root / "packs" / ".holdfast-tmp-0123456789abcdef"
        bench.take({"a": ONE})
        temporary.write_bytes(b"x")
        with bench.repository.lock.shared(QuietJob()):
            bench.prune()
        assert temporary.exists()

    def test_what_a_capture_left_that_was_cancelled_goes(self, bench: RepositoryBench) -> None:
        bench.take({"a": ONE})
        before = bench.packs()
        with pytest.raises(Cancelled):
            bench.take({"b": TWO}, job=CountingJob(cancel_at=1))
        assert len(bench.packs()) == 2
        bench.prune()
        assert bench.packs() == before


class TestCancelAndSpace:
    def test_cancelled_anywhere_no_snapshot_loses_anything(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2), "d": data(3)})
        bench.delete(bench.take({"x": THREE}))
        bench.delete(gone)
        at = 0
        while True:
            at += 1
            job = CountingJob(cancel_at=at)
            try:
                bench.prune(job=job)
            except Cancelled:
                bench.check_all()
                assert not any((bench.store_root / "condemned").glob("*"))
                continue
            break
        assert at > 2
        assert len(bench.packs()) == 2
        bench.check_all()

    def test_a_cancel_after_something_was_deleted_says_so(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2), "d": data(3)})
        bench.delete(bench.take({"x": THREE}))
        bench.delete(gone)
        checks = CountingJob()
        bench.prune(job=checks, dry_run=True)
        with pytest.raises(Cancelled) as cancelled:
            bench.prune(job=CountingJob(cancel_at=checks.checks + 1))
        assert "deleted" in cancelled.value.message

    def test_on_a_full_disk_what_nothing_needs_goes_and_the_rest_waits(self, bench: RepositoryBench) -> None:
        gone = bench.take({name: data(seed) for seed, name in enumerate("abcdefgh")})
        bench.take({"c": data(2), "d": data(3)})
        bench.delete(bench.take({"x": THREE}))
        bench.delete(gone)
        bench.reopen(FullFs())
        result = bench.prune()
        assert (result.deleted_packs, result.rewritten_packs, result.postponed_packs) == (1, 0, 1)
        assert "full" in str(result.postponed_why)
        bench.reopen()
        assert bench.prune().rewritten_packs == 1
        bench.check_all()


PATIENCE = 30.0


class FullFs(Fs):
    """A file system without room for anything new."""

    def write_all(self, fd: int, data: bytes | memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class ProgressSeam(QuietJob):
    """Runs ``then`` at the first report."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then: Callable[[], object] | None = then

    def progress(self, progress: Progress) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()


def ids_of(bench: RepositoryBench, snapshot_id: str, name: str) -> list[bytes]:
    """The chunks of a file of a snapshot."""
    (stored,) = bench.repository.manifests.read(snapshot_id).trees
    with bench.repository.reader() as reader:
        return next(e.ids for e in Tree(stored.chunks, reader.read_many).entries() if e.path == name.encode())


def lose_tree(bench: RepositoryBench, snapshot_id: str) -> None:
    """Damage the index of a snapshot's tree, where it is stored."""
    (stored,) = bench.repository.manifests.read(snapshot_id).trees
    place = bench.repository.index.locate(stored.chunks)[stored.chunks[0]]
    bench.damage(bench.store_root / "packs" / place.pack, place.frame_offset + place.frame_length - 5)
