"""Copies into a second repository: only what is missing travels, whatever cuts them off, and nothing kept is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from tests.unit.engine.repository.faulty_blobs import FaultyBlobs, Killed, lost
from tests.unit.engine.repository.faulty_fs import Counting, Died, FaultyFs, broken, full
from tests.unit.engine.repository.repository_bench import RepositoryBench, Seam, data
from tests.unit.engine.repository.second_bench import KEYS, OTHER, SecondBench

from holdfast.domain.errors import Cancelled, Conflict, Damaged, HoldfastError, NotFound
from holdfast.domain.operation import Progress
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.condemned import read_condemned
from holdfast.engine.repository.copying import pack_bytes_for
from holdfast.engine.repository.object_blobs import ObjectBlobs
from holdfast.engine.repository.pace import TokenBucket
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.repository_file import take_over

MANY = {f"file-{number}": data(number, 200_000) for number in range(18)}
"""More than two frames, so that three packs are sent."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    bench = RepositoryBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def second(bench: RepositoryBench, tmp_path: Path) -> SecondBench:
    return SecondBench(bench, tmp_path)


def packs_sent(blobs: FaultyBlobs) -> int:
    return sum(size for name, size in blobs.sent.items() if name.startswith("packs/"))


def test_a_copy_restores_exactly_and_the_second_one_sends_only_what_is_new(
    bench: RepositoryBench, second: SecondBench
) -> None:
    first = bench.take(MANY)
    assert not second.copy(first).existed
    later = bench.take(MANY | {"file-0": data(100, 200_000)})
    line = FaultyBlobs(second.blobs)
    result = second.copy(later, line)
    assert 200_000 <= result.plain_bytes < 210_000
    assert packs_sent(line) == result.sent_bytes < 210_000
    second.check_all()


def test_copying_what_is_there_sends_nothing(bench: RepositoryBench, second: SecondBench) -> None:
    snapshot = bench.take(MANY)
    second.copy(snapshot)
    line = FaultyBlobs(second.blobs)
    result = second.copy(snapshot, line)
    assert (result.existed, result.sent_bytes, line.sent) == (True, 0, {})


def test_what_travels_is_sealed_though_the_primary_is_not(bench: RepositoryBench, second: SecondBench) -> None:
    text = b"a secret that stands in a file, again and again. " * 400
    second.copy(bench.take({"plain": text}))
    kept = [second.blobs.get(info.name, limit=1 << 24) for info in second.blobs.list_blobs("packs")]
    assert kept
    assert not any(b"a secret that stands" in blob or b"plain" in blob for blob in kept)


def test_a_copy_waits_for_no_lock_that_a_capture_holds_and_holds_up_none(
    bench: RepositoryBench, second: SecondBench, tmp_path: Path
) -> None:
    snapshot = bench.take(MANY)
    other = RepositoryBench(tmp_path)
    taken: list[str] = []
    job = Seam(lambda: taken.append(other.take(MANY | {"new": b"new"})))
    second.copy(snapshot, job=job)
    other.close()
    assert len(taken) == 1


def test_progress_tells_the_bytes_of_what_is_missing(bench: RepositoryBench, second: SecondBench) -> None:
    told: list[Progress] = []

    class Told(QuietJob):
        def progress(self, progress: Progress) -> None:
            told.append(progress)

    result = second.copy(bench.take(MANY), job=Told())
    assert told[-1].done_bytes == told[-1].total_bytes == result.plain_bytes
    assert "sent" in told[-1].note


def test_a_cancelled_copy_leaves_no_snapshot_and_its_packs_are_not_sent_again(
    bench: RepositoryBench, second: SecondBench
) -> None:
    snapshot = bench.take(MANY)

    line = FaultyBlobs(second.blobs)

    def cancel() -> None:
        assert line.stored.wait(30)  # the first pack is on its way by then
        raise Cancelled

    with pytest.raises(Cancelled):
        second.copy(snapshot, line, Seam(cancel, at=14))
    assert second.ids() == set()
    kept = packs_sent(line)
    assert kept > 0
    again = FaultyBlobs(second.blobs)
    second.copy(snapshot, again)
    assert not set(line.sent) & set(again.sent)
    assert packs_sent(again) < 18 * 200_000 + 20_000 - kept
    second.check_all()


