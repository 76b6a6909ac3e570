"""``source`` of a workload's declaration: the image by name, or a plugin that names it, with what that wants to know.

Whether there is such a plugin, and whether it takes the settings, is seen when the declaration is applied.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from holdfast.api.schemas.workload_values import STRICT, ImageReference, Name, SettingName, Text, problem
from holdfast.domain.workload import IMAGE_SOURCE, SourceWish


class SourceModel(BaseModel):
    """Where the workload's containers come from."""

    model_config = STRICT

    type: Annotated[
        Name,
        Field(description="`image`, or a source that a plugin provides: `holdfast source list` names those there are."),
    ]
    image: Annotated[
        ImageReference | None,
        Field(
            validate_default=True,
            description="`image`: a reference with tag or digest; without either, `latest` is meant.",
            examples=["registry.example/notes:1.4"],
        ),
    ] = None
    settings: Annotated[
        dict[SettingName, Text],
        Field(max_length=100, description="Of another source: what its own documentation says. Values are text."),
    ] = {}

    @field_validator("image")
    @classmethod
    def _image_of_image(cls, image: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if kind is None:
            return image
        if kind == IMAGE_SOURCE and image is None:
            raise problem("key_missing", "is missing", "Add source.image.")
        if kind != IMAGE_SOURCE and image is not None:
            raise problem("key_has_no_effect", f"means nothing for the source {kind}", "Remove it.")
        return image

    @field_validator("settings")
    @classmethod
    def _settings_of_another(cls, settings: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if settings and info.data.get("type") == IMAGE_SOURCE:
            raise problem("key_has_no_effect", "means nothing for the source image", "Remove it.")
        return settings

    def plugin(self) -> SourceWish | None:
        """The source that a plugin provides; ``None`` for ``image``."""
        if self.type == IMAGE_SOURCE:
            return None
        return SourceWish(type=self.type, settings=tuple(sorted(self.settings.items())))
