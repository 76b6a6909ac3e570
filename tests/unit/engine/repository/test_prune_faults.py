"""A prune that dies, or is refused something, at whatever call to the file system."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from tests.unit.engine.repository.faulty_fs import Counting, Died, FaultyFs, broken, full
from tests.unit.engine.repository.repository_bench import RepositoryBench, data

from holdfast.domain.errors import HoldfastError
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.prune_plan import SMALL_PACKS, SmallPacks

SMALL = 20_000


class Scenario:
    """A repository with a pack that nothing needs, one that is mostly unused, and others that are needed, to be pruned.

    Args:
        needed: contents of further snapshots, each of which has a pack of its own that is needed.
        small: when its packs are put together.
        packs: how many an undisturbed prune leaves.
    """

    def __init__(
        self, base: Path, needed: Sequence[int] = (), *, small: SmallPacks = SMALL_PACKS, packs: int = 2
    ) -> None:
        self._small, self._packs = small, packs
        self.bench = RepositoryBench(base)
        gone = self.bench.take({name: data(seed, SMALL) for seed, name in enumerate("abcdefgh")})
        self.bench.take({"c": data(2, SMALL), "d": data(3, SMALL)})
        self.bench.delete(self.bench.take({"x": data(9, SMALL)}))
        self.bench.delete(gone)
        for seed in needed:
            self.bench.take({f"{seed}": data(seed, SMALL)})
        self._kept = base / "kept"
        self.bench.repository.close()
        shutil.copytree(self.bench.store_root, self._kept)

    def faulted(self, fs: FaultyFs) -> bool:
        """Prune everything from its beginning on this file system. Whether it came to the end."""
        self.bench.repository.close()
        shutil.rmtree(self.bench.store_root)
        shutil.copytree(self._kept, self.bench.store_root)
        ended = False
        with suppress(HoldfastError, Died):
            self.bench.reopen(fs)
            self.bench.prune(small=self._small)
            ended = True
        self.bench.reopen()
        return ended

    def check(self) -> None:
        """No snapshot has lost anything, and the next prune leaves what an undisturbed one leaves."""
        for snapshot_id in self.bench.described:
            assert self.bench.store.verify(snapshot_id, QuietJob()) == []
        self.bench.prune(small=self._small)
        assert len(self.bench.packs()) == self._packs
        left = [name.partition("/")[0] for name in self.bench.files()]
        assert left == ["manifests"] * len(self.bench.described) + ["packs"] * self._packs + ["repository.json"]
        for snapshot_id in self.bench.described:
            assert self.bench.store.verify(snapshot_id, QuietJob()) == []


@pytest.fixture
def scenario(tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(tmp_path)
    yield scenario
    scenario.bench.close()


def everywhere(scenario: Scenario, error: Callable[[], BaseException], counting: Counting = Counting.ALL) -> int:
    """Prune with a fault at every call in turn. Returns how many there were."""
    undisturbed = FaultyFs(counting=counting)
    assert scenario.faulted(undisturbed)
    for at in range(1, undisturbed.calls + 1):
        fs = FaultyFs(at, error(), counting=counting)
        scenario.faulted(fs)
        assert fs.what, at
        scenario.check()
    scenario.bench.check_all()
    return undisturbed.calls


def test_killed_before_any_change_it_makes_no_snapshot_loses_anything(scenario: Scenario) -> None:
    assert everywhere(scenario, Died, Counting.CHANGING) > 20


def test_on_a_disk_that_is_full_at_whatever_moment_no_snapshot_loses_anything(scenario: Scenario) -> None:
    assert everywhere(scenario, full, Counting.ALLOCATING) > 15


def test_on_a_disk_that_fails_at_whatever_call_no_snapshot_loses_anything(scenario: Scenario) -> None:
    assert everywhere(scenario, broken) > 100


@pytest.mark.parametrize(
    ("error", "counting", "at_least"),
    [(Died, Counting.CHANGING, 20), (full, Counting.ALLOCATING, 15)],
    ids=["killed", "full"],
)
def test_putting_small_packs_together_is_interrupted_anywhere_and_no_snapshot_loses_anything(
    tmp_path: Path, error: Callable[[], BaseException], counting: Counting, at_least: int
) -> None:
    scenario = Scenario(tmp_path, (20, 21), small=SmallPacks(bytes=1 << 20, count=1), packs=1)
    try:
        assert everywhere(scenario, error, counting) > at_least
    finally:
        scenario.bench.close()
