"""The distribution's Chromium, and a real server with a real engine behind it: one of each for all tests here.

The tests share an event loop of their own (``loop_scope="session"``), since the connection to the browser lives in it.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from holdfast.config import MIN_INTERVAL
from holdfast.testing.images import build_image
from tests.e2e import ledger as ledgers
from tests.e2e.network import Network, network
from tests.e2e.site import IMAGE, SCRIPT, Site, site
from tests.integration import conftest
from tests.integration.engine_bench import DockerPlace

_HERE = Path(__file__).parent
_FIRST, _LAST = "test_story.py", ("test_below_a_path.py", "test_daily_work.py", "test_many_windows.py")
docker_host = conftest.docker_host
registry_address = conftest.registry_address


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All share a server: the story begins with one that nobody has set up, and some want its workload as made."""
    order = {_FIRST: 0} | dict.fromkeys(_LAST, 2)
    ours = [(index, item) for index, item in enumerate(items) if item.path.parent == _HERE]
    in_turn = sorted((item for _, item in ours), key=lambda item: order.get(item.path.name, 1))
    for (index, _), item in zip(ours, in_turn, strict=True):
        items[index] = item


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsing() -> AsyncIterator[Network]:
    """Where the browser is."""
    async with network() as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(browsing: Network, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One for all tests; each has contexts of its own."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("There is no chromium. `make setup` installs it.", pytrace=False)
    async with async_playwright() as playwright:
        # the sandbox needs a user that isn't root; what is looked at is our own
        launched = await playwright.chromium.launch(
            executable_path=browsing.wrap(chromium, tmp_path_factory.mktemp("browser")), args=["--no-sandbox"]
        )
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def holdfast(
    browser: Browser, browsing: Network, docker_host: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A server that was started for the first time, and the browser in front of it."""
    await build_image(docker_host, IMAGE, script=SCRIPT)
    often = {"metrics_interval": MIN_INTERVAL}
    directory = tmp_path_factory.mktemp("site")
    (directory / "srv").mkdir()
    place = DockerPlace(directory=directory, docker_host=docker_host, roots=(directory / "srv",), more=often)
    try:
        async with site(place, browser, browsing) as running:
            yield running
    finally:
        await place.clean()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger(holdfast: Site) -> ledgers.Ledger:
    """A workload with a history, on the server that all tests here share."""
    return await ledgers.made(holdfast)
