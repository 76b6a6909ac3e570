"""Values of secrets are taken out of what is kept of a program's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import text

from holdfast.domain.errors import Failed
from holdfast.domain.masking import SHORTEST_LEFT, Masked, _left_at_the_beginning, _left_at_the_end
from holdfast.domain.told import Told, told


def test_every_place_is_masked_and_the_longest_value_first() -> None:
    masked = Masked(["fish", "swordfish"])
    assert masked.text("swordfish, fish and swordfish") == "***, *** and ***"


def test_each_line_of_a_value_of_several_lines_is_masked() -> None:
    assert Masked(["first line\n second line\nab"]).text("x second line y ab") == "x *** y ab"


def test_what_is_too_short_to_be_told_apart_stays() -> None:
    assert Masked(["on", ""]).text("one on one") == "one on one"


def test_an_error_is_masked_in_all_of_its_parts() -> None:
    details = {"logs": ["key swordfish"], "cause": {"reason": "swordfish", "code": 3}}
    said: list[str | Told] = [told("x", "It said {what}.", what="swordfish")]
    error = Failed("x", "{said}", next_step="Try swordfish.", details=details, values={"said": said})
    Masked(["swordfish"]).error(error)
    assert "swordfish" not in repr(
        (str(error), error.args, error.message, error.next_step, error.details, error.values)
    )
    assert error.details == {"logs": ["key ***"], "cause": {"reason": "***", "code": 3}}


def test_what_is_left_of_a_value_where_a_line_was_cut_is_masked() -> None:
    key = "sk-" + "0123456789abcdef" * 40
    masked = Masked([key, "sk-0"])
    assert masked.text(f"KEY={key}"[:500]) == "KEY=***", "the end was cut off"
    assert masked.text(f"{key} is wrong"[100:]) == "*** is wrong", "the beginning was"
    assert masked.text(f"{key[:90]}\n{key[90:180]}\nelse") == "***\n***\nelse", "it was broken into lines"
    assert masked.text("this ends with sk-") == "this ends with sk-", "so little tells nothing"


@given(value=text("ab", max_size=24), line=text("ab", max_size=24))
def test_as_much_as_can_be_left_of_a_value_is_found_at_both_ends(value: str, line: str) -> None:
    lengths = [0, *range(SHORTEST_LEFT, min(len(value), len(line)) + 1)]
    assert _left_at_the_beginning(line, value) == max(n for n in lengths if value.endswith(line[:n]))
    assert _left_at_the_end(line, value) == max(n for n in lengths if value.startswith(line[len(line) - n :]))


@pytest.mark.timeout(20)
def test_a_program_that_prints_what_looks_like_the_rest_of_a_long_value_delays_nobody() -> None:
    value = "".join(f"{n:08x}" for n in range(8192))
    masked = Masked([value])
    for line in ("x" * 65_000 + value[-8:], value[:8] + "x" * 65_000):
        for _ in range(300):  # as many as a kept log may have
            assert masked.text(line) == line
