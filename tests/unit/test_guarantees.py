"""The page of guarantees names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs/explanation/guarantees.md"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = NAMED.findall(PAGE.read_text())
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (TESTS / file).read_text()]
    assert missing == []


def test_every_promise_invariant_and_step_has_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    heads = {"promise", "invariant", "step", "sentence", "fact", "rule"}
    bare = [row for row in rows if not NAMED.search(row) and row.split("|")[1].strip() not in heads]
    assert bare == []
    told = {match for row in rows for match in re.findall(r"\*\*([PI]\d+)\*\*", row)}
    assert told == {*(f"P{number}" for number in range(1, 8)), *(f"I{number}" for number in range(1, 12))}
