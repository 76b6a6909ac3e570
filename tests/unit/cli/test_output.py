"""What people and programs read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.cli.output import Output, ago, exact, json_text, shown
from holdfast.domain.times import rfc3339

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=0.2), "now"),
        (timedelta(seconds=5), "5 s ago"),
        (timedelta(seconds=59.7), "59 s ago"),
        (timedelta(minutes=3, seconds=20), "3 min ago"),
        (timedelta(hours=2, minutes=5), "2 h ago"),
        (timedelta(days=40), "40 d ago"),
    ],
)
def test_times_are_told_relative_in_one_unit(before: timedelta, words: str) -> None:
    assert ago(rfc3339(NOW - before), NOW) == words


def test_a_time_to_come_is_told_exactly() -> None:
    assert ago(rfc3339(NOW + timedelta(hours=1)), NOW) == "2026-11-23 13:00:00 UTC"


def test_no_time_is_a_dash() -> None:
    assert (ago(None), exact(None)) == ("-", "-")


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("name", "pinned"), [("notes", True), ("a-long-name", None)])
    assert capsys.readouterr().out == "NAME         PINNED\nnotes        yes\na-long-name  -\n"


def test_for_programs_nothing_but_the_document_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.as_json = True
    output.table(("name",), [("notes",)])
    output.facts([("name", "notes")])
    output.say("done")
    output.note("by the way")
    output.document({"size": 1})
    captured = capsys.readouterr()
    assert captured.out == '{\n  "size": 1\n}\n'
    assert captured.err == "by the way\n"


@pytest.mark.parametrize(
    ("text", "safe"), [("a\x1b[31mb", "a\\x1b[31mb"), ("a\rb", "a\\rb"), ("naïve ☃\tx", "naïve ☃\tx")]
)
def test_control_characters_are_written_out(text: str, safe: str) -> None:
    assert shown(text) == safe


def test_json_is_safe_on_a_terminal_too_and_says_the_same() -> None:
    document = {"text": "naïve \x1b[31m \x9b31m \x7f \u202e \U000e0001 ☃"}
    text = json_text(document, indent=2)
    assert text.replace("\n", "").isprintable()
    assert "naïve" in text
    assert json.loads(text) == document
