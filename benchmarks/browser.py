"""The web interface in a browser: what it loads, how soon it can be used, whether long lists are smooth.

A real server with as much as a house full of services gathers in years. Nothing else runs while a figure is taken; what
is scrolled is scrolled as by a wheel, by the browser's own gesture.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright
from playwright.sync_api import TimeoutError as TooLong

from benchmarks import web
from benchmarks.server import Program, Server, serving
from benchmarks.service import DOCKER, clean
from benchmarks.tables import judged, table, told
from holdfast.api.interface import BUILT
from holdfast.testing.first_admin import become_admin
from holdfast.testing.images import build_image

Figures = dict[str, Any]
Say = Callable[[str], object]

MAX_SCRIPT_KB: Final = 200.0
MAX_INTERACTIVE: Final = 1.0
SLOWER: Final = 4
"""So many times slower than this machine's processor is, for what is loaded."""
LIST_SECONDS: Final = 4.0
FRAME: Final = 1000 / 60
NAME: Final = "web"
NOISY: Final = "noisy"
NOISY_IMAGE: Final = "holdfast-bench/noisy:1"
SETTLING: Final = 5.0
LINES: Final = "seq -f 'line %g of what a program says when it is asked to say everything' 1 100; usleep 100000"
WEB: Final = Path(__file__).resolve().parent.parent / "web" / "src"
LIGHTHOUSE: Final = Path(__file__).resolve().parent / "lighthouse"
"""Where ``make bench`` installs it; without it there is no score."""

WATCH: Final = """
window.seen = {longest: [], shown: 0};
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) seen.longest.push([each.startTime, each.duration]);
}).observe({type: "longtask", buffered: true});
new MutationObserver((_, self) => {
  if (!document.querySelector("main table a")) return;
  seen.shown = performance.now();
  self.disconnect();
}).observe(document, {subtree: true, childList: true});
"""
"""Notes when the first workload stands there, and all that keeps the page from answering for more than 50 ms."""
FRAMES: Final = """() => {
  window.shown = []; window.counting = true; window.moved = 0;
  addEventListener("scroll", () => moved++, true);
  requestAnimationFrame(function next(now) { shown.push(now); if (counting) requestAnimationFrame(next); });
}"""
COUNTED: Final = "() => { counting = false; return shown.slice(1).map((now, at) => now - shown[at]); }"


def measure(work: Path, say: Say, keep: Callable[[Figures], object], *, quick: bool) -> None:
    """All of it.

    Args:
        work: a directory for the server's data.
        keep: given what was measured so far, after each measurement.
    """
    many, files, rounds = (50, 2_000, 2) if quick else (1_000, 100_000, 5)
    program = Program(bytecode=work / "bytecode", docker_host=DOCKER)
    asyncio.run(build_image(DOCKER, web.IMAGE, script=web.SCRIPT))
    asyncio.run(build_image(DOCKER, NOISY_IMAGE, script=f"trap 'exit 0' TERM\nwhile :; do {LINES}; done"))
    figures: Figures = {"frames": {}}

    def measured(**of_it: Any) -> None:
        figures.update(of_it)
        keep(figures)

    try:
        with serving(program, work / "data") as server:
            cookies = become_admin(server.http, "bench", "correct horse battery")
            deployed(server, NAME, web.IMAGE)
            with browsing(server, cookies) as context:

                def smooth(what: str, look: Callable[[BrowserContext, str], Figures], url: str) -> None:
                    say(f"frames: {what}")
                    in_rounds = [(look(context, url), look(context, bare(many))) for _ in range(rounds)]
                    together = [{**ours, "bare dropped": beside["dropped"]} for ours, beside in in_rounds]
                    measured(frames={**figures["frames"], what: together})

                say("first load")
                measured(**loads(context, server, rounds, say))
                say("accessibility, by Lighthouse")
                measured(lighthouse=lighthouse(server, work))
                for what, path in grown(server, work / "data", many, files, say):
                    smooth(what, scrolled, address(server, path))
                deployed(server, NOISY, NOISY_IMAGE)
                smooth("logs, a thousand lines a second", watched, address(server, f"/workloads/{NOISY}/logs"))
    finally:
        clean(work)


def deployed(server: Server, name: str, image: str) -> None:
    """Deploy a workload, and let the machine's network settle: a browser breaks requests off when it changes."""
    declaration = {
        "name": name,
        "project": web.PROJECT,
        "source": {"type": "image", "image": image},
        "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
    }
    server.http.put(f"/api/workloads/{name}", json=declaration).raise_for_status()
    web.deploy(server, name)
    time.sleep(SETTLING)


