"""Restores go where the current configuration says, or nowhere."""

from __future__ import annotations

import dataclasses

from holdfast.domain.restore_mapping import map_volumes
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Scope, Volume, WorkloadSpec

DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
MEDIA = Volume(target="/media", scope=Scope.PROJECT, source="media")
SPEC = WorkloadSpec(name="notes", image="notes:1", project="home", volumes=(DATA, MEDIA))


def manifest(*volumes: Volume) -> SnapshotManifest:
    captured = tuple(
        CapturedVolume(index=index, target=v.target, scope=v.scope, source="/somewhere/tampered")
        for index, v in enumerate(volumes)
    )
    return SnapshotManifest(
        id="s",
        workload_id="w",
        workload_name="notes",
        created_at="2026-01-01T00:00:00Z",
        reason=SnapshotReason.MANUAL,
        consistency=Consistency.PAUSED,
        volumes=captured,
    )


def test_every_captured_volume_maps_to_the_configured_one_of_the_same_target() -> None:
    mapped, problems = map_volumes(manifest(MEDIA, DATA), SPEC, None)
    assert problems == ()
    assert [(m.captured.index, m.configured) for m in mapped] == [(1, DATA), (0, MEDIA)]


def test_a_volume_that_the_snapshot_lacks_is_a_problem_unless_left_out() -> None:
    _, problems = map_volumes(manifest(DATA), SPEC, None)
    assert [p.code for p in problems] == ["volume_not_in_snapshot"]
    mapped, problems = map_volumes(manifest(DATA), SPEC, ("/data",))
    assert problems == ()
    assert [m.configured for m in mapped] == [DATA]


def test_a_volume_that_is_not_configured_any_more_is_a_problem_unless_left_out() -> None:
    gone = Volume(target="/gone", scope=Scope.STAGE, source="gone")
    _, problems = map_volumes(manifest(DATA, MEDIA, gone), SPEC, None)
    assert [p.code for p in problems] == ["volume_not_configured"]
    assert map_volumes(manifest(DATA, MEDIA, gone), SPEC, ("/data", "/media"))[1] == ()


def test_a_volume_that_changed_its_scope_is_a_problem() -> None:
    rescoped = dataclasses.replace(DATA, scope=Scope.PROJECT)
    _, problems = map_volumes(manifest(rescoped, MEDIA), SPEC, None)
    assert [p.code for p in problems] == ["volume_rescoped"]


def test_an_ephemeral_volume_is_neither_expected_nor_restored() -> None:
    spec = dataclasses.replace(SPEC, volumes=(DATA, Volume(target="/tmp", scope=Scope.EPHEMERAL)))
    mapped, problems = map_volumes(manifest(DATA), spec, None)
    assert problems == ()
    assert [m.configured for m in mapped] == [DATA]


def test_all_problems_are_reported_at_once() -> None:
    gone = Volume(target="/gone", scope=Scope.STAGE, source="gone")
    rescoped = dataclasses.replace(DATA, scope=Scope.ABSOLUTE)
    _, problems = map_volumes(manifest(rescoped, gone), SPEC, None)
    assert sorted(p.code for p in problems) == ["volume_not_configured", "volume_not_in_snapshot", "volume_rescoped"]


def test_an_unknown_target_is_named_with_the_known_ones() -> None:
    _, problems = map_volumes(manifest(DATA, MEDIA), SPEC, ("/dat",))
    assert problems[0].code == "volume_unknown"
    assert "/data" in problems[0].next_step


def test_a_workload_without_restorable_volumes_is_told_so() -> None:
    spec = dataclasses.replace(SPEC, volumes=())
    _, problems = map_volumes(manifest(), spec, None)
    assert [p.code for p in problems] == ["nothing_to_restore"]


def test_a_map_to_nowhere_is_the_only_problem_that_is_told() -> None:
    _, problems = map_volumes(manifest(DATA, MEDIA), SPEC, None, renames={"/data": "/nope"}, any_scope=True)
    assert [(p.code, p.details["target"]) for p in problems] == [("volume_unknown", "/nope")]
    assert "/data, /media" in problems[0].next_step


def test_where_data_may_go_to_another_path_that_is_said() -> None:
    elsewhere = dataclasses.replace(SPEC, volumes=(MEDIA,))
    _, problems = map_volumes(manifest(DATA, MEDIA), elsewhere, None, any_scope=True)
    assert [p.code for p in problems] == ["volume_not_configured"]
    assert "--map" in problems[0].next_step
