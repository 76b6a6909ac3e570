"""Whatever is done to a repository, in whatever order, and whatever dies meanwhile: kept snapshots restore exactly."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, precondition, rule
from tests.contract.snapshot_store import WORKLOAD
from tests.unit.engine.repository.faulty_blobs import FaultyBlobs, Killed
from tests.unit.engine.repository.faulty_fs import Died, FaultyFs
from tests.unit.engine.repository.repository_bench import RepositoryBench, Seam, data
from tests.unit.engine.repository.second_bench import SecondBench

from holdfast.engine.job import QuietJob
from holdfast.engine.repository.prune_plan import SMALL_PACKS, SmallPacks

FILES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 12), max_size=6)
"""Names, and which of a dozen contents each has."""


SMALL = st.sampled_from([SMALL_PACKS, SmallPacks(bytes=1 << 20, count=1)])
"""Small packs that are as many as they like to be, or are always put together."""


class RepositoryLaw(RuleBasedStateMachine):
    """Captures, deletions, prunes, verifications and copies elsewhere, some of which die in the middle."""

    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self._base = Path(tempfile.mkdtemp(prefix="holdfast-law-"))
        self.bench = RepositoryBench(self._base)
        self.bench.live("data")
        self.second = SecondBench(self.bench, self._base)

    def teardown(self) -> None:
        self.second.check_all()
        for snapshot_id in list(self.second.described):
            self.second.delete(snapshot_id)
        self.second.prune()
        assert [blob.name for folder in ("packs", "condemned") for blob in self.second.blobs.list_blobs(folder)] == []
        self.bench.check_all()
        for snapshot_id in list(self.bench.described):
            self.bench.delete(snapshot_id)
        for warm in (self.bench.store_root / "cache").glob("warm-*"):
            warm.unlink()
        self.bench.prune()
        assert self.bench.files() == ["repository.json"]
        self.bench.close()
        shutil.rmtree(self._base)

    @rule(files=FILES)
    def change(self, files: dict[str, int]) -> None:
        self.bench.write({name: data(seed, 3000) for name, seed in files.items()})

    @rule(target=snapshots)
    def capture(self) -> str:
        return self.bench.take()

    @rule()
    def warm(self) -> None:
        self.bench.store.warm(WORKLOAD, [self.bench.source(0, "data")], QuietJob())

    @rule(snapshot=consumes(snapshots))
    def delete(self, snapshot: str) -> None:
        self.bench.delete(snapshot)

    @rule(percent=st.sampled_from([1, 50, 100]), small=SMALL)
    def prune(self, percent: int, small: SmallPacks) -> None:
        self.bench.prune(unused_percent=percent, small=small)
        self._all_is_whole()

    @rule(target=snapshots, percent=st.sampled_from([1, 100]), small=SMALL)
    def capture_in_whose_middle_somebody_prunes(self, percent: int, small: SmallPacks) -> str:
        other = RepositoryBench(self._base)
        try:
            return self.bench.take(job=Seam(lambda: other.prune(unused_percent=percent, small=small)))
        finally:
            other.close()

    @rule(at=st.integers(1, 120), small=SMALL)
    def prune_that_dies(self, at: int, small: SmallPacks) -> None:
        with suppress(Died):
            self.bench.reopen(FaultyFs(at, Died()))
            self.bench.prune(unused_percent=1, small=small)
        self.bench.reopen()
        self._all_is_whole()

    @rule(at=st.integers(1, 60))
    def capture_that_dies(self, at: int) -> None:
        before = set(self.bench.described)
        with suppress(Died):
            self.bench.reopen(FaultyFs(at, Died()))
            self.bench.take()
        self.bench.reopen()
        for manifest in self.bench.store.manifests():
            if manifest.id not in self.bench.described:
                self.bench.store.delete(manifest.id)  # it died after it was through
        for snapshot_id in set(self.bench.described) - before:
            self.bench.delete(snapshot_id)
        self._all_is_whole()

    @rule(snapshot=snapshots)
    def copy(self, snapshot: str) -> None:
        self.second.copy(snapshot)

    @rule(snapshot=snapshots, at=st.integers(1, 9), done=st.booleans())
    def copy_that_dies(self, snapshot: str, at: int, done: bool) -> None:
        with suppress(Killed):
            self.second.copy(snapshot, FaultyBlobs(self.second.blobs, at, Killed(), done=done))
        if snapshot in self.second.ids():
            self.second.described[snapshot] = self.bench.described[snapshot]
        self.second.check_all()

    @precondition(lambda self: self.second.described)
    @rule()
    def delete_elsewhere(self) -> None:
        self.second.delete(min(self.second.described))

    @rule(percent=st.sampled_from([1, 100]))
    def prune_elsewhere(self, percent: int) -> None:
        self.second.prune(percent=percent)
        self.second.check_all()

    @rule(at=st.integers(1, 30), done=st.booleans())
    def prune_elsewhere_that_dies(self, at: int, done: bool) -> None:
        with suppress(Killed):
            self.second.prune(FaultyBlobs(self.second.blobs, at, Killed(), done=done), percent=1)
        self.second.check_all()

    @rule()
    def another_process_goes_on(self) -> None:
        self.bench.reopen()

    @rule()
    def the_index_is_lost(self) -> None:
        self.bench.repository.close()
        for path in (self.bench.store_root / "cache").glob("index.sqlite*"):
            path.unlink()
        self.bench.reopen()

    @precondition(lambda self: self.bench.described)
    @rule()
    def restore(self) -> None:
        newest = max(self.bench.described)
        assert self.bench.restored(newest) == self.bench.described[newest]

    def _all_is_whole(self) -> None:
        for snapshot_id in self.bench.described:
            assert self.bench.store.verify(snapshot_id, QuietJob()) == []


TestRepositoryLaw = RepositoryLaw.TestCase
TestRepositoryLaw.settings = settings(
    deadline=None, max_examples=15, stateful_step_count=20, suppress_health_check=list(HealthCheck)
)
