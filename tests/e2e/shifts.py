"""Whether what one looks at moves while a page comes up: on a slow line, where parts of it come one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from playwright.async_api import Route

from tests.e2e.site import Site, expect, settled

DELAYS: Final = (0.1, 0.04, 0.16)
"""Seconds that answers of the API take longer, one after another: what is asked for first isn't there first."""
LEAST: Final = 0.001
"""A shift that counts, as browsers measure it. Below are digits that take another's place."""
WATCH: Final = """
window.shifts = [];
const told = ({ node, previousRect: from, currentRect: to }) => {
  const element = node?.nodeType === Node.ELEMENT_NODE ? node : node?.parentElement;
  const words = element?.textContent.trim().replace(/\\s+/g, " ").slice(0, 40);
  return `<${element?.localName} class="${element?.className}"> ${words}: ${[from.x, from.y]} to ${[to.x, to.y]}`;
};
new PerformanceObserver((list) => {
  for (const { hadRecentInput, value, sources } of list.getEntries())
    if (!hadRecentInput) shifts.push([value, sources.map(told)]);
}).observe({ type: "layout-shift", buffered: true });
"""


async def shifts(site: Site, paths: Sequence[str], width: int) -> list[str]:
    """What moves on each of these pages while it comes up, in a window that is so wide."""
    page, found = site.watch(await site.context.new_page()), list[str]()
    asked = 0

    async def later(route: Route) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(DELAYS[asked % len(DELAYS)])
        await route.continue_()

    try:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.add_init_script(WATCH)
        await page.route("**/api/**", later)
        for path in paths:
            await page.goto(f"{site.url}{path}")
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await expect(page.locator(".loading")).to_have_count(0)
            await settled(page)
            seen = await page.evaluate("() => shifts")
            found += [f"{path} {width}: {value:.4f} {'; '.join(sources)}" for value, sources in seen if value >= LEAST]
    finally:
        await page.close()
    return found
