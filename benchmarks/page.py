"""Writes the measured figures into the documentation: the part of the page between two marks, and the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import peers_report, picture, service

DOCS: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
PAGE: Final = DOCS / "performance.md"
PICTURE: Final = "performance.svg"
SHOWN: Final = "small files"
"""The tree that the picture is of."""

_BEGIN: Final = "<!-- measured: written by `make bench` -->"
_END: Final = "<!-- /measured -->"


def text(results: Mapping[str, Any]) -> str:
    """All figures there are, for people."""
    lines = ["Measured by `make bench`, each figure the median of its runs (least to most)."]
    if "start" in results:
        lines += _part("Start", results["start"], service.report_start)
    if "downtime" in results:
        lines += _part("Downtime of a restore", results["downtime"], service.report_downtime)
    if "peers" in results:
        lines += ["", "## Targets", *peers_report.targets(results)]
        lines += ["", f"![{SHOWN.capitalize()}: seconds and sizes, tool by tool]({PICTURE})"]
        lines += _part("Beside others", results["peers"], peers_report.report)
    if "million" in results:
        lines += _part("Very many files", results["million"], peers_report.report)
    return "\n".join(lines)


def _part(title: str, part: Mapping[str, Any], report: Callable[[Any], list[str]]) -> list[str]:
    machine = [f"- {name}: {value}" for name, value in part["machine"].items()]
    return ["", f"## {title}", "", *machine, *report(part["figures"])]


def pictured(results: Mapping[str, Any]) -> str | None:
    """The picture of the comparison, if there was one."""
    if "peers" not in results:
        return None
    figures = results["peers"]["figures"]["trees"][SHOWN]
    return picture.draw(f"{SHOWN.capitalize()}, warm caches", figures["counts"], picture.panels(figures))


def put(figures: str, svg: str | None) -> None:
    """Replace what stands on the page from an earlier run, and the picture.

    Raises:
        ValueError: the page has not got the marks.
    """
    page = PAGE.read_text()
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} does not say where the figures go: between {_BEGIN} and {_END}")
    PAGE.write_text(f"{before}{_BEGIN}\n\n{figures}\n\n{_END}{after}")
    if svg is not None:
        (DOCS / PICTURE).write_text(svg)
