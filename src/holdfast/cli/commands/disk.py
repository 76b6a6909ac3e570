"""``holdfast disk``: what takes space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.output import ago
from holdfast.cli.session import session_of
from holdfast.domain.units import format_size

_MOST: Final = 5
"""Items of a cause that are named unless all are asked for."""


def disk(
    context: typer.Context,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Name all, not only the largest of each.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what takes space on disks, by its cause.

    Volumes are not walked for it: each says when it was looked at.
    """
    session = session_of(context, as_json=as_json)
    found = session.client.get("/api/disk")
    session.output.document(found)
    session.output.table(
        ("filesystem", "type", "size", "free", "fills by", "full"),
        [
            (
                each["mount_point"],
                each["type"],
                format_size(each["total_bytes"]),
                format_size(each["free_bytes"]),
                *_outlook(each["forecast"]),
            )
            for each in found["filesystems"]
        ],
    )
    session.output.say("")
    session.output.table(
        ("cause", "size", "what", "as of"),
        [row for cause in found["causes"] for row in _rows(cause, everything=everything)],
    )


def _outlook(forecast: dict[str, Any] | None) -> tuple[str, str]:
    if forecast is None:
        return "too early to tell", ""
    rate = forecast["bytes_per_day"]
    fills = f"{'-' if rate < 0 else ''}{format_size(abs(rate))} a day"
    return fills, forecast["full_at"][:10] if forecast["full_at"] else "not within a year"


def _rows(cause: dict[str, Any], *, everything: bool) -> Iterator[tuple[str, str, str, str]]:
    items = cause["items"] if everything else cause["items"][:_MOST]
    problem = cause["problem"]["message"] if cause["problem"] else ""
    yield cause["cause"], "unknown" if problem else format_size(cause["bytes"]), problem, ""
    for item in items:
        size = "not looked at" if item["bytes"] is None else format_size(item["bytes"])
        yield "", size, item["name"], ago(item["at"]) if item["at"] else ""
    if len(items) < len(cause["items"]):
        yield "", "", f"and {len(cause['items']) - len(items)} more (--all)", ""
