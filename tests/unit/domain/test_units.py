from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.units import MAX_SIZE, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("17B", 17),
        ("512MiB", 512 * 1024**2),
        ("512 mib", 512 * 1024**2),
        ("1g", 1024**3),
        ("1.5GiB", 1536 * 1024**2),
        ("100MB", 100_000_000),
        ("2t", 2 * 1024**4),
        (" 8k ", 8192),
    ],
)
def test_sizes_are_read_with_binary_and_si_units(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "MiB", "-1", -1, "1.5", "1e3", "1 x", "0.3k", "1PiB", "９", "1" * 41, True, MAX_SIZE + 1, "9999999t", 10**400],
)
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (30, 30.0),
        (0.25, 0.25),
        ("30", 30.0),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("1.5h", 5400.0),
        ("1d2h", 93600.0),
        ("2m500ms", 120.5),
        ("0.1s", 0.1),
    ],
)
def test_durations_are_read_with_units(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "-1s", -1, float("nan"), float("inf"), "30s1m", "1s1s", "1 week", "1e3", True, "9999d", "٣s", 10**400],
)
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_negative_zero_is_zero() -> None:
    assert math.copysign(1, parse_duration(-0.0)) == 1


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ValueError, match="is not a size") as caught:
        parse_size("x" * 10_000)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (17, "17 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1 MiB"),
        (512 * 1024**2, "512 MiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes_are_shown_in_the_largest_fitting_unit(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.35, "350 ms"),
        (0.9999, "1 s"),
        (2.5, "2.5 s"),
        (30, "30 s"),
        (59.99, "1 min"),
        (90, "1 min 30 s"),
        (7500, "2 h 5 min"),
        (90061, "1 d 1 h"),
    ],
)
def test_durations_are_shown_with_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=2**20), st.sampled_from(["B", "KiB", "MiB", "GiB"]))
def test_a_whole_number_of_a_binary_unit_is_exact(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit)


@given(st.integers(min_value=0, max_value=10**9))
def test_milliseconds_are_exact(number: int) -> None:
    assert parse_duration(f"{number}ms") == number / 1000
