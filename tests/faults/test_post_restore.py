"""A workload's own command that makes it fit for restored data: after it is healthy, and part of being so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from tests.faults.refusal_bench import Bench, assert_told
from tests.faults.restart_bench import ServerDiedError, Servers

from holdfast.domain import times
from holdfast.domain.errors import NotFound, Unavailable
from holdfast.domain.restore_records import TrialRecord
from holdfast.domain.workload import HealthType, Hooks
from holdfast.engine.fs import Fs
from holdfast.engine.journal import journals, read_journal
from holdfast.runtime.port import ImageHealth
from holdfast.testing.fake_records import Behaviour, Command, FakeContainer
from holdfast.testing.installation import TWO_VOLUMES, deployed, spec_of

SPEC = replace(spec_of(), hooks=Hooks(post_restore=("reindex", "all"), timeout=600.0))
REINDEXES = Behaviour(commands={"reindex all": Command(output="412 rows\n")})


@pytest_asyncio.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    """A workload with the hook; what runs before the restore does not know the command, and is never asked for it."""
    servers = await Servers.at(tmp_path, spec=SPEC)
    does(servers, REINDEXES)
    yield servers


def does(servers: Servers, behaviour: Behaviour) -> None:
    """How instances behave from now on."""
    for image in servers.bench.runtime.engine.state.images.values():
        image.behaviour = behaviour
    servers.bench.runtime.engine.save()


def ran(servers: Servers) -> list[FakeContainer]:
    """The instances in which the hook was run, those that are gone left out."""
    return [container for container in servers.containers() if "reindex all" in container.ran]


def running(servers: Servers) -> list[FakeContainer]:
    return [container for container in servers.containers() if container.alive]


async def log_of(bench: Bench, operation_id: str) -> list[str]:
    lines = (await bench.client.get(f"/api/operations/{operation_id}")).json()["log"]
    return [line["message"] for line in lines]


async def test_it_runs_once_in_what_came_up_on_the_restored_data_and_its_words_are_in_the_log(servers: Servers) -> None:
    bench, before = servers.bench, running(servers)
    end = await bench.restored()
    assert ran(servers) == running(servers)
    (instance,) = ran(servers)
    assert instance.ran.count("reindex all") == 1
    assert instance not in before
    assert f"post_restore in {instance.spec.name}: 412 rows" in await log_of(bench, end["id"])
    assert end["outcome"]["seconds"]["hooks"] >= 0
    await servers.end_well()


@pytest.mark.parametrize("command", [Command(code=3, output="no such table\n"), None])
async def test_one_that_fails_brings_the_data_of_before_back_and_says_why(
    servers: Servers, command: Command | None
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    does(servers, Behaviour(commands={} if command is None else {"reindex all": command}))
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_reverted")
    assert "post_restore hook failed" in end["error"]["message"]
    assert bench.facts() == before
    does(servers, REINDEXES)
    released = await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"})
    assert (await bench.ended(released))["state"] == "succeeded"
    await servers.end_well()


async def test_an_instance_that_is_gone_meanwhile_brings_the_data_of_before_back(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()

    async def removed() -> None:
        (container,) = running(servers)
        await bench.runtime.remove(container.id, force=True)
        raise NotFound("container_unknown", "There is no such container.")

    servers.faults.moments["engine exec_start"] = removed
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_reverted")
    assert bench.facts() == before
    released = await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"})
    assert (await bench.ended(released))["state"] == "succeeded"
    await servers.end_well()


async def test_a_program_that_is_not_healthy_any_more_after_its_hook_brings_the_data_of_before_back(
    tmp_path: Path,
) -> None:
    healthy = replace(REINDEXES, health=ImageHealth.HEALTHY)
    asked = replace(SPEC, health=replace(SPEC.health, type=HealthType.DOCKER))
    servers = await Servers.at(tmp_path, spec=asked, behaviour=healthy)
    bench = servers.bench

    async def breaks() -> None:
        does(servers, replace(healthy, health=ImageHealth.UNHEALTHY))

    servers.faults.moments["engine exec_start"] = breaks
    end = await bench.ended(await bench.ask({"on_unhealthy": "revert"}))
    assert end["outcome"]["result"] == "reverted_unhealthy", "the image of before is this one, too"
    assert bench.trees() == bench.worn
    does(servers, healthy)
    released = await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"})
    assert (await bench.ended(released))["state"] == "succeeded"
    await servers.end_well()


async def test_one_that_fails_leaves_the_restored_data_where_that_was_asked_for(servers: Servers) -> None:
    bench = servers.bench
    does(servers, Behaviour(commands={"reindex all": Command(code=3)}))
    end = await bench.ended(await bench.ask({"on_unhealthy": "keep"}))
    assert_told(end["error"], "restore_unhealthy")
    assert bench.trees() == bench.taken
    assert [container.restart for container in running(servers)] == ["always"]
    does(servers, REINDEXES)
    await servers.end_well()


async def test_a_drill_proves_it_as_well(servers: Servers) -> None:
    bench = servers.bench
    drill = f"/api/workloads/notes/snapshots/{bench.snapshot_id}/drill"
    end = await bench.ended(await bench.post(drill, {}))
    assert end["state"] == "succeeded", end["error"]
    assert any("412 rows" in message for message in await log_of(bench, end["outcome"]["clone_id"]))

    does(servers, Behaviour(commands={"reindex all": Command(code=3)}))
    end = await bench.ended(await bench.post(drill, {}))
    assert "post_restore hook failed" in end["error"]["message"]
    does(servers, REINDEXES)
    await servers.end_well()


async def test_a_trial_that_was_cut_off_has_the_time_that_the_hook_may_take(servers: Servers) -> None:
    async def died() -> None:
        raise ServerDiedError

    shelf = replace(spec_of("shelf", volumes=TWO_VOLUMES[1:]), hooks=SPEC.hooks)
    await deployed(servers.bench.holdfast, shelf)
    servers.faults.moments["engine exec_start"] = died
    began = datetime.fromtimestamp(servers.place.seams.clock.time(), UTC)
    await servers.bench.ended(await servers.bench.ask())
    (path,) = journals(Fs(), str(servers.place.settings.journal_dir))
    (trial,) = (record for record in read_journal(Fs(), path).records if isinstance(record, TrialRecord))
    assert times.parse(trial.deadline) - began > timedelta(seconds=2 * SPEC.hooks.timeout), (
        "they come up one after the other"
    )
    await servers.restart()
    assert (await servers.recovered())["outcome"]["result"] == "restored"
    await servers.end_well()


async def test_an_engine_that_goes_away_meanwhile_is_waited_for_and_it_runs_in_an_instance_made_anew(
    servers: Servers,
) -> None:
    seen: list[FakeContainer] = []

    async def away() -> None:
        seen.extend(running(servers))
        raise Unavailable("engine_unavailable", "It is away.", next_step="Start it.")

    servers.faults.moments["engine exec_start"] = away
    end = await servers.bench.restored()
    assert end["outcome"]["result"] == "restored"
    (cut_off,) = seen
    assert cut_off.id not in {container.id for container in servers.containers()}
    assert ran(servers) == running(servers)
    await servers.end_well()


async def test_a_cancel_does_not_wait_for_it(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    does(servers, Behaviour(commands={"reindex all": Command(hangs=True)}))

    async def cancel() -> None:
        (operation,) = (await bench.client.get("/api/operations?limit=1")).json()["items"]
        assert (await bench.client.post(f"/api/operations/{operation['id']}/cancel")).status_code == 202

    servers.faults.moments["engine exec_start"] = cancel
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_reverted")
    assert bench.facts() == before
    does(servers, REINDEXES)
    released = await bench.post("/api/workloads/notes/restore-decision", {"choice": "release"})
    assert (await bench.ended(released))["state"] == "succeeded"
    await servers.end_well()


async def test_after_a_death_it_runs_in_an_instance_made_anew_never_beside_what_is_left_of_it(servers: Servers) -> None:
    bench, seen = servers.bench, list[FakeContainer]()

    async def died() -> None:
        seen.extend(running(servers))
        raise ServerDiedError

    servers.faults.moments["engine exec_start"] = died
    await bench.ended(await bench.ask())
    (cut_off,) = seen
    bench = await servers.restart()
    end = await servers.recovered()
    assert (end["state"], end["outcome"]["result"]) == ("succeeded", "restored")
    assert bench.trees() == bench.taken
    assert cut_off.id not in {container.id for container in servers.containers()}
    calls = [call.name for call in bench.runtime.calls if call.subject == cut_off.id]
    assert calls.index("stop") < calls.index("remove"), "it may have written since, and gets its time to end"
    assert ran(servers) == running(servers)
    assert len(running(servers)) == 1
    await servers.end_well()
