"""The commands that the documentation tells people to type, taken out of its pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAM: Final = "holdfast"
_BLOCK: Final = re.compile(r"^ *```(sh|console)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"(?<!`)`(holdfast [^`]+)`(?!`)")
_OPERATORS: Final = frozenset("();<>|&")


@dataclass(frozen=True, slots=True)
class GuideCommand:
    """One command of a page.

    Attributes:
        line: as it stands there, without its comment.
        arguments: what follows the program's name; ``None`` for another program's command.
    """

    line: str
    arguments: tuple[str, ...] | None


def commands_of(page: Path) -> Iterator[GuideCommand]:
    """All commands in the shell blocks of a page, in their order; of console blocks those after a ``$``."""
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if kind == "sh" or line.strip().startswith("$ "):
                yield from _simple_commands(line.strip().removeprefix("$ "))


def spans_of(page: Path) -> Iterator[GuideCommand]:
    """What stands in the text as a command of ours, in whole or in part."""
    for span in _SPAN.findall(re.sub(r"\n\s*", " ", page.read_text(encoding="utf-8"))):
        if "…" not in span:
            yield from _simple_commands(span)


def _simple_commands(line: str) -> Iterator[GuideCommand]:
    """The commands of a line, without what they are joined by; a redirection's file belongs to none."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words: list[str] = []
    to_file = False
    for word in [*lexer, ";"]:
        if set(word) <= _OPERATORS:
            if "<" in word or ">" in word:
                to_file = True
                continue
            if words:
                mine = words[0] == PROGRAM
                yield GuideCommand(shlex.join(words), tuple(words[1:]) if mine else None)
            words = []
        elif not to_file:
            words.append(word)
        to_file = False
