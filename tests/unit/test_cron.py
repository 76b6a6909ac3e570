"""What expressions of cron mean, also where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from holdfast.cron import Cron

BERLIN = ZoneInfo("Europe/Berlin")


def utc(month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=UTC)


def coming(cron: Cron, moment: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        moment = cron.following(moment)
        found.append(moment)
    return found


def test_times_are_those_of_the_zone() -> None:
    assert Cron("0 3 * * *", BERLIN).following(utc(7, 1, 0)) == utc(7, 1, 1)
    assert Cron("0 3 * * *").following(utc(7, 1, 3)) == utc(7, 2, 3)
    assert Cron("*/15 * * * *").following(utc(7, 1, 3, 14, 59)) == utc(7, 1, 3, 15)


def test_a_daily_time_in_the_hour_that_is_left_out_in_spring_comes_at_its_end() -> None:
    # On 29 March 2026 at 02:00 (01:00 UTC) clocks in Berlin go on to 03:00.
    days = coming(Cron("30 2 * * *", BERLIN), utc(3, 28, 0), 3)
    assert days == [utc(3, 28, 1, 30), utc(3, 29, 1), utc(3, 30, 0, 30)]


def test_a_daily_time_in_the_hour_that_comes_twice_in_autumn_comes_once() -> None:
    # On 25 October 2026 at 03:00 (01:00 UTC) clocks in Berlin go back to 02:00.
    days = coming(Cron("30 2 * * *", BERLIN), utc(10, 24, 12), 2)
    assert days == [utc(10, 25, 0, 30), utc(10, 26, 1, 30)]


def test_in_the_second_of_the_two_hours_nothing_of_the_first_is_due() -> None:
    for minute in range(60):
        moment = utc(10, 25, 1, minute)
        assert Cron("45 2 * * *", BERLIN).following(moment) == utc(10, 26, 1, 45)


@pytest.mark.parametrize("change", [utc(3, 29, 0), utc(10, 25, 0)])
def test_what_comes_every_so_many_minutes_comes_in_both_hours(change: datetime) -> None:
    found = coming(Cron("*/30 * * * *", BERLIN), change, 8)
    assert [(later - earlier).seconds for earlier, later in pairwise(found)] == [1800] * 7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("0 24 * * *", "bad hour"),
        ("0 3 31 2 *", "bad day-of-month"),
        ("0 0 */20 * 1L", "never comes due"),
        ("0 " * 200, "five fields"),
        ("1" * 150 + " * * * *", "bad minute"),
        ("٣ * * * *", "bad minute"),
    ],
)
def test_what_can_not_be_read_or_never_comes_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Cron(text)
