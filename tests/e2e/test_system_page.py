"""The pages of Holdfast itself: each for who may see it, and usable by everybody who does."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.looks import USUAL, Look, in_looks, in_turn, look
from tests.e2e.site import HEADER, Site, expect, lose_the_answer

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

PARTS: Final = {
    "state": "Findings",
    "disk": "What takes space",
    "repositories": "Primary repository",
    "backups": "Backups of Holdfast",
    "notifications": "Notifications",
    "registries": "Registries",
    "users": "Users",
    "account": "Tokens",
    "audit": "Audit log",
}
PASSWORD: Final = "a password of boris"


async def test_each_part_of_the_system_is_usable_by_an_admin(holdfast: Site) -> None:
    page, found = holdfast.page, []
    await holdfast.sign_in()
    for number, (part, heading) in enumerate(PARTS.items()):
        await holdfast.go(f"/system/{part}")
        await expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        await expect(page.get_by_text("Loading …")).to_have_count(0)
        found += await in_looks(page, part, in_turn(number))
    assert found == []
    assert holdfast.said == []


async def test_what_doctor_finds_is_told_in_the_reader_s_language(holdfast: Site) -> None:
    page = holdfast.page
    findings = page.get_by_role("region", name="Результаты проверки").get_by_role("listitem")
    await holdfast.sign_in()
    await holdfast.go("/system/state")
    await page.locator("select").first.select_option("ru")
    await expect(findings.filter(has_text="Движок отвечает: версия")).to_be_visible()
    assert await findings.locator("[lang=en]").all_inner_texts() == []
    await page.locator("select").first.select_option("en")
    assert holdfast.said == []


async def test_the_parts_stand_in_one_row_in_a_small_window_and_the_present_one_is_in_sight(holdfast: Site) -> None:
    page = holdfast.page
    await holdfast.sign_in()
    await holdfast.go("/system/audit")
    parts = page.get_by_role("navigation", name="Разделы системы").get_by_role("link")
    for width in (1920, 1280, 1024, 360):
        await look(page, Look("ru", "light", width))
        places = [await part.bounding_box() for part in await parts.all()]
        assert len({place["y"] for place in places if place}) == 1, width
    first, last = parts.first, parts.last
    await expect(last).to_have_attribute("aria-current", "page")
    await expect(last).to_be_in_viewport(ratio=1)
    await expect(first).not_to_be_in_viewport()
    await first.focus()
    await expect(first).to_be_in_viewport(ratio=1)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(parts.nth(1)).to_have_attribute("aria-current", "page")
    await expect(parts.nth(1)).to_be_in_viewport(ratio=1)
    await look(page, USUAL)
    assert holdfast.said == []


async def test_a_backup_is_made_and_returning_to_it_asks_for_its_id(holdfast: Site) -> None:
    page = holdfast.page
    await holdfast.sign_in()
    await holdfast.go("/system/backups")
    await page.get_by_role("button", name="Set the passphrase").click()
    await page.get_by_role("textbox", name="Passphrase").fill("long enough for a backup")
    await page.get_by_role("button", name="Save").click()

    # an answer that gets lost: what is pressed again is not done twice
    await page.route("**/api/backups", lose_the_answer)
    await page.get_by_role("button", name="Make a backup").click()
    await expect(page.get_by_role("alert")).to_contain_text("Holdfast doesn't answer.")
    await page.unroute("**/api/backups")
    await page.get_by_role("button", name="Make a backup").click()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    await page.get_by_role("button", name="Return to it …").click()
    [backup] = (await holdfast.ask("GET", "/api/backups"))["items"]
    confirm = page.get_by_role("button", name="Return to this backup")
    await page.get_by_label(f"Type {backup['id']} to confirm").fill(backup["id"][:-1])
    await expect(confirm).to_be_disabled()
    await page.get_by_label(f"Type {backup['id']} to confirm").fill(backup["id"])
    await expect(confirm).to_be_enabled()
    assert [said for said in holdfast.said if "net::ERR_" not in said] == []
    holdfast.said.clear()


async def test_a_token_is_shown_once_and_a_viewer_sees_only_what_is_theirs(holdfast: Site) -> None:
    page = holdfast.page
    await holdfast.sign_in()
    await holdfast.go("/system/users")
    await page.get_by_role("button", name="Add a user").click()
    await page.get_by_label("User name").fill("boris")
    await page.get_by_label("Role", exact=True).select_option("viewer")
    await page.get_by_role("textbox", name="Password").fill(PASSWORD)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_label("Role of boris")).to_have_value("viewer")

    browser = holdfast.context.browser
    assert browser is not None
    context = await browser.new_context(locale="en")
    who = {"username": "boris", "password": PASSWORD}
    assert (await context.request.post(f"{holdfast.url}/api/session", data=who, headers=HEADER)).ok
    theirs = holdfast.watch(await context.new_page())
    await theirs.goto(f"{holdfast.url}/system/account")
    await expect(theirs.get_by_role("heading", name="Tokens")).to_be_visible()
    parts = theirs.get_by_role("navigation", name="Parts of the system").get_by_role("link")
    assert await parts.all_inner_texts() == [
        "State",
        "Disk",
        "Repositories",
        "Notifications",
        "Registries",
        "My access",
    ]

    await theirs.get_by_role("button", name="Make a token").click()
    await theirs.get_by_role("textbox", name="Name").fill("ci")
    await theirs.get_by_role("button", name="Make it").click()
    token = await theirs.get_by_role("textbox", name="Token").input_value()
    asked = await context.request.get(f"{holdfast.url}/api/version", headers={"Authorization": f"Bearer {token}"})
    assert asked.ok
    await theirs.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    await expect(theirs.get_by_role("cell", name="ci")).to_be_visible()
    assert token not in await theirs.content()

    await theirs.goto(f"{holdfast.url}/system/users")
    await expect(theirs.get_by_text("Only admins see this page.")).to_be_visible()
    await context.close()
    assert holdfast.said == []
