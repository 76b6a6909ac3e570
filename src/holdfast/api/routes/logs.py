"""Logs of a workload: read, follow, download."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from holdfast.api.answers import problems
from holdfast.api.auth import Follower, Viewer
from holdfast.api.parameters import Moment, WorkloadRef
from holdfast.api.schemas.logs import LogEntryView, LogsView
from holdfast.api.services import Services
from holdfast.api.sse import STREAM, event_stream
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.errors import InvalidInput
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.domain.times import rfc3339

router = APIRouter(prefix="/api/workloads/{workload}/logs", tags=["logs"], route_class=StrictRoute)

_PIECE: Final = 1 << 16
"""Characters of a download that are sent at once."""

Since = Annotated[Moment | None, Query(description="Only lines from this time on.")]
Until = Annotated[Moment | None, Query(description="Only lines up to this time.")]
Search = Annotated[
    str, Query(description="Only lines that hold this text; upper and lower case are the same.", max_length=200)
]


@router.get(
    "",
    summary="Read the logs of a workload's instances",
    description="Those of removed instances that are kept included. With `follow` the answer is a stream of "
    "server-sent events, `event: log`, one for each line, of instances that start later, too.",
    response_model=LogsView,
    responses=problems(404) | {200: STREAM},
)
async def read_logs(
    services: Services,
    _caller: Viewer,
    onlooker: Follower,
    ref: WorkloadRef,
    *,
    follow: Annotated[bool, Query(description="Stay and send each new line.")] = False,
    tail: Annotated[int, Query(description="How many of the last lines.", ge=0, le=10_000)] = 200,
    since: Since = None,
    until: Until = None,
    search: Search = "",
) -> LogsView | Response:
    query = _query(since, until, search)
    if not follow:
        lines = await services.logs.read(ref, query, tail=tail)
        return LogsView(items=[LogEntryView.model_validate(line) for line in lines])
    if until is not None:
        raise InvalidInput(
            "follow_until",
            "Following goes on until whoever follows leaves; it does not end at a time.",
            next_step="Leave out either follow or until.",
        )
    followed = await services.logs.follow(ref, query, tail=tail)
    return event_stream("log", _documents(followed), onlooker)


@router.get(
    "/download",
    summary="Download all lines of a workload's instances",
    description="Plain text, oldest first, a line each: time, instance, stream, text. A failure midway breaks the "
    "connection.",
    response_class=StreamingResponse,
    responses=problems(404) | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def download_logs(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    since: Since = None,
    until: Until = None,
    search: Search = "",
) -> StreamingResponse:
    name, lines = await services.logs.download(ref, _query(since, until, search))
    return StreamingResponse(
        _pieces(lines),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.log"'},
    )


def _query(since: Moment | None, until: Moment | None, search: str) -> LogQuery:
    return LogQuery(
        since=rfc3339(since) if since else None,
        until=rfc3339(until) if until else None,
        search=search,
    )


async def _documents(lines: AsyncGenerator[LogLine, None]) -> AsyncIterator[str]:
    async with aclosing(lines):
        async for line in lines:
            yield LogEntryView.model_validate(line).model_dump_json()


async def _pieces(lines: AsyncGenerator[LogLine, None]) -> AsyncIterator[str]:
    async with aclosing(lines):
        piece: list[str] = []
        size = 0
        async for line in lines:
            piece.append(f"{line.at} {line.instance} {line.stream} {line.text}\n")
            size += len(piece[-1])
            if size >= _PIECE:
                yield "".join(piece)
                piece, size = [], 0
        yield "".join(piece)
