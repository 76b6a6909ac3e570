"""The documentation's pictures of the web interface, made by a real run: server, engine, containers, browser.

``--every DIRECTORY`` takes each page and each dialog instead: in both themes and languages, at three widths, for
somebody to look at. Pages that begin empty are taken once more with something in them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, sync_playwright
from playwright.sync_api import TimeoutError as TooLong

from holdfast.config import Settings
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.testing.dialogs import ANSWERS, DIALOGS, WORKLOAD
from holdfast.testing.docker_engine import DEFAULT_HOST
from holdfast.testing.first_admin import become_admin
from holdfast.testing.images import build_image
from holdfast.testing.server_process import ServerProcess, server

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "pictures"
MOST: Final = 100_000
"""Bytes that a picture may have."""
DOCKER: Final = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
STEADY: Final = "trap 'exit 0' TERM\nwhile :; do echo \"served a page, $(date)\"; sleep 1 & wait $!; done\n"
IMAGES: Final = ("notes:1.4", "notes:1.5", "wiki:2.1", "photos:8.0")
SETTLING: Final = 3.0
"""Seconds after the last container came: a browser breaks off what it loads when the machine's network changes."""
THEMES: Final = ("light", "dark")
LANGUAGES: Final = sorted(each.stem for each in (ROOT / "web/src/i18n/languages").glob("*.ts"))
WIDTHS: Final = (360, 1024, 1920)
USUAL: Final = 1280
HEIGHT: Final = 860
FURNISHED: Final = ("/workloads/notes", "/workloads/notes/previews", "/workloads/notes/settings")
"""Besides the parts of the system, the pages that hardly anything is on in a house as young as this one."""
LONG: Final = "minutes-of-the-general-meeting-of-the-allotment-gardeners-2026"


def main() -> None:
    """Make the pictures, or all that there is to look at."""
    options = argparse.ArgumentParser(prog="python scripts/pictures.py", description=__doc__)
    options.add_argument(
        "--every", type=Path, metavar="DIRECTORY", help="each page, in every look, into this directory"
    )
    chosen = options.parse_args()
    for image in IMAGES:
        asyncio.run(build_image(DOCKER, image, script=STEADY, env={"RELEASE": image}))
    with tempfile.TemporaryDirectory(prefix="holdfast-pictures-") as made:
        settings = Settings(data_dir=Path(made) / "data", docker_host=DOCKER, steady_seconds=0.3)
        try:
            with server(settings, Path(made) / "server.log") as running, sync_playwright() as playwright:
                cookies = become_admin(running.http, "ann", "correct horse battery")
                live(running, settings.volumes_base)
                time.sleep(SETTLING)
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                house = House(running, browser, cookies)
                if chosen.every:
                    go_wrong(running)
                    every(house, chosen.every)
                else:
                    documentation(house)
                browser.close()
        finally:
            asyncio.run(clean(settings))


class House:
    """The server of a small house, and the browser in front of it."""

    def __init__(self, running: ServerProcess, browser: Browser, cookies: dict[str, str]) -> None:
        self.running = running
        self.url = str(running.http.base_url).rstrip("/")
        self._browser = browser
        self._cookies = cookies

    @contextmanager
    def looked_at(self, theme: str, language: str = "en", width: int = USUAL, height: int = HEIGHT) -> Iterator[Page]:
        """A page that nobody has opened before, for somebody with these preferences."""
        context: BrowserContext = self._browser.new_context(
            color_scheme="dark" if theme == "dark" else "light",
            locale=language,
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
        )
        context.add_cookies([{"name": name, "value": value, "url": self.url} for name, value in self._cookies.items()])
        yield context.new_page()
        context.close()

    def go(self, page: Page, path: str) -> None:
        """Open a page, and wait until it shows what it has; once more where the machine's network changed meanwhile."""
        page.goto(f"{self.url}{path}")
        try:
            page.locator("main h1").wait_for(timeout=10_000)
        except TooLong:
            page.reload()
            page.locator("main h1").wait_for()
        page.locator(".loading").first.wait_for(state="detached")
        page.wait_for_timeout(600)  # what comes by itself a little later: charts, lines, the editor

    def furnish(self, page: Page) -> None:
        """Have the page told of what is seldom there."""
        mine = str(self.running.http.get("/api/workloads/notes").json()["id"])
        for (method, path), answer in ANSWERS.items():
            told = answer.model_dump_json(by_alias=True).replace(WORKLOAD, mine)

            def stand_in(route: Route, request: Request, method: str = method, told: str = told) -> None:
                if request.method == method:
                    route.fulfill(content_type="application/json", body=told)
                else:
                    route.fallback()

            page.route(f"{self.url}{path}", stand_in)

    def values(self) -> dict[str, str]:
        """What stands in addresses: a workload, a snapshot of it, and an operation on it."""
        (operation, *_) = self.running.http.get("/api/operations?workload=notes").json()["items"]
        return {"workload": "notes", "snapshot": self.newest("notes"), "operation": operation["id"]}

    def newest(self, workload: str) -> str:
        """The snapshot of a workload that was taken last by hand."""
        items = self.running.http.get(f"/api/workloads/{workload}/snapshots").json()["items"]
        return str(next(each["id"] for each in items if each["reason"] == "manual"))


