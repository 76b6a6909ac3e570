"""The server is killed in the middle of a restore, and the page that somebody had open comes back by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser

from holdfast.testing.images import build_image
from holdfast.testing.server_process import SERVE, crashing_at, server, until
from tests.e2e.looks import TORTURE
from tests.e2e.network import Network
from tests.e2e.site import IMAGE, NAME, SCRIPT, WORKLOAD, Site, expect, site
from tests.integration.engine_bench import DockerPlace

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

POINTS = {
    "after exchange data #1": "The data is restored, and the workload is healthy on it.",
    "after journal PREPARED #1": "restore_interrupted",
}
"""Where it is killed, and how the next server tells that the restore ended: it is finished, or nothing was touched."""
LOST = "The connection to Holdfast is lost."
OLD, SAVED = {"entry.txt": "a mistake"}, {"entry.txt": "worth keeping"}


def content(here: Site) -> dict[str, str]:
    """All that is in the volume."""
    return {path.name: path.read_text() for path in here.data.iterdir()}


def again(here: Site, **settings: str) -> tuple[str, ...]:
    """The command of a server at the same address."""
    listen = here.url.removeprefix("http://")
    return "env", f"HOLDFAST_LISTEN={listen}", *(f"{name}={value}" for name, value in settings.items()), *SERVE


@pytest.mark.parametrize("point", POINTS if TORTURE else list(POINTS)[:1])
async def test_an_open_page_outlives_its_server_and_tells_how_the_restore_ended(
    browser: Browser, browsing: Network, docker_host: str, tmp_path: Path, point: str
) -> None:
    await build_image(docker_host, IMAGE, script=SCRIPT)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    try:
        async with site(place, browser, browsing, crashing_at(tmp_path / "points", point)) as here:
            await the_story(here, point)
    finally:
        await place.clean()


async def the_story(here: Site, point: str) -> None:
    page, dialog, log = here.page, here.page.get_by_role("dialog"), here.place.directory
    await here.sign_in()
    await here.ask("POST", "/api/workloads", WORKLOAD)
    await here.run(f"/api/workloads/{NAME}/deploy")
    (here.data / "entry.txt").write_text(SAVED["entry.txt"])
    await here.run(f"/api/workloads/{NAME}/snapshots")
    (here.data / "entry.txt").write_text(OLD["entry.txt"])

    await here.go(f"/workloads/{NAME}")
    await page.evaluate("document.body.dataset.opened = 'once'")
    await page.get_by_role("button", name="Restore the snapshot of").click()
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await dialog.get_by_role("button", name="Restore now").click()
    # it dies by itself; what was begun is told to go on, behind it that the page may be out of date
    await expect(dialog.get_by_text(LOST)).to_be_visible()
    await expect(page.get_by_role("alert").filter(has_text=LOST)).to_have_count(1)
    saved = POINTS[point].startswith("The data is restored")

    with server(here.place.settings, log / "second.log", again(here)):
        await expect(dialog.get_by_text(POINTS[point])).to_be_visible()
        await expect(page.get_by_text(LOST)).to_have_count(0)
        assert content(here) == (SAVED if saved else OLD)
        await asyncio.to_thread(until, lambda: here.place.leftovers() == [])
        if saved:
            await dialog.get_by_role("button", name="Undo the last restore").click()
            undo = dialog.filter(has_text=f"Undo the last restore of {NAME}")
            await undo.get_by_label(f"Type {NAME} to confirm").fill(NAME)
            await undo.get_by_role("button", name="Undo now").click()
            await expect(undo).to_have_count(0)
            await expect(dialog.get_by_text(POINTS[point])).to_be_visible()
        assert content(here) == OLD
        await page.keyboard.press("Escape")

    # a server that ends in order, and one after it that has no room left: the page is the same
    await expect(page.get_by_text(LOST)).to_be_visible()
    with server(here.place.settings, log / "third.log", again(here, HOLDFAST_DISK_RESERVE_BYTES=str(1 << 60))):
        await expect(page.get_by_text(LOST)).to_have_count(0)
        await page.get_by_role("button", name="Restore the snapshot of").last.click()
        await expect(dialog.get_by_role("alert")).to_contain_text("no_space_bytes")
        await expect(dialog.get_by_role("button", name="Restore now")).to_be_disabled()
        assert await page.evaluate("document.body.dataset.opened") == "once", "nothing was loaded anew"
        assert [said for said in here.said if "net::ERR_" not in said] == []
