"""What only a person can decide is asked, told, and done as decided; damage keeps off only whom it concerns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.faults.refusal_bench import Answer, assert_told
from tests.faults.restart_bench import ServerDiedError, Servers

from holdfast.domain.ids import new_id
from holdfast.domain.restore import RecordType
from holdfast.domain.workload import Quiesce, Scope, Volume
from holdfast.engine.fs import Fs
from holdfast.engine.holds import Hold, HoldFiles, HookedContainer
from holdfast.engine.journal import journals
from holdfast.services.quiesce import facts_of
from holdfast.testing.installation import WILLING, deployed, spec_of

DECISION = "/api/workloads/notes/restore-decision"
LONG_AGO = "2020-01-01T00:00:00.000000Z"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    servers = await Servers.at(tmp_path_factory.mktemp("deciding"), behaviour=WILLING)
    other = Volume(target="/data", scope=Scope.STAGE, source="data")
    await deployed(servers.bench.holdfast, spec_of("other", volumes=(other,)))
    yield servers
    await servers.end_well()


async def died() -> None:
    raise ServerDiedError


async def expired(servers: Servers, moment: str) -> tuple[str, Answer]:
    """A trial that was cut off at a moment, its time over when the next server found it: its id, and how it ended."""
    servers.faults.trial_deadline = LONG_AGO
    servers.faults.moments["journal TRIAL"] = lambda: on_trial(servers, moment)
    await servers.bench.ended(await servers.bench.ask())
    await servers.restart()
    end = await servers.recovered()
    pending = (await servers.bench.client.get(DECISION)).json()["pending"]
    assert pending["choices"] == ["keep", "revert"]
    return pending["restore_id"], end


async def on_trial(servers: Servers, moment: str) -> None:
    servers.faults.moments[moment] = died


async def the_others_work(servers: Servers) -> None:
    deployment = await servers.bench.ended(await servers.bench.post("/api/workloads/other/deploy", {}))
    assert deployment["state"] == "succeeded", deployment["error"]


async def works_again(servers: Servers) -> None:
    """The workload deploys, and nothing waits for anybody."""
    bench = servers.bench
    assert (await bench.client.get("/readyz")).json() == {"ready": True, "waiting_for": []}
    assert (await bench.client.get(DECISION)).json()["pending"] is None
    deployment = await bench.ended(await bench.post("/api/workloads/notes/deploy", {}))
    assert deployment["state"] == "succeeded", deployment["error"]


@pytest.mark.parametrize("moment", ["engine create", "engine start"])
async def test_a_trial_whose_time_is_over_is_asked_about_and_never_taken_back_by_itself(
    servers: Servers, moment: str
) -> None:
    restore_id, end = await expired(servers, moment)
    bench = servers.bench
    assert_told(end["error"], "restore_undecided")
    assert end["outcome"]["result"] == "needs_decision"
    assert bench.trees() == bench.taken
    mine = [c for c in servers.containers() if c.spec.name.startswith("notes")]
    assert not any(container.alive for container in mine)
    assert {container.restart for container in mine} == {"no"}
    before = bench.facts()

    ready = await bench.client.get("/readyz")
    assert ready.status_code == 200
    assert "decision" in ready.json()["waiting_for"][0]
    for answer in (await bench.ask(), await bench.post("/api/workloads/notes/snapshots", {})):
        if answer.status_code == 202:
            told = (await bench.ended(answer))["error"]
        else:
            assert answer.status_code == 409
            told = answer.json()["error"]
        assert_told(told, "restore_undecided")
    for path in ("deploy", "start"):
        told = await bench.ended(await bench.post(f"/api/workloads/notes/{path}", {} if path == "deploy" else None))
        assert_told(told["error"], "restore_undecided")
    missing = await bench.post(DECISION, {"choice": "keep"})
    assert missing.status_code == 428
    assert_told(missing.json()["error"], "confirmation_missing")
    wrong = await bench.post(DECISION, {"choice": "keep"}, confirm=bench.snapshot_id)
    assert wrong.status_code == 422
    assert_told(wrong.json()["error"], "confirmation_mismatch")
    assert bench.facts() == before
    await the_others_work(servers)

    await servers.restart()
    end = await servers.recovered()
    assert_told(end["error"], "restore_undecided")
    key = new_id()
    kept = await servers.bench.ended(
        await servers.bench.post(DECISION, {"choice": "keep"}, confirm=restore_id, key=key)
    )
    assert (kept["state"], kept["outcome"]["result"]) == ("succeeded", "restored"), kept["error"]
    again = await servers.bench.post(DECISION, {"choice": "keep"}, confirm=restore_id, key=key)
    assert (again.status_code, again.json()["id"]) == (202, kept["id"]), "asked once more, as a lost answer has it"
    for choice, confirm in (("revert", restore_id), ("keep", None), ("keep", bench.snapshot_id), ("release", None)):
        other = await servers.bench.post(DECISION, {"choice": choice}, confirm=confirm, key=key)
        assert other.status_code == 409
        assert_told(other.json()["error"], "idempotency_key_reused")
    assert servers.bench.trees() == bench.taken
    runs_once(servers)
    await servers.bench.settled()
    await works_again(servers)


def runs_once(servers: Servers) -> None:
    """One instance is there, and runs as it is configured."""
    mine = [container for container in servers.containers() if container.spec.name.startswith("notes")]
    assert [(container.alive, container.restart) for container in mine] == [(True, "always")]


async def test_a_decision_to_keep_that_is_cut_off_is_asked_for_again(servers: Servers) -> None:
    """Also where the trial never began: by itself nothing goes on with what a person decides."""
    servers.faults.moments["journal TRIAL"] = died
    await servers.bench.ended(await servers.bench.ask())
    pending = (await servers.bench.client.get(DECISION)).json()["pending"]
    servers.faults.moments["engine create"] = died
    await servers.bench.ended(await servers.bench.post(DECISION, {"choice": "keep"}, confirm=pending["restore_id"]))
    bench = await servers.restart()
    await servers.recovered()
    assert bench.trees() == bench.taken
    assert (await bench.client.get(DECISION)).json()["pending"]["restore_id"] == pending["restore_id"]
    kept = await bench.ended(await bench.post(DECISION, {"choice": "keep"}, confirm=pending["restore_id"]))
    assert kept["outcome"]["result"] == "restored", kept["error"]
    assert bench.trees() == bench.taken
    runs_once(servers)
    await bench.settled()


async def test_a_decision_to_keep_that_is_cancelled_leaves_the_decision_open(servers: Servers) -> None:
    restore_id, _ = await expired(servers, "engine create")
    bench = servers.bench

    async def cancel() -> None:
        newest = (await bench.client.get("/api/operations?limit=1")).json()["items"][0]["id"]
        assert (await bench.client.post(f"/api/operations/{newest}/cancel")).status_code == 202

    servers.faults.moments["engine start"] = cancel
    cancelled = await bench.ended(await bench.post(DECISION, {"choice": "keep"}, confirm=restore_id))
    assert_told(cancelled["error"], "restore_undecided")
    assert bench.trees() == bench.taken
    reverted = await bench.ended(await bench.post(DECISION, {"choice": "revert"}, confirm=restore_id))
    assert_told(reverted["error"], "restore_reverted")
    assert bench.trees() == bench.worn
    runs_once(servers)
    await bench.ended(await bench.post(DECISION, {"choice": "release"}))
    await bench.settled()


async def test_what_is_kept_by_decision_can_be_undone(servers: Servers) -> None:
    restore_id, _ = await expired(servers, "engine create")
    bench = servers.bench
    await bench.ended(await bench.post(DECISION, {"choice": "keep"}, confirm=restore_id))
    target = (await bench.client.get("/api/workloads/notes/undo")).json()["snapshot"]
    assert target["pinned"]
    undone = await bench.ended(await bench.post("/api/workloads/notes/undo", {}, confirm=target["id"]))
    assert undone["state"] == "succeeded", undone["error"]
    assert bench.trees() == bench.worn
    await bench.settled()
    await works_again(servers)


@pytest.mark.parametrize("moment", ["engine create", "engine start"])
async def test_a_decision_to_revert_brings_everything_back_as_it_was(servers: Servers, moment: str) -> None:
    before = servers.bench.facts()
    restore_id, _ = await expired(servers, moment)
    bench = servers.bench
    reverted = await bench.ended(await bench.post(DECISION, {"choice": "revert"}, confirm=restore_id))
    assert_told(reverted["error"], "restore_reverted")
    assert reverted["outcome"]["result"] == "reverted"
    assert bench.facts() == before
    again = await bench.post(DECISION, {"choice": "revert"}, confirm=restore_id)
    assert again.status_code == 404
    assert_told(again.json()["error"], "nothing_to_decide")
    assert len(bench.place.leftovers()) == 3, "two trees that failed are kept for looking at, with their journal"
    assert len((await bench.client.get(DECISION)).json()["kept_trees"]) == 2
    released = await bench.ended(await bench.post(DECISION, {"choice": "release"}))
    assert released["outcome"]["released"] == [restore_id]
    await bench.settled()
    await works_again(servers)


async def left_journal(servers: Servers) -> Path:
    """A restore that was cut off after COMMIT, and the journal that it left."""
    servers.faults.moments["journal SWAPPED"] = died
    await servers.bench.ended(await servers.bench.ask())
    (path,) = journals(Fs(), str(servers.place.settings.journal_dir))
    return Path(path)


async def test_a_damaged_journal_stops_its_own_workload_and_no_other(servers: Servers) -> None:
    path = await left_journal(servers)
    whole = path.read_bytes()
    first, second, *rest = whole.split(b"\n")

    async def damage() -> None:
        path.write_bytes(b"\n".join((first, second[:-4] + b"xxxx", *rest)))

    bench = await servers.restart(damage)
    before = bench.facts()
    ready = await bench.client.get("/readyz")
    assert ready.status_code == 200
    assert str(path) in ready.json()["waiting_for"][0]
    status = (await bench.client.get("/api/workloads/notes/status")).json()
    assert status["undecided"], status
    assert (await bench.client.get(DECISION)).json()["pending"]["choices"] == []
    second_restore = await bench.ask()
    assert second_restore.status_code == 409
    assert_told(second_restore.json()["error"], "restore_undecided")
    for choice in ("keep", "revert"):
        answer = await bench.post(DECISION, {"choice": choice}, confirm=path.stem)
        assert answer.status_code == 422
        assert_told(answer.json()["error"], "restore_not_decidable")
    assert bench.facts() == before
    await the_others_work(servers)

    async def mend() -> None:
        path.write_bytes(whole)

    bench = await servers.restart(mend)
    end = await servers.recovered()
    assert end["state"] == "succeeded", end["error"]
    assert bench.trees() == bench.taken
    await bench.settled()
    await works_again(servers)


async def test_a_journal_that_does_not_say_whose_it_is_stops_all_workloads_and_nothing_else(servers: Servers) -> None:
    path = servers.place.settings.journal_dir / f"{new_id()}.journal"

    async def plant() -> None:
        path.write_bytes(b"this is no journal\n")

    bench = await servers.restart(plant)
    before = bench.facts()
    for workload in ("notes", "other"):
        told = await bench.ended(await bench.post(f"/api/workloads/{workload}/deploy", {}))
        assert_told(told["error"], "restore_undecided")
    assert (await bench.client.get("/api/workloads")).status_code == 200
    assert str(path) in (await bench.client.get("/readyz")).json()["waiting_for"][0]
    assert bench.facts() == before

    async def take_away() -> None:
        path.unlink()

    await servers.restart(take_away)
    await the_others_work(servers)
    await works_again(servers)


@pytest.mark.parametrize("quiesce", [Quiesce.PAUSE, Quiesce.STOP])
async def test_what_an_interrupted_capture_held_is_let_go_at_the_next_start(servers: Servers, quiesce: Quiesce) -> None:
    before = servers.bench.facts()

    async def interrupt() -> None:
        engine = servers.place.fake_engine()
        mine = [c for c in await engine.containers() if c.name.startswith("notes")]
        hold = Hold(operation_id=new_id(), quiesce=quiesce, containers=tuple(map(facts_of, mine)))
        HoldFiles(Fs(), servers.place.settings.holds_dir).write(hold)
        for container in mine:
            if quiesce is Quiesce.PAUSE:
                await engine.pause(container.id)
            else:
                await engine.stop(container.id, 1.0)

    bench = await servers.restart(interrupt)
    end = await servers.recovered()
    assert end["kind"] == "snapshot"
    assert_told(end["error"], "snapshot_interrupted")
    assert bench.facts() == before
    await bench.settled()
    await works_again(servers)


@pytest.mark.parametrize(("command", "code"), [("release", "snapshot_interrupted"), ("fail", "post_snapshot_failed")])
async def test_a_hook_that_a_killed_server_left_running_is_ended_and_undone_at_the_next_start(
    servers: Servers, command: str, code: str
) -> None:
    async def interrupt() -> None:
        engine = servers.place.fake_engine()
        (mine,) = [c for c in await engine.containers() if c.name.startswith("notes")]
        hooked = HookedContainer(id=mine.id, name=mine.name, exec_id="e1", post_snapshot=(command,), timeout=5.0)
        gone = HookedContainer(id="0" * 64, name="notes-gone", exec_id="e2", post_snapshot=(command,), timeout=5.0)
        hold = Hold(operation_id=new_id(), quiesce=Quiesce.HOOKS, containers=(facts_of(mine),), hooked=(gone, hooked))
        HoldFiles(Fs(), servers.place.settings.holds_dir).write(hold)
        container = engine.engine.find(mine.id)
        container.ran.append("hold")
        container.running["e1"] = "hold"
        engine.engine.save()

    bench = await servers.restart(interrupt)
    end = await servers.recovered()
    assert_told(end["error"], code)
    (container,) = [c for c in servers.containers() if c.spec.name.startswith("notes")]
    assert container.running == {}
    assert container.ran[-2:] == ["hold", command]
    levels = {line["level"] for line in end["log"]}
    assert "warning" in levels, "of the container that is gone"
    assert ("error" in levels) is (command == "fail")
    assert list(servers.place.settings.holds_dir.iterdir()) == []
    await bench.settled()
    await works_again(servers)


async def test_a_hold_file_that_cannot_be_read_is_told_and_keeps_nobody_from_working(servers: Servers) -> None:
    path = servers.place.settings.holds_dir / f"{new_id()}.json"

    async def plant() -> None:
        path.write_bytes(b"{")

    bench = await servers.restart(plant)
    waiting = (await bench.client.get("/readyz")).json()["waiting_for"]
    assert any(path.name in each for each in waiting), waiting
    await the_others_work(servers)

    async def take_away() -> None:
        path.unlink()

    await servers.restart(take_away)
    await works_again(servers)


async def test_a_restore_tells_its_steps_and_its_progress_while_it_runs(servers: Servers) -> None:
    bench = servers.bench
    seen: list[Answer] = []
    started: list[str] = []

    async def look() -> None:
        seen.append(await bench.operation((await bench.client.get("/api/operations?limit=1")).json()["items"][0]["id"]))

    for record in (RecordType.STAGED, RecordType.SAFE, RecordType.SWAPPED, RecordType.CONFIRMED):
        servers.faults.moments[f"journal {record}"] = look
    end = await bench.restored()
    started = [step["name"] for step in end["steps"]]
    assert started == [
        "requested",
        "locked",
        "preflight",
        "staging",
        "warming",
        "quiescing",
        "safeguarding",
        "committing",
        "swapping",
        "redeploying",
        "confirming",
    ]
    assert all(step["finished_at"] for step in end["steps"])
    assert [each["steps"][-1]["name"] for each in seen] == ["staging", "safeguarding", "swapping", "confirming"]
    assert [each["state"] for each in seen] == ["running"] * 4
    assert [each["cancellable"] for each in seen] == [True, True, False, False]
    downtime, parts = end["outcome"]["downtime_seconds"], end["outcome"]["seconds"]
    assert downtime > 0
    assert set(parts) == {"stop", "safety", "recheck", "swap", "start", "gate", "other"}
    assert sum(parts.values()) == pytest.approx(downtime, abs=0.005)
    assert end["outcome"]["safety_snapshot_id"]
    assert not end["cancellable"]
