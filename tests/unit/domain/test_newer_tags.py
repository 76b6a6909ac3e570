"""Which tag is newer: the same text with greater numbers, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.newer_tags import TagSearch, no_newer, search

NUMBERS = st.lists(st.integers(0, 10**12), min_size=1, max_size=5)
TAGS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,12}", fullmatch=True)
DIGEST = "sha256:" + "0a" * 32


def newer(present: str, *tags: str, pattern: str = "*") -> str | None:
    return search(present, tags, pattern).newer


@pytest.mark.parametrize(
    ("present", "there", "found"),
    [
        ("1.9.2", ["1.9.1", "1.9.2", "1.10.0", "1.9.11"], "1.10.0"),
        ("v1.2.3-alpine", ["v1.4.0-alpine", "v1.5.0", "1.5.0-alpine", "v1.5.0-alpine3"], "v1.4.0-alpine"),
        ("1.4.0", ["1.4.1-rc1", "latest", "1.5", "1.4.0.1", "v1.5.0", "1.4.1\n", "١.٥.٠"], None),
        ("1.4.0", ["1.3.9", "0.99.99"], None),
        ("1.4.0-rc1", ["1.4.0", "1.4.0-rc2", "1.4.0-beta3"], "1.4.0-rc2"),
        ("2026-01-05", ["2026-01-12", "2025-12-31"], "2026-01-12"),
        ("07", ["7", "007", "08"], "08"),
        ("latest", ["stable", "latest", "1"], None),
        ("1", [], None),
    ],
)
def test_the_greatest_of_those_that_are_written_alike_is_newer(
    present: str, there: list[str], found: str | None
) -> None:
    assert newer(present, *there) == found


def test_only_what_the_pattern_takes_counts_and_all_are_counted() -> None:
    there = ["1.4.0", "1.5.0", "1.5.0", "2.0.0", "1.6", "latest"]
    assert search("1.4.0", there, "1.*") == TagSearch(seen=5, alike=2, newer="1.5.0")
    assert search("1.4.0", there, "2.*") == TagSearch(seen=5, alike=1, newer="2.0.0")
    assert search("3.0.0", there, "2.*") == TagSearch(seen=5, alike=1, newer=None)


def test_what_is_longer_than_a_tag_is_none() -> None:
    assert newer("1", "9" * 129, "9" * 5000) is None
    assert newer("1", "9" * 128) == "9" * 128


@given(st.text("v.-_a", max_size=4).filter(lambda text: not text.startswith((".", "-"))), NUMBERS, NUMBERS)
def test_numbers_are_compared_from_left_to_right_as_numbers(glue: str, one: list[int], other: list[int]) -> None:
    one, other = one[: len(other)], other[: len(one)]
    present, there = (f"{glue}.".join(["", *map(str, numbers)]) for numbers in (one, other))
    assert newer(present, there) == (there if other > one else None)


@given(TAGS, st.lists(TAGS, max_size=20), st.sampled_from(["*", "1*", "*[0-9]", "v?.*"]))
def test_what_is_found_is_there_alike_and_never_back(present: str, there: list[str], pattern: str) -> None:
    found = search(present, there, pattern)
    assert found.alike <= found.seen == len(set(there))
    if found.newer is not None:
        assert found.newer in there
        assert re.sub(r"[0-9]+", "#", found.newer) == re.sub(r"[0-9]+", "#", present)
        assert search(found.newer, [present, *there], pattern).newer is None
        assert search(present, [found.newer], pattern).newer == found.newer


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("registry.example/notes:1.4", None),
        ("registry.example:5000/notes", "latest"),
        ("notes:stable", "stable"),
        (f"notes:1.4@{DIGEST}", "digest"),
        (f"notes@{DIGEST}", "digest"),
    ],
)
def test_where_no_tag_can_be_newer_is_said(image: str, why: str | None) -> None:
    said = no_newer(image)
    assert said is None if why is None else why in str(said)
