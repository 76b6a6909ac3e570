"""What a deployment does to the instances that are there, and what differs from what was deployed."""

import dataclasses

import pytest

from holdfast.domain.deploy_plan import (
    InstanceFacts,
    Mend,
    already_running,
    check_spec,
    differences,
    instance_count,
)
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.workload import (
    DesiredState,
    HealthCheck,
    HealthType,
    Port,
    RestartPolicy,
    Scope,
    Strategy,
    Volume,
    WorkloadSpec,
)

STATEFUL = WorkloadSpec(
    name="notes",
    image="notes:1",
    project="home",
    volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),),
    max_instances=3,
)
STATELESS = dataclasses.replace(STATEFUL, volumes=())
DEPLOYED = Deployment(
    id="d2",
    workload_id="w",
    state=DeploymentState.SUCCEEDED,
    reason=DeployReason.DEPLOY,
    spec=STATEFUL,
    image_id="sha256:b",
    digest=None,
    operation_id=None,
    started_at="2026-01-01T00:00:00Z",
)


def instance(name: str = "one", *, spec: WorkloadSpec = STATEFUL, **changes: object) -> InstanceFacts:
    facts = InstanceFacts(
        id=name,
        name=name,
        deployment_id="d2",
        image_id="sha256:b",
        config_hash=spec.config_hash,
        running=True,
        restart=RestartPolicy.UNLESS_STOPPED,
    )
    return dataclasses.replace(facts, **changes)  # type: ignore[arg-type]  # tests name the fields that they change


def test_a_workload_with_a_writable_volume_has_one_instance_whatever_it_asks_for() -> None:
    assert instance_count(STATEFUL) == 1


def test_a_workload_without_a_writable_volume_has_as_many_instances_as_it_asks_for() -> None:
    assert instance_count(STATELESS) == 3


def test_an_owner_who_spells_out_blue_green_gets_several_writers() -> None:
    assert instance_count(dataclasses.replace(STATEFUL, strategy=Strategy.BLUE_GREEN)) == 3


def test_an_instance_of_the_same_image_and_configuration_may_be_already_running() -> None:
    assert already_running(STATEFUL, "sha256:b", [instance(), instance("old", running=False)]) == (instance(),)


@pytest.mark.parametrize(
    "instances",
    [
        [],
        [instance(running=False)],
        [instance(image_id="sha256:a")],
        [instance(config_hash="other")],
        [instance(), instance("second")],
        [instance(), instance("second", deployment_id="d1")],
    ],
    ids=["none", "stopped", "other image", "other configuration", "too many", "of two deployments"],
)
def test_anything_else_is_not_already_running(instances: list[InstanceFacts]) -> None:
    assert already_running(STATEFUL, "sha256:b", instances) is None


def test_fewer_instances_than_asked_for_are_not_already_running() -> None:
    assert already_running(STATELESS, "sha256:b", [instance(spec=STATELESS)]) is None


def test_an_image_without_a_health_check_is_refused_where_the_image_is_to_judge() -> None:
    spec = dataclasses.replace(STATEFUL, health=HealthCheck(type=HealthType.DOCKER))
    assert [p.code for p in check_spec(spec, image_has_healthcheck=False)] == ["image_has_no_healthcheck"]
    assert check_spec(spec, image_has_healthcheck=True) == []


def test_blue_green_with_a_fixed_port_is_refused() -> None:
    spec = dataclasses.replace(STATELESS, strategy=Strategy.BLUE_GREEN, ports=(Port(container_port=80, host_port=80),))
    assert [p.code for p in check_spec(spec, image_has_healthcheck=False)] == ["port_needs_recreate"]
    automatic = dataclasses.replace(spec, strategy=Strategy.AUTO)
    assert check_spec(automatic, image_has_healthcheck=False) == []


def test_nothing_differs_when_the_deployed_instance_runs() -> None:
    assert differences(DesiredState.RUNNING, DEPLOYED, [instance()]) == []


def test_a_missing_instance_is_deployed_again() -> None:
    (found,) = differences(DesiredState.RUNNING, DEPLOYED, [])
    assert (found.code, found.mend) == ("instance_missing", Mend.REDEPLOY)


def test_an_instance_that_somebody_stopped_is_only_reported() -> None:
    (found,) = differences(DesiredState.RUNNING, DEPLOYED, [instance(running=False)])
    assert (found.code, found.mend) == ("instance_stopped", Mend.NOTHING)


def test_another_version_that_runs_is_reported_and_never_replaced() -> None:
    (found,) = differences(DesiredState.RUNNING, DEPLOYED, [instance(deployment_id="d3")])
    assert (found.code, found.mend) == ("other_version_running", Mend.NOTHING)


def test_a_stopped_instance_of_an_earlier_deployment_is_removed_beside_a_running_one() -> None:
    (found,) = differences(
        DesiredState.RUNNING, DEPLOYED, [instance(), instance("old", deployment_id="d1", running=False)]
    )
    assert (found.code, found.mend, found.instance_id) == ("instance_left_over", Mend.REMOVE, "old")


def test_a_stopped_instance_of_an_earlier_deployment_is_kept_while_the_deployed_one_does_not_run() -> None:
    found = differences(
        DesiredState.RUNNING, DEPLOYED, [instance(running=False), instance("old", deployment_id="d1", running=False)]
    )
    assert [f.mend for f in found] == [Mend.NOTHING]


def test_a_restart_policy_that_was_not_set_in_time_is_set() -> None:
    (found,) = differences(DesiredState.RUNNING, DEPLOYED, [instance(restart=RestartPolicy.NO)])
    assert (found.mend, found.restart) == (Mend.SET_RESTART_POLICY, RestartPolicy.UNLESS_STOPPED)


def test_an_instance_that_somebody_started_is_only_reported() -> None:
    (found,) = differences(DesiredState.STOPPED, DEPLOYED, [instance()])
    assert (found.code, found.mend) == ("instance_started", Mend.NOTHING)


def test_a_stopped_instance_that_the_engine_would_start_by_itself_loses_that_policy() -> None:
    (found,) = differences(DesiredState.STOPPED, DEPLOYED, [instance(running=False, restart=RestartPolicy.ALWAYS)])
    assert (found.mend, found.restart) == (Mend.SET_RESTART_POLICY, RestartPolicy.NO)


def test_what_runs_without_any_successful_deployment_is_reported() -> None:
    (found,) = differences(DesiredState.RUNNING, None, [instance()])
    assert found.code == "other_version_running"
