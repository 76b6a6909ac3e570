"""What a run of ``make torture`` tells: each round on a line, what failed with a way to do it again, and a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torture.moments import Seen
from torture.plan import Action, Again, Moment, Sign, Victim, drawn
from torture.report import failure, line, table
from torture.rounds import Result

PLAN = replace(
    drawn(7, 31, ("xfs", "ext4"), Action.RESTORE, Victim.ALL),
    moment=Moment(sign=Sign("record", "COMMIT"), seconds=0.012),
    again=Again(victim=Victim.SERVER, seconds=1.25),
)
SURVIVED = Result(round=PLAN, seen=Seen(step="swapping", record="COMMIT", over=False), ended="restored", seconds=6.32)
FAILED = replace(SURVIVED, troubles=["/data lost records: 5 lines and not 6"])


def test_a_line_tells_what_was_killed_when_at_which_step_and_how_it_ended() -> None:
    assert " ".join(line(SURVIVED).split()) == (
        "31 xfs+ext4 restore all at record COMMIT +12 ms (swapping/COMMIT), then server 1.2 s into the recovery "
        "→ restored, 6.3 s"
    )


def test_a_failure_tells_what_differs_where_it_is_kept_and_how_to_do_it_again(tmp_path: Path) -> None:
    (tmp_path / "disk0.img").touch()
    told = failure(FAILED, tmp_path)
    assert "/data lost records: 5 lines and not 6" in told
    assert f"mount -o loop {tmp_path}/disk0.img /mnt" in told
    assert told.endswith("make torture PARTS=kills SEED=7 ROUND=31")
    assert "FAILED" in line(FAILED)


def test_the_table_counts_what_was_survived_and_nothing_else() -> None:
    elsewhere = replace(SURVIVED, round=replace(PLAN, layout=("btrfs",), again=None))
    rows = table([SURVIVED, SURVIVED, elsewhere, FAILED]).splitlines()
    assert rows[0].split() == ["survived", "xfs+ext4", "btrfs", "all"]
    assert rows[1].split() == ["restore", "all", "2", "1", "3"]
    assert rows[2] == "3 rounds survived, in 2 of which the recovery was killed as well."
    assert rows[3].endswith("swapping/COMMIT 3")
