"""A source that reads the image from a file on the host: who writes the file says what is deployed next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.sources import Context, SourceError


class Channel:
    """``settings`` has one key, ``file``: the path of a file whose last line is an image reference or id."""

    def check(self, settings: Mapping[str, str]) -> Iterator[str]:
        """What is wrong with the settings, a sentence each."""
        for name in settings:
            if name != "file":
                yield f"{name} is not a setting of it"
        if not settings.get("file", "").startswith("/"):
            yield "file must be there, and be an absolute path"

    def resolve(self, settings: Mapping[str, str], context: Context) -> str:
        """The image of the file's last line."""
        path = Path(settings["file"])
        try:
            lines = path.read_text(encoding="utf-8").split()
        except OSError as error:
            raise SourceError(f"{path} can't be read ({error.strerror})", next_step="Write the file.") from error
        if not lines:
            raise SourceError(f"{path} is empty", next_step="Write an image reference into the file.")
        context.log(f"{path} says that {context.workload} runs {lines[-1]}")
        return lines[-1]