@contextmanager
def browsing(server: Server, cookies: Mapping[str, str]) -> Iterator[BrowserContext]:
    """A browser in which somebody is signed in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(locale="en", viewport={"width": 1280, "height": 900})
        url = str(server.http.base_url)
        context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])
        yield context
        browser.close()


def loads(context: BrowserContext, server: Server, rounds: int, say: Say) -> Figures:
    """The overview, opened for the first time: kilobytes as sent, and seconds until it can be used, slowed down."""
    measured: list[tuple[float, float, float]] = []
    for _ in range(3 * rounds):
        try:
            measured.append(_loaded(context, server))
        except TooLong:
            say("  broken off, as when the machine's network changes; once more")
        if len(measured) == rounds:
            break
    script, everything, interactive = zip(*measured, strict=True)
    # What a worker loads is told to nobody who watches a page.
    workers = sum(each.stat().st_size for each in BUILT.glob("assets/*.worker-*.js.br")) / 1000
    return {
        "script kB": max(script) + workers,
        "all kB": max(everything) + workers,
        "interactive": list(interactive),
    }


def _loaded(context: BrowserContext, server: Server) -> tuple[float, float, float]:
    """Kilobytes of script, kilobytes of everything, seconds. Raises ``TooLong`` where nothing came."""
    page, session = opened(context)
    kinds: dict[str, str] = {}
    sent: dict[str, float] = {}
    session.on("Network.responseReceived", lambda event: kinds.update({event["requestId"]: event["type"]}))
    session.on("Network.loadingFinished", lambda event: sent.update({event["requestId"]: event["encodedDataLength"]}))
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.add_init_script(WATCH)
    try:
        page.goto(address(server, "/"))
        page.locator("main table a").first.wait_for(timeout=15_000)
        page.wait_for_timeout(1500)  # in which nothing may keep it busy, or that counts
        seen = page.evaluate("seen")
    finally:
        page.close()
    usable = max([seen["shown"], *(start + took for start, took in seen["longest"])])
    script = sum(size for request, size in sent.items() if kinds.get(request) == "Script")
    return script / 1000, sum(sent.values()) / 1000, usable / 1000


def address(server: Server, path: str) -> str:
    """Where a page is."""
    return f"{str(server.http.base_url).rstrip('/')}{path}"


def opened(context: BrowserContext) -> tuple[Page, CDPSession]:
    """A new page, and what tells its browser how to behave."""
    page = context.new_page()
    return page, context.new_cdp_session(page)


def grown(server: Server, data: Path, many: int, files: int, say: Say) -> Iterator[tuple[str, str]]:
    """Have more and more there. Gives what there is very much of now, and where it is shown."""
    say(f"{many} workloads")
    for number in range(many):
        web.declare(server, f"service-{number:04}")
    yield f"{many:,} workloads", "/"
    say(f"{many} snapshots")
    (data / f"volumes/{NAME}/data/entry").write_text("something")
    for _ in range(many):
        server.run(f"/api/workloads/{NAME}/snapshots", document={"quiesce": "none"})
    yield f"{many:,} snapshots", f"/workloads/{NAME}"
    yield f"{many:,} snapshots on the timeline", f"/workloads/{NAME}/timeline"
    say(f"a folder of {files} files")
    folder = data / f"volumes/{NAME}/data/folder"
    folder.mkdir()
    for number in range(files):
        (folder / f"file-{number:06}").touch()
    taken = server.run(f"/api/workloads/{NAME}/snapshots", document={"quiesce": "none"})["outcome"]["snapshot_id"]
    path = base64.urlsafe_b64encode(b"folder").decode()  # as names of any bytes stand in addresses
    yield f"a folder of {files:,} files", f"/workloads/{NAME}/snapshots/{taken}?path={path}"


def scrolled(context: BrowserContext, url: str) -> Figures:
    """The longest list of a page, scrolled for some seconds as by a wheel."""
    page, session = opened(context)
    page.goto(url)
    page.locator("main :is(tbody tr, [role=listitem], [role=option])").first.wait_for(timeout=60_000)
    page.wait_for_timeout(5000)  # until all of it is there
    place = page.evaluate(
        """() => {
            const lists = [...document.querySelectorAll("main *")]
                .filter((each) => each.scrollHeight > each.clientHeight + 200)
                .filter((each) => /auto|scroll/.test(getComputedStyle(each).overflowY));
            const box = lists.sort((a, b) => b.scrollHeight - a.scrollHeight)[0]?.getBoundingClientRect();
            return box ? [box.x + box.width / 2, Math.min(box.y + 100, innerHeight - 50)] : [700, 500];
        }"""
    )
    speed = 4000
    page.evaluate(FRAMES)
    for way in (-1, 1):
        session.send(
            "Input.synthesizeScrollGesture",
            {
                "x": place[0],
                "y": place[1],
                "yDistance": way * speed * LIST_SECONDS / 2,
                "speed": speed,
                "gestureSourceType": "mouse",
            },
        )
    gaps, moved = page.evaluate(COUNTED), page.evaluate("moved")
    page.close()
    if not moved:
        raise RuntimeError(f"{url} did not scroll; frames of what stands still say nothing")
    return of_frames(gaps)


def bare(rows: int) -> str:
    """A page with nothing but a table of text: what this browser on this machine can do at all."""
    cells = "<td style='padding:1em'>so and so<td>much of it"
    return f"data:text/html,<!doctype html><main><table>{''.join(f'<tr><td>{row}{cells}' for row in range(rows))}"


def watched(context: BrowserContext, url: str) -> Figures:
    """A page that changes by itself, looked at for some seconds."""
    page, _ = opened(context)
    page.goto(url)
    page.wait_for_timeout(3000)
    page.evaluate(FRAMES)
    page.wait_for_timeout(LIST_SECONDS * 1000)
    gaps = page.evaluate(COUNTED)
    page.close()
    return of_frames(gaps)


def of_frames(gaps: Sequence[float]) -> Figures:
    """How many frames there were and were not, and the longest time without one, in milliseconds."""
    dropped = sum(max(0, round(gap / FRAME) - 1) for gap in gaps)
    return {"shown": len(gaps), "dropped": dropped, "longest ms": max(gaps)}


def lighthouse(server: Server, work: Path) -> dict[str, int] | None:
    """The score for accessibility of each page, by Lighthouse; ``None`` where it is not installed."""
    program = LIGHTHOUSE / "node_modules/.bin/lighthouse"
    if not program.exists():
        return None
    headers = work / "headers.json"
    headers.write_text(json.dumps({"Cookie": server.http.headers["Cookie"]}))
    scores = {}
    for path in addresses(server):
        command = [str(program), address(server, path), "--quiet", "--output=json"]
        command += ["--only-categories=accessibility", f"--extra-headers={headers}", "--preset=desktop"]
        command += ["--chrome-flags=--headless=new --no-sandbox"]
        told = subprocess.run(
            command,
            capture_output=True,
            check=True,
            env={"CHROME_PATH": str(shutil.which("chromium")), "PATH": "/usr/bin:/bin"},
        )
        scores[path] = round(100 * json.loads(told.stdout)["categories"]["accessibility"]["score"])
    return scores


def addresses(server: Server) -> list[str]:
    """Where each page is that the interface's router knows."""
    routes = re.findall(r'\bpath: "([^"]+)"', (WEB / "routes.ts").read_text())
    parts = re.findall(r'\{ name: "(\w+)"', (WEB / "routes/system/System.svelte").read_text())
    taken = server.run(f"/api/workloads/{NAME}/snapshots", document={"quiesce": "none"})
    values = {
        "workload": [NAME],
        "snapshot": [taken["outcome"]["snapshot_id"]],
        "operation": [taken["id"]],
        "part": parts,
    }
    found = []
    for route in routes:
        several = [values[name] for name in re.findall(r":(\w+)", route)]
        form = re.sub(r":(\w+)", "{}", route)
        found += [form.format(*each) for each in itertools.product(*several)]
    return found


