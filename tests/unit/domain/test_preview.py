"""What a preview is made of: its parent's configuration, and nothing that could be its parent's own."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.environment import SecretRef
from holdfast.domain.preview import MAX_SHORT, PreviewCopy, short_of
from holdfast.domain.workload import (
    SUPPORTED_SCOPES,
    Domain,
    Port,
    PreviewPolicy,
    Quiesce,
    RevertData,
    Scope,
    SnapshotPolicy,
    UpdatePolicy,
    Volume,
    WorkloadSpec,
)

NAMES = string.ascii_lowercase + string.digits


def parent(**fields: object) -> WorkloadSpec:
    return WorkloadSpec(name="notes", image="notes:1", project="home", **fields)  # type: ignore[arg-type]


@given(st.text(min_size=1, max_size=255))
def test_whatever_a_branch_is_called_its_preview_can_have_a_name_and_a_domain(key: str) -> None:
    short = short_of(key)
    assert 1 <= len(short) <= MAX_SHORT
    assert set(short) <= set(NAMES + "-")
    assert not short.startswith("-")
    assert not short.endswith("-")


def test_branches_that_look_alike_have_previews_of_different_names() -> None:
    alike = ("feature/x", "feature-x", "Feature/x", "feature_x", "feature/x/", "x" * 41, "x" * 42, "é", "è", "/")
    assert len({short_of(key) for key in alike}) == len(alike)
    assert short_of("feature-x") == "feature-x"
    assert short_of("feature/x").startswith("feature-x-")


def test_a_long_name_of_the_parent_makes_room_for_what_is_the_previews_own() -> None:
    copy = PreviewCopy.of(WorkloadSpec(name="n" * 63, image="x", project="x"), "pr-17")
    assert copy.name == f"{'n' * 57}-pr-17"


def test_no_volume_of_a_preview_is_its_parents_whatever_the_scope() -> None:
    volumes = tuple(
        Volume(target=f"/{scope}", scope=scope, source="/srv/data" if scope is Scope.ABSOLUTE else "data")
        for scope in Scope
        if scope in SUPPORTED_SCOPES
    )
    volumes += (Volume(target="/old", scope=Scope.NAMED, source="old", engine_volume="there_before"),)
    memory = Volume(target="/tmp", scope=Scope.EPHEMERAL, size=4096)
    copy = PreviewCopy.of(parent(), "pr-17").spec(parent(volumes=(*volumes, memory)))
    assert (copy.name, copy.project, copy.stage) == ("notes-pr-17", "notes-pr-17", "preview")
    assert [volume.target for volume in copy.volumes[:-1]] == [volume.target for volume in volumes]
    assert {volume.scope for volume in copy.volumes[:-1]} == {Scope.STAGE, Scope.NAMED}
    assert len({volume.source for volume in copy.volumes[:-1]}) == len(volumes)
    assert not any(volume.engine_volume for volume in copy.volumes)
    assert copy.volumes[-1] == memory


def test_what_can_not_be_twice_is_each_previews_own_and_nothing_happens_to_it_by_a_schedule() -> None:
    policy = PreviewPolicy(
        domain=Domain(name="{preview}.notes.example.org", port=80),
        env=(("KEY", "none"), ("URL", "https://{domain}/{preview}?{x}")),
    )
    source = parent(
        domains=(Domain(name="notes.example.org", port=80),),
        ports=(Port(container_port=80, host_port=8080, host_ip="127.0.0.1"),),
        env=(("TZ", "UTC"), ("URL", "https://notes.example.org")),
        secrets=(SecretRef(name="KEY", version="v", set_at="t"), SecretRef(name="OTHER", version="w", set_at="t")),
        networks=("proxy",),
        labels=(("traefik.http.routers.notes.rule", "Host(`notes.example.org`)"),),
        snapshots=SnapshotPolicy(quiesce=Quiesce.STOP, schedule="0 3 * * *"),
        updates=UpdatePolicy(schedule="0 4 * * *"),
        revert_data=RevertData.ALWAYS,
        previews=policy,
    )
    copy = PreviewCopy.of(source, "feature/x", image="notes:x").spec(source)
    short = short_of("feature/x")
    assert copy.image == "notes:x"
    assert copy.domains == (Domain(name=f"{short}.notes.example.org", port=80),)
    assert copy.ports == (Port(container_port=80, host_port=0, host_ip="127.0.0.1"),)
    url = f"https://{short}.notes.example.org/{short}?{{x}}"
    assert dict(copy.env) == {"TZ": "UTC", "KEY": "none", "URL": url}
    assert copy.secrets == (SecretRef(name="OTHER"),)
    assert (copy.labels, copy.networks) == ((), ()), "by which a proxy would send it its parent's requests"
    assert copy.snapshots == SnapshotPolicy(quiesce=Quiesce.STOP, before_deploy=False)
    assert (copy.revert_data, copy.previews, copy.updates) == (RevertData.ASK, PreviewPolicy(), UpdatePolicy())
    assert PreviewCopy.of(source, "x").spec(parent(domains=source.domains)).domains == ()