def live(running: ServerProcess, volumes: Path) -> None:
    """Have happen what happens in a house: deployments, snapshots, a bad upgrade, a restore."""

    def declare(name: str, image: str, project: str, **more: object) -> None:
        document = {
            "name": name,
            "project": project,
            "source": {"type": "image", "image": image},
            "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
            "stop_grace": "3s",
            **more,
        }
        running.http.put(f"/api/workloads/{name}", json=document).raise_for_status()

    def run(path: str, **request: object) -> dict[str, object]:
        return running.succeeded(running.start("POST", f"/api/workloads/{path}", **{"json": {}, **request}))

    def write(name: str, **files: str) -> None:
        for file, text in files.items():
            path = volumes / name / "data" / file.replace("__", ".")
            path.write_text(text)

    declare("notes", "notes:1.4", "house", snapshots={"schedule": "0 3 * * *", "keep": {"daily": 7}})
    declare("wiki", "wiki:2.1", "house", snapshots={"schedule": "30 2 * * *", "keep": {"daily": 14}})
    declare("photos", "photos:8.0", "family")
    for name in ("notes", "wiki", "photos"):
        run(f"{name}/deploy")
    write(
        "notes",
        notes__db="a day of notes\n" * 20_000,
        **{f"2026-0{month}__md": "# What happened\n" for month in range(1, 10)},
    )
    write("wiki", pages__db="pages\n" * 9_000)
    run("notes/snapshots", json={"note": "before the move"})
    run("wiki/snapshots")
    write("notes", **{"2026-10__md": "# October\n", "draft__md": "not finished\n"})
    taken = run("notes/snapshots", json={"note": "before the upgrade"})
    declare("notes", "notes:1.5", "house", snapshots={"schedule": "0 3 * * *", "keep": {"daily": 7}})
    run("notes/deploy")
    write("notes", notes__db="a bad migration")
    for gone in list((volumes / "notes/data").glob("2026-0*.md"))[:5]:
        gone.unlink()
    snapshot = str(taken["snapshot_id"])
    run(f"notes/snapshots/{snapshot}/restore", headers={"X-Confirm-Restore": snapshot})
    write("notes", notes__db="a bad migration, once more", **{"lost+found__txt": "?"})
    for gone in list((volumes / "notes/data").glob("2026-0*.md"))[:3]:
        gone.unlink()


def documentation(house: House) -> None:
    """The pictures that the documentation shows, in both themes."""
    PICTURES.mkdir(exist_ok=True)
    for theme in THEMES:
        for name, path, height in (
            ("overview", "/", 480),
            ("snapshots", "/workloads/notes", 480),
            ("timeline", "/workloads/notes/timeline", 780),
        ):
            with house.looked_at(theme, height=height) as page:
                house.go(page, path)
                save(page, f"{name}-{theme}")
        with house.looked_at(theme, height=860) as page:
            house.go(page, "/workloads/notes")
            row = page.locator("tr", has_text="before the upgrade")
            row.get_by_role("button", name="Restore the snapshot of").click()
            page.get_by_label("Type notes to confirm").fill("notes")
            for each in page.get_by_role("dialog").locator("summary").all():
                each.click()
            save(page, f"restore-{theme}")


