from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain import volumes
from holdfast.domain.volumes import Placed
from holdfast.domain.workload import Scope, Volume, WorkloadSpec

SPEC = WorkloadSpec(name="notes", image="notes", project="home")


def placed(workload: str, path: str, *, scope: Scope = Scope.STAGE, project: str = "home") -> Placed:
    return Placed(workload=workload, project=project, target="/data", scope=scope, path=path)


def test_a_stage_volume_lives_below_its_workload() -> None:
    assert volumes.relative_path(SPEC, Volume(target="/d", scope=Scope.STAGE, source="a/b")) == "notes/a/b"


def test_a_project_volume_lives_below_its_project() -> None:
    assert volumes.relative_path(SPEC, Volume(target="/d", scope=Scope.PROJECT, source="media")) == "@home/media"


@pytest.mark.parametrize("scope", sorted(set(Scope) - {Scope.STAGE, Scope.PROJECT}))
def test_other_scopes_have_no_place_below_the_base(scope: Scope) -> None:
    with pytest.raises(ValueError, match="no path below the volumes base"):
        volumes.relative_path(SPEC, Volume(target="/d", scope=scope))


def test_below_is_by_components_and_strict() -> None:
    assert volumes.is_below("/srv/a", "/srv")
    assert volumes.is_below("/srv", "/")
    assert not volumes.is_below("/srv", "/srv")
    assert not volumes.is_below("/srv-2/a", "/srv")


def test_the_longest_root_is_chosen() -> None:
    assert volumes.choose_root("/srv/data/a", ["/srv", "/srv/data", "/other"]) == "/srv/data"


@pytest.mark.parametrize("path", ["/srv", "/srv2/a", "/"])
def test_a_path_that_is_not_strictly_below_a_root_has_none(path: str) -> None:
    assert volumes.choose_root(path, ["/srv"]) is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/etc/notes",
        "/var",
        "/var/lib",
        "/var/lib/docker/volumes/x",
        "/proc/1",
        "/usr/share/x",
        "/var/lib/holdfast",
        "/var/lib/holdfast/journal",
        "/var/lib/holdfast/volumes",
        "/mnt/engine/overlay2",
        "/mnt",
    ],
)
def test_paths_of_the_host_and_of_holdfast_are_forbidden(path: str) -> None:
    problem = volumes.forbidden(
        path, own="/var/lib/holdfast", volumes_base="/var/lib/holdfast/volumes", engine_root="/mnt/engine"
    )
    assert problem is not None
    assert problem.code == "volume_path_forbidden"
    assert problem.next_step


@pytest.mark.parametrize("path", ["/srv/notes", "/var/lib/holdfast/volumes/x/y", "/home/me/data", "/etcetera"])
def test_other_paths_are_not(path: str) -> None:
    assert (
        volumes.forbidden(
            path, own="/var/lib/holdfast", volumes_base="/var/lib/holdfast/volumes", engine_root="/mnt/engine"
        )
        is None
    )


def test_a_base_outside_of_the_data_directory_is_protected_too() -> None:
    assert volumes.forbidden("/pool", own="/var/lib/holdfast", volumes_base="/pool/volumes") is not None


@pytest.mark.parametrize("path", ["/srv/a", "/srv/a/b", "/srv"])
def test_equal_and_nested_paths_of_two_workloads_conflict(path: str) -> None:
    (problem,) = volumes.conflicts([placed("notes", path)], [placed("wiki", "/srv/a")])
    assert problem.code == "volume_conflict"
    assert "wiki" in problem.message
    assert problem.details["other_workload"] == "wiki"


def test_two_volumes_of_one_workload_conflict_too() -> None:
    assert len(volumes.conflicts([placed("notes", "/b/notes/a"), placed("notes", "/b/notes/a/b")], [])) == 1


def test_paths_side_by_side_do_not_conflict() -> None:
    assert volumes.conflicts([placed("notes", "/srv/a")], [placed("wiki", "/srv/ab")]) == []


def test_workloads_of_one_project_share_an_equal_project_volume() -> None:
    one = placed("notes", "/b/@home/media", scope=Scope.PROJECT)
    assert volumes.conflicts([one], [placed("wiki", "/b/@home/media", scope=Scope.PROJECT)]) == []


def test_a_project_volume_inside_of_another_conflicts() -> None:
    one = placed("notes", "/b/@home/media/thumbs", scope=Scope.PROJECT)
    assert len(volumes.conflicts([one], [placed("wiki", "/b/@home/media", scope=Scope.PROJECT)])) == 1


def test_a_project_volume_mounted_twice_by_one_workload_conflicts() -> None:
    one = placed("notes", "/b/@home/media", scope=Scope.PROJECT)
    assert len(volumes.conflicts([one, one], [])) == 1


def test_an_absolute_path_onto_a_shared_volume_conflicts() -> None:
    one = placed("notes", "/b/@home/media", scope=Scope.ABSOLUTE)
    assert len(volumes.conflicts([one], [placed("wiki", "/b/@home/media", scope=Scope.PROJECT)])) == 1


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, (0, 0)),
        ("", (0, 0)),
        ("root", (0, 0)),
        ("postgres", (0, 0)),
        ("postgres:1000", (0, 0)),
        ("999", (999, 0)),
        ("999:998", (999, 998)),
        ("999:staff", (999, 0)),
        ("1000x", (0, 0)),
        ("99999999999", (0, 0)),
        ("4294967295", (0, 0)),
    ],
)
def test_a_directory_gets_the_numeric_user_of_the_image(user: str | None, expected: tuple[int, int]) -> None:
    assert volumes.owner(user) == expected


PATHS = st.lists(st.sampled_from(["a", "b", "aa"]), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATHS, PATHS)
def test_overlap_is_symmetric_and_by_components(one: str, other: str) -> None:
    a, b = one.split("/"), other.split("/")
    shorter = min(len(a), len(b))
    assert volumes.overlap(one, other) == volumes.overlap(other, one) == (a[:shorter] == b[:shorter])
