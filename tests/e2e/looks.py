"""Looking at a page as people do who can't see it well, or use another language, theme or window than we do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from playwright.async_api import Locator, Page, ViewportSize

from tests.e2e.site import ROOT, expect, settled

AXE: Final = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text()
TORTURE: Final = os.environ.get("HOLDFAST_TORTURE") == "1"
HEIGHT: Final = 900
LANGUAGES: Final = sorted(each.stem for each in (ROOT / "web/src/i18n/languages").glob("*.ts"))
CHOOSE: Final = """(_, chosen) => {
  const fields = [...document.querySelectorAll("select")].slice(0, 2);
  for (const [index, field] of fields.entries()) {
    if (field.value === chosen[index]) continue;
    field.value = chosen[index];
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
}"""
"""As who chooses makes the browser do it, in one go: it is done hundreds of times."""
RUN: Final = """async (part) => ({
  violations: (await axe.run(part, { resultTypes: ["violations"] })).violations,
  aside: document.documentElement.scrollWidth > document.documentElement.clientWidth,
})"""


class Look(NamedTuple):
    """How somebody looks at a page."""

    language: str
    theme: str
    width: int


USUAL: Final = Look("en", "system", 1280)
LOOKS: Final = (
    [
        Look(language, theme, width)
        for language in LANGUAGES
        for theme in ("light", "dark")
        for width in (360, 1280, 1920)
    ]
    if TORTURE
    else [Look("en", "light", 1920), Look("ru", "dark", 360), Look("ru", "light", 1280)]
)
"""Each language, theme and width once; with ``make torture`` each with each."""


def in_turn(number: int) -> Sequence[Look]:
    """One look of them for what there is much of; with ``make torture`` all."""
    return LOOKS if TORTURE else [LOOKS[number % len(LOOKS)]]


async def violations(page: Page, within: Locator | None = None) -> list[str]:
    """What is hard or impossible to use on the page as it stands, or in a part of it."""
    await settled(page)
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(f"() => {{ {AXE} }}")
    found: Any = await (within or page.locator("html")).evaluate(RUN)
    told = [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
    return told + (["it scrolls aside"] if found["aside"] else [])


async def look(page: Page, how: Look) -> None:
    """Look at the page so."""
    await page.locator("select").nth(1).evaluate(CHOOSE, [how.language, how.theme])
    if page.viewport_size != (size := ViewportSize(width=how.width, height=HEIGHT)):
        await page.set_viewport_size(size)
    await expect(page.locator("html")).to_have_attribute("lang", how.language)


async def by_keys(page: Page, wanted: Locator) -> None:
    """Go to something with the Tab key, as who has no other way."""
    await expect(wanted).to_be_visible()
    for _ in range(100):
        if await wanted.evaluate("(each) => each === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"no way by keys to {wanted}")


async def in_looks(page: Page, what: str, looks: Sequence[Look], within: Locator | None = None) -> list[str]:
    """The violations of the page, or a part of it, in each of these looks; it looks as usual again afterwards."""
    found = []
    for how in looks:
        await look(page, how)
        found += [f"{what} {' '.join(map(str, how))}: {each}" for each in await violations(page, within)]
    await look(page, USUAL)
    return found


async def in_every_look(page: Page, what: str) -> list[str]:
    """The violations of the page in each language, theme and width."""
    return await in_looks(page, what, LOOKS)
