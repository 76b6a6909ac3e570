"""A database whose transactions run in the thread of the event loop: for servers that share their process with a test.

There the change to a thread and back costs more than most transactions do. What it can't show is that a server serves
on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from sqlalchemy import URL, Engine

from holdfast.store.database import Database, engine_of

T = TypeVar("T")


@lru_cache(maxsize=16)
def _engine(url: URL) -> Engine:
    """One for all servers that are started on an installation: what was compiled for the first need not be again."""
    return engine_of(url)


class QuickDatabase(Database):
    """Give it as the ``database`` of an installation."""

    def __init__(self, url: URL) -> None:
        super().__init__(url, _engine(url))

    async def _to_its_end(self, work: Callable[[], T]) -> T:
        return work()
