"""A disk that fails under a restore: its journal at each record, and its exchanges.

Until COMMIT every failure leads back to exactly what was before. From COMMIT on nothing runs that could see both trees,
and what the journal says on disk is what a restart makes true.
"""

from __future__ import annotations

import pytest
from tests.faults.fault_seams import When
from tests.faults.refusal_bench import Answer, assert_told
from tests.faults.restart_bench import Servers

from holdfast.domain.restore import RecordType

R = RecordType
BEFORE_COMMIT = (R.STAGING, R.STAGED, R.PREPARED, R.SAFE)
DECISION = "/api/workloads/notes/restore-decision"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def blocked(servers: Servers) -> str:
    """Everything else on the workload is refused until it is decided, and that is told. Returns the restore's id."""
    bench = servers.bench
    deploy = await bench.post("/api/workloads/notes/deploy", {})
    end = await bench.ended(deploy) if deploy.status_code == 202 else {}
    assert_told(end.get("error") or deploy.json()["error"], "restore_undecided")
    second = await bench.ask()
    assert second.status_code == 409
    assert_told(second.json()["error"], "restore_undecided")
    assert (await bench.client.get("/readyz")).json()["waiting_for"]
    pending = (await bench.client.get(DECISION)).json()["pending"]
    assert pending["why"]
    return str(pending["restore_id"])


