"""How well a workload is protected, from what there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.api.standins import SNAPSHOT, WORKLOAD, WORKLOAD_ID

from holdfast.domain.snapshot import Protection, Snapshot, protection_of

LATER = "2026-11-24T09:00:00.000000Z"


def taken(at: str, **known: object) -> Snapshot:
    return replace(SNAPSHOT, manifest=replace(SNAPSHOT.manifest, created_at=at), **known)  # type: ignore[arg-type] # fields of it


def test_a_workload_with_data_and_nothing_to_go_back_to_says_so() -> None:
    assert protection_of(WORKLOAD, []) == Protection(workload_id=WORKLOAD_ID, has_data=True, scheduled=False)


def test_the_newest_of_each_counts_whichever_snapshot_it_was() -> None:
    early = taken("2026-11-20T09:00:00.000000Z", verified_at=LATER, proved_at="2026-11-21T09:00:00.000000Z")
    found = protection_of(WORKLOAD, [early, taken("2026-11-23T09:00:00.000000Z")])
    assert (found.count, found.last_at) == (2, "2026-11-23T09:00:00.000000Z")
    assert (found.verified_at, found.proved_at) == (LATER, "2026-11-21T09:00:00.000000Z")


def test_reading_back_what_is_damaged_verified_nothing() -> None:
    assert protection_of(WORKLOAD, [taken(LATER, verified_at=LATER, damaged=("chunk",))]).verified_at is None


@pytest.mark.parametrize("schedule", [None, "0 3 * * *"])
def test_a_schedule_is_told(schedule: str | None) -> None:
    spec = replace(WORKLOAD.spec, snapshots=replace(WORKLOAD.spec.snapshots, schedule=schedule))
    assert protection_of(replace(WORKLOAD, spec=spec), []).scheduled is (schedule is not None)
