"""Secrets of workloads: they reach the containers, return with a rollback, and are found nowhere else."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from holdfast.api.app import create_app
from holdfast.bootstrap import Holdfast
from holdfast.domain.clone import LikeSource
from holdfast.domain.deployment import Deployment
from holdfast.domain.environment import SecretRef
from holdfast.domain.errors import Busy, Conflict, InvalidInput, NotFound, Refused, TooLarge
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import Quiesce, SnapshotPolicy, Workload, WorkloadSpec
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.clones import CloneWish
from holdfast.services.secrets import SecretState
from holdfast.store.tables import secrets
from holdfast.testing.fake_records import Behaviour, Command
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    HOOKS,
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)

FIRST, SECOND = "swordfish-one", "swordfish-two"
SECRET = dataclasses.replace(spec_of(), secrets=(SecretRef(name="KEY"),))


@pytest.fixture
async def place(tmp_path: Path) -> Installation:
    return installation(tmp_path)


@pytest.fixture
async def holdfast(place: Installation) -> AsyncIterator[Holdfast]:
    async with place.running() as holdfast:
        yield holdfast


async def applied(holdfast: Holdfast, spec: WorkloadSpec = SECRET) -> Workload:
    result = await holdfast.api.workloads.apply(spec, actor="ann")
    assert result.workload is not None
    return result.workload


async def put(holdfast: Holdfast, workload: Workload, value: str, name: str = "KEY") -> Sequence[str]:
    """Set a secret. Returns what that changed."""
    result = await holdfast.api.secrets.set(workload.id, name, value, actor="ann")
    return [change.path for change in result.changes]


async def deploy(holdfast: Holdfast, workload: Workload) -> Operation:
    return await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))


async def ready(holdfast: Holdfast, spec: WorkloadSpec = SECRET) -> Workload:
    """A workload that runs with a secret."""
    workload = await applied(holdfast, spec)
    await put(holdfast, workload, FIRST)
    await deploy(holdfast, workload)
    return workload


async def environment(holdfast: Holdfast, workload: Workload) -> dict[str, str]:
    """What the running instance of a workload knows."""
    runtime = holdfast.runtime
    assert isinstance(runtime, FakeRuntime)
    (running,) = [c for c in await runtime.containers({LABEL_WORKLOAD: workload.id}) if c.running]
    return dict(runtime.engine.find(running.id).spec.env)


async def newest(holdfast: Holdfast, workload: Workload) -> Deployment:
    return (await holdfast.api.deployer.deployments(workload.id, 1, None)).items[0]


async def returned_with_data(holdfast: Holdfast, workload: Workload, to: Deployment) -> Operation:
    plan = await holdfast.api.data_rollbacks.plan(workload.id, to.id)
    return await holdfast.api.data_rollbacks.rollback(
        workload.id, to.id, confirm=plan.snapshot.id, dry_run=False, actor="ann"
    )


async def states(holdfast: Holdfast, workload: Workload) -> dict[str, SecretState]:
    return {secret.name: secret.state for secret in await holdfast.api.secrets.list(workload.id)}


def found_in(directory: Path, values: Iterable[str]) -> list[str]:
    """The files below a directory that hold one of these values in plain."""
    found = []
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # a server that runs makes and removes files
            content = path.read_bytes()
            found += [str(path)] if any(value.encode() in content for value in values) else []
    return found


@asynccontextmanager
async def client(holdfast: Holdfast) -> AsyncIterator[httpx.AsyncClient]:
    """The API, as the first admin meets it."""
    transport = httpx.ASGITransport(create_app(holdfast.api))
    headers = {"Authorization": f"Bearer {holdfast.first_token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def test_the_containers_get_the_value_with_the_next_deploy(holdfast: Holdfast) -> None:
    workload = await applied(holdfast, dataclasses.replace(SECRET, env=(("TZ", "UTC"),)))
    assert await put(holdfast, workload, f"{FIRST}\nsecond line\n") == ["secrets.KEY"]
    await deploy(holdfast, workload)
    assert await environment(holdfast, workload) == {"TZ": "UTC", "KEY": f"{FIRST}\nsecond line\n"}
    await put(holdfast, workload, SECOND)
    assert (await environment(holdfast, workload))["KEY"].startswith(FIRST)
    assert (await deploy(holdfast, workload)).outcome["result"] == "deployed"
    assert (await environment(holdfast, workload))["KEY"] == SECOND


async def test_a_rollback_brings_back_the_value_of_then_and_makes_it_the_configured_one(holdfast: Holdfast) -> None:
    workload = await ready(holdfast)
    first = await newest(holdfast, workload)
    await put(holdfast, workload, SECOND)
    await deploy(holdfast, workload)
    plan = await holdfast.api.rollbacks.plan(workload.id, first.id)
    assert [change.path for change in plan.rollback.changes] == ["secrets.KEY"]
    await succeeded(holdfast, await holdfast.api.rollbacks.rollback(workload.id, first.id, actor="ann"))
    assert (await environment(holdfast, workload))["KEY"] == FIRST
    assert (await holdfast.api.workloads.get(workload.id)).spec.secrets == first.spec.secrets
    assert await put(holdfast, workload, FIRST) == [], "it has this value already"


async def test_a_rollback_with_data_brings_back_the_value_of_then_or_is_refused_while_it_can_t_be_opened(
    holdfast: Holdfast, place: Installation
) -> None:
    workload = await ready(holdfast, dataclasses.replace(SECRET, snapshots=SnapshotPolicy(before_deploy=True)))
    first = await newest(holdfast, workload)
    await put(holdfast, workload, SECOND)
    await deploy(holdfast, workload)
    key = place.settings.keys_dir / "sealing.key"
    kept = key.rename(key.with_name("elsewhere"))
    with pytest.raises(Refused) as refused:
        await returned_with_data(holdfast, workload, first)
    assert refused.value.code == "secret_unreadable"
    kept.rename(key)
    await succeeded(holdfast, await returned_with_data(holdfast, workload, first))
    assert (await environment(holdfast, workload))["KEY"] == FIRST


async def test_what_a_deploy_would_change_is_told_by_name(holdfast: Holdfast) -> None:
    workload = await ready(holdfast)
    await put(holdfast, workload, SECOND)
    await put(holdfast, workload, "another-one", "NEW")
    plan = await holdfast.api.deployment_changes.plan(workload.name)
    assert [change.path for change in plan.changes] == ["secrets.KEY", "secrets.NEW"]
    await deploy(holdfast, workload)
    shown = await holdfast.api.deployment_changes.show(workload.name, (await newest(holdfast, workload)).id)
    assert [change.path for change in shown.changes] == ["secrets.KEY", "secrets.NEW"]
    assert (await holdfast.api.deployment_changes.plan(workload.name)).changes == ()
    with pytest.raises(NotFound):
        await holdfast.api.deployment_changes.show(workload.name, new_id())


async def test_a_secret_without_a_value_is_told_before_anything_is_touched(holdfast: Holdfast) -> None:
    workload = await ready(holdfast)
    changed = dataclasses.replace(SECRET, secrets=(SecretRef(name="KEY"), SecretRef(name="NEW")))
    await holdfast.api.workloads.apply(changed, actor="ann")
    assert await states(holdfast, workload) == {"KEY": SecretState.SET, "NEW": SecretState.NOT_SET}
    plan = await holdfast.api.deployment_changes.plan(workload.id)
    assert [problem.code for problem in plan.problems] == ["secret_not_set"]
    operation = await ended(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))
    assert operation.error is not None
    assert operation.error["code"] == "secret_not_set"
    assert "NEW" in str(operation.error["message"])
    assert (await environment(holdfast, workload))["KEY"] == FIRST
    assert len((await holdfast.api.deployer.deployments(workload.id, 5, None)).items) == 1


async def test_a_file_that_no_longer_names_a_secret_takes_it_from_the_containers_and_not_its_value(
    holdfast: Holdfast,
) -> None:
    workload = await ready(holdfast)
    await holdfast.api.workloads.apply(spec_of(), actor="ann")
    assert await states(holdfast, workload) == {"KEY": SecretState.UNUSED}
    await deploy(holdfast, workload)
    assert "KEY" not in await environment(holdfast, workload)
    again = await holdfast.api.workloads.apply(SECRET, actor="ann")
    assert [change.path for change in again.changes] == ["secrets.KEY"]
    await deploy(holdfast, workload)
    assert (await environment(holdfast, workload))["KEY"] == FIRST


async def test_a_removed_secret_stays_only_for_the_deployments_that_need_it(holdfast: Holdfast) -> None:
    workload = await ready(holdfast)
    first = await newest(holdfast, workload)
    await put(holdfast, workload, SECOND)  # which no deployment needs
    await holdfast.api.secrets.remove(workload.id, "KEY", actor="ann")
    assert await states(holdfast, workload) == {}
    kept = [row.id for row in await holdfast.database.rows(select(secrets.c.id))]
    assert kept == [first.spec.secrets[0].version]
    await holdfast.api.workloads.apply(SECRET, actor="ann")
    assert await states(holdfast, workload) == {"KEY": SecretState.NOT_SET}, "it does not come back by itself"
    await succeeded(holdfast, await holdfast.api.rollbacks.rollback(workload.id, first.id, actor="ann"))
    assert (await environment(holdfast, workload))["KEY"] == FIRST
    with pytest.raises(NotFound):
        await holdfast.api.secrets.remove(workload.id, "OTHER", actor="ann")


async def test_values_are_checked(holdfast: Holdfast) -> None:
    workload = await applied(holdfast, dataclasses.replace(SECRET, env=(("PLAIN", "x"),)))
    for value, kind in (("", InvalidInput), ("a\0b", InvalidInput), ("\ud800", InvalidInput), ("x" * 65537, TooLarge)):
        with pytest.raises(kind):
            await put(holdfast, workload, value)
    for number in range(4):
        await put(holdfast, workload, "x" * 65536, f"K{number}")
    with pytest.raises(TooLarge) as caught:
        await put(holdfast, workload, "x")
    assert caught.value.code == "secrets_too_large"
    with pytest.raises(Conflict) as conflict:
        await put(holdfast, workload, "x", "PLAIN")
    assert conflict.value.code == "variable_not_secret"


async def test_setting_one_says_who_is_at_work_on_the_workload(tmp_path: Path) -> None:
    commands = {"hold": Command(hangs=True), "release": Command()}
    async with installation(tmp_path, behaviour=Behaviour(commands=commands)).running() as holdfast:
        workload = await deployed(holdfast, dataclasses.replace(SECRET, secrets=(), hooks=HOOKS))
        operation = await holdfast.api.snapshots.create(workload.id, quiesce=Quiesce.HOOKS, note="", actor="ann")
        async for now in holdfast.operations.events(operation.id):
            if any(step.name == "quiescing" for step in now.steps):
                break
        with pytest.raises(Busy) as caught:
            await put(holdfast, workload, FIRST)
        assert operation.id in caught.value.message
        await holdfast.operations.cancel(operation.id)
        assert (await ended(holdfast, operation)).state is OperationState.CANCELLED
        await put(holdfast, workload, FIRST)


async def test_setting_one_waits_for_a_look_at_the_workload_that_nobody_asked_for(tmp_path: Path) -> None:
    watched, looking, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(call: Call) -> None:
        if watched.is_set():
            looking.set()
            await over.wait()

    def engine(_: object) -> FakeRuntime:
        return FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(tmp_path), on_call=hold)

    async with dataclasses.replace(installation(tmp_path), runtime=engine).running() as holdfast:
        workload = await ready(holdfast)
        watched.set()
        look = asyncio.create_task(holdfast.reconciler.look(workload.id))
        await looking.wait()
        setting = asyncio.create_task(put(holdfast, workload, SECOND))
        refused, _ = await asyncio.wait([setting], timeout=0.2)
        assert not refused
        over.set()
        assert not (await look).skipped
        assert await setting == ["secrets.KEY"]


async def test_a_file_is_taken_over_with_its_secrets(holdfast: Holdfast) -> None:
    workload = await applied(holdfast, dataclasses.replace(SECRET, env=(("OLD", "1"), ("DB", FIRST))))
    text = f"TZ=UTC\nDB={FIRST}\nKEY={SECOND}\n"
    foreseen = await holdfast.api.secrets.import_env(workload.id, text, ["DB"], dry_run=True, actor="ann")
    paths = ["env.DB", "env.TZ", "secrets.KEY", "secrets.DB"]
    assert sorted(change.path for change in foreseen.changes) == sorted(paths)
    assert not any(FIRST in repr(change) or SECOND in repr(change) for change in foreseen.changes)
    assert (await holdfast.api.workloads.get(workload.id)).spec == workload.spec
    done = await holdfast.api.secrets.import_env(workload.id, text, ["DB"], dry_run=False, actor="ann")
    assert sorted(change.path for change in done.changes) == sorted(paths)
    await deploy(holdfast, workload)
    assert await environment(holdfast, workload) == {"OLD": "1", "TZ": "UTC", "DB": FIRST, "KEY": SECOND}
    again = await holdfast.api.secrets.import_env(workload.id, text, [], dry_run=False, actor="ann")
    assert again.changes == (), "what is a secret stays one"
    with pytest.raises(TooLarge) as caught:
        await holdfast.api.secrets.import_env(workload.id, "A=" + "x" * 131_073, [], dry_run=False, actor="ann")
    assert caught.value.code == "env_too_large"


async def test_a_lost_key_is_told_by_the_names_that_have_to_be_set_again(
    holdfast: Holdfast, place: Installation
) -> None:
    workload = await ready(holdfast)
    snapshot = await snapshotted(holdfast, workload)
    key = place.settings.keys_dir / "sealing.key"
    kept = key.rename(place.directory / "elsewhere")
    assert await states(holdfast, workload) == {"KEY": SecretState.UNREADABLE}
    (finding,) = [finding for finding in await holdfast.api.doctor.findings() if finding.check == "secrets"]
    assert "notes: KEY" in finding.message
    assert (await deploy(holdfast, workload)).outcome["result"] == "already_there", "what runs is left alone"
    with pytest.raises(Refused) as refused:  # before anything is stopped
        await restore(holdfast, workload, snapshot)
    assert refused.value.code == "secret_unreadable"
    await succeeded(holdfast, await holdfast.api.deployer.stop(workload.id, actor="ann"))
    await succeeded(holdfast, await holdfast.api.deployer.start(workload.id, actor="ann"))
    await put(holdfast, workload, SECOND, "OTHER")
    operation = await ended(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))
    assert operation.error is not None
    assert operation.error["code"] == "secret_unreadable"
    assert "KEY" in str(operation.error["message"])
    assert "OTHER" not in str(operation.error["message"])
    kept.rename(key.with_name("sealing.key.old"))
    await deploy(holdfast, workload)
    assert await environment(holdfast, workload) == {"KEY": FIRST, "OTHER": SECOND}


async def test_a_sealed_value_serves_no_other_workload_and_no_other_secret(holdfast: Holdfast) -> None:
    workload = await ready(holdfast)
    await put(holdfast, workload, SECOND, "OTHER")
    rows = await holdfast.database.rows(select(secrets.c.id, secrets.c.sealed))
    for row, other in zip(rows, reversed(rows), strict=True):
        await holdfast.database.change(update(secrets).where(secrets.c.id == row.id).values(sealed=other.sealed))
    assert set((await states(holdfast, workload)).values()) == {SecretState.UNREADABLE}
    operation = await ended(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="ann"))
    assert (operation.error or {})["code"] == "secret_unreadable"


async def test_a_clone_like_its_source_gets_the_values_for_itself(holdfast: Holdfast) -> None:
    workload = await ready(holdfast)
    snapshot = await snapshotted(holdfast, workload)
    wish = CloneWish(snapshot_id=snapshot, actor="ann", confirm=snapshot)
    operation = await holdfast.api.clones.new(wish, LikeSource(name="trial", project="trial"))
    await succeeded(holdfast, operation)
    trial = await holdfast.api.workloads.get("trial")
    assert (await environment(holdfast, trial))["KEY"] == FIRST
    assert trial.spec.secrets[0].version != (await newest(holdfast, workload)).spec.secrets[0].version
    await succeeded(holdfast, await holdfast.api.workloads.delete("notes", delete_data=False, actor="ann"))
    await put(holdfast, trial, SECOND)
    await deploy(holdfast, trial)
    with pytest.raises(Refused) as caught:
        await holdfast.api.clones.new(wish, dataclasses.replace(SECRET, name="third", project="third"))
    assert caught.value.code == "secret_not_set"


async def test_no_value_is_in_the_data_directory_an_answer_or_a_log(
    place: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    values = [FIRST, SECOND, "swordfish-env", "swordfish-wrong"]
    answers: list[str] = []
    with capture_logs() as logs:
        async with place.running() as holdfast, client(holdfast) as api:

            async def ask(method: str, path: str, **arguments: Any) -> httpx.Response:
                answer = await api.request(method, path, **arguments)
                answers.append(answer.text + str(answer.headers))
                return answer

            workload = await ready(holdfast)
            base = f"/api/workloads/{workload.name}"
            assert (await ask("PUT", f"{base}/secrets/KEY", json={"value": SECOND})).status_code == 200
            wrong: list[dict[str, Any]] = [{"value": ["swordfish-wrong"]}, {"valeu": "swordfish-wrong"}]
            for body in (*wrong, {"value": "swordfish-wrong\0"}):
                assert (await ask("PUT", f"{base}/secrets/KEY", json=body)).status_code == 400
            text = "DB=swordfish-env\n"
            document = {"text": text, "secrets": ["DB"]}
            assert (await ask("POST", f"{base}/env", json=document)).status_code == 200
            bad = {"text": "swordfish-wrong is no line\n"}
            assert (await ask("POST", f"{base}/env", json=bad)).status_code == 400
            runtime = holdfast.runtime
            assert isinstance(runtime, FakeRuntime)
            for image, says in (("notes:2", f"can't reach {SECOND}"), ("notes:3", "fine")):
                runtime.add_image(image, Behaviour(exit_code=1 if image == "notes:2" else None, logs=(says,)))
                operation = await ask("POST", f"{base}/deploy", json={"image": image})
                ended_as = await holdfast.operations.wait(operation.json()["id"])
                assert ended_as.state is (OperationState.FAILED if image == "notes:2" else OperationState.SUCCEEDED), (
                    ended_as.error
                )
                await ask("GET", f"/api/operations/{ended_as.id}")
            await snapshotted(holdfast, workload)
            deployments = (await ask("GET", f"{base}/deployments")).json()["items"]
            assert "can't reach ***" in "".join(answers), "what the failed one printed is told"
            for path in ("", "/status", "/secrets", "/deploy", "/rollback", "/snapshots"):
                assert (await ask("GET", f"{base}{path}")).status_code == 200, path
            for each in deployments:
                await ask("GET", f"{base}/deployments/{each['id']}")
            for path in ("/api/operations", "/api/workloads", "/api/doctor"):
                await ask("GET", path)
            assert (await environment(holdfast, workload))["KEY"] == SECOND
            assert found_in(place.settings.data_dir, values) == []
    assert found_in(place.settings.data_dir, values) == []
    told = "\n".join([*answers, caplog.text, repr(logs)])
    assert [value for value in values if value in told] == []


async def test_what_a_hook_prints_is_kept_without_the_values(tmp_path: Path) -> None:
    commands = {"hold": Command(output=f"using {FIRST}\n"), "release": Command()}
    place = installation(tmp_path, behaviour=Behaviour(commands=commands))
    async with place.running() as holdfast:
        workload = await applied(holdfast, dataclasses.replace(SECRET, hooks=HOOKS))
        await put(holdfast, workload, FIRST)
        await deploy(holdfast, workload)
        operation = await holdfast.api.snapshots.create(workload.id, quiesce=Quiesce.HOOKS, note="", actor="ann")
        log = (await succeeded(holdfast, operation)).log
        assert any(entry.message.endswith("using ***") for entry in log)
        assert FIRST not in repr(log)
