"""The containers that Holdfast makes, and how it knows its own again."""

import dataclasses

import pytest

from holdfast.domain.ids import new_id
from holdfast.domain.restore import RootRef
from holdfast.domain.workload import (
    DesiredState,
    Port,
    Resources,
    RestartPolicy,
    Scope,
    Volume,
    Workload,
    WorkloadSpec,
)
from holdfast.runtime.port import ContainerSpec, Tmpfs
from holdfast.services.image_source import Version
from holdfast.services.instances import Instances, instance_facts
from holdfast.testing.fake_runtime import FakeRuntime

INSTALLATION = new_id()
WORKLOAD = Workload(
    id=new_id(),
    spec=WorkloadSpec(
        name="notes",
        image="notes:1",
        project="home",
        env=(("TZ", "UTC"),),
        labels=(("tier", "web"), ("holdfast.installation", "forged")),
        command=("serve",),
        ports=(Port(container_port=80),),
        volumes=(
            Volume(target="/data", scope=Scope.STAGE, source="data"),
            Volume(target="/media", scope=Scope.STAGE, source="media", read_only=True),
            Volume(target="/cache", scope=Scope.EPHEMERAL, size=4096),
        ),
        resources=Resources(memory=64 * 1024 * 1024, cpus=0.5),
    ),
    desired=DesiredState.RUNNING,
    created_at="2026-01-01T00:00:00Z",
    updated_at="2026-01-01T00:00:00Z",
)
DEPLOYMENT = new_id()


class Places:
    """Volumes that are where their source says, below one directory."""

    def __init__(self, base: str) -> None:
        self.base = base

    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef:
        return RootRef(root=self.base, relative=volume.source)


class Values:
    """Values of secrets, as if they had been opened."""

    async def environment(self, workload: Workload) -> dict[str, str]:
        return {secret.name: f"value of {secret.name}" for secret in workload.spec.secrets}


class Kept:
    """Notes whose log was to be kept."""

    async def keep(self, workload_id: str, container_id: str, instance: str) -> None:
        """Nothing is removed here."""
        raise AssertionError(instance)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def instances(runtime: FakeRuntime, tmp_path_factory: pytest.TempPathFactory) -> Instances:
    base = tmp_path_factory.mktemp("volumes")
    (base / "data").mkdir()
    (base / "media").mkdir()
    return Instances(runtime, INSTALLATION, Places(str(base)), Values(), Kept())


def version(runtime: FakeRuntime) -> Version:
    return Version(image_id=runtime.add_image("notes:1").id, digest=None, reference="notes:1", user="")


def made(runtime: FakeRuntime, container_id: str) -> ContainerSpec:
    return runtime.engine.find(container_id).spec


async def test_an_instance_is_what_the_configuration_says(runtime: FakeRuntime, instances: Instances) -> None:
    spec = made(runtime, await instances.create(WORKLOAD, version(runtime), DEPLOYMENT, 1))
    assert spec.name == f"notes-{DEPLOYMENT[-6:]}"
    assert dict(spec.env) == {"TZ": "UTC"}
    assert [(bind.target, bind.read_only) for bind in spec.binds] == [("/data", False), ("/media", True)]
    assert all(bind.source.endswith(bind.target) for bind in spec.binds)
    assert tuple(spec.tmpfs) == (Tmpfs(target="/cache", size=4096),)
    assert (spec.memory, spec.cpus) == (64 * 1024 * 1024, 0.5)
    assert tuple(spec.aliases) == ("notes",)
    assert spec.network == f"holdfast-{INSTALLATION[-6:]}-home"


async def test_an_instance_is_made_so_that_the_engine_never_starts_it_by_itself(
    runtime: FakeRuntime, instances: Instances
) -> None:
    assert made(runtime, await instances.create(WORKLOAD, version(runtime), DEPLOYMENT, 1)).restart is RestartPolicy.NO


async def test_a_configuration_can_t_forge_holdfast_s_own_labels(runtime: FakeRuntime, instances: Instances) -> None:
    labels = made(runtime, await instances.create(WORKLOAD, version(runtime), DEPLOYMENT, 1)).labels
    assert labels["holdfast.installation"] == INSTALLATION
    assert labels["tier"] == "web"


async def test_several_instances_of_a_deployment_have_names_of_their_own(
    runtime: FakeRuntime, instances: Instances
) -> None:
    several = dataclasses.replace(WORKLOAD, spec=dataclasses.replace(WORKLOAD.spec, volumes=(), max_instances=2))
    names = {
        made(runtime, await instances.create(several, version(runtime), DEPLOYMENT, number)).name for number in (1, 2)
    }
    assert names == {f"notes-{DEPLOYMENT[-6:]}-1", f"notes-{DEPLOYMENT[-6:]}-2"}


async def test_only_this_installation_s_containers_of_the_workload_are_listed(
    runtime: FakeRuntime, instances: Instances
) -> None:
    image = version(runtime)
    own = await instances.create(WORKLOAD, image, DEPLOYMENT, 1)
    other_workload = dataclasses.replace(WORKLOAD, id=new_id())
    neighbour = await instances.create(other_workload, image, new_id(), 1)
    await runtime.create(
        ContainerSpec(
            name="stranger",
            image=image.image_id,
            labels={"holdfast.workload": WORKLOAD.id, "holdfast.installation": new_id()},
        )
    )
    assert [container.id for container in await instances.of(WORKLOAD.id)] == [own]
    assert {container.id for container in await instances.all()} == {own, neighbour}


async def test_an_instance_is_known_again_by_its_deployment_image_and_configuration(
    runtime: FakeRuntime, instances: Instances
) -> None:
    image = version(runtime)
    await instances.create(WORKLOAD, image, DEPLOYMENT, 1)
    (container,) = await instances.of(WORKLOAD.id)
    facts = instance_facts(container)
    assert (facts.deployment_id, facts.image_id, facts.config_hash, facts.running) == (
        DEPLOYMENT,
        image.image_id,
        WORKLOAD.spec.config_hash,
        False,
    )
