"""What an import of a compose file has to say beside its proposals: what it left out, and what wants a look."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from holdfast.domain.told import Told, told

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
    told: Told

    @property
    def message(self) -> str:
        """In English."""
        return self.told.message

    @property
    def next_step(self) -> str:
        """In English."""
        return self.told.next_step


@dataclass(slots=True)
class Findings:
    """Collects them, each once."""

    _found: dict[Finding, None] = field(default_factory=dict)

    @property
    def found(self) -> tuple[Finding, ...]:
        """All of them, in the order in which they were found."""
        return tuple(self._found)

    def left_out(self, path: Path, sentence: Told) -> None:
        self._add(FindingKind.LEFT_OUT, path, sentence)

    def note(self, path: Path, sentence: Told) -> None:
        self._add(FindingKind.NOTE, path, sentence)

    def wrong_type(self, path: Path, wanted: Told) -> None:
        """What stands there can't be read."""
        self.left_out(
            path, told("import_wrong_type", "This is not {wanted}.", "Mend it in the compose file.", wanted=wanted)
        )

    def single_file(self, path: Path, source: str) -> None:
        """What is mounted there is no directory."""
        file = words(source)
        self.left_out(
            path,
            told(
                "import_time_file",
                "{file} is a single file or socket; volumes are directories.",
                "Set TZ in env.",
                file=file,
            )
            if source.startswith("/etc/")
            else told(
                "import_single_file",
                "{file} is a single file or socket; volumes are directories.",
                "Mount the directory that holds it, or build it in.",
                file=file,
            ),
        )

    def _add(self, kind: FindingKind, path: Path, sentence: Told) -> None:
        self._found[Finding(kind=kind, path=path_words(path), told=sentence)] = None


def driver_words(driver: str) -> Told:
    """What a volume has that Holdfast can't take over."""
    if driver == "local":
        return told("driver_options", "options of its driver")
    return told("driver_named", "the driver {driver}", driver=words(driver))


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
