"""The audit log on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.api.schemas.pages import PageView
from holdfast.domain.audit import AuditLine


class AuditLineView(BaseModel):
    """Something that was done, or refused."""

    number: Annotated[int, Field(description="Its place in the log, from 1.")]
    at: str
    actor: Annotated[str, Field(description="Who; empty for somebody who did not prove who they are.")]
    address: Annotated[str, Field(description="Where the request came from; empty if that is not known.")]
    action: Annotated[str, Field(description="The name of the route, as in the API's description.")]
    subject: Annotated[dict[str, str], Field(description="On what: as the address named it, and what was made.")]
    status: Annotated[int, Field(description="Of the answer; 0 for an operation that ended.")]
    outcome: Annotated[str, Field(description="`done`, `accepted` for an operation, or the error's code.")]
    operation_id: str | None
    previous: Annotated[str, Field(description="The hash of the line before.")]
    hash: Annotated[str, Field(description="Of this line, the one before included.")]

    @classmethod
    def of(cls, line: AuditLine) -> AuditLineView:
        """The view of ``line``."""
        entry = line.entry
        return cls(
            number=line.number,
            at=entry.at,
            actor=entry.actor,
            address=entry.address,
            action=entry.action,
            subject=dict(entry.subject),
            status=entry.status,
            outcome=entry.outcome,
            operation_id=entry.operation_id,
            previous=line.previous,
            hash=line.hash,
        )


class AuditPageView(PageView[AuditLineView]):
    head: Annotated[
        str,
        Field(
            description="Number and hash of the last line, `NUMBER:HASH`: who notes it can prove later what was there."
        ),
    ]
