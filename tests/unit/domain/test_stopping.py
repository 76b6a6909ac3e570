"""What is said of containers that were told to stop."""

from __future__ import annotations

import pytest

from holdfast.domain.stopping import UncleanEnd, UncleanStop, unclean_end


@pytest.mark.parametrize("code", [0, 129, 130, 143])
@pytest.mark.parametrize("out_of_memory", [False, True])
def test_who_ended_well_or_by_the_signal_that_asked_for_it_ended_cleanly(code: int, *, out_of_memory: bool) -> None:
    assert unclean_end(code, outlasted=False, out_of_memory=out_of_memory) is None


@pytest.mark.parametrize(
    ("code", "outlasted", "out_of_memory", "end"),
    [
        (137, True, False, UncleanEnd.KILLED),
        (137, True, True, UncleanEnd.KILLED),
        (137, False, True, UncleanEnd.OUT_OF_MEMORY),
        (137, False, False, UncleanEnd.FAILED),
        (1, False, False, UncleanEnd.FAILED),
        (1, True, True, UncleanEnd.FAILED),
        (139, False, False, UncleanEnd.FAILED),
    ],
)
def test_every_other_end_is_unclean_and_has_a_name(
    code: int, end: UncleanEnd, *, outlasted: bool, out_of_memory: bool
) -> None:
    assert unclean_end(code, outlasted=outlasted, out_of_memory=out_of_memory) is end


@pytest.mark.parametrize(
    ("end", "code", "brief", "words"),
    [
        (UncleanEnd.KILLED, 137, "killed after 10 s", "db-1 did not end within its grace of 10 s and was killed"),
        (
            UncleanEnd.OUT_OF_MEMORY,
            137,
            "killed for want of memory",
            "db-1 was killed for want of memory while it was being stopped",
        ),
        (UncleanEnd.FAILED, 3, "exit code 3", "db-1 ended with exit code 3"),
    ],
)
def test_each_is_told_in_words(end: UncleanEnd, code: int, brief: str, words: str) -> None:
    stop = UncleanStop(container="db-1", end=end, exit_code=code, grace_seconds=10.0)
    assert (stop.brief, stop.words) == (brief, words)
