"""What is done with snapshots in a browser beside restoring them: they are proved, and brought elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import FilePayload

from tests.e2e.looks import in_every_look
from tests.e2e.site import WORKLOAD, Site, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

SHOP: Final = "shop"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(holdfast: Site) -> Site:
    """A workload that runs, with a snapshot of its data."""
    await holdfast.sign_in()
    await holdfast.ask("POST", "/api/workloads", {**WORKLOAD, "name": SHOP})
    await holdfast.run(f"/api/workloads/{SHOP}/deploy")
    (holdfast.place.volumes / SHOP / "data/orders.txt").write_text("one order")
    await holdfast.run(f"/api/workloads/{SHOP}/snapshots")
    return holdfast


async def test_a_snapshot_is_proved_by_a_drill_with_a_check_of_ones_own(shop: Site) -> None:
    page = shop.page
    await shop.go(f"/workloads/{SHOP}")
    await page.get_by_role("button", name="More: Snapshot of").click()
    await page.get_by_role("menuitem", name="Prove that it restores …").click()
    check = page.get_by_label("Check in the copy")
    await check.fill("sh -c 'cat /data/orders.txt")
    await expect(page.get_by_text("A quote is not closed")).to_be_visible()
    await expect(page.get_by_role("button", name="Start the drill")).to_be_disabled()
    await check.fill("sh -c 'cat /data/orders.txt'")
    await page.get_by_role("button", name="Start the drill").click()
    await expect(
        page.get_by_text("Proved: it was restored, the workload lives on it, and the check passed.")
    ).to_be_visible()
    await page.get_by_text("Log, ").click()
    await expect(page.get_by_text("one order")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("cell", name="Proved restorable")).to_be_visible()
    assert shop.said == []


async def test_a_snapshot_is_cloned_into_a_new_workload_and_into_one_that_is_there(shop: Site) -> None:
    page = shop.page
    orders = shop.place.volumes / "trial/data/orders.txt"

    async def ask_for_a_clone() -> None:
        await shop.go(f"/workloads/{SHOP}")
        await page.get_by_role("button", name="More: Snapshot of").first.click()
        await page.get_by_role("menuitem", name="Clone …").click()

    # what can't be is refused in words, before anything is made
    await ask_for_a_clone()
    await page.get_by_label("Into a new workload").check()
    await page.get_by_label("Name").fill(SHOP)
    await page.get_by_role("button", name="Show what would happen").click()
    await expect(page.get_by_text("This can't be done")).to_be_visible()
    await expect(page.get_by_text(f"There is a workload named {SHOP} already.")).to_be_visible()
    await page.get_by_label("Name").fill("trial")
    await expect(page.get_by_text("This can't be done")).to_have_count(0)
    await expect(page.get_by_role("button", name="Clone now")).to_be_disabled()
    await page.get_by_role("button", name="Show what would happen").click()
    await expect(page.get_by_text("2 are brought there")).to_be_visible()
    assert await in_every_look(page, "the dialog of a clone") == []
    await page.get_by_role("button", name="Clone now").click()
    await page.wait_for_url("**/workloads/trial?operation=*")
    await expect(page.get_by_text("The data is restored, and the workload is healthy on it.")).to_be_visible()
    assert orders.read_text() == "one order"

    # what replaces data has the name of whose data it is typed
    orders.write_text("of the trial")
    await ask_for_a_clone()
    await page.get_by_label("Workload whose data is replaced").select_option("trial")
    await page.get_by_role("button", name="Show what would happen").click()
    await page.get_by_label("Type trial to confirm").fill("trial")
    await page.get_by_role("button", name="Clone now").click()
    await page.wait_for_url("**/workloads/trial?operation=*")
    await expect(page.get_by_text("The data is restored, and the workload is healthy on it.")).to_be_visible()
    assert orders.read_text() == "one order"
    assert shop.said == []


async def test_an_archive_is_exported_and_imported_and_what_is_none_is_refused(shop: Site, tmp_path: Path) -> None:
    page = shop.page
    await shop.go(f"/workloads/{SHOP}")
    await page.get_by_role("button", name="More: Snapshot of").first.click()
    await page.get_by_role("menuitem", name="Export …").click()
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download").click()
    archive = tmp_path / "archive.tar.zst"
    await (await downloading.value).save_as(archive)
    await page.keyboard.press("Escape")

    async def take_in(content: bytes) -> None:
        await page.get_by_role("button", name="Import …").click()
        sent = FilePayload(name="archive.tar.zst", mimeType="application/zstd", buffer=content)
        await page.get_by_label("Archive", exact=True).set_input_files(sent)
        await page.get_by_role("button", name="Import", exact=True).click()

    await take_in(b"")
    await expect(page.get_by_text("upload_empty")).to_be_visible()
    assert await in_every_look(page, "the dialog of an import") == []
    await page.keyboard.press("Escape")
    await take_in(b"no archive")
    await expect(page.get_by_role("alert")).to_contain_text("archive_")
    await page.keyboard.press("Escape")
    await take_in(archive.read_bytes())
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("cell", name=re.compile("^Imported"))).to_be_visible()
    assert shop.said == []


async def test_a_prune_says_what_goes_and_what_it_frees_before_anything_goes(shop: Site) -> None:
    page, snapshots = shop.page, f"/api/workloads/{SHOP}/snapshots"
    await shop.go("/system/repositories")
    declared = {**WORKLOAD, "name": SHOP, "snapshots": {"keep": {"last": 1}}}
    await shop.ask("PUT", f"/api/workloads/{SHOP}", declared)
    newest = (await shop.run(snapshots))["snapshot_id"]
    await page.get_by_role("button", name="Prune …").first.click()
    await expect(page.get_by_text(f"{SHOP}: ")).to_be_visible()
    assert len((await shop.ask("GET", snapshots))["items"]) > 1, "a dry run deletes nothing"
    assert await in_every_look(page, "the dialog of a prune") == []
    await page.get_by_label("Type prune to confirm").fill("prune")
    await page.get_by_role("button", name="Prune", exact=True).click()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    assert [each["id"] for each in (await shop.ask("GET", snapshots))["items"]] == [newest]
    assert shop.said == []


async def test_a_snapshot_that_cant_be_read_is_named_and_deleted_by_its_id(shop: Site) -> None:
    page = shop.page
    taken = (await shop.run(f"/api/workloads/{SHOP}/snapshots"))["snapshot_id"]
    (manifest,) = (shop.place.settings.data_dir / "repository/manifests").rglob(f"{taken}*")
    manifest.write_bytes(b"no manifest")
    await shop.go("/system/repositories")
    await page.get_by_role("button", name=f"Delete the unreadable snapshot {taken}").click()
    await page.get_by_label(f"Type {taken} to confirm").fill(taken)
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_text(f"The snapshot {taken} can't be read")).to_have_count(0)
    assert (await shop.ask("GET", "/api/repository/damaged"))["items"] == []
    assert shop.said == []


async def test_what_is_remarked_of_snapshots_and_restores_is_told_in_the_reader_s_language(shop: Site) -> None:
    page, place = shop.page, f"/api/workloads/{SHOP}"
    pipe = shop.place.volumes / SHOP / "data/pipe"
    os.mkfifo(pipe)
    taken = (await shop.run(f"{place}/snapshots"))["snapshot_id"]
    pipe.unlink()
    await shop.ask("PUT", place, {**WORKLOAD, "name": SHOP, "env": {"EDITION": "second"}})
    await shop.go(f"/workloads/{SHOP}/snapshots/{taken}")
    await page.locator("select").first.select_option("ru")
    await page.get_by_text("1 замечание при создании").click()
    await expect(page.get_by_text("/data: не вошли в снимок (1)")).to_contain_text("pipe (FIFO)")
    await shop.go(f"/workloads/{SHOP}")
    await page.get_by_role("button", name="Восстановить снимок от").first.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("Снимок сделан при другой конфигурации")).to_contain_text("env.EDITION")
    assert await dialog.locator("[lang=en]").all_inner_texts() == []
    await page.keyboard.press("Escape")
    await page.locator("select").first.select_option("en")
    assert shop.said == []
