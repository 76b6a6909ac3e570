"""A service is put under Holdfast in a browser, from what somebody knows of it to what runs."""

from __future__ import annotations

import re
import secrets
from typing import Final

import pytest
from aiodocker import Docker

from tests.e2e.looks import in_every_look, violations
from tests.e2e.site import IMAGE, WORKLOAD, Site, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

COMPOSE: Final = f"""
services:
  cache:
    image: {IMAGE}
    environment:
      CACHE_PASSWORD: hunter2
    cap_add: [SYS_ADMIN]
"""


async def test_a_service_from_an_image_is_corrected_in_the_editor_made_and_deployed(holdfast: Site) -> None:
    page = holdfast.page
    await holdfast.sign_in()
    await holdfast.go("/")
    await page.get_by_role("link", name="Add a service").click()
    await page.get_by_label("Image", exact=True).fill(IMAGE)
    await page.get_by_label("Name").fill("wiki")
    await page.get_by_label("Directory with its data").fill("/data")
    await page.get_by_role("button", name="Show the proposal").click()

    # what is wrong is told where it is, and nothing can be made of it
    editor = page.get_by_role("textbox", name="Declaration, as YAML")
    await editor.press("Control+End")
    await page.keyboard.insert_text("stop_grase: 3s\n")
    await expect(page.get_by_text("stop_grase is not a known key.")).to_be_visible()
    await expect(page.get_by_role("button", name="Create and deploy")).to_be_disabled()
    await page.get_by_role("button", name="Line 9").click()
    await page.keyboard.press("Shift+End")
    await page.keyboard.type("stop_gr")
    await page.get_by_role("option", name="stop_grace").click()
    await page.keyboard.type("3s")

    # the form says the same as the text, either way, and leaves its comments
    await expect(page.get_by_label("Time to stop")).to_have_count(1)
    await page.keyboard.insert_text(" # soon")
    await page.get_by_text("How it runs").click()
    await expect(page.get_by_label("Time to stop")).to_have_value("3s")
    await page.get_by_label("Time to stop").fill("soon")
    await expect(page.get_by_label("Time to stop")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("button", name="Create and deploy")).to_be_disabled()
    await page.get_by_label("Time to stop").fill("2s")
    await page.get_by_text("Environment", exact=True).click()
    await page.get_by_label("Name of another variable").fill("TZ")
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_label("TZ", exact=True).fill("UTC")
    snapshots = page.get_by_role("group").filter(has=page.get_by_role("heading", name="Snapshots"))
    await snapshots.get_by_role("heading").click()
    await snapshots.get_by_label("Schedule").fill("30 3 * * *")
    await snapshots.get_by_label("Keep the last").fill("7")
    await snapshots.get_by_label("Keep daily").fill("14")
    await expect(editor).to_contain_text("stop_grace: 2s # soon")

    await page.get_by_role("button", name="Create and deploy").click()
    await expect(page.get_by_role("link", name="Open wiki")).to_be_visible()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    made = (await holdfast.ask("GET", "/api/workloads/wiki"))["config"]
    assert (made["stop_grace"], made["env"]) == (2, {"TZ": "UTC"})
    assert made["snapshots"] == {"schedule": "30 3 * * *", "keep": {"last": 7, "daily": 14}}
    assert holdfast.said == []


async def test_a_compose_file_becomes_workloads_that_run_and_what_is_left_out_is_named(holdfast: Site) -> None:
    page = holdfast.page
    await holdfast.sign_in()
    await holdfast.go("/new")
    await page.get_by_label("A Compose file").check()
    await page.get_by_label("Its content").fill(COMPOSE)
    await page.get_by_label("Name of its directory").fill("shop")
    await page.get_by_role("button", name="Show the proposal").click()
    await expect(page.get_by_text("services.cache.cap_add")).to_be_visible()
    await page.locator("select").first.select_option("ru")
    await expect(page.get_by_text("У контейнеров обычный для движка набор привилегий.")).to_be_visible()
    assert await page.get_by_role("main").locator("li [lang=en]").all_inner_texts() == []
    await page.locator("select").first.select_option("en")
    await page.get_by_label("CACHE_PASSWORD").fill("hunter2")
    await page.get_by_role("button", name="Create without deploying").click()
    await expect(page.get_by_text("cache was created")).to_be_visible()
    assert (await holdfast.ask("GET", "/api/workloads/cache/status"))["condition"] == "never_deployed"
    await page.get_by_role("button", name="Create and deploy").click()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    assert (await holdfast.ask("GET", "/api/workloads/cache/status"))["condition"] == "running"
    secrets = await holdfast.ask("GET", "/api/workloads/cache/secrets")
    assert [(secret["name"], secret["state"]) for secret in secrets["items"]] == [("CACHE_PASSWORD", "set")]
    assert holdfast.said == []


