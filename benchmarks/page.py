"""Writes the measured figures into the documentation: the part of the page between two marks, and the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import browser, peers_report, picture, platform, service, very_many
from benchmarks.tables import table

DOCS: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
PAGE: Final = DOCS / "performance.md"
PICTURE: Final = "performance.svg"
SHOWN: Final = "small files"
"""The tree that the picture is of."""
PARTS: Final = {
    "start": "the start of the server, and its memory at rest",
    "downtime": "the downtime of restores",
    "peers": "capture and staging beside others",
    "large": "the downtime with 10 GB",
    "million": "memory with a million files",
}

MEASURED: Final = "measured"
PLATFORM: Final = "platform"
WEB: Final = "web"
"""What stands between two marks on the page; the platform and the web interface, parts of their own, by themselves."""
QUIET: Final = 1.0
"""The load average of a minute up to which a machine has nothing else to do; what prepares a run counts, too."""


def regions(results: Mapping[str, Any]) -> dict[str, str]:
    """What was measured, by where it stands on the page. What there are no figures of stays as it is there."""
    found = {}
    if any(part in results for part in PARTS):
        found[MEASURED] = text(results)
    for name, report in ((PLATFORM, platform.report), (WEB, browser.report)):
        if name in results:
            measured = results[name]
            lines = [*_machine(measured), *_beside(measured["machine"]), *report(measured["figures"])]
            found[name] = "\n".join(lines)
    return found


def _beside(machine: Mapping[str, str]) -> list[str]:
    """A warning, where the machine had something else to do when the measurement began."""
    load = float(machine["load average"].split()[0])
    if load <= QUIET:
        return []
    return [
        "",
        f"**Other work ran on this machine when it began (load {load:g}): times are longer than they need be.**",
    ]


def text(results: Mapping[str, Any]) -> str:
    """All figures there are, for people; and of what there are none."""
    lines = ["Measured by `make bench`, each figure the median of its runs (least to most)."]
    for part, what in PARTS.items():
        if part not in results:
            lines += ["", f"**Not measured: {what}** (`make bench PARTS={part}`)."]
    lines += ["", "## Targets", *_targets(results)]
    if "start" in results:
        lines += ["", "## Start", "", *_machine(results["start"])]
        lines += service.report_start(results["start"]["figures"])
    if downtimes := [results[part] for part in ("downtime", "large") if part in results]:
        lines += ["", "## Downtime of a restore", "", *_machine(*downtimes)]
        lines += service.report_downtime(_together(downtimes))
    if "peers" in results:
        lines += ["", "## Beside others", "", f"![{SHOWN.capitalize()}: seconds and sizes, tool by tool]({PICTURE})"]
        lines += ["", *_machine(results["peers"]), *peers_report.report(results["peers"]["figures"])]
    if "million" in results:
        lines += ["", "## Very many files", "", *_machine(results["million"])]
        lines += very_many.report(results["million"]["figures"])
    return "\n".join(lines)


def _targets(results: Mapping[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    if "start" in results:
        rows += service.targets_of_start(results["start"]["figures"])
    if downtimes := [results[part] for part in ("downtime", "large") if part in results]:
        rows += service.targets_of_downtime(_together(downtimes))
    if "million" in results:
        rows += very_many.targets(results["million"]["figures"])
    lines = table(["target", "at most", "measured"], rows) if rows else []
    return lines + (peers_report.targets(results["peers"]["figures"]) if "peers" in results else [])


def _together(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: measured for part in parts for name, measured in part["figures"].items()}


def _machine(*parts: Mapping[str, Any]) -> list[str]:
    """What is known of the machine; where several parts differ, what each of them says."""
    values = {name: list(dict.fromkeys(part["machine"][name] for part in parts)) for name in parts[0]["machine"]}
    return [f"- {name}: {'; '.join(differing)}" for name, differing in values.items()]


def pictured(results: Mapping[str, Any]) -> str | None:
    """The picture of the comparison, if there was one."""
    if "peers" not in results:
        return None
    figures = results["peers"]["figures"]["trees"][SHOWN]
    return picture.draw(f"{SHOWN.capitalize()}, warm caches", figures["counts"], picture.panels(figures))


def put(measured: Mapping[str, str], svg: str | None) -> None:
    """Replace what stands on the page from an earlier run, region by region, and the picture.

    Raises:
        ValueError: the page has not got the marks.
    """
    page = PAGE.read_text()
    for name, figures in measured.items():
        begin, end = f"<!-- {name}: written by `make bench` -->", f"<!-- /{name} -->"
        before, begins, rest = page.partition(begin)
        _, ends, after = rest.partition(end)
        if not begins or not ends:
            raise ValueError(f"{PAGE} does not say where the figures go: between {begin} and {end}")
        page = f"{before}{begin}\n\n{figures}\n\n{end}{after}"
    PAGE.write_text(page)
    if svg is not None:
        (DOCS / PICTURE).write_text(svg)
