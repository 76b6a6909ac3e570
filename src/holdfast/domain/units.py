"""Sizes and durations as people write them: ``512MiB``, ``30s``. Inside, sizes are bytes and durations seconds."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]i?)?B?", re.IGNORECASE)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Bytes of ``512MiB`` (powers of 1024), ``1.5GB`` (powers of 1000) or ``4096`` (bytes).

    Raises:
        ValueError: it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512MiB, 2GB or 4096")
    number, unit = match[1], (match[2] or "").lower()
    return int(float(number) * (1024 if unit.endswith("i") else 1000) ** _POWERS[unit.rstrip("i")])


def parse_duration(text: str) -> float:
    """Seconds of ``250ms``, ``30s``, ``5m``, ``2h``, ``1d`` or ``1.5`` (seconds).

    Raises:
        ValueError: it is not a duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 250ms, 30s, 5m or 2h")
    return float(match[1]) * _SECONDS[match[2] or "s"]
