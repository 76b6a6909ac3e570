"""A bound to how fast blobs are sent: a bucket that fills with the seconds, and pays for every byte.

What is sent may overdraw it, once; the next one waits until the debt is paid. So over any stretch of time no more is
sent than the rate allows, but for one blob, and nobody has to cut blobs into pieces.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_SLICE: Final = 0.2
"""Seconds after which a wait looks whether it is to be given up."""


class TokenBucket:
    """Safe to use from several threads.

    Args:
        rate: bytes a second.
        check: raises when the wait is to be given up.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        rate: int,
        check: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate, self._check, self._clock, self._sleep = rate, check, clock, sleep
        self._lock = threading.Lock()
        self._paid_until = clock()

    def __call__(self, size: int) -> None:
        """Wait until ``size`` more bytes may be sent."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._paid_until)
            self._paid_until = begin + size / self._rate
        while (left := begin - self._clock()) > 0:
            self._check()
            self._sleep(min(left, _SLICE))
