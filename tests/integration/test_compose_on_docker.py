"""A compose file's services run as what is proposed for them: one project, their volumes and their network shared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.api.schemas.workload import parse_workload_json
from holdfast.api.schemas.yaml_document import read_yaml
from holdfast.domain.compose_findings import FindingKind
from holdfast.runtime.docker import DockerRuntime
from holdfast.services.compose_import import propose_workloads
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, snapshotted, succeeded
from tests.integration.engine_bench import DockerPlace, the_one_running

WEB, WORKER = "holdfast-test/composed-web:1", "holdfast-test/composed-worker:1"
COMPOSE = f"""
services:
  web:
    image: {WEB}
    depends_on: [worker]
    volumes: ["pages:/www"]
    healthcheck: {{test: ["CMD", "wget", "-qO-", "http://127.0.0.1:8080/page"], interval: 100ms}}
    stop_grace_period: 3s
  worker:
    image: {WORKER}
    environment: {{GREETING: good day, WORKER_PASSWORD: swordfish}}
    volumes: ["pages:/pages"]
    privileged: true
    stop_grace_period: 3s
volumes:
  pages:
"""
WAITS = "while :; do sleep 60 & wait $!; done\n"


@pytest.fixture
async def place(tmp_path: Path, docker_host: str, docker_runtime: DockerRuntime) -> AsyncIterator[DockerPlace]:
    await build_image(docker_host, WEB, script=f"trap 'exit 0' TERM\nhttpd -p 8080 -h /www\n{WAITS}")
    says = 'trap "exit 0" TERM\necho "$GREETING, $WORKER_PASSWORD" > /pages/page\n'
    await build_image(docker_host, WORKER, script=f"{says}{WAITS}")
    volumes = Path((await docker_runtime.info()).root_dir) / "volumes"
    place = DockerPlace(directory=tmp_path, docker_host=docker_host, more={"docker_volumes": volumes})
    yield place
    await place.clean()


async def test_its_services_run_as_proposed_find_each_other_and_share_their_volume(
    place: DockerPlace, installation: str
) -> None:
    document = read_yaml(COMPOSE, merge=True)
    proposal = propose_workloads(document.value, folder=installation, directory="", variables={}, env_files={})
    proposed = {each.name: each for each in proposal.workloads}
    left_out = [each.path for each in proposed["worker"].findings if each.kind is FindingKind.LEFT_OUT]
    assert left_out == ["services.worker.privileged"]
    async with place.running() as holdfast:
        worker = parse_workload_json(proposed["worker"].document)
        await holdfast.api.workloads.apply(worker, actor="test")
        await holdfast.api.secrets.set("worker", "WORKER_PASSWORD", "swordfish", actor="test")
        workers = await deployed(holdfast, worker)
        web = await deployed(holdfast, parse_workload_json(proposed["web"].document))
        asking = await the_one_running(holdfast, workers.id)
        answer = await holdfast.runtime.exec(asking.id, ["wget", "-qO-", "http://web:8080/page"], 30.0)
        assert answer.output.strip() == "good day, swordfish"
        snapshot_id = await snapshotted(holdfast, web)
        taken = await holdfast.api.snapshots.get("web", snapshot_id)
        assert [volume.target for volume in taken.manifest.volumes] == ["/www"]
        for workload in (web, workers):
            await succeeded(holdfast, await holdfast.api.workloads.delete(workload.id, delete_data=False, actor="test"))
