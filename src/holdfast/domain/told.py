"""Sentences that Holdfast tells people outside of errors: findings, warnings, what is waited for.

Each has a stable code and named values beside its English words, as errors have their code and details, so that the web
interface says it in its reader's language. A new one is :func:`told` where it is told, its line in
``docs/reference/errors.md`` (written by a script), and its words in each language of ``web/src/i18n/languages``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, TypeAlias

from holdfast.domain import times
from holdfast.domain.units import format_duration, format_size

if TYPE_CHECKING:
    from holdfast.domain.errors import HoldfastError, Problem  # which are told by what is here

_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence, maybe with what to do about it.

    Attributes:
        message: in English.
        code: unique to this sentence, or an error's; empty where somebody else's words are passed on, and for what was
            recorded before sentences had codes.
        values: what stands at the sentence's places, in JSON's own types. ``None`` where a code alone doesn't tell all
            of it, as an error's: then the English words stay beside those of another language.
    """

    message: str
    code: str = ""
    next_step: str = ""
    values: Mapping[str, object] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        return self.message

    @classmethod
    def of(cls, error: HoldfastError | Problem) -> Told:
        """An error as a sentence."""
        values = getattr(error, "values", None)
        return cls(message=error.message, code=error.code, next_step=error.next_step, values=values)


TextOrTold: TypeAlias = Told | str
"""A text has no code: of an earlier version, of somebody else, or a line of a log that tells a story."""

Value: TypeAlias = "str | int | float | PurePath | datetime | Told | Sequence[str | Told]"
"""What can stand at a place. Its name tells what a number is: ``bytes`` and ``…_bytes`` are sizes, ``…_seconds``
durations. Of a sentence with a
``count`` languages have a form for each number. A list is written with commas, one of whole sentences without."""


def told(code: str, message: str, next_step: str = "", **values: Value) -> Told:
    """The sentence ``code``; ``message`` and ``next_step`` are its English words, with ``{places}``."""
    words = {name: _english(name, value) for name, value in values.items()}
    return Told(
        code=code,
        message=message.format_map(words),
        next_step=next_step.format_map(words),
        values={name: _plain(value) for name, value in values.items()},
    )


def some(items: Sequence[str | Told], most: int = _LISTED, total: int | None = None) -> list[str | Told]:
    """The first of ``items``, and how many more there are of them, or of ``total``."""
    more = (len(items) if total is None else total) - most
    if more <= 0:
        return list(items)
    return [*items[: most - 1], told("and_more", "{last} and {count} more", last=items[most - 1], count=more)]


def _english(name: str, value: Value) -> str:
    match value:
        case int() if name.endswith("bytes"):
            return format_size(value)
        case int() | float() if name.endswith("seconds"):
            return format_duration(value)
        case float():
            return f"{value:g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} UTC"
        case str() | int() | PurePath() | Told():
            return str(value)
    texts = [str(each) for each in value]
    return (" " if texts and texts[0].endswith(".") else ", ").join(texts)


def _plain(value: Value) -> object:
    match value:
        case str() | int() | float():
            return value
        case PurePath():
            return str(value)
        case datetime():
            return times.rfc3339(value)
        case Told():
            return as_json(value)
    return [_plain(each) for each in value]


def as_json(sentence: Told) -> dict[str, object]:
    """A sentence in JSON's own types."""
    return {
        "message": sentence.message,
        "code": sentence.code,
        "next_step": sentence.next_step,
        "values": sentence.values,
    }
