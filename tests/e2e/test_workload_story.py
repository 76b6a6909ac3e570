"""The code and the data of one workload, by the browser alone: another version, a copy of it elsewhere, and back."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, Page

from holdfast.testing.images import build_image
from holdfast.testing.registry import push
from tests.e2e.ledger import NAME, Ledger
from tests.e2e.looks import violations
from tests.e2e.site import IMAGE, SCRIPT, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

DONE = "The data is restored, and the workload is healthy on it."
COPY = "copy-of-ledger"


async def choose(happening: Locator) -> None:
    """Choose one of a live list, again if what came meanwhile moved it away from under the pointer."""
    while await happening.get_attribute("aria-selected") != "true":
        await happening.click()


async def the_line_is_looked_at_nearer_and_farther(page: Page, happened: Locator) -> None:
    """Around what is chosen, by buttons, keys and the wheel alike; what is chosen stays where it is seen."""
    axis = page.get_by_role("slider", name="What happened, by time")
    box = await axis.bounding_box()
    assert box is not None

    async def seen() -> tuple[int, float]:
        """How many marks and clusters' members are in sight, and where the chosen moment is."""
        marks = "(marks) => marks.reduce((sum, mark) => sum + Number(mark.textContent.trim() || 1), 0)"
        at = await axis.locator("line.chosen").get_attribute("x1")
        return await axis.locator("g.mark").evaluate_all(marks), float(at or -1)

    _, before = await seen()

    async def shows(everything: bool) -> None:
        """All there is, or some of it, in a moment; and what is chosen where it was, but that time goes on."""
        async with asyncio.timeout(5):
            while True:
                (marks, at), all_there_is = await seen(), await happened.get_by_role("option").count()
                if (marks == all_there_is) is everything and marks and abs(at - before) < box["width"] / 5:
                    return
                await asyncio.sleep(0.05)

    await shows(everything=True)
    for way, everything in (("Nearer", False), ("Farther", True)):
        for _ in range(3):
            await page.get_by_role("button", name=way).click()
        await shows(everything)
    for key, everything in (("+++", False), ("0", True)):
        for each in key:
            await axis.press(each)
        await shows(everything)

    # by the wheel only with Ctrl: without it the page scrolls
    await page.mouse.move(box["x"] + before, box["y"] + box["height"] / 2)
    await page.mouse.wheel(0, -416)
    await shows(everything=True)
    await page.keyboard.down("Control")
    await page.mouse.wheel(0, -416)
    await page.keyboard.up("Control")
    await shows(everything=False)
    await page.get_by_role("button", name="Everything").click()
    await shows(everything=True)


