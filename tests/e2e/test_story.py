"""The main story in a real browser: from a first start to data that is back."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import pytest

from tests.e2e.looks import TORTURE, USUAL, Look, by_keys, in_every_look, look, violations
from tests.e2e.shifts import shifts
from tests.e2e.site import IMAGE, NAME, PASSWORD, ROOT, USER, WORKLOAD, Site, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

ADDRESSES: Final = {
    "/": "/",
    "/operations": "/operations",
    "/operations/:operation": "/operations/{operation}",
    "/workloads/:workload": f"/workloads/{NAME}",
    "/workloads/:workload/timeline": f"/workloads/{NAME}/timeline",
    "/workloads/:workload/snapshots/:snapshot": f"/workloads/{NAME}/snapshots/{{snapshot}}",
    "/workloads/:workload/deployments": f"/workloads/{NAME}/deployments",
    "/new": "/new",
    "/system": "/system",
    "/system/:part": "/system/account",
    "/workloads/:workload/settings": f"/workloads/{NAME}/settings",
    "/workloads/:workload/previews": f"/workloads/{NAME}/previews",
    "/workloads/:workload/logs": f"/workloads/{NAME}/logs",
    "/workloads/:workload/metrics": f"/workloads/{NAME}/metrics",
}
"""Where each page that the router knows is looked at."""
WITHIN: Final = "(dialog) => [...dialog.querySelectorAll('*'), document.body].includes(document.activeElement)"
"""Beyond a dialog's last element there is the browser itself, of which the page is not told."""
HEAR: Final = """() => {
  window.heard = [];
  new MutationObserver(() => {
    const words = document.querySelector("dialog[open] [role=status]")?.textContent.trim();
    if (words && words !== heard.at(-1)) heard.push(words);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
"""Notes what is read out in a dialog without being asked for."""
HOSTILE: Final = "<img src=x onerror=alert(1)>"


async def test_the_main_story(holdfast: Site) -> None:
    site, page = holdfast, holdfast.page

    # a first start: only who has the token makes the first admin
    await site.go("/workloads/notes")
    await expect(page.get_by_role("heading", name="Set up Holdfast")).to_be_visible()
    assert await in_every_look(page, "set-up") == []
    await page.get_by_label("First token").fill(site.token)
    await page.get_by_label("User name").fill(USER)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password, once more").fill(PASSWORD)
    await page.get_by_role("button", name="Make the admin and sign in").click()
    await expect(page.get_by_text("There is no workload notes")).to_be_visible()

    # signing out and in again; a wrong password is told in words
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in to Holdfast")).to_be_visible()
    assert await in_every_look(page, "sign-in") == []
    await page.get_by_label("User name").fill(USER)
    await page.get_by_label("Password").fill("not this one at all")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("sign_in_failed")
    await page.locator("select").first.select_option("ru")
    await expect(page.get_by_role("alert")).to_contain_text("Неверное имя или пароль")
    await expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    await page.locator("select").first.select_option("en")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()

    # what is made elsewhere appears by itself
    await page.get_by_role("link", name="Overview", exact=True).click()
    await expect(page.get_by_text("There are no workloads yet")).to_be_visible()
    await site.ask("POST", "/api/workloads", WORKLOAD)
    await expect(page.get_by_text("Never deployed")).to_be_visible()
    await site.run(f"/api/workloads/{NAME}/deploy")
    await expect(page.get_by_text("Running", exact=True)).to_be_visible()
    await expect(page.get_by_text("Unprotected")).to_be_visible()

    # a snapshot
    (site.data / "entry.txt").write_text(f"worth keeping {HOSTILE} \x1b[31m\u202e")
    await page.get_by_role("link", name=NAME, exact=True).click()
    await expect(page.get_by_text("There are no snapshots yet")).to_be_visible()
    await page.get_by_role("button", name="Take a snapshot").click()
    await page.get_by_label("Note").fill(HOSTILE)
    await page.get_by_role("button", name="Take it now").click()
    await expect(page.get_by_text("It is done.").last).to_be_visible()
    await expect(page.get_by_text("This can be closed")).to_have_count(0)
    assert await in_every_look(page, "an operation that ended") == []
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("cell", name=HOSTILE)).to_be_visible()

    # what happened, on one line, by keys alone
    await page.get_by_role("link", name="Timeline").click()
    axis = page.get_by_role("slider", name="What happened, by time")
    happened = page.get_by_role("listbox", name="Everything that happened, newest first")
    await expect(happened.get_by_role("option")).to_have_count(2)
    await axis.press("Home")
    await expect(axis).to_have_attribute("aria-valuetext", re.compile("Deployment, .*web:1, Succeeded"))
    await expect(happened.get_by_role("option", selected=True)).to_contain_text("Deployment")
    await happened.press("ArrowUp")
    await expect(axis).to_have_attribute("aria-valuetext", re.compile("Snapshot, <img src=x"))

    await expect(page.locator("rect.health.healthy")).not_to_have_count(0)  # seen since, and shown by itself

    # what is in the snapshot: hostile, and shown as what it is
    await page.get_by_role("link", name="Look into it").click()
    await page.get_by_role("button", name="entry.txt").click()
    text = page.get_by_role("region", name="Text of the file")
    await expect(text).to_have_text(f"worth keeping {HOSTILE} ⟨U+202E⟩")
    await page.keyboard.press("Escape")
    await page.get_by_role("checkbox", name="Choose entry.txt").check()
    await expect(page.get_by_role("button", name="Restore 1 chosen …")).to_be_enabled()
    await page.get_by_role("link", name="All snapshots").click()

    # damage
    (site.data / "entry.txt").unlink()
    (site.data / HOSTILE).write_text("garbage")

    # the restore: the dry run, the name, the progress, through a reload
    await page.get_by_role("button", name="Restore the snapshot of").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("1 comes back")).to_be_visible()
    await expect(dialog.get_by_text("1 that came since goes")).to_be_visible()
    assert not (site.data / "entry.txt").exists(), "a dry run touches nothing"
    await dialog.get_by_text("1 that came since goes").click()
    await expect(dialog.get_by_text(HOSTILE)).to_be_visible()
    assert await in_every_look(page, "the dry run of a restore") == []
    button = dialog.get_by_role("button", name="Restore now")
    await expect(button).to_be_disabled()
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await button.dblclick()
    await page.wait_for_url("**/workloads/notes?operation=*")
    await page.reload()
    await expect(page.get_by_text("The data is restored, and the workload is healthy on it.")).to_be_visible()
    await expect(page.get_by_text("It was down for")).to_be_visible()
    assert [path.name for path in site.data.iterdir()] == ["entry.txt"]
    restores = [each for each in (await site.ask("GET", "/api/operations"))["items"] if each["kind"] == "restore"]
    assert len(restores) == 2, "one dry run, and one restore although it was pressed twice"

    # and taken back, in another language, on a phone's width, by keys alone
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await look(page, Look("ru", "dark", 360))
    opener = page.get_by_role("button", name="Отменить последнее восстановление")
    await by_keys(page, opener)
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_text("1 вернётся")).to_be_visible()
    await expect(dialog.locator(":focus")).to_have_count(1)
    for key in ("Tab", "Tab", "Tab", "Tab", "Tab", "Tab", "Shift+Tab", "Shift+Tab"):
        assert await dialog.evaluate(WITHIN), "the focus is in the dialog and stays there"
        await page.keyboard.press(key)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(opener).to_be_focused()
    await page.keyboard.press("Enter")
    # what it takes, and what comes of it
    safety, downtime, afterwards = (dialog.get_by_role("definition").nth(index) for index in range(3))
    await expect(safety).to_contain_text(re.compile(r"Сначала сохраняются все живые данные \([\d,]+\s[^)]+\)"))
    await expect(downtime).to_contain_text(re.compile(r"В прошлый раз — \d.*даётся до 3\s", re.DOTALL))
    await expect(afterwards).to_contain_text(IMAGE)
    await expect(afterwards).to_contain_text("Если на этих данных он нездоров, нынешние данные вернутся сами.")
    await page.evaluate(HEAR)
    await by_keys(page, dialog.get_by_label(f"Для подтверждения введите {NAME}"))
    await page.keyboard.type(NAME)
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_text("Данные восстановлены, сервис на них здоров.")).to_be_visible()
    await expect(dialog.get_by_text("Простой составил")).to_be_visible()
    heard = await page.evaluate("() => heard")
    assert len(heard) > 2, "it is read out how far it is"
    assert all(re.match("[А-Я]", words) for words in heard), heard
    assert heard[-1] == "Готово."
    assert [path.name for path in site.data.iterdir()] == [HOSTILE]

    # and that again, from where it was told how it ended
    await by_keys(page, dialog.get_by_role("button", name="Отменить последнее восстановление"))
    assert await violations(page) == []
    await page.keyboard.press("Enter")
    undo = dialog.filter(has_text=f"Отменить последнее восстановление {NAME}")
    await by_keys(page, undo.get_by_label(f"Для подтверждения введите {NAME}"))
    await page.keyboard.type(NAME)
    await page.keyboard.press("Enter")
    await expect(undo).to_have_count(0)
    await expect(dialog.get_by_text("Данные восстановлены, сервис на них здоров.")).to_be_visible()
    assert [path.name for path in site.data.iterdir()] == ["entry.txt"]
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await look(page, USUAL)
    assert site.said == []


async def test_every_page_can_be_used_by_everybody_in_every_language_theme_and_width(holdfast: Site) -> None:
    routes = re.findall(r'\bpath: "([^"]+)"', (ROOT / "web/src/routes.ts").read_text())
    assert set(routes) == set(ADDRESSES), "each page that there is has an address here"
    found = []
    (newest, *_) = (await holdfast.ask("GET", "/api/operations"))["items"]
    (taken, *_) = (await holdfast.ask("GET", f"/api/workloads/{NAME}/snapshots"))["items"]
    for route, address in ADDRESSES.items():
        await holdfast.go(address.format(operation=newest["id"], snapshot=taken["id"]))
        await expect(holdfast.page.get_by_text("Loading …")).to_have_count(0)
        await expect(holdfast.page.get_by_role("heading", level=1)).to_be_visible()
        found += await in_every_look(holdfast.page, route)
    assert found == []
    assert holdfast.said == []


async def test_nothing_moves_while_a_page_comes_up_on_a_slow_line(holdfast: Site) -> None:
    parts = re.findall(r'\{ name: "(\w+)"', (ROOT / "web/src/routes/system/System.svelte").read_text())
    assert "repositories" in parts
    (newest, *_) = (await holdfast.ask("GET", "/api/operations"))["items"]
    (taken, *_) = (await holdfast.ask("GET", f"/api/workloads/{NAME}/snapshots"))["items"]
    addresses = {*ADDRESSES.values(), *(f"/system/{part}" for part in parts if TORTURE or part == "repositories")}
    paths = [address.format(operation=newest["id"], snapshot=taken["id"]) for address in sorted(addresses)]
    # two at a time: a browser opens six connections to a server, of which a page may hold two
    found = await asyncio.gather(*(shifts(holdfast, paths, width) for width in (360, 1280)))
    assert found == [[], []]
    assert holdfast.said == []
