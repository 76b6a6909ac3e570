"""Many windows of one browser: what one of them follows, all follow, and none keeps another from loading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.e2e.ledger import NAME, Ledger
from tests.e2e.site import HEADER, PASSWORD, USER, Site, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

WINDOWS: Final = 8
"""A browser opens six connections to one server, and no more."""
OTHER: Final = "rob"


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, ledger: Ledger) -> AsyncIterator[BrowserContext]:
    """A browser in which the admin is signed in, with no window yet."""
    made = await browser.new_context(locale="en")
    who = {"username": USER, "password": PASSWORD}
    assert (await made.request.post(f"{ledger.site.url}/api/session", data=who, headers=HEADER)).ok
    yield made
    await made.close()


async def all_show_another_operation(windows: Sequence[Page], here: Site) -> None:
    """Something is begun elsewhere, and every window that lists operations comes to show it by itself."""
    started = (await here.ask("POST", f"/api/workloads/{NAME}/snapshots", {}))["id"]
    for row in [window.locator("tr", has=window.locator(f"a[href$='{started}']")) for window in windows]:
        await expect(row).to_contain_text("Succeeded")


async def test_many_windows_are_all_live_whichever_of_them_ends_and_whoever_signs_in(
    context: BrowserContext, ledger: Ledger
) -> None:
    here = ledger.site
    windows = [here.watch(await context.new_page()) for _ in range(WINDOWS)]
    for window in windows:
        await window.goto(f"{here.url}/operations")
        await expect(window.get_by_role("row").nth(1)).to_be_visible()
    await all_show_another_operation(windows, here)
    ninth = here.watch(await context.new_page())
    await ninth.goto(f"{here.url}/")
    await expect(ninth.get_by_role("link", name=NAME, exact=True)).to_be_visible()

    # what all share lives in the process of the first one
    first = windows.pop(0)
    told = await context.new_cdp_session(first)
    await told.send("Page.setWebLifecycleState", {"state": "frozen"})
    await all_show_another_operation(windows, here)
    async with first.expect_event("crash"):
        unanswered = asyncio.ensure_future(told.send("Page.crash"))
    unanswered.cancel()
    await windows.pop(0).close()
    await all_show_another_operation(windows, here)

    # who signs in as another person does so in all windows; none goes on as who it was before
    await here.ask("POST", "/api/users", {"name": OTHER, "password": PASSWORD, "role": "viewer"})
    await ninth.get_by_role("button", name="Sign out").click()
    for window in windows:
        await expect(window.get_by_role("heading", name="Sign in to Holdfast")).to_be_visible()
    await ninth.get_by_label("User name").fill(OTHER)
    await ninth.get_by_label("Password").fill(PASSWORD)
    await ninth.get_by_role("button", name="Sign in").click()
    for window in [*windows, ninth]:
        await expect(window.get_by_text(OTHER, exact=True)).to_be_visible()
    await all_show_another_operation(windows, here)
    assert (await here.context.request.delete(f"{here.url}/api/users/{OTHER}", headers=HEADER)).ok
    assert here.said == []