async def test_a_version_is_deployed_promoted_and_taken_back_with_its_data(
    ledger: Ledger, registry_address: str
) -> None:
    site, page = ledger.site, ledger.site.page
    dialog = page.get_by_role("dialog")
    engine, released = site.place.docker_host, f"{registry_address}/holdfast-test/released:2"
    await push(
        engine, await build_image(engine, IMAGE.replace(":1", ":2"), script=SCRIPT, env={"VERSION": "2"}), released
    )
    await site.sign_in()
    await site.ask("POST", "/api/workloads", {"name": COPY, "source": {"type": "image", "image": IMAGE}})

    # another image, after what that changes is told
    await site.go(f"/workloads/{NAME}/deployments")
    await page.get_by_role("button", name="Deploy …").click()
    await dialog.get_by_label("Image").fill(released)
    await expect(dialog.get_by_text("What that changes since the last deployment")).to_be_visible()
    await expect(dialog.get_by_text(released)).to_be_visible()
    await dialog.get_by_role("button", name="Deploy now").click()
    await expect(dialog.get_by_text("It is done.").last).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Deploy …").click()

    # what somebody else configures meanwhile is told, and taken when asked for
    config = (await site.ask("GET", f"/api/workloads/{NAME}"))["config"]
    for image, wanted in ((IMAGE, {**config, "source": {"type": "image", "image": IMAGE}}), (released, config)):
        await site.ask("PUT", f"/api/workloads/{NAME}", wanted)
        await expect(dialog.get_by_text(f"Meanwhile {image} was configured")).to_be_visible()
        await dialog.get_by_role("button", name="Take this image").click()
        await expect(dialog.get_by_label("Image")).to_have_value(image)
    await dialog.get_by_role("button", name="Deploy now").click()
    await expect(dialog.get_by_text("It runs this version already")).to_be_visible()
    await page.keyboard.press("Escape")
    (ledger.data / "book.txt").write_text("wrecked by the third edition")
    (ledger.data / "page.txt").write_text("new since then")

    # handed on, by its digest; neither data nor configuration goes with it
    await page.get_by_role("button", name="Promote …").click()
    await dialog.get_by_label("Workload that gets it").select_option(COPY)
    await expect(dialog.get_by_text(re.compile("released@sha256:")).first).to_be_visible()
    await dialog.get_by_role("button", name="Promote", exact=True).click()
    await page.wait_for_url("**/operations/*")
    await expect(page.get_by_text("It is done.").last).to_be_visible()
    assert (await site.ask("GET", f"/api/workloads/{COPY}/status"))["condition"] == "running"

    # what is other: now, and in another snapshot
    taken = (await site.ask("GET", f"/api/workloads/{NAME}/snapshots"))["items"]
    safety = [each["id"] for each in taken if each["safety_for"]][-1]
    await site.go(f"/workloads/{NAME}/snapshots/{ledger.snapshot}")
    await page.get_by_role("button", name="Compare …").click()
    await expect(dialog.get_by_text("1 is other")).to_be_visible()
    await expect(dialog.get_by_text("1 is there that was not")).to_be_visible()
    await dialog.get_by_label("Compared with").select_option(safety)
    await expect(dialog.get_by_text("Nothing is other.")).to_be_visible()
    await page.keyboard.press("Escape")

    # one file of then; what came since stays
    await page.get_by_role("checkbox", name="Choose book.txt").check()
    await page.get_by_role("button", name="Restore 1 chosen …").click()
    await expect(dialog.get_by_text("1 gets its content of then")).to_be_visible()
    await expect(dialog.get_by_role("listitem").filter(has_text="/data/book.txt")).to_be_visible()
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await dialog.get_by_role("button", name="Restore now").click()
    await expect(dialog.get_by_text(DONE)).to_be_visible()
    await page.keyboard.press("Escape")
    assert (ledger.data / "book.txt").read_text() == "written by the second edition"
    assert (ledger.data / "page.txt").exists()

    # and what was in it meanwhile, line by line
    taken = (await site.ask("GET", f"/api/workloads/{NAME}/snapshots"))["items"]
    meanwhile = next(each["id"] for each in taken if each["safety_for"])
    await site.go(f"/workloads/{NAME}/snapshots/{ledger.snapshot}")
    await page.get_by_role("button", name="Compare …").click()
    await dialog.get_by_label("Compared with").select_option(meanwhile)
    await dialog.get_by_text("1 is other").click()
    await dialog.get_by_role("button", name="book.txt").click()
    await expect(dialog.get_by_role("region", name="What is other in the text")).to_contain_text(
        "removed: written by the second edition"
    )
    assert await violations(page) == []
    await page.keyboard.press("Escape")

    # the first edition, and the data as it left it
    await page.get_by_role("link", name="Timeline").click()
    happened = page.get_by_role("listbox", name="Everything that happened, newest first")
    await choose(happened.get_by_role("option").filter(has_text="Deployment").last)
    await the_line_is_looked_at_nearer_and_farther(page, happened)
    await page.get_by_role("button", name="Return to both …").click()
    await expect(dialog.get_by_text("EDITION")).to_be_visible()
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await dialog.get_by_role("button", name="Restore now").click()
    await expect(dialog.get_by_text(DONE)).to_be_visible()
    assert {path.name: path.read_text() for path in ledger.data.iterdir()} == {
        "book.txt": "written by the first edition"
    }
    now = await site.ask("GET", f"/api/workloads/{NAME}")
    assert (now["config"]["env"]["EDITION"], now["config"]["source"]["image"]) == ("first", IMAGE)
    await page.keyboard.press("Escape")

    # the code alone, and then the data alone
    await page.get_by_role("button", name="Nearer").click()
    await choose(happened.get_by_role("option").filter(has_text="released:2").last)
    await page.get_by_role("button", name="Return to this code …").click()
    await expect(dialog.get_by_text("Stays as it is")).to_be_visible()
    await dialog.get_by_role("button", name="Return to it").click()
    await expect(dialog.get_by_text("It is done.").last).to_be_visible()
    await page.keyboard.press("Escape")
    assert (ledger.data / "book.txt").read_text() == "written by the first edition"
    await page.get_by_role("button", name="Everything").click()
    chosen = page.get_by_role("region", name="The chosen moment")
    await choose(happened.get_by_role("option").filter(has_text="By hand").last)
    await expect(chosen.get_by_role("heading", name="Snapshot")).to_be_visible()
    await chosen.get_by_role("button", name="Return to this data …").click()
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await dialog.get_by_role("button", name="Restore now").click()
    await expect(dialog.get_by_text(DONE)).to_be_visible()
    assert (ledger.data / "book.txt").read_text() == "written by the second edition"
    now = await site.ask("GET", f"/api/workloads/{NAME}")
    assert now["config"]["source"]["image"] == released
    assert site.said == []
