"""The reference page of the command line is the one that the commands' help makes."""

from __future__ import annotations

from pathlib import Path

from holdfast.cli.exit_codes import BY_CLASS, ExitCode
from holdfast.testing.cli_reference import rendered

PAGE = Path(__file__).parents[3] / "docs/reference/cli.md"


def test_the_page_is_current() -> None:
    hint = "write it anew: python -m holdfast.testing.cli_reference > docs/reference/cli.md"
    assert PAGE.read_text(encoding="utf-8") == rendered(), hint


def test_every_exit_code_and_its_classes_are_in_it() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for code in ExitCode:
        assert any(line.startswith(f"| {code.value} | {code.name.lower().replace('_', ' ')} |") for line in lines)
    for kind, code in BY_CLASS:
        assert any(kind.__name__ in line and line.endswith(f"| {code.value} |") for line in lines), kind.__name__
