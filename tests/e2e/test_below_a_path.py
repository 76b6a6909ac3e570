"""The interface below a path of a proxy, which takes that path off: pages, what is told live, logs, what is saved."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import httpx
import pytest
from playwright.async_api import Page

from holdfast.testing.images import build_image
from holdfast.testing.server_process import until
from tests.e2e.network import Network
from tests.e2e.site import PASSWORD, USER, WORKLOAD, Site, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("browser")]

BELOW: Final = "/house/holdfast"
NAME: Final = "talker"
IMAGE: Final = "holdfast-test/talker:1"
HOSTILE: Final = "<img src=x onerror=alert(1)>"
SAYS: Final = f"""
trap 'exit 0' TERM
echo '{HOSTILE} is text'
echo 'what went wrong' >&2
while :; do
  if [ -e /data/say ]; then rm /data/say; for n in $(seq 50); do echo "count $n"; done; fi
  sleep 0.1 & wait $!
done
"""


@contextmanager
def caddy(directory: Path, upstream: str) -> Iterator[str]:
    """The distribution's Caddy, which has Holdfast below a path, and nothing else. Gives its address."""
    program = shutil.which("caddy")
    assert program is not None, "make setup installs it"
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = "{}:{}".format(*free.getsockname())
    config = directory / "Caddyfile"
    config.write_text(
        f"{{\n admin off\n auto_https off\n}}\n"
        f"http://{listen} {{\n handle_path {BELOW}/* {{\n  reverse_proxy {upstream}\n }}\n}}\n"
    )
    command = [program, "run", "--config", str(config)]
    process = subprocess.Popen(
        command, cwd=directory, env={"HOME": str(directory)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _answers(f"http://{listen}{BELOW}/healthz"))
        yield f"http://{listen}"
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


async def saved(page: Page, link: str) -> bytes:
    """What the browser saves of a link."""
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name=link, exact=True).click()
    path = await (await downloading.value).path()
    return await asyncio.to_thread(path.read_bytes)


async def test_the_interface_works_below_a_path_of_a_proxy(holdfast: Site, browsing: Network, tmp_path: Path) -> None:
    await build_image(holdfast.place.docker_host, IMAGE, script=SAYS)
    await holdfast.sign_in()
    declared = {**WORKLOAD, "name": NAME, "source": {"type": "image", "image": IMAGE}}
    await holdfast.ask("POST", "/api/workloads", declared)
    await holdfast.run(f"/api/workloads/{NAME}/deploy")
    data = holdfast.place.volumes / NAME / "data"
    (data / "letters").mkdir()
    (data / "letters/one.txt").write_text("one letter")
    browser = holdfast.context.browser
    assert browser is not None
    with caddy(tmp_path, holdfast.url.removeprefix("http://")) as proxy:
        await browsing.open(int(proxy.rpartition(":")[2]))
        context = await browser.new_context(locale="en", reduced_motion="reduce")
        page = holdfast.watch(await context.new_page())
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        # whoever opens a page is asked who they are, and is there then
        await page.goto(f"{proxy}{BELOW}/workloads/{NAME}/logs")
        await page.get_by_label("User name").fill(USER)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()

        # what it printed is text, what it prints is there at once, and nothing moves for who has paused
        log = page.get_by_role("region", name="Logs")
        await expect(log.get_by_text(f"{HOSTILE} is text")).to_be_visible()
        await expect(log).to_contain_text("Error output: what went wrong")  # as it is read out
        await expect(page.get_by_text("2 lines")).to_be_visible()
        (data / "say").touch()
        await expect(log.get_by_text("count 50")).to_be_visible()
        await page.get_by_role("button", name="Pause").click()
        (data / "say").touch()
        await expect(page.get_by_text("Paused. 50 new lines")).to_be_visible()
        await page.get_by_role("button", name="Go on").click()
        await expect(page.get_by_text("102 lines")).to_be_visible()
        await page.get_by_role("searchbox", name="Only lines that hold …").fill("count 7")
        await expect(page.get_by_text("2 lines")).to_be_visible()
        await expect(log.locator("mark")).to_have_text(["count 7", "count 7"])
        lines = (await saved(page, "Download")).decode().splitlines()
        assert [line.partition("count")[2] for line in lines] == [" 7", " 7"]

        # a snapshot appears by itself; a file and a folder of it are saved
        await page.get_by_role("link", name="Snapshots").click()
        await expect(page.get_by_text("There are no snapshots yet")).to_be_visible()
        await holdfast.run(f"/api/workloads/{NAME}/snapshots")
        await page.get_by_role("cell", name="By hand").click()
        await page.get_by_role("row").last.get_by_role("link").click()
        with ZipFile(BytesIO(await saved(page, "Download letters"))) as folder:
            assert folder.read("letters/one.txt") == b"one letter"
        await page.get_by_role("link", name="letters/").click()
        assert await saved(page, "Download one.txt") == b"one letter"
        assert page.url.startswith(f"{proxy}{BELOW}/workloads/{NAME}/snapshots/")
        await page.reload()
        await expect(page.get_by_role("link", name="Download one.txt")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in to Holdfast")).to_be_visible()
        assert [url for url in asked if not url.startswith(f"{proxy}{BELOW}/")] == []
        await context.close()
    assert holdfast.said == []
