"""Lists: newest first, in pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, Field

from holdfast.services.paging import Page

T = TypeVar("T")
V = TypeVar("V")


class PageView(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: Annotated[
        str | None, Field(description="Hand it back as `cursor` for the next page; null on the last one.")
    ] = None


def page_view(page: Page[T], view: Callable[[T], V]) -> PageView[V]:
    """``page`` with every item shown through ``view``."""
    return PageView(items=[view(item) for item in page.items], next_cursor=page.next_cursor)
