"""The source ``image``: the declaration itself names the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import parse_image_ref
from holdfast.sources import Context


class ImageReference:
    """Names the image of the settings."""

    def check(self, settings: Mapping[str, str]) -> Iterator[str]:
        """What is wrong with the reference."""
        try:
            parse_image_ref(settings["image"])
        except InvalidInput as error:
            yield error.message

    def resolve(self, settings: Mapping[str, str], context: Context) -> str:
        """The reference as it is; what it means is found out when it is fetched."""
        del context
        return settings["image"]
