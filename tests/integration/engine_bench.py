"""A whole Holdfast on a real Docker Engine, in a temporary directory, and small images for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.bootstrap import Holdfast, Seams, running
from holdfast.config import Settings
from holdfast.domain.workload import (
    HealthCheck,
    HealthType,
    Hooks,
    RestartPolicy,
    Scope,
    SnapshotPolicy,
    Volume,
    WorkloadSpec,
)
from holdfast.runtime.port import LABEL_WORKLOAD, Container
from holdfast.services.health_gate import SystemClock
from holdfast.testing.images import build_image
from holdfast.testing.trees import wrappers_below
from tests.integration.conftest import remove_labelled

IMAGE = "holdfast-test/keeper:1"
KEEPER = """
trap 'exit 0' TERM
if [ -e /data/poison ]; then echo 'this data poisons me'; sleep 1; exit 3; fi
touch /scratch/alive
while :; do
  while [ -e /scratch/hold ]; do touch /scratch/held; sleep 0.05; done
  date >> /scratch/writing; sleep 0.1 & wait $!
done
"""
"""Works on any data but poisoned one, and keeps writing beside its volumes, so that trees stay comparable.

Writes nothing while its hooks hold it.
"""

TWO_VOLUMES = (
    Volume(target="/data", scope=Scope.STAGE, source="data"),
    Volume(target="/media", scope=Scope.PROJECT, source="media"),
)
PATIENT = HealthCheck(interval=0.05, timeout=30.0, deadline=60.0)
"""Soon satisfied, and not put off by a busy machine."""
SCRATCH = Volume(target="/scratch", scope=Scope.EPHEMERAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPlace:
    """A data directory on which servers run one after the other, with a real engine.

    Attributes:
        engine_timeout: seconds that the engine may take to answer.
        more: settings besides the usual ones.
    """

    directory: Path
    docker_host: str
    roots: tuple[Path, ...] = ()
    seams: Seams = field(default_factory=Seams)
    engine_timeout: float = 30.0
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(
            data_dir=self.directory / "data",
            docker_host=self.docker_host,
            allowed_roots=self.roots,
            steady_seconds=0.3,
            disk_reserve_bytes=0,
            disk_reserve_inodes=0,
            drain_deadline=60.0,
            engine_timeout=self.engine_timeout,
            **self.more,
        )

    @property
    def volumes(self) -> Path:
        return self.settings.volumes_base

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Holdfast]:
        """A server, from start to an orderly end."""
        async with running(self.settings, self.seams) as holdfast:
            yield holdfast

    async def clean(self) -> None:
        """Remove the containers and networks that it made."""
        installation = self.settings.installation_file
        if installation.exists():
            await remove_labelled(self.docker_host, installation.read_text().strip())

    def leftovers(self) -> list[Path]:
        """What restores left beside volumes, and journals."""
        return wrappers_below(self.directory, *self.roots) + list(self.settings.journal_dir.iterdir())


class Ahead(SystemClock):
    """The machine's clock, set ahead."""

    seconds = 0.0

    def time(self) -> float:
        return super().time() + self.seconds


HOOKS = Hooks(
    pre_snapshot=(
        "sh",
        "-c",
        "rm -f /scratch/held; touch /scratch/hold; while [ ! -e /scratch/held ]; do sleep 0.01; done; echo held",
    ),
    post_snapshot=("rm", "/scratch/hold"),
)
"""For programs that stand still, and make ``/scratch/held``, while there is ``/scratch/hold``."""


def keeper(name: str = "keeper", *, volumes: tuple[Volume, ...] = TWO_VOLUMES, image: str = IMAGE) -> WorkloadSpec:
    """A workload of the image above, with restart policy ``always``; no snapshots but those that are asked for."""
    return WorkloadSpec(
        name=name,
        image=image,
        project="house",
        volumes=(*volumes, SCRATCH),
        health=replace(PATIENT, type=HealthType.COMMAND, command=("test", "-e", "/scratch/alive")),
        restart=RestartPolicy.ALWAYS,
        stop_grace=10.0,
        hooks=HOOKS,
        snapshots=SnapshotPolicy(before_deploy=False),
    )


async def build_keeper(docker_host: str) -> None:
    """Have the image on the engine."""
    await build_image(docker_host, IMAGE, script=KEEPER)


async def containers(holdfast: Holdfast, workload_id: str) -> list[Container]:
    """The workload's containers, newest first."""
    return list(await holdfast.runtime.containers({LABEL_WORKLOAD: workload_id}))


async def the_one_running(holdfast: Holdfast, workload_id: str) -> Container:
    """The workload's only container, which must run."""
    found = await containers(holdfast, workload_id)
    assert [container.running for container in found] == [True], found
    return found[0]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for a condition; never coming true is the test's failure."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)
