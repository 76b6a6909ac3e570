"""Reading packs back: what is chosen, what is found, what it touches, and how it heals."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.snapshot_store import CountingJob
from tests.unit.engine.repository.repository_bench import RepositoryBench, data

from holdfast.domain.errors import Cancelled
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.audit import NAMED, AuditResult, audit
from holdfast.engine.repository.tree import Tree

ONE, TWO, THREE = (data(seed) for seed in range(1, 4))
SECOND = 1_000_000_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    bench = RepositoryBench(tmp_path)
    yield bench
    bench.close()


def audited(bench: RepositoryBench, share: float = 1.0, at: int = 1000, job: CountingJob | None = None) -> AuditResult:
    """Read packs back; the clock ticks once a pack from ``at`` seconds on."""
    clock = itertools.count(at * SECOND, SECOND)
    return audit(bench.repository, job or QuietJob(), share=share, now_ns=lambda: next(clock))


def pack_path(bench: RepositoryBench, snapshot_id: str, name: str) -> tuple[Path, int]:
    """Where the first chunk of a file that does not compress is stored: the pack, and a byte about its middle."""
    (stored,) = bench.repository.manifests.read(snapshot_id).trees
    with bench.repository.reader() as reader:
        entry = next(e for e in Tree(stored.chunks, reader.read_many).entries() if e.path == name.encode())
    place = bench.repository.index.locate(entry.ids[:1])[entry.ids[0]]
    return bench.store_root / "packs" / place.pack, place.frame_offset + 150 + place.start + place.length // 2


class TestWhatIsRead:
    def test_all_of_it_is_read_and_that_is_noted(self, bench: RepositoryBench) -> None:
        snapshots = [bench.take({"a": ONE}), bench.take({"b": TWO})]
        result = audited(bench)
        assert (result.packs, result.bytes) == (2, sum(bench.packs().values()))
        assert (result.packs_in_all, result.bytes_in_all) == (result.packs, result.bytes)
        assert result.since == "1970-01-01T00:16:40.000000Z"
        assert (result.damaged_packs, result.touched, result.problems) == (0, (), ())
        assert sorted(result.whole) == snapshots

    def test_a_share_takes_what_was_not_read_for_longest(self, bench: RepositoryBench) -> None:
        for number in range(4):
            bench.take({"a": data(number)})
        half = audited(bench, share=0.45)
        assert half.packs == 2
        assert half.since is None
        assert audited(bench, share=0.45, at=2000).since == "1970-01-01T00:16:40.000000Z"
        assert audited(bench, share=0.2, at=3000).since == "1970-01-01T00:16:41.000000Z"
        assert audited(bench, share=0.2, at=4000).since == "1970-01-01T00:33:20.000000Z"

    def test_the_smallest_share_is_one_pack_and_an_empty_repository_has_none(self, bench: RepositoryBench) -> None:
        assert audited(bench) == AuditResult(
            packs=0,
            bytes=0,
            packs_in_all=0,
            bytes_in_all=0,
            since=None,
            damaged_packs=0,
            touched=(),
            whole=(),
            problems=(),
        )
        bench.take({"a": ONE})
        bench.take({"a": TWO})
        assert audited(bench, share=0.0001).packs == 1

    def test_cancelled_it_has_noted_what_it_read(self, bench: RepositoryBench) -> None:
        for number in range(3):
            bench.take({"a": data(number)})
        with pytest.raises(Cancelled):
            audited(bench, job=CountingJob(cancel_at=2))
        assert sum(1 for pack in bench.repository.index.pack_facts().values() if pack.verified_ns) == 1

    def test_an_encrypted_repository_is_read_as_well(self, tmp_path: Path) -> None:
        bench = RepositoryBench(tmp_path, encrypt=True)
        snapshot = bench.take({"a": ONE})
        assert audited(bench).damaged_packs == 0
        bench.damage(*pack_path(bench, snapshot, "a"))
        assert [touched.id for touched in audited(bench).touched] == [snapshot]
        bench.close()


class TestDamage:
    def test_it_is_told_by_snapshot_and_file_and_stops_nothing(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE, "b": TWO})
        other = bench.take({"c": THREE})
        bench.damage(*pack_path(bench, first, "b"))
        result = audited(bench)
        assert result.damaged_packs == 1
        assert [(touched.id, touched.lacking) for touched in result.touched] == [(first, ("/data/b",))]
        assert result.whole == (other,)
        assert result.problems[0].code == "pack_damaged"
        assert bench.restored(other) == bench.described[other]

    def test_the_next_capture_that_meets_it_alive_heals_it(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE, "b": TWO})
        bench.damage(*pack_path(bench, first, "b"))
        audited(bench)
        second = bench.take()  # nothing live has changed, and nothing is newly read but for the damage
        assert bench.store.manifest(second).stored_bytes > len(TWO)
        result = audited(bench)
        assert (result.touched, sorted(result.whole)) == ((), sorted([first, second]))
        bench.check_all()

    def test_a_damaged_tree_is_told_and_heals(self, bench: RepositoryBench) -> None:
        first = bench.take({f"{number:03}": b"x" * number for number in range(40)})
        (stored,) = bench.repository.manifests.read(first).trees
        with bench.repository.reader() as reader:
            (part,) = Tree(stored.chunks, reader.read_many).parts
        place = bench.repository.index.locate([part.id])[part.id]
        bench.damage(bench.store_root / "packs" / place.pack, place.frame_offset + place.frame_length - 5)
        (touched,) = audited(bench).touched
        assert touched.id == first
        bench.take()
        assert audited(bench).touched == ()
        bench.check_all()

    def test_no_more_files_are_named_than_people_read(self, bench: RepositoryBench) -> None:
        bench.take({f"{number:03}": data(number, 300) for number in range(NAMED + 10)})
        (pack,) = bench.packs()
        bench.damage(bench.store_root / "packs" / pack, 60)
        (touched,) = audited(bench).touched
        assert len(touched.lacking) <= NAMED

    def test_a_pack_without_its_own_list_keeps_what_can_be_found_in_it_until_a_prune_writes_it_anew(
        self, bench: RepositoryBench
    ) -> None:
        bench.take({"a": ONE, "b": TWO})
        (pack,) = bench.packs()
        bench.damage(bench.store_root / "packs" / pack, bench.packs()[pack] - 60)
        result = audited(bench)
        assert (result.damaged_packs, result.touched) == (1, ())
        bench.check_all()
        assert bench.prune().rewritten_packs == 1
        assert pack not in bench.packs()
        assert audited(bench).problems == ()
        bench.check_all()

    def test_a_bad_sector_is_damage_like_any_other(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE})
        other = bench.take({"b": TWO})
        path, _ = pack_path(bench, first, "a")
        bench.reopen(BadSector(path))
        result = audited(bench)
        assert [touched.id for touched in result.touched] == [first]
        assert result.whole == (other,)
        assert bench.store.verify(first, QuietJob())

    def test_a_pack_that_is_gone_is_told(self, bench: RepositoryBench) -> None:
        first = bench.take({"a": ONE})
        path, _ = pack_path(bench, first, "a")
        second = bench.take({"a": ONE, "b": TWO})
        path.unlink()
        assert {touched.id for touched in audited(bench).touched} == {first, second}

    def test_an_unreadable_manifest_is_told(self, bench: RepositoryBench) -> None:
        first, other = bench.take({"a": ONE}), bench.take({"b": TWO})
        bench.damage(bench.store_root / "manifests" / first, 20)
        result = audited(bench)
        assert [touched.id for touched in result.touched] == [first]
        assert result.whole == (other,)

    def test_damage_that_no_snapshot_needs_touches_none(self, bench: RepositoryBench) -> None:
        gone = bench.take({"a": ONE})
        path = pack_path(bench, gone, "a")
        bench.take({"b": TWO})
        bench.delete(gone)
        bench.damage(*path)
        result = audited(bench)
        assert (result.damaged_packs, result.touched) == (1, ())
        assert bench.prune().deleted_packs == 1
        assert audited(bench).damaged_packs == 0

    def test_what_turns_out_to_be_whole_is_not_called_damaged_any_more(self, bench: RepositoryBench) -> None:
        snapshot = bench.take({"a": ONE})
        path, at = pack_path(bench, snapshot, "a")
        bench.damage(path, at)
        assert audited(bench).touched
        bench.damage(path, at)  # the other way: the cable was loose
        assert audited(bench).touched == ()


class BadSector(Fs):
    """A disk on which one file can be read at its ends only."""

    def __init__(self, path: Path) -> None:
        self._inode = path.stat().st_ino
        self._size = path.stat().st_size

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        inside = offset < self._size // 2 < offset + size
        if inside and self.fstat(fd).st_ino == self._inode:
            raise OSError(errno.EIO, "Input/output error")
        return super().pread(fd, size, offset)
