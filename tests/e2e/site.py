"""A server as a browser meets it, with what the tests do again and again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

from playwright.async_api import Browser, BrowserContext, Locator, Page, Request, Route
from playwright.async_api import expect as _expect

from holdfast.testing.server_process import SERVE, server
from tests.e2e.network import Network
from tests.integration.engine_bench import DockerPlace

if TYPE_CHECKING:
    from playwright.async_api._generated import LocatorAssertions

ROOT: Final = Path(__file__).parents[2]
IMAGE: Final = "holdfast-test/web:1"
SCRIPT: Final = "trap 'exit 0' TERM\nwhile :; do sleep 60 & wait $!; done\n"
NAME: Final = "notes"
USER: Final = "ann"
PASSWORD: Final = "correct horse battery"
HEADER: Final = {"X-Holdfast-Request": "1"}
WORKLOAD: Final = {
    "name": NAME,
    "source": {"type": "image", "image": IMAGE},
    "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
    "stop_grace": "3s",
}
_REFUSED: Final = re.compile("Failed to load resource: the server responded with a status of 4")
"""What the browser itself writes of each refusal."""
_UNDER_WAY: Final[WeakKeyDictionary[Page, set[Request]]] = WeakKeyDictionary()
"""What each page that is watched asks for and hasn't got.

Streams don't count: they don't end. Nor does the worker that windows share: its end is told to none of them.
"""

_PATIENCE: Final = 30.0
"""Seconds after which what a page does not come to show is a failure."""
_expect.set_options(timeout=2_400)
"""Whoever may wait for longer is made to look twice a second by Playwright, and not ten times."""


class _Patient:
    """Playwright's assertions about a locator, each made again until it holds or there is no patience left."""

    def __init__(self, actual: Locator) -> None:
        self._assertions = _expect(actual)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        holds = getattr(self._assertions, name)

        async def comes_to_hold(*wanted: object, **how: object) -> None:
            deadline = time.monotonic() + _PATIENCE
            while True:
                try:
                    await holds(*wanted, **how)
                except AssertionError:
                    if time.monotonic() > deadline:
                        raise
                else:
                    return

        return comes_to_hold


def expect(actual: Locator) -> LocatorAssertions:
    """Playwright's, but whatever is waited for is seen as soon as it is there, however long it took to come."""
    return cast("LocatorAssertions", _Patient(actual))


@dataclass(slots=True)
class Site:
    """A running server and the browser in front of it.

    Attributes:
        said: what pages wrote to the console and what broke in them. Nothing, unless something is wrong.
    """

    place: DockerPlace
    url: str
    token: str
    context: BrowserContext
    page: Page
    said: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The volume of the workload."""
        return self.place.volumes / NAME / "data"

    def watch(self, page: Page) -> Page:
        """Note what a page says that should not be said: errors, and what its policy kept it from."""
        under_way = _UNDER_WAY.setdefault(page, set())
        page.on("request", lambda asked: None if _endless(asked) else under_way.add(asked))
        page.on("requestfinished", lambda asked: under_way.discard(asked))
        page.on("requestfailed", lambda asked: under_way.discard(asked))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on(
            "console",
            lambda message: (
                None if _REFUSED.search(message.text) else self.said.append(f"{message.text} {message.location['url']}")
            ),
        )
        return page

    async def ask(self, method: str, path: str, document: Any = None, **headers: str) -> Any:
        """Ask the API as who is signed in."""
        answer = await self.context.request.fetch(
            f"{self.url}{path}", method=method, data=document, headers={**HEADER, **headers}, timeout=60_000
        )
        assert answer.ok, await answer.text()
        return await answer.json()

    async def run(self, path: str, document: Any = None, **headers: str) -> dict[str, Any]:
        """Start an operation and wait for its good end. Returns its outcome."""
        started = await self.ask("POST", path, document or {}, **headers)
        stream = await self.context.request.get(f"{self.url}/api/operations/{started['id']}/events", timeout=60_000)
        assert stream.ok  # it ends with the operation
        ended = await self.ask("GET", f"/api/operations/{started['id']}")
        assert ended["state"] == "succeeded", ended["error"]
        outcome: dict[str, Any] = ended["outcome"]
        return outcome

    async def sign_in(self) -> None:
        """Be signed in as the admin, who is made if nobody has been yet."""
        present = await self.context.request.get(f"{self.url}/api/session")
        if present.ok and (await present.json())["name"] == USER:
            return  # to compare a password is costly
        who = {"username": USER, "password": PASSWORD}
        answer = await self.context.request.post(f"{self.url}/api/session", data=who, headers=HEADER)
        if not answer.ok:
            first = {"Authorization": f"Bearer {self.token}"}
            await self.ask("POST", "/api/users", {"name": USER, "password": PASSWORD, "role": "admin"}, **first)
            await self.ask("POST", "/api/session", who)

    async def go(self, path: str) -> None:
        """Open a page by its address."""
        await self.page.goto(f"{self.url}{path}")


async def lose_the_answer(route: Route) -> None:
    """The server gets what is asked of it, and nobody its answer. What is only looked at is answered."""
    if route.request.method == "GET":
        await route.fallback()
        return
    await route.fetch()
    await route.abort()


async def settled(page: Page) -> None:
    """Wait until a page that is watched has all that it asked for, and shows it.

    What is measured of a page before that may be of two of its states at once.
    """
    under_way = _UNDER_WAY[page]
    async with asyncio.timeout(30):
        while True:
            await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            if not under_way:
                return


def _endless(asked: Request) -> bool:
    streams = asked.resource_type == "eventsource" or asked.headers.get("accept") == "text/event-stream"
    return streams or "/assets/streams.worker-" in asked.url


@asynccontextmanager
async def site(
    place: DockerPlace, browser: Browser, browsing: Network, command: tuple[str, ...] = SERVE
) -> AsyncIterator[Site]:
    """A server, and a browser in English in front of it, nobody signed in."""
    with server(place.settings, place.directory / "server.log", command) as running:
        url = str(running.http.base_url).rstrip("/")
        await browsing.open(running.http.base_url.port or 80)
        # nothing moves or fades while it is looked at
        context = await browser.new_context(
            locale="en", color_scheme="light", reduced_motion="reduce", viewport={"width": 1280, "height": 900}
        )
        here = Site(place, url, place.settings.admin_token_file.read_text().strip(), context, await context.new_page())
        here.watch(here.page)
        yield here
        await context.close()
