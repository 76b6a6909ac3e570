"""Reading lists to their end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.cli.client import Client


def every_page(client: Client, path: str) -> Iterator[dict[str, Any]]:
    """All items of a list, newest first."""
    cursor: str | None = None
    while True:
        page = client.get(path, limit=200, cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