def targets(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, at most, measured."""
    rows = [
        ["first load, compressed script", f"{MAX_SCRIPT_KB:g} kB", judged(figures["script kB"], MAX_SCRIPT_KB)],
        [
            f"interactive, processor {SLOWER} times slower",
            f"{MAX_INTERACTIVE:g} s",
            judged(statistics.median(figures["interactive"]), MAX_INTERACTIVE),
        ],
    ]
    rows += [
        [f"frames dropped: {what}", "0", judged(statistics.median(each["dropped"] for each in in_rounds), 0)]
        for what, in_rounds in figures["frames"].items()
    ]
    if scores := figures.get("lighthouse"):
        below = sum(score < 100 for score in scores.values())
        rows.append([f"pages of {len(scores)} below 100 for accessibility, by Lighthouse", "0", judged(below, 0)])
    return rows


def report(figures: Mapping[str, Any]) -> list[str]:
    """The targets beside what was measured, and the tables."""
    loaded = [
        ["kB of script, compressed", f"{figures['script kB']:.0f}"],
        ["kB of everything, compressed", f"{figures['all kB']:.0f}"],
        [f"seconds until it can be used, processor {SLOWER} times slower", told(figures["interactive"])],
    ]
    scrolled = [
        [
            what,
            f"{statistics.median(each['shown'] for each in in_rounds):,.0f}",
            ", ".join(str(each["dropped"]) for each in in_rounds),
            ", ".join(str(each["bare dropped"]) for each in in_rounds),
            f"{max(each['longest ms'] for each in in_rounds):.0f}",
        ]
        for what, in_rounds in figures["frames"].items()
    ]
    lines = table(["target", "at most", "measured"], targets(figures))
    lines += table(["the overview, opened for the first time", ""], loaded)
    columns = ["frames", "dropped, in each round", "by a bare table, each time just after", "longest without one, ms"]
    lines += table(["scrolled, or changing by itself", *columns], scrolled)
    if scores := figures.get("lighthouse"):
        lines += table(["page", "accessibility"], [[f"`{path}`", str(score)] for path, score in scores.items()])
    return lines
