"""Clones on the wire."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from holdfast.api.parameters import PrintableText
from holdfast.api.schemas.restore import Rehearsable
from holdfast.api.schemas.workload import parse_workload_yaml
from holdfast.api.schemas.workload_values import Name, PublishedPort
from holdfast.domain.clone import LikeSource
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import WorkloadSpec

Target = Annotated[PrintableText, Field(min_length=1, max_length=1024)]


class LikeSourceModel(BaseModel, extra="forbid"):
    """A new workload, configured like the one that the snapshot is of."""

    name: Annotated[Name, Field(description="Its name; its `stage` volumes are below a directory of that name.")]
    project: Annotated[
        Name | None, Field(description="Its project; null for the source's, or its own where the source's is its own.")
    ] = None
    stage: Annotated[Name | None, Field(description="Its stage; null for the source's.")] = None
    ports: Annotated[
        list[PublishedPort] | None,
        Field(description="What it publishes instead of the source's ports; null for the same.", max_length=64),
    ] = None

    def like_source(self) -> LikeSource:
        """In the words of the domain."""
        return LikeSource(
            name=self.name,
            project=self.project,
            stage=self.stage,
            ports=None if self.ports is None else tuple(self.ports),
        )


class CloneRequest(Rehearsable):
    """Where the data goes: into an existing workload (`into`), or into a new one (`like_source` or `declaration`)."""

    into: Annotated[
        PrintableText | None,
        Field(
            description="The id or name of the workload whose data is replaced.", pattern="^[a-z0-9][a-z0-9-]{0,63}$"
        ),
    ] = None
    like_source: Annotated[
        LikeSourceModel | None,
        Field(description="Make a workload, configured as the one that the snapshot is of is configured now."),
    ] = None
    declaration: Annotated[
        str | None,
        Field(description="Make a workload of this configuration: its declaration as text, YAML or JSON."),
    ] = None
    volumes: Annotated[
        list[Target] | None,
        Field(
            description="Container targets of the workload that the data goes to; null for all volumes.",
            min_length=1,
            max_length=64,
        ),
    ] = None
    map: Annotated[
        dict[Target, Target],
        Field(
            description="Captured container target → the target that it goes to, where they differ.",
            max_length=64,
            default_factory=dict,
        ),
    ]

    on_unhealthy: Annotated[
        OnUnhealthy | None,
        Field(
            description="With `into`: what to do when the workload is not healthy on the data; null as for a restore."
        ),
    ] = None
    with_image: Annotated[
        bool,
        Field(description="Run the image on it that ran when the snapshot was taken, instead of the configured one."),
    ] = False

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if sum(each is not None for each in (self.into, self.like_source, self.declaration)) != 1:
            raise PydanticCustomError("clone_goal", "exactly one of into, like_source and declaration must be given")
        if self.into is None and self.on_unhealthy is not None:
            raise PydanticCustomError(
                "clone_goal", "on_unhealthy goes with into: a new workload has no data from before to go back to"
            )
        return self

    def wanted(self) -> WorkloadSpec | LikeSource:
        """The workload that is to be made.

        Raises:
            InvalidInput: the declaration is malformed.
            TooLarge: it exceeds a bound of the parser.
        """
        if self.like_source is not None:
            return self.like_source.like_source()
        return parse_workload_yaml(self.declaration or "")
