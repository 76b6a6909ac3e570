"""The documentation's site: whole, found by its navigation and its search, and a secret between it and its reader."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
CONFIGURATION = REPOSITORY / "zensical.toml"

pytestmark = pytest.mark.xdist_group("docs site")


def build(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("docs")
    shutil.copy(CONFIGURATION, directory)
    shutil.copytree(DOCS, directory / "docs")
    done = build(directory)
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    yield directory / "site"
    shutil.rmtree(directory)


def navigated(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        yield from navigated(list(entries.values()))
    elif isinstance(entries, list):
        for entry in entries:
            yield from navigated(entry)


def test_it_builds_without_a_broken_link_and_every_page_is_in_the_navigation(site: Path) -> None:
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    configured = list(navigated(tomllib.loads(CONFIGURATION.read_text())["project"]["nav"]))
    assert sorted(configured) == sorted(pages), "zensical.toml lists each page once"
    assert {page for page in pages if not (site / page).with_suffix(".html").is_file()} == set()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)|<link\b[^>]*\bhref=[\"']?([^\"' >]+)"
    )
    for page in site.rglob("*.html"):
        found = {one or other for one, other in loads.findall(page.read_text(encoding="utf-8"))}
        assert found, f"{page} loads nothing"
        assert {url for url in found if re.match(r"([a-z]+:)?//", url)} == set(), page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*|@import[^;]*", sheet.read_text(encoding="utf-8")) == [], (
            sheet
        )


def test_its_search_knows_what_the_pages_say(site: Path) -> None:
    entries = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    assert any("safety snapshot" in entry["text"] and "restore" in entry["location"] for entry in entries)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[gone](gone.md)\n")
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "Page"\n')
    assert build(tmp_path).returncode != 0
