"""What is done with snapshots in a browser beside restoring them: they are proved, and brought elsewhere."""

from __future__ import annotations

from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.site import WORKLOAD, Site
from tests.e2e.test_story import in_every_look

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
    assert await in_every_look(shop, "the dialog of a drill") == []
    await page.get_by_role("button", name="Start the drill").click()
    await expect(
        page.get_by_text("Proved: it was restored, the workload lives on it, and the check passed.")
    ).to_be_visible()
    await page.get_by_text("Log, ").click()
    await expect(page.get_by_text("one order")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("cell", name="Proved restorable")).to_be_visible()
    assert shop.said == []
