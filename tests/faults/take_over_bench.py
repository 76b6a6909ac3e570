"""Containers that others made, beside a Holdfast that takes them over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.api.schemas.containers import wish_of
from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.operation import Operation
from holdfast.domain.workload import Port, RestartPolicy
from holdfast.runtime.port import Bind, ContainerSpec, VolumeMount
from holdfast.services.take_over_checks import TakeOverWish
from holdfast.testing.fake_records import FakeContainer, FakeVolume
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import IMAGE, Installation, installation
from holdfast.testing.quick_workers import QuickWorkers

ANONYMOUS = "a" * 64


def place_at(directory: Path) -> Installation:
    return replace(installation(directory), seams=Seams(workers=QuickWorkers))


def compose(service: str, waits_for: str = "") -> dict[str, str]:
    """What Compose notes of a container."""
    facts = {"project": "home", "service": service, "depends_on": waits_for}
    return {f"com.docker.compose.{name}": value for name, value in facts.items()}


async def run_foreign(
    engine: FakeRuntime,
    name: str,
    *,
    binds: Sequence[Bind] = (),
    volumes: Sequence[VolumeMount] = (),
    labels: dict[str, str] | None = None,
    restart: RestartPolicy = RestartPolicy.UNLESS_STOPPED,
) -> str:
    """A container that others run. Returns its id."""
    for mount in volumes:
        engine.engine.make_volume(mount.name, FakeVolume())
    image = await engine.image(IMAGE)
    assert image is not None
    spec = ContainerSpec(
        name=name,
        image=image.id,
        labels=labels or {},
        env={"TZ": "UTC", "DB_PASSWORD": "sesame"},
        ports=(Port(container_port=80, host_port=8000 + len(engine.engine.state.containers)),),
        binds=binds,
        volumes=volumes,
        restart=restart,
    )
    container_id = await engine.create(spec)
    await engine.start(container_id)
    return container_id


async def db_and_web(place: Installation) -> tuple[Path, Path]:
    """A database, and a web server that waits for it and mounts what it has. Returns the directories of their data."""
    engine = place.fake_engine()
    shared, own = VolumeMount(name="home_data", target="/data"), VolumeMount(name="home_files", target="/files")
    await run_foreign(engine, "home-web-1", labels=compose("web", "db:service_started:false"), volumes=[shared, own])
    log = VolumeMount(name=ANONYMOUS, target="/log")
    await run_foreign(engine, "home-db-1", labels=compose("db"), volumes=[shared, log], restart=RestartPolicy.ALWAYS)
    data, files = (place.settings.docker_volumes / name / "_data" for name in ("home_data", "home_files"))
    (data / "row").write_text("theirs")
    (files / "page").write_text("theirs")
    return data, files


async def wishes(holdfast: Holdfast, *names: str) -> list[TakeOverWish]:
    proposal = await holdfast.api.containers.propose(names, project=None)
    return [wish_of(each) for each in proposal.containers]


async def taken_over(holdfast: Holdfast, *names: str, keep: bool = False) -> Operation:
    """Start a confirmed take-over."""
    return await holdfast.api.take_overs.begin(
        await wishes(holdfast, *names),
        confirm=",".join(names),
        accept_left_out=False,
        keep=keep,
        actor="test",
    )


def engine_of(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


def by_name(engine: FakeRuntime) -> dict[str, FakeContainer]:
    return {container.spec.name: container for container in engine.engine.state.containers.values()}
