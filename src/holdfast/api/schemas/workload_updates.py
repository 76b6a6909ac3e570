"""The model of what a declaration says about updates by a schedule."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from holdfast.api.schemas.workload_snapshots import due
from holdfast.api.schemas.workload_values import STRICT, Text, problem
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

    tags: Annotated[
        Text | None,
        Field(
            min_length=1,
            max_length=128,
            description="Which newer tags it moves on to by itself, as a pattern of a shell. Asked for are the tags of "
            "the image's repository; those count that are written like the present one with other numbers (`1.9.2` "
            "and `1.10.0`, not `1.10`, `1.10.0-rc1` or `latest`). The one with the greatest numbers becomes the "
            "configured one once it runs healthily; never a smaller one. Where none is newer, and if left out, the "
            "present tag is asked for. A workload that runs a digest or a tag without a number is left alone.",
            examples=["1.*"],
        ),
    ] = None

    _comes_due = field_validator("schedule")(due)

    @model_validator(mode="after")
    def _asked_at_some_time(self) -> Self:
        if self.tags is not None and self.schedule is None:
            raise problem(
                "key_has_no_effect",
                "has tags, and nobody asks for them: schedule is missing",
                "Add schedule, or remove tags.",
            )
        return self

    def policy(self) -> UpdatePolicy:
        """The same as the inside of Holdfast knows it."""
        return UpdatePolicy(schedule=self.schedule, tags=self.tags)


def updates_document(policy: UpdatePolicy) -> dict[str, object]:
    """The same as a declaration says it."""
    said = {"schedule": policy.schedule, "tags": policy.tags}
    return {key: value for key, value in said.items() if value is not None}
