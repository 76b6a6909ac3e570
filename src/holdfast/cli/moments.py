"""Times as people give them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.domain.errors import InvalidInput
from holdfast.domain.times import parse, rfc3339
from holdfast.domain.units import parse_duration


def moment(text: str | None) -> str | None:
    """An RFC 3339 time from one, or from how long ago it was; ``None`` from nothing. Raises ``InvalidInput``."""
    if not text:
        return None
    try:
        if text[:4].isdigit() and "-" in text:
            return rfc3339(parse(text))
        return rfc3339(datetime.now(UTC) - timedelta(seconds=parse_duration(text)))
    except ValueError as error:
        raise InvalidInput(
            "since_invalid",
            f"{text!r} is neither a duration nor a time.",
            next_step="Give it as 10m, 2h, or 2026-11-23T09:00:00Z.",
        ) from error
