"""What is being read can't be deleted (I11)."""

from __future__ import annotations

import pytest

from holdfast.domain.errors import Conflict
from holdfast.services.in_use import SnapshotsInUse


def test_a_snapshot_that_nobody_reads_is_free() -> None:
    SnapshotsInUse().check_free("a")


def test_a_snapshot_that_is_read_is_refused_with_who_reads_it() -> None:
    in_use = SnapshotsInUse()
    with in_use.hold("a", "restore 1"), pytest.raises(Conflict) as caught:
        in_use.check_free("a")
    assert caught.value.code == "snapshot_in_use"
    assert "restore 1" in caught.value.message
    assert caught.value.next_step
    assert caught.value.details == {"snapshot_id": "a", "used_by": "restore 1"}


def test_other_snapshots_stay_free() -> None:
    in_use = SnapshotsInUse()
    with in_use.hold("a", "restore 1"):
        in_use.check_free("b")


def test_it_is_free_only_when_the_last_reader_is_gone() -> None:
    in_use = SnapshotsInUse()
    with in_use.hold("a", "an export"):
        with in_use.hold("a", "an export"), in_use.hold("a", "restore 1"):
            pass
        with pytest.raises(Conflict):
            in_use.check_free("a")
    in_use.check_free("a")


def test_a_reader_that_fails_lets_go() -> None:
    in_use = SnapshotsInUse()
    with pytest.raises(ZeroDivisionError), in_use.hold("a", "an export"):
        raise ZeroDivisionError
    in_use.check_free("a")
