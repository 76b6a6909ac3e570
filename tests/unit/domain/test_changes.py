from __future__ import annotations

import json
from dataclasses import replace

from holdfast.domain.changes import Change, changes
from holdfast.domain.environment import SecretRef
from holdfast.domain.workload import HealthCheck, HealthType, Hooks, Port, Resources, Scope, Volume, WorkloadSpec

SPEC = WorkloadSpec(
    name="notes",
    image="registry.example/notes:1.4",
    project="home",
    env=(("TZ", "UTC"),),
    volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),),
)


def test_equal_configurations_have_no_difference() -> None:
    assert changes(SPEC, replace(SPEC)) == ()


def test_a_changed_value_is_named_with_both_sides() -> None:
    after = replace(SPEC, image="registry.example/notes:1.5", resources=Resources(memory=1024))
    assert changes(SPEC, after) == (
        Change(path="image", before="registry.example/notes:1.4", after="registry.example/notes:1.5"),
        Change(path="resources.memory", before=None, after=1024),
    )


def test_environment_is_compared_name_by_name_whatever_its_order() -> None:
    before = replace(SPEC, env=(("A", "1"), ("B", "2"), ("C", "3")))
    after = replace(SPEC, env=(("D", "4"), ("C", "3"), ("B", "x")))
    assert changes(before, after) == (
        Change(path="env.A", before="1", after=None),
        Change(path="env.B", before="2", after="x"),
        Change(path="env.D", before=None, after="4"),
    )


def test_volumes_are_compared_by_their_target() -> None:
    added = Volume(target="/cache", scope=Scope.EPHEMERAL, size=4096)
    changed = replace(SPEC.volumes[0], read_only=True)
    assert changes(SPEC, replace(SPEC, volumes=(added, changed))) == (
        Change(path="volumes./data.read_only", before=False, after=True),
        Change(
            path="volumes./cache",
            before=None,
            after={"scope": "ephemeral", "source": "", "read_only": False, "size": 4096, "engine_volume": ""},
        ),
    )


def test_a_removed_volume_is_shown() -> None:
    assert [change.path for change in changes(SPEC, replace(SPEC, volumes=()))] == ["volumes./data"]


def test_lists_are_shown_as_a_whole() -> None:
    after = replace(SPEC, command=("serve",), ports=(Port(container_port=80),))
    assert [(change.path, change.before, change.after) for change in changes(SPEC, after)] == [
        ("command", [], ["serve"]),
        ("ports", [], [{"container_port": 80, "host_port": 0, "host_ip": "0.0.0.0", "protocol": "tcp"}]),
    ]


def test_a_new_workload_lists_what_is_not_a_default() -> None:
    health = HealthCheck(type=HealthType.TCP, port=80)
    paths = [change.path for change in changes(None, replace(SPEC, health=health))]
    assert paths == ["name", "image", "project", "env.TZ", "volumes./data", "health"]


def test_changes_are_json() -> None:
    found = changes(None, replace(SPEC, ports=(Port(container_port=80),), entrypoint=("a",)))
    assert json.loads(json.dumps([change.after for change in found]))


def test_of_secrets_only_the_name_and_when_it_was_set_is_told() -> None:
    old = SecretRef(name="KEY", version="v1", set_at="2026-11-26T05:00:00Z")
    new = SecretRef(name="KEY", version="v2", set_at="2026-11-26T06:00:00Z")
    before = replace(SPEC, secrets=(old, SecretRef(name="GONE", version="v3", set_at="2026-11-26T05:00:00Z")))
    assert changes(before, replace(SPEC, secrets=(new, SecretRef(name="NEW")))) == (
        Change(path="secrets.KEY", before="set 2026-11-26T05:00:00Z", after="set 2026-11-26T06:00:00Z"),
        Change(path="secrets.GONE", before="set 2026-11-26T05:00:00Z", after=None),
        Change(path="secrets.NEW", before=None, after="not set"),
    )


def test_a_variable_that_is_a_secret_on_the_other_side_is_shown_without_its_value() -> None:
    plain = replace(SPEC, env=(("KEY", "swordfish"), ("TZ", "UTC")))
    secret = replace(SPEC, secrets=(SecretRef(name="KEY", version="v1", set_at="2026-11-26T05:00:00Z"),))
    for one, other in ((plain, secret), (secret, plain)):
        found = changes(one, other)
        assert {change.path for change in found} == {"env.KEY", "secrets.KEY"}
        assert "swordfish" not in repr(found)


def test_another_value_makes_other_containers() -> None:
    one, other = (replace(SPEC, secrets=(SecretRef(name="KEY", version=version),)) for version in ("v1", "v2"))
    assert len({SPEC.config_hash, one.config_hash, other.config_hash}) == 3


def test_a_revision_names_all_that_is_declared_and_no_value_of_a_secret() -> None:
    one = replace(SPEC, secrets=(SecretRef(name="KEY", version="1", set_at="then"),))
    others = (
        SPEC,
        replace(one, image="notes:2"),
        replace(one, hooks=Hooks(post_restore=("true",))),
        replace(one, networks=("proxy",)),
        replace(one, secrets=(*one.secrets, SecretRef(name="OTHER"))),
    )
    assert len({one.revision, *(other.revision for other in others)}) == len(others) + 1
    assert one.revision == replace(one, secrets=(SecretRef(name="KEY", version="2", set_at="now"),)).revision