@pytest.mark.parametrize("record", [*BEFORE_COMMIT, R.COMMIT])
async def test_a_record_that_cannot_be_written_until_commit_changes_nothing(
    servers: Servers, record: RecordType
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    for when in When:
        servers.faults.fs.fail_record(record, when)
        error = await bench.refuses(202, "journal_write_failed", await bench.ask(), before)
        assert error["details"]["record"] == record


@pytest.mark.parametrize("record", [R.STAGED, R.SAFE])
async def test_a_journal_that_cannot_be_written_at_all_before_commit_keeps_nobody_from_running(
    servers: Servers, record: RecordType
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    operation = await called_off(servers, record)
    servers.faults.heal()
    await bench.holdfast.operations.wait(operation)
    assert_told((await bench.operation(operation))["error"], "journal_write_failed")
    assert bench.facts() == before
    await bench.settled()
    await bench.still_works()


async def test_a_restart_that_finds_a_restore_called_off_without_a_word_in_its_journal_tidies_up(
    servers: Servers,
) -> None:
    before = servers.bench.facts()
    await called_off(servers, R.SAFE)
    bench = await servers.restart()
    end = await servers.recovered()
    assert end["state"] == "failed"
    assert_told(end["error"], "restore_interrupted")
    assert bench.facts() == before
    await bench.settled()


async def test_a_journal_that_is_damaged_after_it_was_called_off_is_told_and_keeps_everybody_off(
    servers: Servers,
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    operation = await called_off(servers, R.SAFE)
    (path,) = servers.place.settings.journal_dir.iterdir()
    content = path.read_bytes()
    path.write_bytes(b"x" + content[1:])
    servers.faults.heal()
    await bench.holdfast.operations.wait(operation)
    error = (await bench.operation(operation))["error"]
    assert_told(error, "abort_uncertain")
    assert str(path) in error["message"]
    assert "what ran before runs" in error["message"]
    assert bench.facts() == before
    await blocked(servers)

    async def mend() -> None:
        path.write_bytes(content)

    bench = await servers.restart(mend)
    assert_told((await servers.recovered())["error"], "restore_interrupted")
    assert bench.facts() == before
    await bench.settled()


async def called_off(servers: Servers, record: RecordType) -> str:
    """A restore that failed before COMMIT and can't write that down; all runs as before. Returns its operation's id."""
    bench, before = servers.bench, servers.bench.facts()
    servers.faults.fs.fail_record(record, When.WRITING, lasting=True)
    operation = await bench.started()
    waiting = await servers.waiting(operation)
    assert "the disk of the journal" in waiting
    assert "what ran before runs" in waiting
    assert "goes on by itself" in waiting
    assert bench.facts() == before
    second = await bench.ask()
    assert second.status_code == 409
    assert_told(second.json()["error"], "restore_in_flight")
    return operation


@pytest.mark.parametrize(("when", "restored"), [(When.WRITING, False), (When.FLUSHING, True)])
async def test_a_commit_that_may_be_on_disk_or_not_starts_nothing_until_the_disk_or_a_restart_decides(
    servers: Servers, when: When, *, restored: bool
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    await uncertain(servers, when)
    assert bench.trees() == before.trees, "nothing was exchanged"
    bench = await servers.restart()
    end = await servers.recovered()
    if restored:
        assert (end["state"], end["outcome"]["result"]) == ("succeeded", "restored")
        assert bench.trees() == bench.taken
    else:
        assert_told(end["error"], "restore_interrupted")
        assert bench.facts() == before
    await bench.settled()


@pytest.mark.parametrize("when", list(When))
async def test_a_commit_that_may_be_on_disk_or_not_is_called_off_as_soon_as_the_disk_takes_that(
    servers: Servers, when: When
) -> None:
    bench, before = servers.bench, servers.bench.facts()
    operation = await uncertain(servers, when)
    servers.faults.heal()
    await bench.holdfast.operations.wait(operation)
    end = await bench.operation(operation)
    assert_told(end["error"], "journal_write_failed")
    assert bench.facts() == before
    await bench.settled()
    await bench.still_works()


async def test_a_calling_off_that_is_on_disk_though_its_flush_failed_is_carried_out(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    servers.faults.fs.fail_record(R.COMMIT, When.WRITING)
    servers.faults.fs.fail_record(R.ABORTED, When.FLUSHING)
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "journal_write_failed")
    assert bench.facts() == before
    await bench.settled()


async def test_a_journal_that_is_damaged_while_its_disk_is_waited_for_is_left_to_a_restart(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    operation = await uncertain(servers, When.WRITING)
    (path,) = servers.place.settings.journal_dir.iterdir()
    content = path.read_bytes()
    path.write_bytes(b"x" + content[1:])
    servers.faults.heal()
    await bench.holdfast.operations.wait(operation)
    assert_told((await bench.operation(operation))["error"], "commit_uncertain")
    assert servers.nobody_runs()
    await blocked(servers)

    async def mend() -> None:
        path.write_bytes(content)

    bench = await servers.restart(mend)
    assert_told((await servers.recovered())["error"], "restore_interrupted")
    assert bench.facts() == before
    await bench.settled()


async def uncertain(servers: Servers, when: When) -> str:
    """A restore whose COMMIT failed and that can't write down that it is called off. Returns its operation's id."""
    servers.faults.fs.fail_record(R.COMMIT, when, lasting=True)
    operation = await servers.bench.started()
    waiting = await servers.waiting(operation)
    assert "the disk of the journal" in waiting
    assert "Nothing was exchanged. The workload stays stopped" in waiting
    assert "goes on by itself" in waiting
    assert servers.nobody_runs()
    return operation


async def test_a_way_back_that_is_on_disk_though_its_flush_failed_is_finished_by_a_restart(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    servers.faults.fs.fail_exchange(2)
    servers.faults.fs.fail_record(R.REVERTED, When.FLUSHING)
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_undecided")
    assert servers.nobody_runs()
    bench = await servers.restart()
    end = await servers.recovered()
    assert_told(end["error"], "restore_reverted")
    assert end["outcome"]["result"] == "reverted"
    assert bench.facts() == before
    await stopped_by_hand_stays_stopped(servers)
    await released(servers)


async def stopped_by_hand_stays_stopped(servers: Servers) -> None:
    """A restore whose end was told touches nothing again, however long its tree is kept."""
    await servers.bench.ended(await servers.bench.post("/api/workloads/notes/stop"))
    await servers.restart()
    await servers.recovered()
    assert not any(container.alive for container in servers.containers())
    assert (await servers.bench.ended(await servers.bench.post("/api/workloads/notes/start")))["state"] == "succeeded"


async def test_exchanges_that_cannot_be_written_down_are_taken_back(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    for when in When:
        servers.faults.fs.fail_record(R.SWAPPED, when)
        end = await bench.ended(await bench.ask())
        assert_told(end["error"], "restore_reverted")
        assert bench.facts() == before
        await released(servers)


@pytest.mark.parametrize("when", list(When))
async def test_exchanges_that_cannot_be_written_down_nor_taken_back_are_finished_by_a_restart(
    servers: Servers, when: When
) -> None:
    servers.faults.fs.fail_record(R.SWAPPED, when, lasting=True)
    end = await servers.bench.ended(await servers.bench.ask())
    assert_told(end["error"], "restore_undecided")
    assert "restart Holdfast" in end["error"]["next_step"], "there is nothing to choose from"
    assert all(str(volume) in end["error"]["message"] for volume in servers.bench.volumes)
    assert servers.nobody_runs()
    await blocked(servers)
    await servers.restart()
    await restored(servers, await servers.recovered())


async def restored(servers: Servers, end: Answer) -> None:
    """The restored data is live, and one instance runs on it as it is configured."""
    assert (end["state"], end["outcome"]["result"]) == ("succeeded", "restored"), end["error"]
    assert servers.bench.trees() == servers.bench.taken
    assert [(c.alive, c.restart) for c in servers.containers()] == [(True, "always")]
    await servers.bench.settled()


@pytest.mark.parametrize("record", [R.TRIAL, R.CONFIRMED])
@pytest.mark.parametrize("when", list(When))
async def test_a_record_of_the_trial_that_could_not_be_written_once_is_written_anew(
    servers: Servers, record: RecordType, when: When
) -> None:
    servers.faults.fs.fail_record(record, when)
    end = await servers.bench.restored()
    assert servers.faults.fs.failed
    assert any("The data is restored" in line["message"] for line in end["log"] if line["level"] == "warning")
    await restored(servers, end)


@pytest.mark.parametrize("record", [R.TRIAL, R.CONFIRMED])
async def test_after_the_exchange_a_disk_that_takes_no_record_is_waited_for(
    servers: Servers, record: RecordType
) -> None:
    bench = servers.bench
    operation = await stuck(servers, record)
    second = await bench.ask()
    assert second.status_code == 409
    assert_told(second.json()["error"], "restore_in_flight")
    cancel = await bench.client.post(f"/api/operations/{operation}/cancel") if record is R.CONFIRMED else None
    assert cancel is None or cancel.status_code == 409
    servers.faults.heal()
    await bench.holdfast.operations.wait(operation)
    await restored(servers, await bench.operation(operation))


@pytest.mark.parametrize("record", [R.TRIAL, R.CONFIRMED])
async def test_a_restart_while_the_disk_is_waited_for_finishes_the_restore(
    servers: Servers, record: RecordType
) -> None:
    await stuck(servers, record)
    await servers.restart()
    await restored(servers, await servers.recovered())


async def stuck(servers: Servers, record: RecordType) -> str:
    """A restore that waits for the disk of its journal, and says how things are. Returns its operation's id."""
    servers.faults.fs.fail_record(record, When.FLUSHING, lasting=True)
    operation = await servers.bench.started()
    waiting = await servers.waiting(operation)
    assert "the disk of the journal" in waiting
    assert "The data is restored" in waiting
    assert "goes on by itself" in waiting
    assert servers.bench.trees() == servers.bench.taken
    running = [container for container in servers.containers() if container.alive]
    if record is R.TRIAL:
        assert servers.nobody_runs()
        assert "the workload is stopped" in waiting
    else:
        assert [container.restart for container in running] == ["always"]
        assert "the workload runs on it, healthy" in waiting
    return operation


async def test_a_cancel_while_the_trial_waits_for_the_disk_brings_the_data_back(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    operation = await stuck(servers, R.TRIAL)
    assert (await bench.client.post(f"/api/operations/{operation}/cancel")).status_code == 202
    servers.faults.heal()
    await bench.holdfast.operations.wait(operation)
    assert_told((await bench.operation(operation))["error"], "restore_reverted")
    assert bench.facts() == before
    await released(servers)


async def test_a_journal_that_is_damaged_while_its_disk_is_waited_for_leaves_it_to_a_person(servers: Servers) -> None:
    operation = await stuck(servers, R.TRIAL)
    (path,) = servers.place.settings.journal_dir.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"STAGED"', b'"STAGGD"'))
    servers.faults.heal()
    await servers.bench.holdfast.operations.wait(operation)
    end = await servers.bench.operation(operation)
    assert_told(end["error"], "restore_undecided")
    assert str(path) in end["error"]["message"]
    assert servers.nobody_runs()
    await blocked(servers)

    async def mend() -> None:
        path.write_bytes(whole)

    await servers.restart(mend)
    await restored(servers, await servers.recovered())


@pytest.mark.parametrize("when", list(When))
async def test_an_end_that_cannot_be_written_down_is_no_failure_and_is_tidied_up_later(
    servers: Servers, when: When
) -> None:
    bench = servers.bench
    servers.faults.fs.fail_record(R.DONE, when)
    end = await bench.ended(await bench.ask())
    assert end["state"] == "succeeded"
    assert bench.trees() == bench.taken
    await bench.holdfast.reaper.idle()
    assert bench.place.leftovers() != []
    bench = await servers.restart()
    await servers.recovered()
    await bench.settled()


async def test_an_exchange_that_fails_for_the_second_volume_brings_the_first_one_back(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    servers.faults.fs.fail_exchange(2)
    end = await bench.ended(await bench.ask())
    assert servers.faults.fs.failed
    assert_told(end["error"], "restore_reverted")
    assert end["outcome"]["result"] == "reverted"
    assert bench.facts() == before
    await released(servers)


async def test_a_way_back_that_fails_too_leaves_everything_stopped_for_a_person(servers: Servers) -> None:
    bench, before = servers.bench, servers.bench.facts()
    servers.faults.fs.fail_exchange(2, 3)
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_undecided")
    assert end["outcome"]["result"] == "needs_decision"
    assert end["error"]["next_step"].endswith("`holdfast restore-decision notes revert`.")
    for volume, live in zip(bench.volumes, ("the restored data", "the data from before the restore"), strict=True):
        assert f"at {volume} is {live}" in end["error"]["message"]
    assert servers.nobody_runs()
    restore_id = await blocked(servers)
    keep = await bench.ended(await bench.post(DECISION, {"choice": "keep"}, confirm=restore_id))
    assert_told(keep["error"], "restore_not_decidable")
    assert servers.nobody_runs()
    servers.faults.heal()
    revert = await bench.ended(await bench.post(DECISION, {"choice": "revert"}, confirm=restore_id))
    assert_told(revert["error"], "restore_reverted")
    assert bench.facts() == before
    await released(servers)


async def released(servers: Servers) -> None:
    """What a reverted restore keeps for looking at is there until it is released, and then gone."""
    bench = servers.bench
    assert len(bench.place.leftovers()) == 3, "two trees and a journal"
    end = await bench.ended(await bench.post(DECISION, {"choice": "release"}))
    assert end["state"] == "succeeded", end
    assert len(end["outcome"]["released"]) == 1
    await bench.settled()
