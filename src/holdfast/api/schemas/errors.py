"""The one shape of errors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.api.schemas.told import Values
from holdfast.domain.errors import HoldfastError, Problem
from holdfast.domain.told import Told


class ErrorView(BaseModel):
    code: Annotated[str, Field(description="Stable identifier of the cause, see docs/reference/errors.md.")]
    message: Annotated[str, Field(description="One sentence for a person.")]
    next_step: Annotated[str, Field(description="What to do now.")] = ""
    details: Annotated[
        dict[str, object],
        Field(description="Facts; a refusal lists every reason under `problems`."),
    ] = {}
    values: Values = None

    @classmethod
    def of(cls, error: HoldfastError | Problem | Told) -> ErrorView:
        """The view of ``error``."""
        details = {} if isinstance(error, Told) else dict(error.details)
        sentence = error if isinstance(error, Told) else Told.of(error)
        return cls(
            code=sentence.code,
            message=sentence.message,
            next_step=sentence.next_step,
            details=details,
            values=sentence.values,
        )

    @classmethod
    def of_any(cls, error: HoldfastError | Problem | None) -> ErrorView | None:
        """The view of ``error``, where there is one."""
        return None if error is None else cls.of(error)


class ErrorAnswer(BaseModel):
    error: ErrorView
