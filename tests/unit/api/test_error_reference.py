"""The reference page of errors names every code that exists, under the class that it has, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.testing.error_codes import Code, documented_codes, found_codes, rendered

PAGE = Path(__file__).parents[3] / "docs/reference/errors.md"

Found = dict[tuple[str, str], Code]


pytestmark = pytest.mark.xdist_group("error reference")  # reading all code for the codes takes seconds: once


@pytest.fixture(scope="module")
def found() -> Found:
    """Read once: it takes seconds."""
    return found_codes()


def test_the_reference_names_exactly_the_codes_that_exist(found: Found) -> None:
    documented = documented_codes(PAGE.read_text())
    hint = "write the page anew: python -m holdfast.testing.error_codes > docs/reference/errors.md"
    assert sorted(set(found) - documented) == [], f"not documented; {hint}"
    assert sorted(documented - set(found)) == [], f"documented, but nowhere raised; {hint}"


def test_the_page_is_read_as_it_is_written(found: Found) -> None:
    assert documented_codes(rendered(found.values())) == set(found)


def test_codes_are_found_however_they_are_given(found: Found) -> None:
    assert ("token_missing", "Unauthorized") in found  # an error's first argument
    assert ("volume_not_in_snapshot", "Refused") in found  # a problem's code=
    assert ("archive_ratio_too_high", "TooLarge") in found  # passed on by a function
    assert ("disk_error", "Failed") in found  # chosen from a table
    assert ("volume_missing", "Refused") in found  # chosen from another
    assert ("restore_reverted_unhealthy", "Failed") in found  # one of two
    assert ("deploy_unhealthy", "Failed") in found  # what a function has where it is given none
    assert ("start_unhealthy", "Failed") in found  # passed on by a function that another one calls
