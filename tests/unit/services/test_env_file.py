"""Files of variables: what is read of them, and which lines are not."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.domain.errors import InvalidInput, TooLarge
from holdfast.services.env_file import MAX_FILE_CHARACTERS, read_env_file

FILE = """\
# a comment
TZ=UTC

export MODE = production  # where it runs
SINGLE='a $TZ # b'
DOUBLE="a\\nb"
PEM="-----BEGIN KEY-----
abc
-----END KEY-----"
EMPTY=
URL=postgres://user:p=w@db/x?y#z
TZ=Europe/Berlin
"""


def test_quotes_comments_export_and_values_of_several_lines_are_understood() -> None:
    assert read_env_file(FILE) == {
        "TZ": "Europe/Berlin",
        "MODE": "production",
        "SINGLE": "a $TZ # b",
        "DOUBLE": "a\nb",
        "PEM": "-----BEGIN KEY-----\nabc\n-----END KEY-----",
        "EMPTY": "",
        "URL": "postgres://user:p=w@db/x?y#z",
    }


def test_nothing_is_interpolated() -> None:
    assert read_env_file('A=1\nB=${A}\nC=$A\nD="$A"\n') == {"A": "1", "B": "${A}", "C": "$A", "D": "$A"}


def test_line_breaks_and_marks_of_other_systems_are_taken() -> None:
    assert read_env_file("\ufeffA=1\r\nB=2\r\n") == {"A": "1", "B": "2"}


def test_bad_lines_are_told_by_number_and_not_by_what_is_in_them() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_env_file("A=1\n\n\nswordfish is here\nB='swordfish\nC\n1D=swordfish\nE=sword\0fish\nF=2\n")
    error = caught.value
    problems: Any = error.details["problems"]
    assert error.code == "env_file_malformed"
    assert [problem["line"] for problem in problems] == [4, 5, 6, 7, 8]
    assert "Line 4: it is no NAME=value" in error.message
    assert "line 6: it has a name and no value" in error.message
    assert "sword" not in repr((error.message, error.details, error.next_step))


def test_a_name_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(InvalidInput, match="no B, C"):
        read_env_file("A=1\n", required=["C", "B", "A"])


@pytest.mark.parametrize("text", ["A=" + "x" * MAX_FILE_CHARACTERS, "".join(f"A{n}=1\n" for n in range(1001))])
def test_a_file_is_bounded(text: str) -> None:
    with pytest.raises(TooLarge) as caught:
        read_env_file(text)
    assert caught.value.code == "env_file_too_large"