@pytest.mark.parametrize(("error", "done"), [(lost(), False), (Killed(), True)], ids=["lost before", "killed after"])
def test_whatever_call_a_copy_breaks_at_the_next_one_goes_on_from_there(
    bench: RepositoryBench, tmp_path: Path, error: BaseException, *, done: bool
) -> None:
    snapshot = bench.take(MANY)
    for at in count(1):
        base = tmp_path / f"at-{at}"
        base.mkdir()
        second = SecondBench(bench, base)
        line = FaultyBlobs(second.blobs, at, error, done=done)
        try:
            second.copy(snapshot, line)
        except type(error):
            pass
        else:
            assert at > len(line.calls) > 6  # so many calls it has not, however the packs fill
            break
        there = {info.name for info in second.blobs.list_blobs("packs")}
        for kept in second.ids():  # the answer to the last call got lost
            second.described[kept] = bench.described[kept]
        second.check_all()
        again = FaultyBlobs(second.blobs)
        second.copy(snapshot, again)
        assert not there & set(again.sent)
        ids = [chunk_id for pack in there for chunk_id in chunks_of(second, pack)]
        sent = [chunk_id for pack in again.sent if pack.startswith("packs/") for chunk_id in chunks_of(second, pack)]
        assert not set(ids) & set(sent)
        second.check_all()


@pytest.mark.parametrize(
    ("error", "counting"),
    [(Died(), Counting.CHANGING), (full(), Counting.CHANGING), (broken(), Counting.ALL)],
    ids=["kill", "full", "broken"],
)
def test_whatever_a_disk_refuses_a_copy_the_next_one_goes_through(
    bench: RepositoryBench, tmp_path: Path, error: BaseException, counting: Counting
) -> None:
    snapshot = bench.take({"small": data(1, 20_000)})
    for at in count(1):
        base = tmp_path / f"at-{at}"
        base.mkdir()
        with PosixBlobs.made_at(Fs(), base / "second") as blobs:
            second = SecondBench(bench, base, blobs)
            fs = FaultyFs(at, error, counting=counting)
            ended = False
            with suppress(HoldfastError, Died), PosixBlobs(fs, base / "second") as broken_blobs:
                second.copy(snapshot, FaultyBlobs(broken_blobs))
                ended = True
            for kept in second.ids():
                second.described[kept] = bench.described[kept]
            second.check_all()
            blobs.clean_temporary()
            second.copy(snapshot)
            second.check_all()
            assert len(blobs.list_blobs("packs")) == 1
        if ended and fs.calls < at:
            assert at > 10
            break


def chunks_of(second: SecondBench, blob: str) -> set[bytes]:
    with second.opened() as repository:
        repository.sync_index()
        return repository.index.ids_of(blob.removeprefix("packs/"))


def test_a_damaged_chunk_here_ends_the_copy_and_makes_no_snapshot(bench: RepositoryBench, second: SecondBench) -> None:
    snapshot = bench.take(MANY)
    (pack,) = bench.packs()
    bench.damage(bench.store_root / "packs" / pack, 5_000)
    with pytest.raises(Damaged) as caught:
        second.copy(snapshot)
    assert caught.value.code == "snapshot_damaged"
    assert second.ids() == set()


def test_what_was_damaged_there_is_sent_again(bench: RepositoryBench, second: SecondBench) -> None:
    snapshot = bench.take(MANY)
    second.copy(snapshot)
    pack = max(second.blobs.list_blobs("packs"), key=lambda info: info.size)  # others hold small file lists only
    blob = bytearray(second.blobs.get(pack.name, limit=1 << 24))
    blob[3000] ^= 1
    second.blobs.put(pack.name, [bytes(blob)])
    with second.opened() as repository:
        assert second.store(repository).audit(QuietJob(), 1.0).touched
    assert second.copy(snapshot).sent_bytes > 0
    second.check_all()


def test_a_damaged_manifest_there_gives_way(bench: RepositoryBench, second: SecondBench) -> None:
    snapshot = bench.take(MANY)
    second.copy(snapshot)
    second.blobs.put(f"manifests/{snapshot}", [b"nonsense that is longer than a salt of thirty-two bytes"])
    assert not second.copy(snapshot).existed
    second.check_all()


def test_an_unknown_snapshot_is_told(bench: RepositoryBench, second: SecondBench) -> None:
    bench.described["01j00000000000000000000000"] = bench.described.get("", None)  # type: ignore[assignment]
    with pytest.raises(NotFound):
        second.copy("01j00000000000000000000000")


def test_prune_there_frees_what_no_snapshot_there_needs(bench: RepositoryBench, second: SecondBench) -> None:
    first = bench.take(MANY)
    second.copy(first)
    second.copy(bench.take({"other": data(99)}))
    second.delete(first)
    result = second.prune()
    assert result.deleted_packs > 0
    second.check_all()


# --- another machine takes it over --------------------------------------------------------------------------------


class TakenOver(FaultyBlobs):
    """Somebody takes the repository over right before the call that ``when`` says."""

    def __init__(self, inner: ObjectBlobs, what: str, prefix: str) -> None:
        super().__init__(inner)
        self._what, self._prefix, self._theirs = what, prefix, inner
        self.taken = False

    def _breaks(self, what: str, name: str) -> bool:
        if what == self._what and name.startswith(self._prefix) and not self.taken:
            self.taken = True
            take_over(self._theirs, KEYS, owner=OTHER)
        return super()._breaks(what, name)


