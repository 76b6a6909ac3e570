"""The model of a disk that loses what was not flushed: it is as unkind as it says, and no more."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from holdfast.testing.lossy_disk import (
    Dress,
    Dressed,
    Flushed,
    FlushedAll,
    Found,
    Kind,
    LossyDisk,
    Made,
    Named,
    Sized,
    Step,
    Written,
)

ROOT, OTHER, FILE, TREE = 1, 2, 3, 4
PLAIN, WORN = Dress(0o600, 0, 0, 1), Dress(0o644, 0, 0, 2)
GIVEN: tuple[Step, ...] = (
    Made(ROOT, Kind.DIRECTORY, "one", PLAIN),
    Made(OTHER, Kind.DIRECTORY, "two", PLAIN),
)
NEW_FILE: tuple[Step, ...] = (
    Made(FILE, Kind.FILE, "one", PLAIN),
    Named(((ROOT, b"file", FILE),)),
    Written(FILE, 0, b"data"),
)


def left(*steps: Step, given: Sequence[Step] = GIVEN, limit: int = 100) -> set[tuple[str, str]]:
    """What may be found below both roots: names, files with their content."""
    disk = LossyDisk((ROOT, OTHER), given)
    for step in steps:
        disk.do(step)
    found = [tuple(map(shown, state)) for state in disk.states(limit, random.Random(1))]
    return {(one, other) for one, other in found}


def shown(found: Found) -> str:
    if found.kind is Kind.DIRECTORY:
        return " ".join(f"{name.decode()}={shown(below)}" for name, below in found.names)
    return found.content.decode().replace("\0", "0")


def test_a_file_that_was_not_flushed_is_missing_empty_torn_zeros_or_there() -> None:
    assert {one for one, _ in left(*NEW_FILE)} == {"", "file=", "file=da", "file=0000", "file=data"}


def test_flushing_a_file_does_not_flush_its_name() -> None:
    assert {one for one, _ in left(*NEW_FILE, Flushed(FILE))} == {"", "file=data"}


def test_flushing_a_directory_does_not_flush_what_is_in_its_files() -> None:
    assert {one for one, _ in left(*NEW_FILE, Flushed(ROOT))} == {"file=", "file=da", "file=0000", "file=data"}


@pytest.mark.parametrize(
    "flushes", [(Flushed(FILE), Flushed(ROOT)), (FlushedAll("one"),)], ids=["both fsyncs", "a syncfs"]
)
def test_what_was_flushed_is_there(flushes: Sequence[Step]) -> None:
    assert {one for one, _ in left(*NEW_FILE, *flushes)} == {"file=data"}


def test_a_syncfs_flushes_no_other_filesystem() -> None:
    assert "" in {one for one, _ in left(*NEW_FILE, FlushedAll("two"))}


def test_what_a_file_had_before_is_not_zeroed_by_writing_over_it() -> None:
    given = (*GIVEN, *NEW_FILE)
    assert {one for one, _ in left(Written(FILE, 2, b"XYZ!"), given=given)} == {
        "file=data",
        "file=daXY",
        "file=data00",
        "file=daXYZ!",
    }
    assert {one for one, _ in left(Sized(FILE, 1), given=given)} == {"file=data", "file=d"}


def test_of_each_directory_a_beginning_of_its_changes_is_left() -> None:
    names = (Named(((ROOT, b"a", FILE),)), Named(((ROOT, b"a", None), (ROOT, b"b", FILE))))
    given = (*GIVEN, Made(FILE, Kind.FILE, "one", PLAIN))
    assert {one for one, _ in left(*names, given=given)} == {"", "a=", "b="}


def test_directories_know_nothing_of_each_others_changes_but_of_those_that_concern_both() -> None:
    given = (*GIVEN, Made(FILE, Kind.FILE, "one", PLAIN), Made(TREE, Kind.FILE, "two", PLAIN))
    apart = (Named(((ROOT, b"a", FILE),)), Named(((OTHER, b"b", TREE),)))
    assert left(*apart, given=given) == {("", ""), ("a=", ""), ("", "b="), ("a=", "b=")}
    exchange = Named(((ROOT, b"a", TREE), (OTHER, b"b", FILE)))
    assert left(*apart, exchange, Flushed(OTHER), given=given) == {("a=", "b=")}
    assert len(left(*apart, exchange, given=given)) == 4


def test_owner_mode_and_times_that_were_not_flushed_may_be_the_former_ones() -> None:
    disk = LossyDisk((ROOT, OTHER), GIVEN)
    disk.do(Dressed(ROOT, WORN))
    assert {state[0].dress for state in disk.states(10, random.Random(1))} == {PLAIN, WORN}
    disk.do(Flushed(ROOT))
    assert {state[0].dress for state in disk.states(10, random.Random(1))} == {WORN}


def test_where_there_are_too_many_states_all_lost_and_all_there_are_among_those_at_random() -> None:
    steps = [step for n in range(10, 30) for step in (Made(n, Kind.FILE, "one", PLAIN), Written(n, 0, b"x"))]
    names = [Named(((ROOT, b"%d" % n, n),)) for n in range(10, 30)]
    found = {one for one, _ in left(*steps, *names, limit=20)}
    assert "" in found
    assert " ".join(f"{n}=x" for n in range(10, 30)) in found
    assert len(found) <= 20
