"""Expressions of cron: what they mean is decided by cronsim, which does as Debian's cron does.

That holds for the change of the clocks, too: what has a fixed time runs once a day, at the end of an hour that is left
out, and in the first of two that are the same; what runs every so many minutes or hours goes on as if nothing happened.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError

MAX_LENGTH: Final = 200
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
_FIELDS: Final = 5
_NEVER: Final = timedelta(days=36525)


class Cron:
    """One expression in one time zone.

    Args:
        text: five fields: minute, hour, day of the month, month, day of the week.

    Raises:
        ValueError: in words that continue "the schedule …".
    """

    def __init__(self, text: str, zone: tzinfo = UTC) -> None:
        if len(text) > MAX_LENGTH or len(text.split()) != _FIELDS:
            raise ValueError("does not have the five fields minute, hour, day of the month, month, day of the week")
        try:
            if next(CronSim(text, _ANY_TIME), None) is None:
                raise ValueError("never comes due")
        except CronSimError as error:
            raise ValueError(f"can't be read: {str(error)[:1].lower()}{str(error)[1:]}") from error
        self._text = text
        self._zone = zone

    def following(self, moment: datetime) -> datetime:
        """The first due moment after ``moment``, in UTC; in a hundred years where there is none in fifty."""
        return _following(self._text, self._zone, moment)


@lru_cache(maxsize=4096)  # the same few moments are asked for at each look at all schedules
def _following(text: str, zone: tzinfo, moment: datetime) -> datetime:
    for found in CronSim(text, moment.astimezone(zone)):
        # In the second of two hours that are the same, times of the first are found: they are over.
        if (due := found.astimezone(UTC)) > moment:
            return due
    return moment + _NEVER
