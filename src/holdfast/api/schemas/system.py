"""The server itself on the wire: version, readiness, doctor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.told import Code, Values
from holdfast.domain.accounts import TokenScope
from holdfast.services.doctor import Finding, FindingLevel
from holdfast.services.sources import SourceFacts
from holdfast.services.updates import Update


class VersionView(BaseModel):
    version: str


class HealthView(BaseModel):
    status: str


class ReadinessView(BaseModel):
    ready: bool
    waiting_for: Annotated[list[str], Field(description="In words; empty when ready.")]


class UpdateView(BaseModel):
    """Something that may be other than before."""

    model_config = ConfigDict(from_attributes=True)

    part: Annotated[TokenScope | None, Field(description="The part of the API, by its tag; null for any.")]
    workload_id: Annotated[str | None, Field(description="Whose; null for any, or none.")]


class UpdatesView(BaseModel):
    """What came together."""

    updates: list[UpdateView]
    position: Annotated[str, Field(description="Another one after whatever changes.")]

    @classmethod
    def of(cls, position: str, updates: Iterable[Update]) -> UpdatesView:
        """The view of ``updates``."""
        return cls(updates=[UpdateView.model_validate(update) for update in updates], position=position)


class FindingView(BaseModel):
    check: Annotated[str, Field(description="What was looked at.")]
    level: FindingLevel
    message: str
    mend: Annotated[str, Field(description="How to put it right; empty when nothing is wrong.")]
    code: Code
    values: Values

    @classmethod
    def of(cls, finding: Finding) -> FindingView:
        """The view of ``finding``."""
        found = finding.told
        return cls(
            check=finding.check,
            level=finding.level,
            message=found.message,
            mend=found.next_step,
            code=found.code,
            values=found.values,
        )


class DoctorView(BaseModel):
    level: Annotated[FindingLevel, Field(description="The worst one found.")]
    findings: list[FindingView]


class SourceView(BaseModel):
    """What can say which image a workload runs."""

    name: Annotated[str, Field(description="What a declaration gives as `source.type`.")]
    provided_by: Annotated[str, Field(description="The distribution, with its version.")]
    problem: Annotated[ErrorView | None, Field(description="Why it can't be used; null if it can.")]

    @classmethod
    def of(cls, facts: SourceFacts) -> SourceView:
        """The view of ``facts``."""
        return cls(name=facts.name, provided_by=facts.provided_by, problem=ErrorView.of_any(facts.problem))


class SourcesView(BaseModel):
    items: Annotated[list[SourceView], Field(description="By name.")]
