"""The comparison as a picture: one panel for each step, one bar for each tool. SVG, legible in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from benchmarks.comparison import Cache, Step
from benchmarks.peers_report import OURS, median_seconds

WIDTH: Final = 860
COLUMNS: Final = 3
MARGIN: Final = 24
GAP: Final = 28
BAR: Final = 14
ROW: Final = 21
LABEL: Final = 106
VALUE: Final = 52
TITLE: Final = 26
HEADER: Final = 62
FOOTER: Final = 30

_STYLE: Final = """
  .page { fill: #ffffff } .text { fill: #1f2328 } .faint { fill: #59636e } .peer { fill: #a9b4c0 }
  .ours { fill: #0a6b5d } .axis { stroke: #d1d9e0 }
  text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
  .title { font-size: 16px; font-weight: 600 } .step { font-size: 13px; font-weight: 600 } .bold { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .text { fill: #f0f6fc } .faint { fill: #9198a1 } .peer { fill: #4d5661 }
    .ours { fill: #35b8a2 } .axis { stroke: #3d444d }
  }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars of one unit; ``values`` are (tool, value)."""

    title: str
    unit: str
    values: Sequence[tuple[str, float]]


def panels(figures: Mapping[str, Any]) -> list[Panel]:
    """What the picture shows of one tree: each step's warm seconds, and the stored size."""
    tools = list(figures["stored"])
    found = []
    for step in Step:
        values = [(tool, median_seconds(figures, Cache.WARM, step, tool)) for tool in tools]
        found.append(
            Panel(step.value.capitalize(), "s", [(tool, value) for tool, value in values if value is not None])
        )
    stored = figures["stored_days"] or figures["stored"]
    title = f"Stored after {figures['days']} days" if figures["stored_days"] else "Stored by the first capture"
    return [*found, Panel(title, "MB", [(tool, stored[tool] / 1e6) for tool in tools])]


def draw(title: str, subtitle: str, shown: Sequence[Panel]) -> str:
    """The picture as SVG."""
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    height = TITLE + ROW * max(len(panel.values) for panel in shown)
    rows = -(-len(shown) // COLUMNS)
    total = HEADER + rows * (height + GAP) + FOOTER
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{total}" rx="8"/>',
        f'<text class="text title" x="{MARGIN}" y="{MARGIN + 8}">{escape(title)}</text>',
        f'<text class="faint" x="{MARGIN}" y="{MARGIN + 27}">{escape(subtitle)}</text>',
    ]
    for number, panel in enumerate(shown):
        x = MARGIN + number % COLUMNS * (width + GAP)
        y = HEADER + number // COLUMNS * (height + GAP) + 6
        lines += _panel(panel, x, y, width)
    foot = (
        "Each panel has its own scale. Shorter is better. Medians; the tables give ranges, cold caches and other trees."
    )
    lines += [f'<text class="faint" x="{MARGIN}" y="{total - 18}">{escape(foot)}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def _panel(panel: Panel, x: float, y: float, width: float) -> list[str]:
    most = max((value for _, value in panel.values), default=0) or 1.0
    room = width - LABEL - VALUE
    start = x + LABEL
    lines = [f'<text class="text step" x="{x:.1f}" y="{y + 12:.1f}">{escape(panel.title)}</text>']
    for number, (tool, value) in enumerate(panel.values):
        top = y + TITLE + number * ROW
        kind, weight = ("ours", " bold") if tool.startswith(OURS) else ("peer", "")
        length = max(1.0, value / most * room)
        middle, told = top + BAR - 3, f"{_value(value)} {panel.unit}"
        lines += [
            f'<text class="text{weight}" x="{start - 7:.1f}" y="{middle:.1f}" text-anchor="end">{escape(tool)}</text>',
            f'<rect class="{kind}" x="{start:.1f}" y="{top:.1f}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text class="text{weight}" x="{start + length + 5:.1f}" y="{middle:.1f}">{told}</text>',
        ]
    bottom = y + TITLE + len(panel.values) * ROW - (ROW - BAR)
    lines.append(f'<line class="axis" x1="{start}" x2="{start}" y1="{y + TITLE - 3:.1f}" y2="{bottom + 3:.1f}"/>')
    return lines


def _value(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}" if value < 1000 else f"{value:,.0f}"
