"""What an import of a compose file has to say beside its proposals: what it left out, and what wants a look."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]


class FindingKind(StrEnum):
    LEFT_OUT = "left_out"
    """It stands in the compose file and not in the proposal."""
    NOTE = "note"
    """It was carried over, and is not quite the same."""
    PROBLEM = "problem"
    """The proposal is refused by ``apply`` because of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One of them. ``path`` is the place in the compose file; of a problem, in the proposal. No value of a variable
    stands in it."""

    kind: FindingKind
    path: str
    message: str
    next_step: str


@dataclass(slots=True)
class Findings:
    """Collects them, each once."""

    _found: dict[Finding, None] = field(default_factory=dict)

    @property
    def found(self) -> tuple[Finding, ...]:
        """All of them, in the order in which they were found."""
        return tuple(self._found)

    def left_out(self, path: Path, message: str, next_step: str) -> None:
        self._add(FindingKind.LEFT_OUT, path, message, next_step)

    def note(self, path: Path, message: str, next_step: str) -> None:
        self._add(FindingKind.NOTE, path, message, next_step)

    def wrong_type(self, path: Path, wanted: str) -> None:
        """What stands there can't be read."""
        self._add(FindingKind.LEFT_OUT, path, f"This is not {wanted}.", "Mend it in the compose file.")

    def _add(self, kind: FindingKind, path: Path, message: str, next_step: str) -> None:
        self._found[Finding(kind=kind, path=path_words(path), message=message, next_step=next_step)] = None


def path_words(path: Path) -> str:
    """``("services", "web", "ports", 0)`` as ``services.web.ports[0]``, on one line whatever the keys hold."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{words(part)}"
    return text


def words(text: str) -> str:
    """A text from the file as it may stand in a sentence."""
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= 80 else shown[:80] + "…"
