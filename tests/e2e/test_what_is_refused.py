"""What the server refuses is told in words, where it was asked for, and what one can do then is at hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Route

from holdfast.testing.images import build_image
from tests.e2e.ledger import NAME, Ledger
from tests.e2e.looks import violations
from tests.e2e.network import Network
from tests.e2e.site import HEADER, IMAGE, PASSWORD, SCRIPT, USER, WORKLOAD, Site, expect, lose_the_answer, site
from tests.e2e.test_story import ADDRESSES
from tests.e2e.test_system_page import PARTS
from tests.integration.engine_bench import DockerPlace

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

PLACE = f"/api/workloads/{NAME}"
BRITTLE = "holdfast-test/brittle:1"


async def asked_for(dialog: Locator) -> None:
    """The dialog of a restore, as soon as its dry run is over and the name typed."""
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await dialog.get_by_role("button", name="Restore now").click()


async def test_what_a_restore_is_refused_for_stands_in_its_dialog(ledger: Ledger) -> None:
    site, page = ledger.site, ledger.site.page
    await site.sign_in()
    dialog = page.get_by_role("dialog")

    # another name: nothing can be sent, by no key either
    await site.go(f"/workloads/{NAME}")
    await page.get_by_role("button", name="Restore the snapshot of").first.click()
    field = dialog.get_by_label(f"Type {NAME} to confirm")
    await field.fill(f"{NAME}s")
    await field.press("Enter")
    await expect(dialog.get_by_role("button", name="Restore now")).to_be_disabled()
    await page.keyboard.press("Escape")

    # a directory that is gone: the dry run says so, and what would help; then it goes on
    away = ledger.data.with_name("away")
    ledger.data.rename(away)
    await page.get_by_role("button", name="Restore the snapshot of").first.click()
    await expect(dialog.get_by_role("alert")).to_contain_text("volume_missing")
    await expect(dialog.get_by_role("button", name="Restore now")).to_be_disabled()
    await dialog.get_by_label("Make the directories that are missing").check()
    await expect(field).to_be_visible()
    away.rename(ledger.data)
    await page.keyboard.press("Escape")

    # another restore under way: 409
    (ledger.data / "hold").touch()
    held = (await site.run(f"{PLACE}/snapshots"))["snapshot_id"]
    (ledger.data / "hold").unlink()
    first = await site.ask("POST", f"{PLACE}/snapshots/{held}/restore", {}, **{"X-Confirm-Restore": held})
    await expect(page.get_by_text("At work", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Restore the snapshot of").first.click()
    await asked_for(dialog)
    await expect(dialog.get_by_role("alert")).to_contain_text("A restore of this workload is in flight")
    await expect(dialog.get_by_role("alert")).to_contain_text("Watch that one; start another when it has ended.")
    await page.keyboard.press("Escape")
    await site.go(f"/operations/{first['id']}")
    await expect(page.locator("[aria-current=step]")).to_contain_text("Starting the workload")
    (ledger.data / "hold").unlink()
    await expect(page.get_by_text("The data is restored, and the workload is healthy on it.")).to_be_visible()

    # an answer that gets lost: what is pressed again is not done twice
    before = len((await site.ask("GET", f"{PLACE}/snapshots"))["items"])
    await site.go(f"/workloads/{NAME}")
    await page.route("**/snapshots", lose_the_answer, times=1)
    await page.get_by_role("button", name="Take a snapshot").click()
    await dialog.get_by_role("button", name="Take it now").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Holdfast doesn't answer.")
    await expect(dialog.get_by_text("the same thing is not done twice")).to_be_visible()
    await dialog.get_by_role("button", name="Take it now").click()
    await expect(dialog.get_by_text("It is done.").last).to_be_visible()
    await page.keyboard.press("Escape")
    assert len((await site.ask("GET", f"{PLACE}/snapshots"))["items"]) == before + 1

    # a snapshot that is deleted elsewhere while one looks at it
    await site.go(f"/workloads/{NAME}/snapshots/{held}")
    await page.get_by_role("checkbox", name="Choose book.txt").check()
    await page.get_by_role("button", name="Restore 1 chosen …").click()
    await expect(field).to_be_visible()
    gone = await site.context.request.delete(f"{site.url}{PLACE}/snapshots/{held}", headers=HEADER)
    assert gone.ok
    await asked_for(dialog)
    await expect(dialog.get_by_role("alert")).to_contain_text("snapshot_unknown")
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("There is no snapshot")
    assert [said for said in site.said if "net::ERR_" not in said] == []
    site.said.clear()


async def test_a_role_that_was_taken_meanwhile_and_a_session_that_is_over_are_told(ledger: Ledger) -> None:
    site = ledger.site
    await site.sign_in()
    await site.ask("POST", "/api/users", {"name": "carla", "password": PASSWORD, "role": "admin"})
    browser = site.context.browser
    assert browser is not None
    context = await browser.new_context(locale="ru")
    who = {"username": "carla", "password": PASSWORD}
    assert (await context.request.post(f"{site.url}/api/session", data=who, headers=HEADER)).ok
    page = site.watch(await context.new_page())
    await page.goto(f"{site.url}/workloads/{NAME}")
    await page.get_by_role("button", name="Сделать снимок").click()
    await site.ask("PATCH", "/api/users/carla", {"role": "viewer"})
    await page.get_by_role("button", name="Сделать сейчас").click()
    # in one's own language what kind of refusal it is, and the server's own words
    await expect(page.get_by_role("alert")).to_contain_text("role_insufficient")
    await expect(page.get_by_role("alert")).to_contain_text(re.compile("[а-я]{4}"))
    await page.keyboard.press("Escape")

    # by a key, for the page may notice the end by itself first, and then there is no link to press
    await page.get_by_role("link", name="Операции").focus()
    assert (await context.request.delete(f"{site.url}/api/session", headers=HEADER)).ok
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Вход в Holdfast")).to_be_visible()
    await context.close()
    assert site.said == []


async def test_a_deploy_that_fails_tells_why_and_what_still_runs(ledger: Ledger) -> None:
    site = ledger.site
    script = "exec >&2; seq 40; echo 'open /data/db: permission denied'; exit 3\n"
    await build_image(site.place.docker_host, BRITTLE, script=script)
    await site.sign_in()
    await site.ask("POST", "/api/workloads", {**WORKLOAD, "name": "brittle"})
    browser = site.context.browser
    assert browser is not None
    context = await browser.new_context(locale="ru", viewport={"width": 360, "height": 740})
    await context.add_cookies((await site.context.storage_state())["cookies"])  # type: ignore[arg-type]
    page = site.watch(await context.new_page())
    dialog = page.get_by_role("dialog")

    async def deploy() -> None:
        await page.get_by_role("button", name="Развернуть…").click()
        await dialog.get_by_role("button", name="Развернуть сейчас").click()

    # nothing of it ever ran: what to do is at hand
    await page.goto(f"{site.url}/workloads/brittle")
    await expect(page.get_by_text("Сервис ещё ни разу не развёрнут")).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("link", name="К развёртываниям").click()
    await deploy()
    await expect(dialog.get_by_text("Готово.").last).to_be_visible()
    await page.keyboard.press("Escape")

    # a version that ends at once: why, what it said, and nowhere that nothing was changed
    broken = {**WORKLOAD, "name": "brittle", "source": {"type": "image", "image": BRITTLE}}
    await site.ask("PUT", "/api/workloads/brittle", broken)
    await expect(page.get_by_text(f"в конфигурации: {BRITTLE}")).to_be_visible()
    await deploy()
    refused = dialog.get_by_role("alert")
    await expect(refused).to_contain_text("Новая версия не стала здоровой. Посмотрите последние строки")
    await expect(refused).to_contain_text("What ran before runs again.")
    await expect(refused).not_to_contain_text("Ничего не изменено")
    printed = dialog.get_by_role("region", name="Что он вывел напоследок")
    await expect(printed).to_contain_text("open /data/db: permission denied")
    assert await printed.evaluate("(box) => box.scrollTop > 0"), "what came last is in sight"
    assert await violations(page) == []
    await page.keyboard.press("Escape")

    # what runs is the version of before, and that somebody should look is told
    await page.get_by_role("link", name="Обзор").click()
    await expect(page.get_by_text("brittle: последнее развёртывание не удалось")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="brittle")
    await expect(row).to_contain_text("web:1")
    await expect(row).to_contain_text("в конфигурации: brittle:1")
    await context.close()
    assert site.said == []


async def test_each_page_says_that_the_server_failed_and_none_that_there_is_nothing(ledger: Ledger) -> None:
    site = ledger.site
    await site.sign_in()
    browser = site.context.browser
    assert browser is not None
    context = await browser.new_context(locale="en", storage_state=await site.context.storage_state())
    page = await context.new_page()
    await page.add_init_script("delete window.SharedWorker")  # what such a worker asks for can't be made to fail here

    async def fail(route: Route) -> None:
        if re.search(r"/api/(session$|events|workloads/[^/]+/status)", route.request.url):
            await route.fallback()
        else:
            error = {"code": "internal_error", "message": "It failed.", "next_step": "Look why.", "details": {}}
            await route.fulfill(status=500, json={"error": error})

    await page.route(f"{site.url}/api/**", fail)
    operations = (await site.ask("GET", f"/api/operations?workload={NAME}"))["items"]
    deployed = next(each for each in operations if each["kind"] == "deploy" and each["state"] == "succeeded")
    addresses = [
        address.replace("/workloads/notes", f"/workloads/{NAME}").format(
            operation=deployed["id"], snapshot=ledger.snapshot
        )
        for route, address in ADDRESSES.items()
        if route not in ("/new", "/operations/:operation", "/system/:part")
    ]
    for address in [*addresses, *(f"/system/{part}" for part in PARTS)]:
        await page.goto(f"{site.url}{address}")
        await expect(page.get_by_role("alert").first).to_contain_text("internal_error")
        await expect(page.get_by_text("Loading …")).to_have_count(0)
        await expect(page.locator(".empty")).to_have_count(0)
    # what is followed until its end goes on being asked for, and says so
    await page.goto(f"{site.url}/operations/{deployed['id']}")
    await expect(page.get_by_text("internal_error")).to_be_visible()
    await expect(page.get_by_text("The connection to Holdfast is lost. What was begun goes on")).to_be_visible()
    await page.unroute_all()
    await expect(page.get_by_text("It is done.").last).to_be_visible()
    await context.close()
    assert site.said == []


@pytest.mark.timeout(300)  # passwords are costly to compare, and a dozen of them are, on a busy machine
async def test_an_engine_that_is_away_and_passwords_tried_too_often_are_told_in_both_languages(
    browser: Browser, browsing: Network, docker_host: str, tmp_path: Path
) -> None:
    await build_image(docker_host, IMAGE, script=SCRIPT)
    address = tmp_path / "engine.sock"
    place = DockerPlace(directory=tmp_path, docker_host=f"unix://{address}")
    try:
        async with site(place, browser, browsing) as here:
            await here.sign_in()
            await here.ask("POST", "/api/workloads", WORKLOAD)
            signed_in = await here.context.storage_state()
            russian = await browser.new_context(locale="ru", storage_state=signed_in)
            overview = here.watch(await russian.new_page())
            await overview.goto(here.url)
            away = overview.get_by_text("Движок контейнеров не отвечает, поэтому неизвестно")
            await expect(away).to_be_visible()
            await deploy_without_engine(here)

            # it comes, and what was told of it goes from pages that are open
            address.symlink_to(docker_host.removeprefix("unix://"))
            await expect(away).to_have_count(0)
            await expect(overview.get_by_text("Не развёрнут")).to_be_visible()
            await expect(here.page.get_by_text("The container engine doesn't answer, so")).to_have_count(0)
            await here.page.get_by_role("button", name="Deploy …").click()
            await here.page.get_by_role("dialog").get_by_role("button", name="Deploy now").click()
            await expect(here.page.get_by_role("dialog").get_by_text("It is done.").last).to_be_visible()

            await tried_too_often(here, browser)
            assert here.said == []
            await russian.close()
    finally:
        await replace(place, docker_host=docker_host).clean()


async def deploy_without_engine(here: Site) -> None:
    dialog = here.page.get_by_role("dialog")
    await here.go(f"/workloads/{WORKLOAD['name']}/deployments")
    await expect(here.page.get_by_text("The container engine doesn't answer, so")).to_be_visible()
    await here.page.get_by_role("button", name="Deploy …").click()
    await dialog.get_by_role("button", name="Deploy now").click()
    await expect(dialog.get_by_text("Start the Docker Engine, or point docker_host at it.")).to_be_visible()
    await expect(dialog.get_by_text("engine_unavailable")).to_be_visible()
    await here.page.keyboard.press("Escape")


async def tried_too_often(here: Site, browser: Browser) -> None:
    """Tried on the page, in each language, until it is too often; who is signed in goes on."""
    for locale, labels, words in (
        ("en", ("User name", "Password", "Sign in"), "Too many passwords were tried. Wait some seconds"),
        ("ru", ("Имя пользователя", "Пароль", "Войти"), "Слишком много попыток ввести пароль. Подождите"),
    ):
        stranger = await browser.new_context(locale=locale)
        page = here.watch(await stranger.new_page())
        await page.goto(here.url)
        name, password, enter = labels
        await page.get_by_label(name).fill(USER)
        for _ in range(20):
            await page.get_by_label(password).fill("not it, not it")
            async with page.expect_response("**/api/session") as asked:
                await page.get_by_role("button", name=enter).click()
            if (await (await asked.value).json())["error"]["code"] != "sign_in_failed":
                break
        await expect(page.get_by_role("alert")).to_contain_text("sign_in_too_often")
        await expect(page.get_by_role("alert")).to_contain_text(words)
        await stranger.close()
    await here.ask("GET", "/api/session")