def test_a_prune_deletes_nothing_that_another_machine_took_over_meanwhile(
    bench: RepositoryBench, second: SecondBench
) -> None:
    first = bench.take(MANY)
    second.copy(first)
    second.delete(first)
    before = second.blobs.list_blobs("packs")
    line = TakenOver(second.blobs, "put", "condemned/")  # type: ignore[arg-type]
    with pytest.raises(Conflict) as caught:
        second.prune(line)
    assert (caught.value.code, line.taken) == ("repository_of_another", True)
    assert second.blobs.list_blobs("packs") == before


def test_who_takes_over_in_the_middle_of_a_prune_does_not_rely_on_what_goes(
    bench: RepositoryBench, second: SecondBench
) -> None:
    """It looks in the instant between the last look at the owner and the deletion: the packs are condemned."""
    first = bench.take(MANY)
    second.copy(first)
    second.delete(first)
    missing: set[bytes] = set()

    class Looks(TakenOver):
        def _breaks(self, what: str, name: str) -> bool:
            taken = self.taken
            broken = super()._breaks(what, name)
            if self.taken and not taken:
                with second.opened(owner=OTHER) as theirs:
                    theirs.sync_index()
                    ids = {row.id for row in theirs.index.rows()}
                    missing.update(theirs.index.missing(ids))
                    assert missing == ids != set()
            return broken

    second.prune(Looks(second.blobs, "delete", "packs/"))  # type: ignore[arg-type]
    assert missing
    assert second.blobs.list_blobs("packs") == []


def test_whatever_a_prune_deletes_is_condemned_at_that_moment_in_every_round(second: SecondBench) -> None:
    """More packs than one round deletes: what the end of a round absolved is condemned anew before the next."""

    class Watched(FaultyBlobs):
        rounds = 0

        def _delete(self, names: Sequence[str]) -> None:
            if names[0].startswith("packs/"):
                self.rounds += 1
                assert {name.removeprefix("packs/") for name in names} <= read_condemned(second.blobs)
            super()._delete(names)

    with second.opened() as repository:
        for number in range(257):
            with repository.writer() as writer:
                writer.put(number.to_bytes(4, "big"))
                writer.finish()
    line = Watched(second.blobs)
    assert second.prune(line).deleted_packs == 257
    assert line.rounds == 2
    assert read_condemned(second.blobs) == set()


def test_a_copy_into_what_was_taken_over_meanwhile_is_no_success(bench: RepositoryBench, second: SecondBench) -> None:
    line = TakenOver(second.blobs, "create", "manifests/")  # type: ignore[arg-type]
    with pytest.raises(Conflict) as caught:
        second.copy(bench.take(MANY), line)
    assert caught.value.code == "repository_of_another"


def test_a_repository_of_another_is_not_opened(second: SecondBench) -> None:
    with pytest.raises(HoldfastError) as caught, second.opened(owner=OTHER):
        raise AssertionError
    assert caught.value.code == "repository_of_another"


# --- the bound ----------------------------------------------------------------------------------------------------


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_no_more_is_sent_than_the_rate_allows_but_for_one_blob() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1000, lambda: None, clock, clock.sleep)
    sent, begun = 0, clock.now
    for size in [500, 2000, 100, 3000, 50, 1000]:
        bucket(size)
        assert sent <= (clock.now - begun) * 1000 + 1e-6
        sent += size
    bucket(0)
    assert clock.now - begun == pytest.approx(sent / 1000)


def test_time_in_which_nothing_is_sent_is_not_saved_up() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1000, lambda: None, clock, clock.sleep)
    bucket(1000)
    clock.now += 3600
    bucket(1000)
    before = clock.now
    bucket(1)
    assert clock.now - before == pytest.approx(1.0)


def test_a_wait_for_the_line_can_be_cancelled() -> None:
    clock = FakeClock()

    def cancel() -> None:
        if clock.now > 1005:
            raise Cancelled

    bucket = TokenBucket(10, cancel, clock, clock.sleep)
    bucket(1000)
    with pytest.raises(Cancelled):
        bucket(1)
    assert clock.now < 1006


def test_every_attempt_at_a_request_is_counted() -> None:
    told: list[int] = []
    blobs = ObjectBlobs.in_memory()
    paced = ObjectBlobs(reading=blobs._reading, writing=blobs._writing, where="memory", pace=told.append)
    paced.put("packs/a", [b"123", b"45"])
    paced.create("packs/b", [b"123"])
    assert told == [5, 3]


def test_packs_are_smaller_where_the_line_is_narrow() -> None:
    assert pack_bytes_for(None) == pack_bytes_for(1 << 40) == 24 << 20
    assert pack_bytes_for(64 << 10) == 512 << 10
    assert pack_bytes_for(1 << 20) == 4 << 20
