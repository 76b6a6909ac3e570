"""What a settled restore can't remove is told with its path and what to do, tried again, and never lost track of."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.faults.refusal_bench import Answer, Bench, assert_told, bench_on

from holdfast.testing.fake_records import Behaviour
from holdfast.testing.installation import deployed, installation, spec_of


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Nothing in it is immutable any more when the test is over."""
    yield tmp_path
    for path in tmp_path.rglob("stuck"):
        flag("-i", path)


@pytest.fixture
async def bench(directory: Path) -> AsyncIterator[Bench]:
    async with bench_on(installation(directory)) as bench:
        yield bench


def flag(change: str, path: Path) -> None:
    subprocess.run(["chattr", change, str(path)], check=True)


async def stuck(bench: Bench) -> Path:
    """A restore after which a file of the displaced tree can't be removed. Returns where it is by now."""
    (bench.volumes[0] / "stuck").write_text("immutable")
    flag("+i", bench.volumes[0] / "stuck")
    end = await bench.ended(await bench.ask())
    assert end["state"] == "succeeded", "what is left over never fails a restore"
    await bench.holdfast.reaper.idle()
    (path,) = bench.volumes[0].parent.glob(".holdfast-*/*/stuck")
    return path


async def leftovers(bench: Bench) -> dict[str, str]:
    """The doctor's finding."""
    findings = (await bench.client.get("/api/doctor")).json()["findings"]
    found: dict[str, str] = next(each for each in findings if each["check"] == "leftovers")
    return found


async def test_it_is_told_by_the_doctor_and_by_the_next_restore_which_tries_again(bench: Bench) -> None:
    assert (await leftovers(bench))["level"] == "ok"
    path = await stuck(bench)
    found = await leftovers(bench)
    assert found["level"] == "warning"
    assert str(path) in found["message"]
    assert "lsattr" in found["mend"]
    flag("-i", path)
    end = await bench.restored()
    assert any(str(path) in line["message"] for line in end["log"] if line["level"] == "warning")
    assert (await leftovers(bench))["level"] == "ok"


async def delete(bench: Bench, *, delete_data: bool) -> Answer:
    return await bench.ended(await bench.client.delete(f"/api/workloads/notes?delete_data={str(delete_data).lower()}"))


async def test_data_that_goes_takes_along_what_restores_left_of_it(bench: Bench) -> None:
    bench.runtime.add_image("picky:1", Behaviour(requires={"/data/newer": None}))
    await bench.ended(await bench.post("/api/workloads/notes/deploy", {"image": "picky:1"}))
    assert_told((await bench.ended(await bench.ask()))["error"], "restore_reverted")
    assert len(bench.place.leftovers()) == 3, "two trees are kept for looking at, with their journal"
    end = await delete(bench, delete_data=True)
    assert end["state"] == "succeeded", end["error"]
    assert not any(volume.exists() for volume in bench.volumes)
    await bench.settled()


async def test_data_stays_with_everything_else_while_something_that_a_restore_left_of_it_does(bench: Bench) -> None:
    path = await stuck(bench)
    before = bench.facts()
    end = await delete(bench, delete_data=True)
    assert_told(end["error"], "leftovers_in_the_way")
    assert str(path) in end["error"]["message"]
    assert bench.facts() == before
    flag("-i", path)
    end = await delete(bench, delete_data=True)
    assert end["state"] == "succeeded", end["error"]
    assert not any(volume.exists() for volume in bench.volumes)
    await bench.settled()


async def test_what_is_kept_for_looking_at_stays_with_data_that_stays(bench: Bench) -> None:
    """Made again under its name, the workload has its old id, and the tree can be released."""
    bench.runtime.add_image("picky:1", Behaviour(requires={"/data/newer": None}))
    await bench.ended(await bench.post("/api/workloads/notes/deploy", {"image": "picky:1"}))
    await bench.ended(await bench.ask())
    end = await delete(bench, delete_data=False)
    kept = [each["path"] for each in end["outcome"]["kept"]]
    assert sorted(kept) == sorted([*map(str, bench.volumes), *map(str, bench.place.directory.rglob("staged"))])
    await deployed(bench.holdfast, spec_of())
    released = await bench.ended(await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"}))
    assert len(released["outcome"]["released"]) == 1
    await bench.settled()
