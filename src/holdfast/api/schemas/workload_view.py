"""Workloads as they are shown: what is declared, what is running, what an apply changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, Field

from holdfast.api.schemas.workload import to_document
from holdfast.domain.changes import Change
from holdfast.domain.workload import DesiredState, Strategy, Workload, WorkloadSpec
from holdfast.services.workloads import ApplyResult


class WorkloadView(BaseModel):
    """A workload: its id never changes, its configuration does."""

    id: str
    name: str
    project: str
    stage: str
    image: str
    desired: DesiredState
    config_hash: Annotated[str, Field(description="Names the configuration; equal ones make the same containers.")]
    revision: Annotated[
        str, Field(description="Names the whole of `config`; what `If-Match` takes, in quotes, and `ETag` tells.")
    ]
    strategy: Annotated[Strategy, Field(description="How it is deployed, `auto` resolved.")]
    stop_grace_seconds: Annotated[
        float, Field(description="How long its containers get to end by themselves before they are killed.")
    ]
    config: Annotated[dict[str, object], Field(description="The declaration; can be sent back as it is.")]
    created_at: str
    updated_at: str
    configured_at: Annotated[
        str | None, Field(description="Since when `config` is what it is; null where that is not known.")
    ]
    configured_by: Annotated[str | None, Field(description="Who made it so; null where that is not known.")]

    @classmethod
    def of(cls, workload: Workload) -> WorkloadView:
        """The view of ``workload``."""
        return cls(
            id=workload.id,
            desired=workload.desired,
            created_at=workload.created_at,
            updated_at=workload.updated_at,
            configured_at=workload.configured_at,
            configured_by=workload.configured_by,
            **_of_spec(workload.spec),
        )


@lru_cache(maxsize=512)
def _of_spec(spec: WorkloadSpec) -> Mapping[str, Any]:
    """What the configuration alone decides; to be read only. For a list of a hundred it would take most of the time."""
    return {
        "name": spec.name,
        "project": spec.project,
        "stage": spec.stage,
        "image": spec.image_words,
        "config_hash": spec.config_hash,
        "revision": spec.revision,
        "strategy": spec.effective_strategy,
        "stop_grace_seconds": spec.stop_grace,
        "config": to_document(spec),
    }


class ChangeView(BaseModel):
    path: Annotated[str, Field(description="Dotted, e.g. `env.TZ`, `volumes./data.read_only`.")]
    before: Annotated[object, Field(description="Null where there was none.")]
    after: Annotated[object, Field(description="Null where there is none any more.")]

    @classmethod
    def of(cls, change: Change) -> ChangeView:
        """The view of ``change``."""
        return cls(path=change.path, before=change.before, after=change.after)


class ApplyView(BaseModel):
    """What an apply did, or what a preview would do."""

    name: str
    created: Annotated[bool, Field(description="Whether the workload is new.")]
    changes: list[ChangeView]
    workload: Annotated[WorkloadView | None, Field(description="As it is now; null for a preview of a new one.")]

    @classmethod
    def of(cls, name: str, result: ApplyResult) -> ApplyView:
        """The view of ``result``."""
        return cls(
            name=result.workload.name if result.workload else name,
            created=result.created,
            changes=[ChangeView.of(change) for change in result.changes],
            workload=WorkloadView.of(result.workload) if result.workload else None,
        )
