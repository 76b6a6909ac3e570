"""What commands write: tables for people, one JSON document for programs, messages and errors on stderr.

Text that comes from outside (names in archives, logs, notes) never reaches a terminal with control characters in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import typer

from holdfast.domain.errors import HoldfastError
from holdfast.domain.times import parse
from holdfast.domain.units import format_duration


class Output:
    """Writes for people, or for programs.

    Args:
        interactive: whether somebody can be asked; found out from the standard streams if ``None``.

    Attributes:
        as_json: one JSON document on stdout, everything else on stderr.
    """

    def __init__(self, *, interactive: bool | None = None) -> None:
        self.as_json = False
        self._interactive = interactive

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads stderr, where progress and questions go, and can answer on stdin."""
        return self._interactive if self._interactive is not None else sys.stderr.isatty() and sys.stdin.isatty()

    @property
    def shows_results(self) -> bool:
        """Whether stdout is a terminal, so that what is written there can be read over a shoulder."""
        return self._interactive if self._interactive is not None else sys.stdout.isatty()

    def document(self, document: Any) -> None:
        """The one JSON document; nothing in the form for people."""
        if self.as_json:
            typer.echo(json_text(document, indent=2))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """An aligned table for people."""
        if self.as_json:
            return
        cells = [[column.upper() for column in columns], *([shown(cell) for cell in row] for row in rows)]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            typer.echo(line.rstrip())

    def facts(self, facts: Iterable[tuple[str, object]]) -> None:
        """Names and values, one a line, for people; empty values are left out."""
        if self.as_json:
            return
        pairs = [(name, shown(value)) for name, value in facts if value not in (None, "", (), [])]
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            typer.echo(f"{name + ':':<{width + 1}} {value}")

    def say(self, text: str) -> None:
        """A result in words, for people."""
        if not self.as_json:
            typer.echo(shown(text))

    def note(self, text: str) -> None:
        """A message beside the result: on stderr, always."""
        typer.echo(shown(text), err=True)

    def error(self, error: HoldfastError) -> None:
        """What went wrong, for people and for programs."""
        self.complain(error)
        told = {"code": error.code, "message": error.message, "next_step": error.next_step, "details": error.details}
        self.document({"error": told})

    def complain(self, error: HoldfastError) -> None:
        """What went wrong, every reason, what the instance printed, and what to do now: on stderr."""
        for line in failure_lines(error.message, error.next_step, error.details):
            self.note(line)


def failure_lines(message: str, next_step: str, details: Mapping[str, Any]) -> Iterator[str]:
    """An error as people read it, one line after the other."""
    yield f"error: {message}"
    problems = details.get("problems")
    if isinstance(problems, list) and len(problems) > 1:
        for problem in problems:
            yield f"  - {_problem_line(problem)}"
    yield from log_lines(details.get("logs"))
    if next_step:
        yield f"next: {next_step}"


def log_lines(lines: object) -> Iterator[str]:
    """The last lines of an instance that failed."""
    if isinstance(lines, list) and lines:
        yield "the last lines of its log:"
        for line in lines:
            yield f"  | {line}"


def _problem_line(problem: dict[str, Any]) -> str:
    where = f"{problem['where']}: " if "where" in problem else ""
    if "line" in problem:
        where = (
            f"line {problem['line']}, column {problem['column']}: "
            if "column" in problem
            else f"line {problem['line']}: "
        )
    mend = f" ({problem['next_step']})" if problem.get("next_step") else ""
    return f"{where}{problem.get('message', '')}{mend}"


_SILENT: Final[tuple[object, ...]] = (None, False, "", [])
"""What a mapping is shown without: it says nothing."""


def shown(value: object) -> str:
    """``value`` as text that is safe on a terminal: control characters are written out."""
    if value is None:
        return "-"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items() if item not in _SILENT) + "}"
    elif isinstance(value, list):
        value = "[" + ", ".join(shown(item) for item in value) + "]"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\t\n" else c.encode("unicode_escape").decode() for c in text)


def json_text(document: Any, *, indent: int | None = None) -> str:
    """``document`` as JSON that is safe on a terminal too: JSON itself leaves some control characters as they are."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def ago(moment: str | None, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 time is, in words."""
    if not moment:
        return "-"
    seconds = ((now or datetime.now(UTC)) - parse(moment)).total_seconds()
    if seconds < 0:
        return exact(moment)
    if seconds < 1:
        return "now"
    return f"{_coarse(seconds)} ago"


def exact(moment: str | None) -> str:
    """An RFC 3339 time to the second, UTC."""
    return f"{parse(moment):%Y-%m-%d %H:%M:%S} UTC" if moment else "-"


def both(moment: str | None) -> str:
    """Relative and exact."""
    return f"{ago(moment)} ({exact(moment)})" if moment else "-"


def _coarse(seconds: float) -> str:
    """The largest unit alone."""
    return " ".join(format_duration(float(int(seconds))).split(" ")[:2])
