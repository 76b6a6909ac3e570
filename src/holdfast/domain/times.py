"""Times as Holdfast writes them: RFC 3339, UTC, always six digits of microseconds, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """``moment`` (which must know its zone) as ``2026-11-23T09:17:00.000001Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def now() -> str:
    """The present time, e.g. ``2026-11-23T09:17:00.000001Z``."""
    return rfc3339(datetime.now(UTC))


def from_unix(seconds: float) -> str:
    """So many seconds after 1970 began."""
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def parse(text: str) -> datetime:
    """The moment that :func:`rfc3339` wrote. Raises ``ValueError`` for anything without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {text}")
    return moment
