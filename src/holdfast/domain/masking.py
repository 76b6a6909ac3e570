"""Taking the values of secrets out of text that is going to be kept or shown: above all what a failing program printed.

A value that is shorter than :data:`SHORTEST` can't be told from ordinary text and stays. Of a value of several lines
each line is taken out, since logs are kept line by line. Logs cut long lines, and keep the end of long outputs: what is
left of a value at either end of a line is taken out as well, if it is not shorter than :data:`SHORTEST_LEFT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.domain.errors import HoldfastError

SHORTEST: Final = 4
SHORTEST_LEFT: Final = 8
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
        if not self._parts:
            return text
        text = "".join(map(self._ends, text.splitlines(keepends=True)))
        for part in self._parts:
            text = text.replace(part, MASK)
        return text

    def error(self, error: HoldfastError) -> None:
        """Take them out of all that an error tells."""
        error.message = self.text(error.message)
        error.next_step = self.text(error.next_step)
        error.args = (error.message,)
        error.details = {key: self._anything(value) for key, value in error.details.items()}
        if error.values is not None:
            error.values = {key: self._anything(value) for key, value in error.values.items()}

    def _ends(self, line: str) -> str:
        """A line without what is left of values at its ends."""
        bare = line.rstrip("\r\n")
        closing = line[len(bare) :]
        for part in self._parts:
            if len(bare) >= SHORTEST_LEFT and bare in part:
                return MASK + closing
            if part[-SHORTEST_LEFT:] in bare and (left := _left_at_the_beginning(bare, part)):
                bare = MASK + bare[left:]
            if part[:SHORTEST_LEFT] in bare and (left := _left_at_the_end(bare, part)):
                bare = bare[:-left] + MASK
        return bare + closing

    def _anything(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._anything(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._anything(item) for item in value]
        return value


def _left_at_the_beginning(line: str, value: str) -> int:
    """How many characters of a line are the end of a value whose beginning was cut off."""
    head = line[:SHORTEST_LEFT]
    at = value.find(head, max(len(value) - len(line), 0))
    while 0 <= at <= len(value) - SHORTEST_LEFT:  # only where it can be: a program may print much to have much tried
        if line.startswith(value[at:]):
            return len(value) - at
        at = value.find(head, at + 1)
    return 0


def _left_at_the_end(line: str, value: str) -> int:
    """How many characters of a line are the beginning of a value whose end was cut off."""
    tail = line[-SHORTEST_LEFT:]
    at = value.rfind(tail, 0, len(line)) if len(tail) == SHORTEST_LEFT else -1
    while at >= 0:
        if line.endswith(value[: at + SHORTEST_LEFT]):
            return at + SHORTEST_LEFT
        at = value.rfind(tail, 0, at + SHORTEST_LEFT - 1)
    return 0