async def test_a_container_that_runs_already_is_taken_over_with_its_data(holdfast: Site) -> None:
    page, name = holdfast.page, f"till-{secrets.token_hex(4)}"
    sales = holdfast.place.roots[0] / "sales"
    sales.mkdir()
    (sales / "today.txt").write_text("one sale")
    await holdfast.sign_in()
    async with Docker(holdfast.place.docker_host) as docker:
        old = await docker.containers.run({"Image": IMAGE, "HostConfig": {"Binds": [f"{sales}:/data"]}}, name=name)
        try:
            await holdfast.go("/new")
            await page.get_by_label("Running containers").check()
            await page.get_by_label("Containers", exact=True).fill(name)
            await page.get_by_role("button", name="Show the proposal").click()
            await expect(page.get_by_text(f"{name} becomes the workload {name}")).to_be_visible()
            await page.get_by_role("button", name="Take over …").click()
            assert (await old.show())["State"]["Running"], "nothing has been touched yet"
            await page.get_by_label(f"Type {name} to confirm").fill(name)
            await page.get_by_role("button", name="Take over", exact=True).click()
            await expect(page.get_by_text("It is done.").last).to_be_visible()
            assert not (await old.show())["State"]["Running"], "it is kept, and stopped"
        finally:
            await old.delete(force=True)
    await page.get_by_role("link", name=f"Open {name}").click()
    await expect(page.get_by_text("Running", exact=True)).to_be_visible()
    (mine,) = (await holdfast.ask("GET", f"/api/workloads/{name}"))["config"]["volumes"]
    assert (mine["source"], (sales / "today.txt").read_text()) == (str(sales), "one sale")
    assert holdfast.said == []


async def test_settings_are_changed_and_the_workload_is_deleted_with_what_each_does_told_before(holdfast: Site) -> None:
    page = holdfast.page
    await holdfast.sign_in()
    made = {"name": "forge", "source": {"type": "image", "image": IMAGE}, "secrets": ["KEY"]}
    await holdfast.ask("POST", "/api/workloads", made)
    await holdfast.go("/workloads/forge/settings")
    editor = page.get_by_role("textbox", name="Declaration, as YAML")
    await editor.press("Control+End")
    await page.keyboard.insert_text("max_instances: 2\n")
    await expect(page.get_by_text("max_instances", exact=True)).to_be_visible()  # what changes, told before
    await page.get_by_role("button", name="Apply", exact=True).click()
    await expect(page.get_by_text("Applied", exact=True)).to_be_visible()
    assert (await holdfast.ask("GET", "/api/workloads/forge"))["config"]["max_instances"] == 2
    for summary in reversed(await page.locator("details:not([open]) > summary").all()):
        await summary.click()
    await expect(page.get_by_label("Processors at most")).to_be_visible()
    assert await violations(page) == []

    # by the form, in another language: what is wrong is told at its field
    await page.locator("select").first.select_option("ru")
    await page.get_by_label("Домены").fill("forge.example.org:3000\ngit.example.org:3000")
    schedule = page.get_by_role("group").filter(has_text="Хранить последних").get_by_label("Расписание")
    await schedule.fill("at three")
    await expect(schedule).to_have_attribute("aria-invalid", "true")
    await expect(schedule).to_have_accessible_description(re.compile("Расписание записано неверно"))
    await expect(page.get_by_role("button", name=re.compile("Строка"))).to_be_visible()
    await expect(page.get_by_role("button", name="Применить", exact=True)).to_be_disabled()
    await schedule.fill("")
    await schedule.press("Tab")
    await page.get_by_role("button", name="Применить", exact=True).click()
    await expect(page.get_by_text("Применено", exact=True)).to_be_visible()
    await page.locator("select").first.select_option("en")
    configured = (await holdfast.ask("GET", "/api/workloads/forge"))["config"]
    assert configured["domains"] == ["forge.example.org:3000", "git.example.org:3000"]

    # somebody else was faster: nothing is overwritten unseen, whatever one decides
    await editor.press("Control+End")
    await page.keyboard.insert_text("stop_grace: 3s\n")
    configured = (await holdfast.ask("GET", "/api/workloads/forge"))["config"]
    await holdfast.ask("PUT", "/api/workloads/forge", {**configured, "user": "1000"})
    await expect(page.get_by_text("Changed by ann")).to_be_visible()
    await page.get_by_role("button", name="Apply", exact=True).click()
    differs = page.get_by_role("region", name="What is other in the text")
    await expect(differs).to_contain_text("user:")
    assert await in_every_look(page, "a configuration that was changed elsewhere") == []
    await page.get_by_role("button", name="Keep editing").click()
    assert (await holdfast.ask("GET", "/api/workloads/forge"))["config"] == {**configured, "user": "1000"}
    await page.get_by_role("button", name="Apply", exact=True).click()
    await page.get_by_role("button", name="Replace theirs with mine", exact=True).click()
    await expect(page.get_by_text("Applied", exact=True)).to_be_visible()
    assert (await holdfast.ask("GET", "/api/workloads/forge"))["config"] == {**configured, "stop_grace": 3}
    await editor.press("Control+End")
    await page.keyboard.insert_text("# mine\n")
    await holdfast.ask("PUT", "/api/workloads/forge", configured)
    await page.get_by_role("button", name="Show what changed").click()
    await page.get_by_role("button", name="Take theirs").click()
    await expect(editor).not_to_contain_text("stop_grace")
    await expect(page.get_by_text("Changed by ann")).to_have_count(0)

    await page.get_by_role("button", name="Set KEY").click()
    await page.get_by_label("Value").fill("two\nlines")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Has a value")).to_be_visible()

    # its address is shown once
    await page.get_by_role("button", name="Add a webhook").click()
    await page.get_by_role("button", name="Make the webhook").click()
    await expect(page.get_by_label("Address")).to_have_value(re.compile("/hooks/"))
    address = await page.get_by_label("Address").input_value()
    await page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_text("It asks for no secret")).to_be_visible()
    pushed = {"ref": "refs/heads/side", "after": "1" * 40, "repository": {"full_name": "home/forge"}}
    assert (await page.request.post(address, data=pushed, headers={"X-GitHub-Event": "push"})).ok
    await page.get_by_role("button", name="Deliveries").click()
    await expect(page.get_by_text("branch side is not the default one, and no other is wanted")).to_be_visible()
    await page.locator("select").first.select_option("ru")
    await expect(page.get_by_text("push: ветка side (home/forge)")).to_be_visible()
    await expect(page.get_by_text("Ветка side не основная, а другие не нужны")).to_be_visible()
    await page.locator("select").first.select_option("en")

    await page.get_by_role("button", name="Delete …").click()
    await page.get_by_label("Type forge to confirm").fill("forge")
    await page.get_by_role("button", name="Delete the workload", exact=True).click()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    assert "forge" not in [each["name"] for each in (await holdfast.ask("GET", "/api/workloads"))["items"]]
    assert holdfast.said == []


