"""Lists in pages: newest first, with a cursor that callers hand back unread.

The cursor is the id of the last item of a page; ids sort by the time of their making, so that items which arrive
while somebody pages are neither skipped nor shown twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from holdfast.domain.errors import InvalidInput
from holdfast.domain.ids import is_id

MAX_LIMIT: Final = 200
"""The most items that one page may hold."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. ``next_cursor`` is ``None`` on the last one."""

    items: tuple[T, ...]
    next_cursor: str | None = None


def check_page(limit: int, cursor: str | None) -> None:
    """Check what a caller asked for.

    Raises:
        InvalidInput: ``limit_invalid`` or ``cursor_invalid``.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(
            "limit_invalid",
            f"A page holds between 1 and {MAX_LIMIT} items, not {limit}.",
            next_step=f"Ask for at most {MAX_LIMIT} items, and for the rest with the cursor.",
        )
    if cursor is not None and not is_id(cursor):
        raise InvalidInput(
            "cursor_invalid",
            "The cursor is not one that a page of this list gave.",
            next_step="Start again without a cursor.",
        )


def make_page(found: Sequence[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """A page of what a query for ``limit + 1`` items found.

    Args:
        found: newest first; one more than ``limit`` says that there is another page.
        key: the id of an item.
    """
    items = tuple(found[:limit])
    return Page(items, key(items[-1]) if len(found) > limit else None)
