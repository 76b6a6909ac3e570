"""What was measured is told as it was measured, whether it pleases or not."""

from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks import page
from benchmarks.__main__ import PARTS
from benchmarks.comparison import Cache, Step

SECONDS = {"Holdfast": 3.0, "restic": 10.0, "cp -a": 1.0}


def results(*caches: Cache, days: int = 10) -> dict[str, Any]:
    usages = {
        cache.value: {
            step.value: {tool: [{"seconds": s, "cpu": s, "peak": 1 << 20}] for tool, s in SECONDS.items()}
            for step in Step
        }
        for cache in caches
    }
    stored = {"Holdfast": 50, "restic": 40, "cp -a": 500}
    tree = {
        "about": "A tree",
        "counts": "3 files",
        "changes": "1 file changed",
        "usages": usages,
        "stored": stored,
        "days": days,
        "stored_days": stored if days else {},
    }
    figures = {"tools": {"restic": "1.0 & <later>"}, "trees": {"small files": tree}}
    return {"peers": {"machine": {"kernel": "6"}, "figures": figures}}


START = {
    "seconds to ready": [1.5],
    "resident MiB at rest": [120.0],
    "resident MiB at rest, new data directory": [90.0],
}


def downtimes(seconds: dict[str, list[float]]) -> dict[str, Any]:
    figures = {
        name: {
            "holdfast": {"downtime": values},
            "by hand": {"downtime": []},
            "API while capturing": {"milliseconds": [1, 9]},
        }
        for name, values in seconds.items()
    }
    return {"machine": {"kernel": "6"}, "figures": figures}


def test_a_missed_target_stays_in_the_table() -> None:
    text = page.text(results(Cache.WARM))
    assert "| whole restore, flushed, warm | 0.8 × restic | 0.30, met |" in text
    assert "| whole restore, flushed, warm | 1.5 × cp -a | 3.00, **missed** |" in text
    assert "| stored by the first capture | 1.0 × restic | 1.25, **missed** |" in text


def test_what_was_not_measured_is_not_told() -> None:
    text = page.text(results(Cache.WARM, days=0))
    assert "| first capture, cold | 0.4 × restic | – |" in text
    assert "| stored after the days | 1.0 × restic | – |" in text


def test_a_run_that_was_broken_off_leaves_a_page_that_says_what_is_not_there() -> None:
    text = page.text({**results(Cache.WARM), "start": {"machine": {}, "figures": START}})
    assert "| seconds to ready | 2 s | 1.50, met |" in text
    assert "| resident MiB at rest | 110 MiB | 120, **missed** |" in text
    assert "| resident MiB at rest, new data directory | 110 MiB | 90, met |" in text
    assert "**Not measured: the downtime with 10 GB** (`make bench PARTS=large`)." in text
    assert "Not measured: the start" not in text
    assert "Not measured" in page.text({})
    assert page.pictured({}) is None


def test_downtimes_of_all_sizes_stand_in_one_table_beside_the_least() -> None:
    parts = {"downtime": downtimes({"10 MB": [0.5, 0.6], "1 GB": [0.7]}), "large": downtimes({"10 GB": [0.8]})}
    text = page.text(parts)
    assert "| restore, holdfast, seconds | 10 MB | 1 GB | 10 GB |" in text
    assert "| downtime, 1 GB, seconds | 0.75: a quarter more than any with 10 MB | 0.70, met |" in text
    assert "| downtime, 10 GB, seconds | 0.75: a quarter more than any with 10 MB | 0.80, **missed** |" in text
    assert "| API while capturing, p99, 10 GB | 50 ms | 9.00, met |" in text


def test_every_part_that_is_measured_has_a_name_on_the_page() -> None:
    assert {*page.PARTS, page.PLATFORM, page.WEB} == set(PARTS)


def test_what_a_run_has_no_figures_of_stays_on_the_page_as_it_is() -> None:
    assert page.regions({"format": 3}) == {}
    assert list(page.regions({"start": {"machine": {}, "figures": START}})) == [page.MEASURED]
    assert list(page.regions(platform_beside("0.20"))) == [page.PLATFORM]


def platform_beside(load: str) -> dict[str, Any]:
    return {page.PLATFORM: {"machine": {"load average": f"{load} 9 9 before, 9 9 9 after"}, "figures": {}}}


def test_what_was_measured_beside_other_work_says_so() -> None:
    assert "Other work" not in page.regions(platform_beside("0.20"))[page.PLATFORM]
    assert (
        "Other work ran on this machine when it began (load 5.64)"
        in page.regions(platform_beside("5.64"))[page.PLATFORM]
    )


def test_the_picture_is_well_formed_and_has_a_bar_for_each_tool_and_step() -> None:
    svg = page.pictured(results(Cache.WARM, Cache.COLD))
    assert svg is not None
    root = ElementTree.fromstring(svg)
    bars = [item for item in root.iter("{http://www.w3.org/2000/svg}rect") if item.get("class") in ("ours", "peer")]
    assert len(bars) == len(SECONDS) * (len(Step) + 1)


def test_the_page_keeps_what_people_wrote_around_the_figures(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = page.PAGE.read_text()
    monkeypatch.setattr(page, "DOCS", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    (tmp_path / "performance.md").write_text(original)

    page.put({page.MEASURED: "new figures"}, "<svg/>")

    written = (tmp_path / "performance.md").read_text()
    assert "new figures" in written
    assert written.partition("<!--")[0] == original.partition("<!--")[0]
    assert written.partition("<!-- /measured -->")[2] == original.partition("<!-- /measured -->")[2]
    assert (tmp_path / page.PICTURE).read_text() == "<svg/>"

    page.put({page.PLATFORM: "newer figures"}, None)

    written = (tmp_path / "performance.md").read_text()
    assert "new figures" in written
    assert "newer figures" in written
    assert written.rpartition("-->")[2] == original.rpartition("-->")[2]


def test_a_page_without_the_marks_is_left_as_it_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    (tmp_path / "performance.md").write_text("no marks")
    with pytest.raises(ValueError, match="where the figures go"):
        page.put({page.MEASURED: "new figures"}, None)
    assert (tmp_path / "performance.md").read_text() == "no marks"
