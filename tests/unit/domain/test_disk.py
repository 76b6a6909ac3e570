"""When a disk will be full, by what was free on it."""

from __future__ import annotations

import pytest

from holdfast.domain.disk import Forecast, FreeSpace, forecast

DAY = 86400
START = 1_800_000_000


def notes(*free: int, every: int = DAY) -> list[FreeSpace]:
    return [FreeSpace(mount_point="/", at=START + number * every, free_bytes=each) for number, each in enumerate(free)]


def test_a_disk_that_fills_evenly_is_full_when_what_is_free_is_used_up() -> None:
    assert forecast(notes(1000, 900, 800), free_bytes=800, now=START + 2 * DAY) == Forecast(
        since=START, bytes_per_day=100, full_at=START + 10 * DAY
    )


def test_what_took_space_for_a_while_only_is_no_growth() -> None:
    found = forecast(notes(1000, 900, 800, 1, 600, 500, 400), free_bytes=400, now=START + 6 * DAY)
    assert found is not None
    assert found.bytes_per_day == 100


@pytest.mark.parametrize("free", [(800, 800, 800), (800, 900, 1000)])
def test_a_disk_that_does_not_fill_is_never_full(free: tuple[int, ...]) -> None:
    found = forecast(notes(*free), free_bytes=free[-1], now=START + 2 * DAY)
    assert found is not None
    assert found.full_at is None


def test_nobody_says_when_a_disk_is_full_that_lasts_longer_than_a_year() -> None:
    found = forecast(notes(400, 399), free_bytes=399, now=START + DAY)
    assert found is not None
    assert (found.bytes_per_day, found.full_at) == (1, None)


def test_less_than_a_day_says_nothing_of_the_days_to_come() -> None:
    assert forecast(notes(1000, 900, every=DAY - 1), free_bytes=900, now=START + DAY) is None
    assert forecast([], free_bytes=900, now=START) is None
