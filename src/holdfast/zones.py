"""Time zones by their names, as this host knows them."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_named(name: str) -> tzinfo:
    """The zone of this name.

    Raises:
        ValueError: this host knows none.
    """
    if name == "UTC":  # known also where the host has no list of zones
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"this host knows no time zone {name!r}, such as Europe/Berlin") from error


def zone_or(name: str | None, otherwise: tzinfo) -> tzinfo:
    """The zone of this name; ``otherwise`` without one, or where another machine knew it and this host doesn't."""
    try:
        return otherwise if name is None else zone_named(name)
    except ValueError:
        return otherwise