def save(page: Page, name: str) -> None:
    """The page as it stands, as a small WebP; the browser itself makes one.

    Raises:
        SystemExit: it is too large for a page that people load.
    """
    png = base64.b64encode(page.screenshot()).decode()
    with page.context.browser.new_context() as context:  # type: ignore[union-attr] # a context that a browser made
        told = context.new_page().evaluate(
            """async (png) => {
                const image = new Image();
                image.src = `data:image/png;base64,${png}`;
                await image.decode();
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [image.width, image.height];
                canvas.getContext("2d").drawImage(image, 0, 0);
                return canvas.toDataURL("image/webp", 0.85);
            }""",
            png,
        )
    picture = base64.b64decode(told.partition(",")[2])
    if len(picture) > MOST:
        raise SystemExit(f"{name} has {len(picture)} bytes, more than {MOST}")
    (PICTURES / f"{name}.webp").write_bytes(picture)
    print(f"docs/pictures/{name}.webp: {len(picture) / 1000:.0f} kB", flush=True)


def go_wrong(running: ServerProcess) -> None:
    """Have happen what nobody wants to see: an image that can't be had, and a service that doesn't stay up."""
    for name, source in (
        (LONG, {"type": "image", "image": f"127.0.0.1:1/{LONG}/web-interface:2026.11.27-rc.1"}),
        ("crawler", {"type": "image", "image": "wiki:2.1"}),
    ):
        document = {"name": name, "project": LONG, "source": source, "command": ["false"], "restart": "always"}
        running.http.put(f"/api/workloads/{name}", json=document).raise_for_status()
        running.ended(running.start("POST", f"/api/workloads/{name}/deploy", json={}))


def every(house: House, directory: Path) -> None:
    """Each page that the router knows, and each dialog, in every look."""
    directory.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        for language in LANGUAGES:
            for width in WIDTHS:
                look = f"{width}_{theme}_{language}"
                with house.looked_at(theme, language, width) as page:
                    pages(house, page, directory, look)
                with house.looked_at(theme) as page:
                    dialogs(house, page, directory, look, language, width)


def pages(house: House, page: Page, directory: Path, look: str) -> None:
    """Each page, and once more what is empty in this house."""
    values = house.values()
    known = re.findall(r'\bpath: "([^"]+)"', (ROOT / "web/src/routes.ts").read_text())
    parts = re.findall(r'\{ name: "([a-z]+)"', (ROOT / "web/src/routes/system/System.svelte").read_text())
    paths = [
        re.sub(r":([a-z]+)", lambda found: values.get(found[1], ""), path) for path in known if ":part" not in path
    ]
    system = [f"/system/{part}" for part in parts]

    def take(path: str, end: str = "") -> None:
        house.go(page, path)
        plain = path.replace(values["operation"], "one").replace(values["snapshot"], "one")
        name = re.sub("[^a-z]+", "-", plain).strip("-") or "overview"
        page.screenshot(path=directory / f"{name}{end}_{look}.png", full_page=True)

    for path in [*paths, *system]:
        take(path)
    house.furnish(page)
    for path in [*FURNISHED, *system]:
        take(path, "-furnished")


def dialogs(house: House, page: Page, directory: Path, look: str, language: str, width: int) -> None:
    """Each dialog, opened in English in a usual window, and looked at in the language at the width."""
    house.furnish(page)
    for name, opened in DIALOGS.items():
        house.go(page, opened.at.format(**house.values()))
        for step in opened.steps:
            if isinstance(step, tuple):
                page.locator(step[0]).first.fill(step[1])
            else:
                page.locator(step).first.click()
        page.get_by_role("dialog").wait_for()
        page.locator("dialog .loading").first.wait_for(state="detached")
        page.locator("select").first.select_option(language)
        page.locator(f"html[lang={language}]").wait_for(state="attached")
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.screenshot(path=directory / f"dialog-{name.replace(' ', '-')}_{look}.png")
        page.locator("select").first.select_option("en")
        page.set_viewport_size({"width": USUAL, "height": HEIGHT})


async def clean(settings: Settings) -> None:
    """Remove the containers, networks and images of this run."""
    runtime = DockerRuntime(DOCKER)
    try:
        installation = settings.installation_file.read_text().strip()
        for container in await runtime.containers({LABEL_INSTALLATION: installation}):
            await runtime.remove(container.id, force=True)
        for project in ("house", "family"):
            await runtime.remove_network(f"holdfast-{installation[-6:]}-{project}")
        for image in IMAGES:
            await runtime.untag(image)
    finally:
        await runtime.close()


if __name__ == "__main__":
    main()
