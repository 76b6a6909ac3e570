"""Operations on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.told import Code, ToldView, Values
from holdfast.domain.operation import Operation, OperationKind, OperationState


class ProgressView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    done_bytes: int
    total_bytes: Annotated[int | None, Field(description="Null while unknown.")]
    done_files: int
    total_files: Annotated[int | None, Field(description="Null while unknown.")]
    note: str


class StepView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    started_at: str
    finished_at: str | None


class LogLineView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    at: str
    message: str
    level: str
    code: Code
    values: Values


class OperationView(BaseModel):
    """A long-running unit of work as it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: OperationKind
    state: OperationState
    workload_id: str | None
    actor: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    steps: list[StepView]
    progress: ProgressView
    log: list[LogLineView]
    waiting_for: Annotated[str, Field(description="Why it is queued, in words; empty when it is not.")]
    waiting: Annotated[ToldView | None, Field(description="The same with its code and values; null when it is not.")]
    cancellable: Annotated[bool, Field(description="Whether a cancel would be honoured now.")]
    outcome: Annotated[dict[str, object], Field(description="What it produced; filled at its end.")]
    error: ErrorView | None

    @classmethod
    def of(cls, operation: Operation) -> OperationView:
        """The view of ``operation``."""
        return cls.model_validate(operation)
