"""The proof by real power cuts: what a filesystem had written when the power failed is mounted again and recovered.

A restore of two volumes runs on a filesystem (ext4, XFS, btrfs) in an image file, the data directory on it as well. At
chosen calls, around flushes, exchanges and journal records, the image is copied as it is, without what the filesystem
still keeps in memory. Each copy is mounted, the engine comes back, a server is started, and everything that must hold
after a crash is checked (``crash_checks.py``), each snapshot read back, and the database checked.

With ``make test``: a handful of calls. With ``make torture``: every call, and a restore that is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.crash_bench import TORTURE
from tests.faults.power_cut_bench import PowerCutBench, PowerCutOnTrial
from tests.faults.power_cut_disk import MAKE, with_mounts_of_its_own

SLICE = frozenset(
    {
        "after journal STAGING #1",
        "before syncfs #1",
        "after journal STAGED #1",
        "before journal SAFE #1",
        "after journal SAFE #1",
        "before fsync of a .journal file #5",
        "after journal COMMIT #1",
        "after exchange data #1",
        "before exchange media #1",
        "after exchange media #1",
        "after journal SWAPPED #1",
        "after journal CONFIRMED #1",
        "before journal DONE #1",
    }
)
TRIES = 5
"""Power cuts at one point, of which one has to take what was not flushed."""
SCENARIOS = [PowerCutBench, *([PowerCutOnTrial] if TORTURE else [])]

# Who makes a mount namespace of its own copies all mounts of that moment, and then has mounted what others bind.
pytestmark = pytest.mark.xdist_group("mount namespaces")
patiently = pytest.mark.timeout(3600 if TORTURE else 300)
every_kind = pytest.mark.parametrize("kind", list(MAKE))


@patiently
@every_kind
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_after_a_power_cut_all_volumes_are_old_or_all_are_new(
    tmp_path: Path, kind: str, scenario: type[PowerCutBench], figure: Callable[[str, int], None]
) -> None:
    survived = tmp_path / "survived"

    def work() -> None:
        bench = scenario.on(kind, tmp_path)
        bench.run(lambda point: TORTURE or point in SLICE)
        cuts = len(bench.cuts)
        assert TORTURE or {cut.reached[-1] for cut in bench.cuts} == SLICE
        bench.recover_each()
        survived.write_text(str(cuts))

    with_mounts_of_its_own(work, tmp_path / "trouble")
    figure(f"power cuts on {kind}", int(survived.read_text()))


@patiently
@every_kind
@pytest.mark.parametrize(
    ("careless", "point", "found"),
    [
        ("syncfs", "after journal COMMIT #1", "where all volumes must be new"),
        ("fsync of a .journal file", "after journal SWAPPED #1", "exchanged before COMMIT was durable"),
    ],
    ids=["staged trees", "the journal"],
)
def test_a_flush_that_is_left_out_is_noticed_after_a_power_cut(
    tmp_path: Path, kind: str, careless: str, point: str, found: str
) -> None:
    def work(place: Path) -> None:
        bench = PowerCutBench.on(kind, place, careless=(careless,))
        bench.run(lambda reached: reached == point)
        bench.recover_each()

    def tried(number: int) -> str:
        place = tmp_path / f"{number}"
        place.mkdir()
        try:
            with_mounts_of_its_own(lambda: work(place), place / "trouble")
        except AssertionError as error:
            return str(error)
        return ""

    # The kernel writes when it likes, and at once where somebody on this machine asks for a sync: then nothing is lost.
    told = next(filter(None, map(tried, range(TRIES))), "no power cut took anything")
    assert found in told
