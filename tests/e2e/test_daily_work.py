"""What people do with it between two bad days: see what is at work, stop it, look after snapshots and the system."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from playwright.async_api import Browser

from holdfast.testing.faulty_http import Answer, FaultyProxy
from holdfast.testing.registry import registry
from holdfast.testing.server_process import SERVE
from tests.e2e.ledger import NAME, Ledger
from tests.e2e.network import Network
from tests.e2e.site import HEADER, expect, lose_the_answer, site
from tests.integration.engine_bench import DockerPlace, until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

PLACE = f"/api/workloads/{NAME}"
OPEN_SESAME = "$2b$05$kCeSqv3uyXq5mTllrhWO0ea3r1neCmU/5382zZlFTDGXP0nu4qH66"
"""The bcrypt of a password."""


async def test_what_is_at_work_is_seen_everywhere_with_its_downtime_and_can_be_cancelled(ledger: Ledger) -> None:
    here, page = ledger.site, ledger.site.page
    await here.sign_in()
    await here.go("/")
    project = page.get_by_role("region", name=f"Project {NAME}")
    row = project.get_by_role("row").filter(has_text=NAME)
    await expect(row).to_contain_text(re.compile(r"Running.*By hand only.*\w:\d"))
    await expect(page.get_by_role("region", name="Project another")).to_contain_text("Never deployed")
    await expect(page.get_by_role("region", name="Disks")).to_contain_text(re.compile("free of .*full", re.DOTALL))

    # a restore that is not over before its program is well
    (ledger.data / "hold").touch()
    held = (await here.run(f"{PLACE}/snapshots"))["snapshot_id"]
    (ledger.data / "hold").unlink()
    await here.ask("POST", f"{PLACE}/snapshots/{held}/restore", {}, **{"X-Confirm-Restore": held})
    await expect(page.get_by_text("1 operation is under way")).to_be_visible()
    await expect(row).to_contain_text("At work")
    await page.get_by_role("link", name=f"Restore, {NAME}").click()
    counter = page.locator(".down strong")
    seen = await counter.inner_text()
    await expect(counter).not_to_have_text(seen)

    # what waits for it says so, and is called off
    waiting = await here.ask("POST", f"{PLACE}/snapshots", {})
    await here.go(f"/operations/{waiting['id']}")
    await expect(page.get_by_text("It waits for its turn")).to_be_visible()
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.get_by_text("It was cancelled, and everything was put back.").last).to_be_visible()
    await page.get_by_role("link", name="Operations").click()
    rows = page.get_by_role("row")
    await expect(rows.nth(1)).to_contain_text(re.compile("Snapshot.*ledger.*Cancelled.*ann", re.DOTALL))
    await expect(rows.nth(2)).to_contain_text(re.compile("Restore.*ledger.*Running.*ann", re.DOTALL))
    (ledger.data / "hold").unlink()
    await expect(rows.nth(2)).to_contain_text(re.compile(r"Succeeded.*\d sec", re.DOTALL))
    await rows.nth(2).get_by_role("link", name="Restore").click()
    await expect(page.get_by_text(re.compile(r"It was down for \d"))).to_be_visible()
    assert here.said == []


async def test_a_snapshot_is_pinned_verified_released_and_deleted_from_the_list(ledger: Ledger) -> None:
    here, page, dialog = ledger.site, ledger.site.page, ledger.site.page.get_by_role("dialog")
    await here.sign_in()
    await here.run(f"{PLACE}/snapshots", {"note": "before the great cleaning"})
    await here.go(f"/workloads/{NAME}")
    row = page.get_by_role("row").filter(has_text="before the great cleaning")
    await expect(row).to_contain_text(re.compile("By hand.*B", re.DOTALL))

    async def choose(action: str) -> None:
        await row.get_by_role("button", name=re.compile("^More:")).click()
        await page.get_by_role("menuitem", name=action).click()

    await choose("Pin")
    await dialog.get_by_role("button", name="Pin").click()
    await expect(row.get_by_text("Pinned")).to_be_visible()
    await choose("Verify …")
    await dialog.get_by_role("button", name="Verify it").click()
    await expect(dialog.get_by_text("It is done.").last).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(row.get_by_text("Verified")).to_be_visible()
    await row.get_by_role("button", name=re.compile("^More:")).click()
    await expect(page.get_by_role("menuitem", name="Delete …")).to_have_count(0)
    await page.keyboard.press("Escape")
    await choose("Release")
    await dialog.get_by_role("button", name="Release").click()
    await expect(row.get_by_text("Pinned")).to_have_count(0)
    await choose("Delete …")
    await dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    await dialog.get_by_role("button", name="Delete", exact=True).click()
    await expect(row).to_have_count(0)
    assert here.said == []


async def test_what_a_workload_used_is_drawn_and_told_moment_by_moment(ledger: Ledger) -> None:
    here, page = ledger.site, ledger.site.page
    await here.sign_in()

    async def measured() -> bool:
        return bool((await here.ask("GET", f"{PLACE}/metrics"))["items"])

    await until(measured)
    await here.go(f"/workloads/{NAME}/metrics")
    memory = page.get_by_role("slider", name="Memory")
    await expect(memory).to_have_attribute("aria-valuetext", re.compile(r", [\d.]+ [KM]iB$"))
    await expect(memory.locator("path.line")).not_to_have_count(0)
    await expect(page.get_by_role("slider", name="Processors")).to_have_attribute("aria-valuetext", re.compile("core"))
    await expect(page.get_by_role("slider", name="What the snapshots added")).to_be_visible()
    await memory.press("Home")
    await expect(memory.locator("line.moment")).to_have_count(1)
    async with page.expect_response(re.compile("/metrics.since=")):
        await page.get_by_label("Time that is shown").select_option("month")
    await expect(memory).to_be_visible()
    assert here.said == []


async def test_a_repository_is_verified_and_channels_and_registries_are_added_tried_and_removed(
    ledger: Ledger, tmp_path: Path
) -> None:
    here, page, dialog = ledger.site, ledger.site.page, ledger.site.page.get_by_role("dialog")
    await here.sign_in()
    await here.go("/system/repositories")
    # an answer that gets lost: what is pressed again is not done twice
    await page.route("**/api/repository/verify", lose_the_answer, times=1)
    await page.get_by_role("button", name="Verify all").click()
    await expect(page.get_by_role("alert")).to_contain_text("Holdfast doesn't answer.")
    await page.get_by_role("button", name="Verify all").click()
    await expect(page.get_by_text("It is done.").last).to_be_visible()
    verified = [each for each in (await here.ask("GET", "/api/operations"))["items"] if each["kind"] == "verify"]
    assert len([each for each in verified if each["workload_id"] is None]) == 1
    assert [said for said in here.said if "net::ERR_" not in said] == []
    here.said.clear()
    count = str(len((await here.ask("GET", "/api/snapshots?limit=200"))["items"]))
    facts = page.get_by_role("region", name="Primary repository").get_by_role("definition")
    await expect(facts.first).to_have_text(count)
    await expect(facts.nth(1)).to_have_text(count)

    with FaultyProxy(1) as people:
        people.order(Answer(204), times=9, method="POST", path="/told")
        await here.go("/system/notifications")
        await page.get_by_role("button", name="Add a channel").click()
        await dialog.get_by_label("Name").fill("people")
        await dialog.get_by_label("Address").fill(f"http://127.0.0.1:{people.port}/told")
        await dialog.get_by_role("button", name="Save").click()
        await page.get_by_role("button", name="Test").click()
        await expect(page.get_by_text("The test was delivered to people")).to_be_visible()
        assert [request.path for request in people.requests] == ["/told"]
        await page.get_by_role("button", name="Remove").click()
        await dialog.get_by_role("button", name="Remove").click()
        await expect(page.get_by_text("Nobody is told yet")).to_be_visible()

    with registry(tmp_path, users={"robot": OPEN_SESAME}) as address:
        await here.go("/system/registries")
        await page.get_by_role("button", name="Add a login").click()
        await dialog.get_by_label("A registry").fill(address)
        await dialog.get_by_label("User name").fill("robot")
        await dialog.get_by_label("Password").fill("open says me")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("registry_login_refused")
        await dialog.get_by_label("Password").fill("open sesame")
        await dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("cell", name="robot")).to_be_visible()
        assert "open sesame" not in await page.content()
        await page.get_by_role("button", name="Remove").click()
        await dialog.get_by_role("button", name="Remove").click()
        await expect(page.get_by_text("There are no logins")).to_be_visible()

    # all of it is on record
    await here.go("/system/audit")
    await page.get_by_label("On what").fill(address)
    await page.get_by_label("Action").select_option("Remove the login of a registry")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("row").nth(1)).to_contain_text(re.compile(f"ann.*{address}.*Done", re.DOTALL))
    await expect(page.get_by_role("row")).to_have_count(2)
    assert here.said == []


async def test_one_returns_to_a_backup_and_is_told_to_sign_in_again(
    browser: Browser, browsing: Network, docker_host: str, tmp_path: Path
) -> None:
    with socket.socket() as free:  # the server that starts anew has the same address
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    command = ("env", f"HOLDFAST_LISTEN=127.0.0.1:{port}", *SERVE)
    async with site(place, browser, browsing, command) as here:
        page = here.page
        await here.sign_in()
        passphrase = {"passphrase": "long enough for a backup"}
        kept = await here.context.request.put(f"{here.url}/api/backups/passphrase", data=passphrase, headers=HEADER)
        assert kept.ok, await kept.text()
        await here.ask("POST", "/api/workloads", {"name": "kept", "source": {"type": "image", "image": "some:1"}})
        backup = (await here.run("/api/backups"))["backup_id"]
        gone = await here.context.request.delete(
            f"{here.url}/api/workloads/kept", headers={**HEADER, "X-Confirm-Delete": "kept"}
        )
        assert gone.ok, await gone.text()
        await here.go("/system/backups")
        await page.get_by_role("button", name="Return to it …").last.click()
        await page.get_by_label(f"Type {backup} to confirm").fill(backup)
        await page.get_by_role("button", name="Return to this backup").click()
        await expect(page.get_by_role("heading", name="Sign in to Holdfast")).to_be_visible()
        await here.sign_in()
        await here.go("/")
        await expect(page.get_by_role("link", name="kept")).to_be_visible()
        here.said.clear()
