"""Taking the values of secrets out of text that is going to be kept or shown: above all what a failing program printed.

A value that is shorter than :data:`SHORTEST` can't be told from ordinary text and stays. Of a value of several lines
each line is taken out, since logs are kept line by line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.domain.errors import HoldfastError

SHORTEST: Final = 4
MASK: Final = "***"


class Masked:
    """Takes values out.

    Args:
        values: of the secrets that the text may hold.
        complete: whether these are all; what can't be opened can't be taken out.
    """

    def __init__(self, values: Iterable[str], *, complete: bool = True) -> None:
        self.complete = complete
        parts = {part for value in values for part in (value, *map(str.strip, value.splitlines()))}
        # The longest first: one that holds another goes as a whole.
        self._parts = sorted((part for part in parts if len(part) >= SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` without them."""
        for part in self._parts:
            text = text.replace(part, MASK)
        return text

    def error(self, error: HoldfastError) -> None:
        """Take them out of all that an error tells."""
        error.message = self.text(error.message)
        error.next_step = self.text(error.next_step)
        error.args = (error.message,)
        error.details = {key: self._anything(value) for key, value in error.details.items()}

    def _anything(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._anything(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._anything(item) for item in value]
        return value
