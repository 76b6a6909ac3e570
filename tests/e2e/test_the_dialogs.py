"""Every dialog that the interface has is opened, and can be used by everybody.

Its file comes after that of the main story, which begins with a server that nobody has signed in at.
"""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import Page, Route

from holdfast.testing.dialogs import ANSWERS, DIALOGS, WORKLOAD, found
from tests.e2e.ledger import NAME, Ledger
from tests.e2e.looks import in_looks, in_turn
from tests.e2e.site import ROOT, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

SOURCE: Final = ROOT / "web/src"


async def answered_instead(page: Page, url: str, method: str, answer: str) -> None:
    """Have the page told this, and what it asks for not done: there is nothing that would have to be taken back."""

    async def stand_in(route: Route) -> None:
        if route.request.method == method:
            await route.fulfill(content_type="application/json", body=answer)
        else:
            await route.fallback()

    await page.route(url, stand_in)


async def test_every_dialog_can_be_used_by_everybody(ledger: Ledger) -> None:
    assert found(SOURCE) == set(DIALOGS), "of each dialog that there is, it is said how it is opened"
    site, trouble = ledger.site, []
    await site.sign_in()
    (operation, *_) = (await site.ask("GET", f"/api/operations?workload={NAME}"))["items"]
    looked_at = await site.ask("GET", f"/api/workloads/{NAME}")
    page = site.watch(await site.context.new_page())
    for (method, path), answer in ANSWERS.items():
        told = answer.model_dump_json(by_alias=True).replace(WORKLOAD, looked_at["id"])
        await answered_instead(page, f"{site.url}{path}", method, told)
    dialog, at = page.get_by_role("dialog"), ""
    for number, (name, opened) in enumerate(DIALOGS.items()):
        if opened.at == at:
            await page.keyboard.press("Escape")
            await expect(dialog).to_have_count(0)
        else:
            at = opened.at
            await page.goto(site.url + at.format(workload=NAME, snapshot=ledger.snapshot, operation=operation["id"]))
        for step in opened.steps:
            if isinstance(step, tuple):
                await page.locator(step[0]).first.fill(step[1])
            else:
                await page.locator(step).first.click()
        await expect(dialog).to_be_visible()
        await expect(dialog.get_by_text("Loading …")).to_have_count(0)
        trouble += await in_looks(page, name, in_turn(number), dialog)
    await page.close()
    assert trouble == []
    assert site.said == []
