"""A restore that a dead server left undecided: everybody is told, and a person decides in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from holdfast.domain.restore_records import TrialRecord
from holdfast.engine.journal_codec import encode, parse
from holdfast.testing.images import build_image
from holdfast.testing.server_process import crashing_at, server
from tests.e2e.looks import in_every_look
from tests.e2e.network import Network
from tests.e2e.site import IMAGE, NAME, SCRIPT, WORKLOAD, Site, expect, site
from tests.integration.engine_bench import DockerPlace

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

LONG_AGO: Final = "2020-01-01T00:00:00.000000Z"


@pytest_asyncio.fixture(loop_scope="session")
async def interrupted(browser: Browser, browsing: Network, docker_host: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A server that found a restore whose trial was cut off, and whose time is over."""
    await build_image(docker_host, IMAGE, script=SCRIPT)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    try:
        with server(
            place.settings, tmp_path / "first.log", crashing_at(tmp_path / "points", "after journal TRIAL #1")
        ) as first:
            assert first.http.post("/api/workloads", json=WORKLOAD).is_success
            first.succeeded(first.start("POST", f"/api/workloads/{NAME}/deploy", json={}))
            entry = place.volumes / NAME / "data/entry.txt"
            entry.write_text("of the snapshot")
            taken = first.succeeded(first.start("POST", f"/api/workloads/{NAME}/snapshots", json={}))["snapshot_id"]
            entry.write_text("of right before")
            restore = f"/api/workloads/{NAME}/snapshots/{taken}/restore"
            first.start("POST", restore, json={}, headers={"X-Confirm-Restore": taken})
            first.died()
        _let_the_trial_be_over(place)
        async with site(place, browser, browsing) as running:
            yield running
    finally:
        await place.clean()


def _let_the_trial_be_over(place: DockerPlace) -> None:
    """Have the journal's last record say that the trial ended long ago."""
    (path,) = place.settings.journal_dir.glob("*.journal")
    content = path.read_bytes()
    records = parse(str(path), content).records
    last = records[-1]
    assert isinstance(last, TrialRecord)
    *before, _ = content.rstrip(b"\0").splitlines(keepends=True)
    path.write_bytes(b"".join(before) + encode(replace(last, deadline=LONG_AGO), seq=len(records), at=LONG_AGO))


async def test_a_restore_that_waits_is_told_everywhere_and_decided_with_what_each_choice_means(
    interrupted: Site,
) -> None:
    here, page = interrupted, interrupted.page
    await here.sign_in()
    entry = here.data / "entry.txt"
    await here.go("/")
    await expect(page.get_by_text("1 restore waits for a decision")).to_be_visible()
    await page.get_by_role("main").get_by_role("link", name=NAME, exact=True).first.click()
    waiting = page.get_by_role("region", name="A restore waits for a decision")
    await expect(waiting.get_by_role("button", name="Keep the restored data …")).to_be_visible()
    assert await in_every_look(page, "a restore that waits") == []
    assert entry.read_text() == "of the snapshot"
    await page.locator("select").first.select_option("ru")
    await page.get_by_text("Что произошло и что где лежит").click()
    why = page.locator("details").filter(has_text="Что произошло и что где лежит")
    await expect(why).to_contain_text("Проверка прервалась, и её время вышло. Оба каталога с данными сохранены.")
    await expect(why).to_contain_text("восстановленные данные")
    assert await why.locator("[lang=en]").all_inner_texts() == []
    await page.locator("select").first.select_option("en")

    # back to what was there before, by the workload's name
    await waiting.get_by_role("button", name="Return to the data from before …").click()
    button = page.get_by_role("dialog").get_by_role("button", name="Return to the data from before")
    await expect(button).to_be_disabled()
    await page.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await button.click()
    await expect(page.get_by_text("The restore was taken back.", exact=False).first).to_be_visible()
    assert entry.read_text() == "of right before"
    await page.keyboard.press("Escape")
    await expect(waiting).to_have_count(0)

    # what was restored is kept for looking at, until somebody removes it
    (kept,) = (await here.ask("GET", f"/api/workloads/{NAME}/restore-decision"))["kept_trees"]
    assert (Path(kept) / "entry.txt").read_text() == "of the snapshot"
    await expect(page.get_by_text(kept)).to_be_visible()
    await page.get_by_role("button", name="Remove it …").click()
    await page.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await page.get_by_role("button", name="Remove the data kept aside").click()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    await expect(page.get_by_text(kept)).to_have_count(0)
    assert here.said == []
