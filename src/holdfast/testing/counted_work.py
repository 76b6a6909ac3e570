"""Bounds what a piece of Python may do, by counting: the same on a busy machine as on an idle one."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class WorkExceeded(BaseException):
    """More was done than allowed. No ``Exception``: what is measured must not take it for an error of its own."""


@contextmanager
def counted_work(*, lines: int, peak_bytes: int) -> Iterator[None]:
    """Let what happens inside run at most so many lines of Python, and allocate at most so much at a time.

    Raises:
        WorkExceeded: it did more. Of lines at once, so that nothing that would never end is waited for.
    """
    left = lines

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise WorkExceeded(f"more than {lines} lines, at {frame.f_code.co_filename}:{frame.f_lineno}")
        return line

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(line)
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        sys.settrace(before)
        tracemalloc.stop()
    if peak > peak_bytes:
        raise WorkExceeded(f"{peak} bytes at a time, of {peak_bytes}")
