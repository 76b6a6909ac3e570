"""Sizes and durations as people write them, and back.

Inside Holdfast a size is an ``int`` of bytes and a duration a ``float`` of seconds; this is the one place that reads
and writes their units. Binary prefixes (``KiB``, or the engine's single letters ``k``, ``m``, ``g``, ``t``) count by
1024, SI prefixes (``kB``, ``MB``) by 1000; case does not matter. What can't be read is a ``ValueError`` whose text is
fit for people: only the caller knows which setting or key it stands under.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MAX_SIZE: Final = 2**62
"""The largest size in bytes; a safe distance below what files, the engine and the database can count."""

MAX_DURATION: Final = 366 * 86400.0
"""The longest duration in seconds."""

_MAX_TEXT: Final = 40
_BINARY: Final = {"b": 0, "": 0, "k": 1, "m": 2, "g": 3, "t": 4, "kib": 1, "mib": 2, "gib": 3, "tib": 4}
_DECIMAL: Final = {"kb": 1, "mb": 2, "gb": 3, "tb": 4}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", re.ASCII)
_SECONDS: Final = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION: Final = re.compile(
    rf"(?:{_NUMBER}d)? ?(?:{_NUMBER}h)? ?(?:{_NUMBER}m(?!s))? ?(?:{_NUMBER}s)? ?(?:{_NUMBER}ms)?", re.ASCII
)


def parse_size(value: str | int) -> int:
    """Bytes from ``512MiB``, ``1g``, ``1.5 GB`` or a plain number of bytes.

    Raises:
        ValueError: it is not a size, or larger than :data:`MAX_SIZE`.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MAX_SIZE:
            return value
        raise _bad_size(value)
    match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) and len(value) <= _MAX_TEXT else None
    if match is None:
        raise _bad_size(value)
    number, unit = match.groups()
    if unit in _BINARY:
        factor = 1024 ** _BINARY[unit]
    elif unit in _DECIMAL:
        factor = 1000 ** _DECIMAL[unit]
    else:
        raise _bad_size(value)
    size = Decimal(number) * factor
    if size != size.to_integral_value() or size > MAX_SIZE:
        raise _bad_size(value)
    return int(size)


def parse_duration(value: str | float) -> float:
    """Seconds from ``30s``, ``1m30s``, ``500ms``, ``1.5h`` or a plain number of seconds.

    Raises:
        ValueError: it is not a duration, or longer than :data:`MAX_DURATION`.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # Compared as it is: JSON holds whole numbers that no float can, and neither NaN nor infinity is in the range.
        if 0 <= value <= MAX_DURATION:
            return abs(float(value))
        raise _bad_duration(value)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise _bad_duration(value)
    text = value.strip().lower()
    if re.fullmatch(_NUMBER, text):
        text += "s"
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise _bad_duration(value)
    seconds = sum(
        (Decimal(number) * unit for number, unit in zip(match.groups(), _SECONDS.values(), strict=True) if number),
        Decimal(0),
    )
    if seconds > MAX_DURATION:
        raise _bad_duration(value)
    return float(seconds)


def format_size(size: int) -> str:
    """``size`` bytes for people, e.g. ``512 MiB``, ``1.4 GiB``, ``17 B``."""
    value = float(size)
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    # 1023.95 would be shown as "1024.0": that belongs to the next unit already.
    step = 0
    while value >= 1023.95 and step < len(units) - 1:
        value /= 1024
        step += 1
    text = f"{value:.0f}" if step == 0 else f"{value:.1f}".removesuffix(".0")
    return f"{text} {units[step]}"


def format_duration(seconds: float) -> str:
    """``seconds`` for people, e.g. ``350 ms``, ``2.5 s``, ``1 min 30 s``, ``2 h 5 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts[:2])


def _bad_size(value: object) -> ValueError:
    return ValueError(f"{_shown(value)} is not a size such as 512MiB, 1GiB, 100MB, or a whole number of bytes")


def _bad_duration(value: object) -> ValueError:
    return ValueError(f"{_shown(value)} is not a duration such as 30s, 1m30s, 500ms, or a number of seconds")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT + 2 else text[:_MAX_TEXT] + "…"
