"""Every command of ours in the documentation is one that the command line takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from holdfast.cli.main import create_cli
from holdfast.testing.guides import commands_of, spans_of

REPOSITORY = Path(__file__).parents[3]
GENERATED = ("cli.md", "errors.md")
FORMATS = "*-format.md"
"""Have ``holdfast`` as a word of a format."""
PAGES = [
    page
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
    if page.name not in GENERATED and not page.match(FORMATS)
]
ID = "01kb2tq4h8v5xq3c7d9e0f1g2h"
STANDS_FOR = {
    r"[0-9a-z]{2,6}…": ID,
    r"(SNAPSHOT|ID|DEPLOYMENT|DELIVERY|WEBHOOK|RESTORE_ID)": ID,
    r"(NAME|WORKLOAD|FROM)": "notes",
}
"""What a page has in the place of something real."""

pytestmark = pytest.mark.xdist_group("docs commands")


def real(word: str) -> str:
    return next((value for pattern, value in STANDS_FOR.items() if re.fullmatch(pattern, word)), word)


@pytest.fixture(scope="module")
def command_line() -> Any:
    return get_command(create_cli())


def parsed(command: Any, arguments: Sequence[str], parent: Any = None) -> None:
    """Parse as a run would, down to the last command, and run nothing."""
    name = "holdfast" if parent is None else arguments[0]
    rest = list(arguments) if parent is None else list(arguments[1:])
    context = command.make_context(name, rest, parent=parent)
    if hasattr(command, "resolve_command"):
        left = [*context._protected_args, *context.args]
        _, inner, _ = command.resolve_command(context, left)
        parsed(inner, left, context)


def trouble(command_line: Any, arguments: Sequence[str]) -> str:
    try:
        parsed(command_line, [real(word) for word in arguments])
    except typer.Exit:
        return ""
    except Exception as error:  # noqa: BLE001 - of the parser's own kinds, whose names are private
        found = f"{type(error).__name__}: {error}"
        return "" if found.endswith("does not exist.") else found  # a file that the reader has
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_each_command_is_taken_as_it_is_written(page: Path, command_line: Any) -> None:
    for command in commands_of(page):
        if command.arguments is not None:
            assert trouble(command_line, command.arguments) == "", command.line
    for command in spans_of(page):
        assert command.arguments is not None
        found = trouble(command_line, command.arguments)
        assert found == "" or found.startswith(("MissingParameter", "NoArgsIsHelpError", "BadOptionUsage")), (
            command.line
        )