async def test_a_preview_is_made_from_a_snapshot_listed_and_removed_with_its_data(holdfast: Site) -> None:
    page, data = holdfast.page, holdfast.place.volumes
    await holdfast.sign_in()
    await holdfast.ask("POST", "/api/workloads", {**WORKLOAD, "name": "blog"})
    await holdfast.run("/api/workloads/blog/deploy")
    (data / "blog/data/post.txt").write_text("a post")
    await holdfast.run("/api/workloads/blog/snapshots")
    await holdfast.go("/workloads/blog/previews")
    await expect(page.get_by_text("There are no previews")).to_be_visible()
    await page.get_by_role("button", name="Make a preview").click()
    await page.get_by_label("For", exact=True).fill("pr-17")
    await page.get_by_label("Data at first").select_option("latest")
    await page.get_by_label("Image", exact=True).fill("NO IMAGE")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Image", exact=True).fill("")
    await page.get_by_label("Goes after").select_option("2 days")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.get_by_text("The data is restored, and the workload is healthy on it.")).to_be_visible()
    await page.keyboard.press("Escape")
    row = page.get_by_role("row").filter(has_text="pr-17")
    await expect(row).to_contain_text("Succeeded")
    await expect(row).to_contain_text("Snapshot of")
    assert await in_every_look(page, "the previews of a workload") == []
    assert sorted(path.read_text() for path in data.rglob("post.txt")) == ["a post", "a post"]

    await row.get_by_role("button", name="More: blog-pr-17").click()
    await page.get_by_role("menuitem", name="Remove …").click()
    await page.get_by_label("Type blog-pr-17 to confirm").fill("blog-pr-17")
    await page.get_by_role("button", name="Remove it with its data").click()
    await expect(page.get_by_text("It is done.").first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("There are no previews")).to_be_visible()
    assert list(data.rglob("post.txt")) == [data / "blog/data/post.txt"]
    assert holdfast.said == []
