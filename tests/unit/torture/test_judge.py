"""The checker of ``make torture`` passes what is as it must be, and reports each thing that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torture.judge import Data, Found, Kept, Side, Told, Tree, violations
from torture.writer import SLOTS, Line, parsed

OLD, SNAPSHOT = "marker-2", "marker-1"


def log(*generations: tuple[int, int]) -> tuple[str, ...]:
    """What generations wrote one after the other: each its number and how many records."""
    lines, number = [], 0
    for generation, records in generations:
        lines.append(str(Line("start", generation, number)))
        for _ in range(records):
            number += 1
            lines.append(str(Line("record", generation, number)))
    return tuple(lines)


def slots(lines: tuple[str, ...]) -> dict[str, str]:
    """The slots that belong to a log."""
    records = [line for text in lines if (line := parsed(text)) is not None and line.kind == "record"]
    return {str(line.number % SLOTS): str(line) for line in records}


def data(marker: str, lines: tuple[str, ...]) -> Data:
    tree = Tree(marker=marker, log=lines, slots=slots(lines))
    return tree, tree


CAPTURED = log((7, 40))
BEFORE = log((7, 90), (8, 5))
WRITTEN_SINCE = log((7, 40), (9, 12))


def kept_old() -> Found:
    """After a restore that was called off: everything as before, and a generation more."""
    return Found(
        live=data(OLD, BEFORE), before=data(OLD, BEFORE), seen=(92, 92), target=data(SNAPSHOT, CAPTURED), told=Side.OLD
    )


def restored() -> Found:
    """After a restore that ended well."""
    safety = Kept(id="s9", pinned=True, must_be_pinned=True, whole=True, safety=True, data=data(OLD, BEFORE))
    return replace(kept_old(), live=data(SNAPSHOT, WRITTEN_SINCE), told=Side.RESTORED, snapshots=[safety])


def one(found: Found) -> str:
    """The only thing that the checker says."""
    (violation,) = violations(found)
    return violation


@pytest.mark.parametrize("found", [kept_old(), restored()], ids=["old", "restored"])
def test_what_is_as_it_must_be_passes(found: Found) -> None:
    assert violations(found) == []


def test_one_volume_old_and_one_restored_is_reported() -> None:
    found = restored()
    mixed = replace(found, live=(found.live[0], found.before[1]))
    told = "\n".join(violations(mixed))
    assert "the volumes are on two sides: marker-1 and marker-2" in told
    assert "/media is not the restored tree" in told


def test_volumes_on_two_sides_are_reported_by_their_records_alone() -> None:
    found = restored()
    mixed = replace(found, live=(found.live[0], replace(found.before[1], marker=SNAPSHOT)))
    assert any("only one volume knows of generation 8" in violation for violation in violations(mixed))


@pytest.mark.parametrize("found", [kept_old(), restored()], ids=["old", "restored"])
def test_the_other_side_than_the_operation_tells_is_reported(found: Found) -> None:
    other = Side.RESTORED if found.told is Side.OLD else Side.OLD
    told = "\n".join(violations(replace(found, told=other)))
    assert "/data is not the" in told
    assert "/media is not the" in told


def test_a_record_that_is_lost_in_the_live_data_is_reported() -> None:
    found = kept_old()
    lost = replace(found, live=data(OLD, BEFORE[:-1]))
    assert violations(lost) == [
        f"{target} lost records: {len(BEFORE) - 1} lines and not {len(BEFORE)}" for target in ("/data", "/media")
    ]


def test_a_record_that_is_lost_in_the_safety_snapshot_is_reported() -> None:
    found = restored()
    safety = replace(found.snapshots[0], data=data(OLD, BEFORE[:-1]))
    assert len(violations(replace(found, snapshots=[safety]))) == 2


def test_a_restore_without_a_safety_snapshot_is_reported() -> None:
    assert one(replace(restored(), snapshots=[])) == "there is no safety snapshot of what was replaced"


def test_a_safety_snapshot_that_is_not_pinned_is_reported() -> None:
    found = restored()
    assert one(replace(found, snapshots=[replace(found.snapshots[0], pinned=False)])).endswith("is not pinned")


def test_a_safety_snapshot_that_cannot_be_read_back_is_reported() -> None:
    found = restored()
    assert one(replace(found, snapshots=[replace(found.snapshots[0], whole=False)])).endswith("can't be read back")


def test_a_snapshot_that_lacks_what_was_seen_before_it_was_asked_for_is_reported() -> None:
    taken = Kept(id="s5", pinned=False, must_be_pinned=False, whole=True, data=data(OLD, BEFORE[:91]))
    assert len(violations(replace(kept_old(), target=None, snapshots=[taken]))) == 2
    enough = replace(taken, data=data(OLD, BEFORE[:92]))
    assert violations(replace(kept_old(), target=None, snapshots=[enough])) == []


def test_a_snapshot_that_is_gone_is_reported() -> None:
    assert one(replace(kept_old(), missing=["s1"])) == "the snapshot s1 is gone"


def test_the_old_container_writing_to_the_restored_tree_is_reported() -> None:
    told = violations(replace(restored(), live=data(SNAPSHOT, log((7, 40), (8, 3)))))
    assert told == [f"{target} was written to by what ran before the restore" for target in ("/data", "/media")]


def test_a_restored_tree_that_does_not_begin_as_it_was_captured_is_reported() -> None:
    told = violations(replace(restored(), live=data(SNAPSHOT, log((7, 39), (9, 12)))))
    assert len(told) == 2
    assert "/data does not begin as it was captured" in told[0]


def test_a_file_that_is_not_as_it_was_is_reported() -> None:
    found = kept_old()
    assert "coming/7.bin" in one(replace(found, live=(found.live[0], replace(found.live[1], unlike=("coming/7.bin",)))))


def test_a_replaced_file_that_is_behind_the_log_is_reported() -> None:
    stale = replace(kept_old().live[0], slots=slots(BEFORE) | {"20": str(Line("record", 8, 70))})
    assert "slot 20 holds 'record 8 70" in one(replace(kept_old(), live=(stale, kept_old().live[1])))


def test_the_record_that_was_about_to_be_logged_is_no_violation() -> None:
    about = Line("record", 8, 96)
    ahead = replace(kept_old().live[0], slots=slots(BEFORE) | {str(96 % SLOTS): str(about)})
    assert violations(replace(kept_old(), live=(ahead, kept_old().live[1]))) == []


def test_a_second_log_that_is_one_record_behind_is_no_violation_and_two_are() -> None:
    whole = kept_old()
    for missing, expected in ((1, 0), (2, 1)):
        behind = replace(whole.live[1], log=BEFORE[:-missing])
        before = (whole.before[0], replace(whole.before[1], log=BEFORE[:-missing]))
        assert len(violations(replace(whole, live=(whole.live[0], behind), before=before))) == expected


def test_a_damaged_line_and_the_gap_that_it_leaves_are_reported() -> None:
    broken = (*BEFORE[:10], BEFORE[10][:-1], *BEFORE[11:])
    found = replace(kept_old(), live=data(OLD, broken), before=data(OLD, broken))
    told = "\n".join(violations(found))
    assert "line 11 of the log of /data is damaged" in told
    assert "after 9 the log goes on with record 11" in told


@pytest.mark.parametrize(
    "containers",
    [[("running", "no")], [("exited", "always")], [("running", "always")] * 2, []],
    ids=["policy left at no", "not running", "one too many", "none"],
)
def test_a_container_that_is_not_as_configured_is_reported(containers: list[tuple[str, str]]) -> None:
    assert "one container has to run" in one(replace(kept_old(), containers=containers))


def test_what_is_left_over_is_reported() -> None:
    assert one(replace(kept_old(), left=["/srv/.holdfast-r1-0"])) == "left over: /srv/.holdfast-r1-0"


def test_an_operation_without_a_told_end_is_reported() -> None:
    hanging = Told(kind="restore", state="running")
    unforeseen = Told(kind="deploy", state="failed", code="internal_error")
    ended = Told(kind="snapshot", state="failed", code="worker_died")
    assert len(violations(replace(kept_old(), operations=[hanging, unforeseen, ended]))) == 2


def test_a_workload_that_differs_from_what_was_deployed_and_a_server_that_waits_are_reported() -> None:
    assert one(replace(kept_old(), condition="degraded; its restart policy is no")).startswith(
        "the workload is degraded"
    )
    assert "the engine" in one(replace(kept_old(), waiting=["the engine"]))


def test_something_restored_that_nobody_asked_for_is_reported() -> None:
    assert "nobody asked" in "\n".join(violations(replace(restored(), target=None)))
