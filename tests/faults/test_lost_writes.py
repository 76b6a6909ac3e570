"""The proof by a model of lost writes: every state in which a power cut may leave the disk is recovered from.

What a server did is recorded call by call; after each call the power fails, and the disk is found in every state that
:mod:`holdfast.testing.lossy_disk` allows: data that was not flushed there, gone, torn or zeros, changes of names that
were not flushed missing, in any combination that directories permit. Of each such state the product's own recovery has
to make all old or all new volumes, as the last record that was written says, without a record or a snapshot lost.

With ``make torture`` (``HOLDFAST_TORTURE=1``) more states are looked at where there are more than fit here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.crash_bench import TORTURE
from tests.faults.crash_scenarios import AbortedLate, Captured, RunningWorkload, UnhealthyOnRestoredData
from tests.faults.lost_writes_bench import SEED, LossyBench, LostWriteError, recorded
from tests.unit.engine.repository.faulty_fs import Died
from tests.unit.engine.repository.repository_bench import RepositoryBench, data

from holdfast.bootstrap import Holdfast
from holdfast.engine.job import QuietJob
from holdfast.testing.installation import snapshotted, succeeded
from holdfast.testing.lossy_disk import Passed
from holdfast.testing.recording_fs import Careless, RecordingFs

Figure = Callable[[str, int], None]

LIMIT = 100 if TORTURE else 8
"""States that are looked at for each point."""


@dataclass(kw_only=True)
class Pruned(RunningWorkload):
    """A snapshot is deleted; of its packs, what another one needs is written anew, and the rest is deleted."""

    async def fill(self, holdfast: Holdfast) -> None:
        await super().fill(holdfast)
        (self.volumes[0] / "random").unlink()
        await snapshotted(holdfast, self.workload)

    async def act(self, holdfast: Holdfast) -> None:
        await holdfast.api.snapshots.delete(self.workload.id, self.snapshot_id, actor="test")
        prune = await succeeded(holdfast, await holdfast.api.care.prune(None, dry_run=False, actor="test"))
        assert prune.outcome["rewritten_packs"] == 1


patiently = pytest.mark.timeout(3600 if TORTURE else 300)


def count(figure: Figure, bench: LossyBench) -> None:
    figure("lost writes: points at which the power failed", bench.points)
    figure("lost writes: points of which every state was looked at", bench.points - bench.sampled)
    figure("lost writes: power cuts", bench.cuts)
    figure("lost writes: different states recovered", bench.states)


@patiently
@pytest.mark.parametrize("scenario", [RunningWorkload, UnhealthyOnRestoredData, AbortedLate, Captured, Pruned])
def test_whatever_a_power_cut_leaves_all_volumes_end_on_one_side_and_nothing_promised_is_lost(
    tmp_path: Path, scenario: type[RunningWorkload], figure: Figure
) -> None:
    bench = recorded(scenario.at(tmp_path), limit=LIMIT)
    bench.recoveries_cut = scenario not in (Captured, Pruned)
    bench.cut_everywhere()
    assert bench.cuts > bench.points > 25
    count(figure, bench)


def unflushed(call: str, part: str) -> Careless:
    return lambda done, path: done == call and part in path


@patiently
@pytest.mark.parametrize(
    ("scenario", "careless", "found"),
    [
        (RunningWorkload, unflushed("fsync", ".journal"), "records that had been written are not there"),
        (RunningWorkload, unflushed("syncfs", "/volumes"), "no wrapper directory"),
        (RunningWorkload, unflushed("fsync", "/volumes/"), "not where its journal"),
        (Captured, unflushed("fsync", "/packs/.holdfast-tmp-"), "missing from the repo"),
        (Pruned, unflushed("fsync", "/packs/.holdfast-tmp-"), "missing from the repo"),
        (Captured, unflushed("fsync", "/manifests/.holdfast-tmp-"), "can't be read"),
        (Captured, unflushed("fsync", "/manifests"), "snapshots that had been taken"),
        (Captured, unflushed("fsync", "/holds/.holdfast-tmp-"), "The hold file"),
    ],
    ids=[
        "the journal",
        "staged trees before COMMIT",
        "directories after the exchange",
        "packs before the manifest",
        "packs written anew before the others go",
        "a manifest before its rename",
        "the directory of manifests",
        "a hold file before its rename",
    ],
)
def test_a_flush_that_is_left_out_is_noticed(
    tmp_path: Path, scenario: type[RunningWorkload], careless: Careless, found: str
) -> None:
    bench = recorded(scenario.at(tmp_path), limit=2, careless=careless)
    with pytest.raises(LostWriteError, match=found):
        bench.cut_everywhere()


def test_a_pack_whose_writer_was_killed_is_durable_before_a_snapshot_relies_on_it(tmp_path: Path) -> None:
    killed: list[str] = []

    def kill(call: str, path: str) -> bool:
        if call == "fsync" and path.endswith("/packs") and not killed:
            killed.append(path)
            raise Died
        return False

    store = tmp_path / "data/snapshots"
    fs = RecordingFs([store], but=[store / "cache", store / "lock"], careless=kill)
    bench = RepositoryBench(tmp_path, fs)
    fs.begin()
    with pytest.raises(Died):
        bench.take({"file": data(1)})
    bench.reopen(fs)
    snapshot_id = bench.take()
    disk = fs.disk()
    for step in fs.steps:
        if not isinstance(step, Passed):
            disk.do(step)
    found = list(disk.states(100, random.Random(SEED)))
    for state in found:
        after = fs.with_roots(0, 1)
        after.put(state)
        bench.reopen(after)
        assert bench.store.verify(snapshot_id, QuietJob()) == []
    assert killed
    assert disk.exhaustive
    bench.close()
