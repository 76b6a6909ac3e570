"""The model of what a declaration says about updates by a schedule."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from holdfast.api.schemas.workload_snapshots import due
from holdfast.api.schemas.workload_values import STRICT, Text
from holdfast.domain.workload import UpdatePolicy


class UpdatesModel(BaseModel):
    """Whether it is deployed by itself once its source names another image: once its tag was moved on."""

    model_config = STRICT

    schedule: Annotated[
        Text | None,
        Field(
            description="When its source is asked, as cron writes it, in the workload's `time_zone`; never if left "
            "out. Another image is deployed like by hand, and one that failed is not tried again. Where somebody went "
            "back to an earlier version or changed the configuration, nothing happens until they deploy.",
            examples=["0 4 * * *"],
        ),
    ] = None

    _comes_due = field_validator("schedule")(due)

    def policy(self) -> UpdatePolicy:
        """The same as the inside of Holdfast knows it."""
        return UpdatePolicy(schedule=self.schedule)


def updates_document(policy: UpdatePolicy) -> dict[str, object]:
    """The same as a declaration says it."""
    return {} if policy.schedule is None else {"schedule": policy.schedule}
