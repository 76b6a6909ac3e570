"""``volumes`` of a workload's declaration: one mount each, with what its scope lets it have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from holdfast.api.schemas.workload_values import STRICT, EngineVolumeName, Size, Target, check_source, problem
from holdfast.domain.workload import DEPLOYABLE_SCOPES, NAMED_SCOPES, Scope, Volume


class VolumeModel(BaseModel):
    """One mount of the workload."""

    model_config = STRICT

    target: Annotated[
        Target,
        Field(description="Absolute path in the container. No two targets may be equal or inside of one another."),
    ]
    scope: Annotated[
        Scope,
        Field(
            strict=False,
            description="How `source` becomes a path of the host: `stage` is the workload's own, `project` is shared "
            "by the project, `absolute` is a path below a root that the operator allowed, `named` and `project_named` "
            "are volumes of the Docker Engine, the workload's own and shared by the project, `ephemeral` is memory "
            "that is gone with the container. All but `ephemeral` are captured by snapshots.",
            json_schema_extra={"enum": [scope.value for scope in Scope if scope in DEPLOYABLE_SCOPES]},
        ),
    ]
    source: Annotated[
        str | None,
        Field(
            validate_default=True,
            description="A relative path for `stage` and `project`, a path of the host for `absolute`, a plain name "
            "for `named` and `project_named`, nothing for `ephemeral`.",
            examples=["data", "/srv/notes/uploads"],
        ),
    ] = None
    read_only: Annotated[bool, Field(description="Whether the container may only read it.")] = False
    size: Annotated[Size | None, Field(description="`ephemeral` only: how large it may grow.")] = None
    engine_volume: Annotated[
        EngineVolumeName | None,
        Field(
            description="`named` and `project_named` only: the name of a volume that the Docker Engine has already, "
            "whose data is the workload's from now on. It is never removed with the workload. Only admins may say it.",
            examples=["home_db"],
        ),
    ] = None

    @field_validator("engine_volume")
    @classmethod
    def _can_be_there(cls, engine_volume: str | None, info: ValidationInfo) -> str | None:
        scope = info.data.get("scope")
        if engine_volume is not None and scope is not None and scope not in NAMED_SCOPES:
            raise problem(
                "key_has_no_effect",
                f"means nothing for a volume of scope {scope.value}",
                "Remove it, or say scope named.",
            )
        return engine_volume

    @field_validator("scope")
    @classmethod
    def _known_here(cls, scope: Scope) -> Scope:
        if scope not in DEPLOYABLE_SCOPES:
            raise problem(
                "key_not_supported",
                f"can't be {scope.value}: this scope isn't supported by this version",
                f"Use one of {', '.join(sorted(DEPLOYABLE_SCOPES))}.",
            )
        return scope

    @field_validator("source")
    @classmethod
    def _fits_scope(cls, source: str | None, info: ValidationInfo) -> str | None:
        scope = info.data.get("scope")
        if scope is None:
            return source
        if scope is Scope.EPHEMERAL:
            if source is not None:
                raise problem("key_has_no_effect", "means nothing for an ephemeral volume", "Remove it.")
            return source
        if source is None:
            raise problem("key_missing", "is missing", f"Say where the {scope.value} volume's data lives.")
        return check_source(source, scope)

    @field_validator("read_only")
    @classmethod
    def _can_be_read_only(cls, read_only: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        if read_only and info.data.get("scope") is Scope.EPHEMERAL:
            raise problem("key_has_no_effect", "makes no sense for an ephemeral volume: it is empty", "Remove it.")
        return read_only

    @field_validator("size")
    @classmethod
    def _can_have_size(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is None or "scope" not in info.data:
            return size
        if info.data["scope"] is not Scope.EPHEMERAL:
            raise problem("key_has_no_effect", "can only be set for an ephemeral volume", "Remove it.")
        if size < 4096:
            raise problem("value_out_of_range", "is less than one page of memory", "Write at least 4KiB.")
        return size

    @property
    def volume(self) -> Volume:
        """The same as the domain knows it."""
        return Volume(
            target=self.target,
            scope=self.scope,
            source=self.source or "",
            read_only=self.read_only,
            size=self.size,
            engine_volume=self.engine_volume or "",
        )
