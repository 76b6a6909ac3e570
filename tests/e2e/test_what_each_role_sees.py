"""Each role in the browser: what it may do is there, what it may not do isn't, and what it may not see says so."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Final

import pytest
from playwright.async_api import Page, Request

from holdfast.testing.server_process import PATIENCE
from tests.e2e.ledger import NAME, Ledger
from tests.e2e.site import HEADER, PASSWORD, Site, expect
from tests.e2e.test_story import ADDRESSES
from tests.e2e.test_system_page import PARTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

ROLES: Final = ("viewer", "operator", "admin")
NEEDED: Final = {"operator": "Only operators and admins see this page.", "admin": "Only admins see this page."}


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be pressed on a page, besides the ways to other pages, role by role: each has what those before it have.

    Attributes:
        admin: some of it; what an admin sees besides, nobody else does.
        least: the role that the page needs.
    """

    viewer: set[str] = field(default_factory=set)
    operator: set[str] = field(default_factory=set)
    admin: set[str] = field(default_factory=set)
    least: str = "viewer"


SEEN: Final = {
    "/": Seen({"What takes space"}, {"Add a service"}),
    "/operations": Seen(),
    "/operations/:operation": Seen(admin={"Undo the last restore"}),
    "/workloads/:workload": Seen(
        operator={"Take a snapshot", "…", "More: Snapshot of …"},  # each by its time, and leads to its files
        admin={"Undo the last restore", "Restore the snapshot of …"},
    ),
    "/workloads/:workload/timeline": Seen(
        {"Farther", "Nearer", "Everything"}, {"Look into it"}, {"Return to this data …"}
    ),
    "/workloads/:workload/snapshots/:snapshot": Seen(
        operator={"Compare …", "Download all of it", "book.txt", "Download book.txt"},
        admin={"Restore chosen …"},
        least="operator",
    ),
    "/workloads/:workload/deployments": Seen(operator={"Promote …", "Deploy …", "Return to it …"}),
    "/workloads/:workload/previews": Seen(operator={"Make a preview"}),
    "/workloads/:workload/logs": Seen({"Pause", "Download"}),
    "/workloads/:workload/metrics": Seen(),
    "/workloads/:workload/settings": Seen(
        {"Deliveries"},
        {"Stop", "Deploy again", "Apply and deploy", "Apply", "Discard"}
        | {"Add a volume", "Remove Volume 1", "Add a secret", "Set KEY", "Remove KEY", "Add a webhook", "Remove"},
        {"Delete …"},
    ),
    "/new": Seen(operator={"Show the proposal"}, least="operator"),
    "/system": Seen(admin={"Look again"}),
    "/system/disk": Seen(),
    "/system/repositories": Seen(operator={"Verify all"}, admin={"Prune …", "Add a repository"}),
    "/system/backups": Seen(least="admin"),
    "/system/notifications": Seen(admin={"Add a channel"}),
    "/system/registries": Seen(admin={"Add a login"}),
    "/system/users": Seen(admin={"Add a user", "Disable", "Password …", "Remove"}, least="admin"),
    "/system/account": Seen({"Make a token", "Change the password"}),
    "/system/audit": Seen(admin={"Export as a file", "Filter"}, least="admin"),
}
PRESSED: Final = """() => [...document.querySelectorAll("main :is(button, a)")]
    .filter((each) => each.checkVisibility() && !each.closest("nav"))
    .filter((each) => !/[/]operations[/][^/]+$|[/]workloads[/][^/]+$/.test(each.href ?? ""))
    .map((each) => each.getAttribute("aria-label") ?? each.innerText)"""
"""Buttons and links, but for those to an operation or a workload, of which there are as many as there were tests."""
TIME: Final = re.compile(r"[A-Z][a-z]{2} \d+, \d{4}, \d+:\d\d\s[AP]M")


class Look:
    """A page that somebody of a role looks at, and what the server refused it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.refused: list[str] = []
        self._asked: set[Request] = set()
        self._answered = asyncio.Event()
        page.on("request", self._asks)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)
        page.on("response", lambda answer: self.refused.append(answer.url) if answer.status >= 400 else None)

    async def go(self, address: str) -> None:
        """Open an address, and wait until all that the page asks the server for is there."""
        await self.page.goto(address)
        await expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        await self._answered.wait()
        await expect(self.page.get_by_text("Loading …")).to_have_count(0)
        await self._answered.wait()  # what is asked for by what came

    async def pressed(self, expected: set[str]) -> set[str]:
        """What can be pressed; what is expected is waited for."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = {" ".join(TIME.sub("…", words).split()) for words in await self.page.evaluate(PRESSED)}
            if expected <= found or time.monotonic() > deadline:
                return found

    def _asks(self, request: Request) -> None:
        if request.resource_type == "fetch" and "/logs" not in request.url:  # those are a stream that doesn't end
            self._asked.add(request)
            self._answered.clear()

    def _ended(self, request: Request) -> None:
        self._asked.discard(request)
        if not self._asked:
            self._answered.set()


async def looking(site: Site, role: str) -> Look:
    """Somebody new of a role, signed in."""
    who = {"username": f"some-{role}", "password": PASSWORD}
    await site.ask("POST", "/api/users", {"name": who["username"], "password": PASSWORD, "role": role})
    browser = site.context.browser
    assert browser is not None
    context = await browser.new_context(locale="en", viewport={"width": 1280, "height": 900})
    assert (await context.request.post(f"{site.url}/api/session", data=who, headers=HEADER)).ok
    return Look(site.watch(await context.new_page()))


async def test_each_role_sees_what_it_may_do_and_nothing_else(ledger: Ledger) -> None:
    site = ledger.site
    (newest,) = [
        each
        for each in (await site.ask("GET", "/api/operations"))["items"]
        if each["outcome"].get("snapshot_id") == ledger.snapshot and each["kind"] == "restore"
    ]
    addresses = {
        route: address.replace("/workloads/notes", f"/workloads/{NAME}").format(
            operation=newest["id"], snapshot=ledger.snapshot
        )
        for route, address in ADDRESSES.items()
        if route != "/system/:part"
    } | {f"/system/{part}": f"/system/{part}" for part in PARTS if part != "state"}
    assert set(addresses) == set(SEEN), "of each page it is said who may do what there"

    async def look(number: int, role: str) -> None:
        theirs = await looking(site, role)
        for route, address in addresses.items():
            seen = SEEN[route]
            await theirs.go(f"{site.url}{address}")
            if number < ROLES.index(seen.least):
                await expect(theirs.page.get_by_text(NEEDED[seen.least])).to_be_visible()
                assert await theirs.pressed(set()) == {"To the overview"}, (role, route)
                continue
            expected = set().union(*(getattr(seen, each) for each in ROLES[: number + 1]))
            pressed = await theirs.pressed(expected)
            assert expected <= pressed if role == "admin" else expected == pressed, (role, route, pressed ^ expected)
        assert theirs.refused == [], "nothing is asked for that would be refused"
        await theirs.page.context.close()

    await asyncio.gather(*(look(number, role) for number, role in enumerate(ROLES)))
    assert site.said == []
