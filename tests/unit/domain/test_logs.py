"""Which lines of logs are asked for, and the newest of many."""

from __future__ import annotations

import pytest

from holdfast.domain.logs import OWN_STREAM, LogLine, LogQuery, Newest


def at(second: int, digits: str = "000000000") -> str:
    return f"2026-11-23T09:00:{second:02d}.{digits}Z"


def line(second: int, text: str = "x") -> LogLine:
    return LogLine(at=at(second), instance="notes-1", stream="stdout", text=text)


def test_a_search_finds_text_whatever_its_case() -> None:
    query = LogQuery(search="Error (E1)")
    assert query.takes(at(1), "stderr", "2 ERROR (e1): no such table")
    assert not query.takes(at(1), "stderr", "Error E1")
    assert query.takes(at(1), OWN_STREAM, "lines are missing here")


@pytest.mark.parametrize(
    ("second", "digits", "taken"),
    [(4, "999999999", False), (5, "000000000", True), (5, "5", True), (7, "0", True), (7, "000001", False)],
)
def test_times_are_compared_whatever_their_digits(second: int, digits: str, taken: bool) -> None:
    query = LogQuery(since="2026-11-23T09:00:05.000000Z", until="2026-11-23T09:00:07.000000Z")
    assert query.takes(at(second, digits), "stdout", "x") is taken


def test_what_lies_between_two_times_may_be_asked_for() -> None:
    query = LogQuery(since=at(5), until=at(7))
    assert [query.meets(at(a), at(b)) for a, b in ((1, 4), (1, 5), (6, 6), (7, 9), (8, 9))] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert LogQuery().meets(at(1), at(2))
    assert (LogQuery(since=at(1)).picks, query.picks, LogQuery(search="x").picks) == (False, True, True)


def test_the_newest_lines_are_kept_in_order() -> None:
    newest = Newest(3, 1000)
    for second in (4, 1, 3, 5, 2):
        newest.add(line(second))
    assert [each.at for each in newest.lines()] == [at(3), at(4), at(5)]
    assert newest.wants(at(3))
    assert not newest.wants(at(2))


def test_lines_of_one_time_stay_in_the_order_in_which_they_came() -> None:
    newest = Newest(2, 1000)
    for text in ("b", "a", "c"):
        newest.add(line(1, text))
    assert [each.text for each in newest.lines()] == ["a", "c"]


def test_lines_that_are_long_are_fewer() -> None:
    newest = Newest(100, 10)
    for second in range(5):
        newest.add(line(second, "12345"))
    assert [each.at for each in newest.lines()] == [at(3), at(4)]
    assert not newest.wants(at(2))
    nothing = Newest(0, 10)
    nothing.add(line(1))
    assert (nothing.lines(), nothing.wants(at(9))) == ([], False)
