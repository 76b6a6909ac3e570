"""Opaque, sortable identifiers.

An id is 26 characters of lower-case Crockford base 32: 48 bits of milliseconds since 1970, then 80 random bits
(the layout of a ULID). Later ids sort after earlier ones; of one process always, also within a millisecond and when the
clock was set back. Nothing else may be read from one.
"""

from __future__ import annotations

import re
import secrets
import time
from threading import Lock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN = re.compile(rf"[0-7][{_ALPHABET}]{{25}}")


class _Numbers:
    """Numbers of which each is greater than all before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = 0

    def next(self) -> int:
        wanted = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        with self._lock:
            self._last = max(wanted, self._last + 1)
            return self._last


_numbers = _Numbers()


def new_id() -> str:
    """A new id, unique, which sorts after all that this process made before."""
    number = _numbers.next()
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of an id. Says nothing about whether the thing exists."""
    return _PATTERN.fullmatch(text) is not None
