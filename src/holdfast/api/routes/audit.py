"""The audit log: look, and take all of it along."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from holdfast.api.answers import Responses, problems
from holdfast.api.auth import Admin
from holdfast.api.parameters import Limit, Moment, PrintableText
from holdfast.api.schemas.audit import AuditLineView, AuditPageView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.audit import AuditLine
from holdfast.domain.times import rfc3339
from holdfast.store.audit import AuditFilter

router = APIRouter(prefix="/api/audit", tags=["audit"], route_class=StrictRoute)

_PIECE: Final = 64 * 1024
_LINES: Final[Responses] = {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}


def _filter(description: str) -> object:
    return Query(description=description, max_length=200)


Cursor = Annotated[
    str | None,
    Query(description="`next_cursor` of the page before this one.", pattern="^[1-9][0-9]{0,17}$"),
]


@router.get("", summary="List what was done, by whom, and how it ended, newest first", responses=problems())
async def list_audit(
    services: Services,
    _caller: Admin,
    limit: Limit = 50,
    cursor: Cursor = None,
    actor: Annotated[PrintableText | None, _filter("Only what this one did.")] = None,
    action: Annotated[PrintableText | None, _filter("Only what was asked of this route, by its name.")] = None,
    subject: Annotated[PrintableText | None, _filter("Only what was done to what has this name or id.")] = None,
    outcome: Annotated[
        PrintableText | None, _filter("Only what ended so: `done`, `accepted`, an error's code.")
    ] = None,
    since: Annotated[Moment | None, Query(description="Only from then on.")] = None,
    until: Annotated[Moment | None, Query(description="Only up to then.")] = None,
) -> AuditPageView:
    wanted = AuditFilter(
        actor=actor,
        action=action,
        subject=subject,
        outcome=outcome,
        since=rfc3339(since) if since else None,
        until=rfc3339(until) if until else None,
    )
    head = await services.audit.head()
    page = await services.audit.list(wanted, limit, int(cursor) if cursor else None)
    return AuditPageView(
        items=[AuditLineView.of(line) for line in page.items], next_cursor=page.next_cursor, head=str(head)
    )


@router.get(
    "/export",
    summary="Download the whole audit log",
    description="A JSON document a line, oldest first, each as it was hashed, with its hash. "
    "A failure midway breaks the connection.",
    response_class=StreamingResponse,
    responses=problems() | _LINES,
)
async def export_audit(services: Services, _caller: Admin) -> StreamingResponse:
    return StreamingResponse(
        _pieces(await services.audit.export()),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
    )


async def _pieces(lines: AsyncIterator[AuditLine]) -> AsyncIterator[str]:
    piece: list[str] = []
    size = 0
    async for line in lines:
        piece.append(f"{line.exported()}\n")
        size += len(piece[-1])
        if size >= _PIECE:
            yield "".join(piece)
            piece, size = [], 0
    yield "".join(piece)
