from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from holdfast.domain.errors import Cancelled, Conflict, Failed, InvalidInput, NotFound, Unavailable
from holdfast.domain.idempotency import RequestKey
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState, Progress
from holdfast.domain.restore import RestoreResult, RestoreStep
from holdfast.services.locks import DrainBarrier, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations, Run
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.at(tmp_path / "state.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> OperationStore:
    return OperationStore(database)


@pytest.fixture
async def operations(store: OperationStore) -> AsyncIterator[Operations]:
    operations = Operations(store, DrainBarrier())
    yield operations
    await operations.close(0)


async def start(operations: Operations, run: Run, *, key: str | None = None) -> Operation:
    return await operations.start(OperationKind.RESTORE, "w1", "ann", run, idempotency_key=key)


async def nothing(ctx: OperationContext) -> None:
    del ctx


class Gate:
    """A runner that tells when it runs and waits until it may go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, ctx: OperationContext) -> dict[str, object]:
        ctx.step("waiting")
        self.entered.set()
        await self.open.wait()
        ctx.check()
        return {"passed": True}


async def ended(operations: Operations, operation: Operation) -> Operation:
    async with asyncio.timeout(10):
        return await operations.wait(operation.id)


async def seen_on_disk(store: OperationStore, operation: Operation) -> Operation:
    found = await store.get(operation.id)
    assert found is not None
    return found


class TestRunning:
    async def test_an_operation_is_on_disk_before_its_caller_hears_of_it(
        self, operations: Operations, store: OperationStore
    ) -> None:
        gate = Gate()
        operation = await start(operations, gate)
        assert (await seen_on_disk(store, operation)).kind is OperationKind.RESTORE
        gate.open.set()
        await ended(operations, operation)

    async def test_it_ends_with_its_steps_log_and_outcome_on_disk(
        self, operations: Operations, store: OperationStore
    ) -> None:
        async def run(ctx: OperationContext) -> dict[str, object]:
            assert ctx.actor == "ann"
            ctx.step(RestoreStep.STAGING)
            ctx.log("two\nlines")
            ctx.step(RestoreStep.SWAPPING)
            ctx.outcome["early"] = 1
            return {"result": RestoreResult.RESTORED, "paths": {1: ("a",)}}

        done = await ended(operations, await start(operations, run))
        assert done.state is OperationState.SUCCEEDED
        assert [step.name for step in done.steps] == ["staging", "swapping"]
        assert all(step.finished_at for step in done.steps)
        assert [line.message for line in done.log] == ["two lines"]
        assert done.outcome == {"early": 1, "result": "restored", "paths": {"1": ["a"]}}
        assert not done.cancellable
        assert await seen_on_disk(store, done) == done == await operations.get(done.id)

    async def test_its_steps_and_lines_are_soon_on_disk_while_it_goes_on(self, database: Database) -> None:
        kept: list[Operation] = []
        written = asyncio.Event()

        class TellingStore(OperationStore):
            async def save(self, operation: Operation) -> None:
                await super().save(operation)
                kept.append(await seen_on_disk(self, operation))
                written.set()

        async def run(ctx: OperationContext) -> None:
            ctx.step("one")
            ctx.log("said", "warning")
            await written.wait()

        operations = Operations(TellingStore(database), DrainBarrier())
        await ended(operations, await start(operations, run))
        soon = kept[0]
        assert (soon.state, [step.name for step in soon.steps]) == (OperationState.RUNNING, ["one"])
        assert [(line.message, line.level) for line in soon.log] == [("said", "warning")]

    async def test_a_failure_keeps_its_code_and_what_was_produced_until_then(self, operations: Operations) -> None:
        async def run(ctx: OperationContext) -> None:
            ctx.outcome["result"] = RestoreResult.REVERTED
            raise Failed("volume_busy", "It is busy.", next_step="Wait.", details={"path": Path("/srv").name})

        done = await ended(operations, await start(operations, run))
        assert done.state is OperationState.FAILED
        assert done.error == {
            "code": "volume_busy",
            "message": "It is busy.",
            "next_step": "Wait.",
            "details": {"path": "srv"},
        }
        assert done.outcome == {"result": "reverted"}

    @pytest.mark.parametrize("way", ["exception", "outcome", "details", "inner cancellation"])
    async def test_what_nobody_foresaw_is_logged_and_never_told(self, operations: Operations, way: str) -> None:
        async def run(ctx: OperationContext) -> dict[str, object] | None:
            if way == "exception":
                raise ValueError("a secret")
            if way == "details":
                raise Failed("x", "x", details={"secret": object()})
            if way == "inner cancellation":
                raise asyncio.CancelledError("a secret")
            return {"secret": object()}

        with capture_logs() as logs:
            done = await ended(operations, await start(operations, run))
        assert done.state is OperationState.FAILED
        assert done.error is not None
        assert done.error["code"] == "internal_error"
        assert "secret" not in str(done)
        assert [log["event"] for log in logs if log["log_level"] == "error"] == ["operation_failed_unforeseen"]

    async def test_it_goes_on_when_its_caller_goes_away(self, operations: Operations) -> None:
        gate = Gate()
        caller = asyncio.create_task(start(operations, gate))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.wait_for(gate.entered.wait(), 10)
        gate.open.set()
        operation = (await operations.list(10)).items[0]
        assert (await ended(operations, operation)).state is OperationState.SUCCEEDED

    async def test_its_end_is_told_once_the_disk_takes_it_and_only_then_what_follows_from_it_is_done(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("holdfast.services.operation_context.SAVE_SECONDS", 0.0)
        ends: list[str] = []

        class FullStore(OperationStore):
            async def end(self, operation: Operation) -> None:
                ends.append("end")
                if len(ends) < 3:
                    raise Failed("database_failed", "full")
                await super().end(operation)

        async def followed(ctx: OperationContext) -> None:
            ctx.afterwards.append(lambda: ends.append("then"))

        database = Database.at(tmp_path / "state.db")
        await database.open()
        store = FullStore(database)
        operations = Operations(store, DrainBarrier())
        with capture_logs() as logs:
            begun = await start(operations, followed)
            told = [operation async for operation in operations.events(begun.id)]
        assert told[-1].state is OperationState.SUCCEEDED
        assert "waiting for the disk of the database: full" in [operation.waiting_for for operation in told]
        assert ends == ["end", "end", "end", "then"]
        assert await store.get(begun.id) == told[-1]
        assert [log["event"] for log in logs].count("operation_not_saved") == 2
        await database.close()


class TestWatching:
    async def test_a_reader_gets_the_present_state_first_and_the_end_last(self, operations: Operations) -> None:
        gate = Gate()
        operation = await start(operations, gate)
        await gate.entered.wait()
        states: list[OperationState] = []
        async for seen in operations.events(operation.id):
            states.append(seen.state)
            gate.open.set()
        assert states[0] is OperationState.RUNNING
        assert states[-1] is OperationState.SUCCEEDED

    async def test_a_slow_reader_skips_states_but_never_the_end(self, operations: Operations) -> None:
        gate = Gate()

        async def run(ctx: OperationContext) -> None:
            await gate(ctx)
            for number in range(50):
                ctx.log(f"line {number}")

        operation = await start(operations, run)
        seen: list[Operation] = []
        async for state in operations.events(operation.id):
            seen.append(state)
            gate.open.set()
            if len(seen) == 1:
                await ended(operations, operation)
        assert len(seen) == 2
        assert seen[-1].state is OperationState.SUCCEEDED
        assert len(seen[-1].log) == 50

    async def test_an_ended_operation_is_told_once(self, operations: Operations) -> None:
        done = await ended(operations, await start(operations, nothing))
        assert [seen async for seen in operations.events(done.id)] == [done]

    async def test_much_progress_is_told_and_written_now_and_then_only(self, store: OperationStore) -> None:
        saves = 0

        class CountingStore(OperationStore):
            def __init__(self) -> None:
                """Only counts, and hands on."""

            async def insert(self, operation: Operation, *, idempotency_key: str | None = None) -> Operation | None:
                return await store.insert(operation, idempotency_key=idempotency_key)

            async def save(self, operation: Operation) -> None:
                nonlocal saves
                saves += 1
                await store.save(operation)

            async def end(self, operation: Operation) -> None:
                nonlocal saves
                saves += 1
                await store.end(operation)

        operations = Operations(CountingStore(), DrainBarrier())
        gate = Gate()

        async def run(ctx: OperationContext) -> None:
            await gate(ctx)
            for number in range(2000):
                ctx.progress(Progress(done_bytes=number))
                if number % 20 == 0:
                    await asyncio.sleep(0)

        operation = await start(operations, run)
        await gate.entered.wait()
        told = []
        async for seen in operations.events(operation.id):
            told.append(seen.progress.done_bytes)
            gate.open.set()
        assert told[-1] == 1999
        assert len(told) < 20
        assert saves < 6

    async def test_progress_that_pauses_is_told_all_the_same(self, operations: Operations) -> None:
        gate = Gate()

        async def run(ctx: OperationContext) -> None:
            ctx.step("copying")
            ctx.progress(Progress(done_bytes=7))
            await gate.open.wait()

        operation = await start(operations, run)
        async with asyncio.timeout(10):
            async for seen in operations.events(operation.id):
                if seen.progress.done_bytes == 7:
                    gate.open.set()

    async def test_what_it_waits_for_is_told_and_forgotten(self, operations: Operations) -> None:
        locks = LifecycleLocks()

        async def run(ctx: OperationContext) -> None:
            async with locks.hold(["w1"], f"deploy {ctx.id}", on_wait=ctx.waiting, waits_in=ctx.interruptible):
                ctx.step("deploying")

        async with locks.hold(["w1"], "restore 1"):
            operation = await start(operations, run)
            async with asyncio.timeout(10):
                async for seen in operations.events(operation.id):
                    if seen.waiting_for:
                        break
            assert seen.waiting_for == "waiting for restore 1"
            assert seen.state is OperationState.QUEUED
        done = await ended(operations, operation)
        assert (done.state, done.waiting_for) == (OperationState.SUCCEEDED, "")

    async def test_lists_show_the_latest_state_newest_first(self, operations: Operations) -> None:
        gate = Gate()
        first = await ended(operations, await start(operations, nothing))
        await asyncio.to_thread(_next_millisecond)
        second = await start(operations, gate)
        await gate.entered.wait()
        page = await operations.list(1)
        assert page.items[0].id == second.id
        assert page.items[0].steps
        assert (await operations.list(1, page.next_cursor, "w1")).items == (first,)
        assert (await operations.list(5, None, "other")).items == ()
        with pytest.raises(InvalidInput):
            await operations.list(0)
        gate.open.set()
        await ended(operations, second)

    async def test_an_unknown_operation_is_not_found(self, operations: Operations) -> None:
        for attempt in (operations.get("none"), operations.cancel("none"), operations.wait("none")):
            with pytest.raises(NotFound) as caught:
                await attempt
            assert caught.value.code == "operation_unknown"


def _next_millisecond() -> None:
    """Ids sort by milliseconds."""
    before = new_id()[:10]
    while new_id()[:10] == before:
        pass


class TestIdempotency:
    async def test_the_same_key_gives_the_first_operation_also_after_its_end(self, operations: Operations) -> None:
        gate, runs = Gate(), 0

        async def run(ctx: OperationContext) -> None:
            nonlocal runs
            runs += 1
            await gate(ctx)

        several = await asyncio.gather(*(start(operations, run, key="k") for _ in range(5)))
        assert len({operation.id for operation in several}) == 1
        gate.open.set()
        done = await ended(operations, several[0])
        assert await start(operations, run, key="k") == done
        assert runs == 1

    async def test_a_key_that_belongs_to_something_else_is_refused(self, operations: Operations) -> None:
        await ended(operations, await start(operations, nothing, key="k"))
        for kind, workload in ((OperationKind.DEPLOY, "w1"), (OperationKind.RESTORE, "w2")):
            with pytest.raises(Conflict) as caught:
                await operations.start(kind, workload, "ann", nothing, idempotency_key="k")
            assert caught.value.code == "idempotency_key_reused"
        other = await operations.start(OperationKind.DEPLOY, "w1", "bob", nothing, idempotency_key="k")
        await ended(operations, other)

    async def test_a_key_belongs_to_what_was_asked_with_it(self, operations: Operations) -> None:
        keep, revert = RequestKey("k", "keep"), RequestKey("k", "revert")
        first = await ended(operations, await start(operations, nothing, key=keep))
        assert await start(operations, nothing, key=RequestKey("k", "keep")) == first
        assert await operations.begun(OperationKind.RESTORE, "w1", "ann", keep) == first
        with pytest.raises(Conflict) as started:
            await start(operations, nothing, key=revert)
        with pytest.raises(Conflict) as looked_up:
            await operations.begun(OperationKind.RESTORE, "w1", "ann", revert)
        for caught in (started, looked_up):
            assert (caught.value.code, caught.value.details) == ("idempotency_key_reused", {"operation_id": first.id})
        for near in (RequestKey("k!", "revert"), RequestKey("K", "revert"), RequestKey("k0", "keep"), "k~"):
            assert (await ended(operations, await start(operations, nothing, key=near))).id != first.id

    async def test_what_was_asked_is_compared_only_where_both_are_known(self, operations: Operations) -> None:
        before = await ended(operations, await start(operations, nothing, key="of before"))
        assert await start(operations, nothing, key=RequestKey("of before", "anything")) == before
        first = await ended(operations, await start(operations, nothing, key=RequestKey("k", "keep")))
        assert await start(operations, nothing, key="k") == first


class TestCancelling:
    async def test_a_cancel_reaches_the_runner_and_ends_as_cancelled(self, operations: Operations) -> None:
        async def run(ctx: OperationContext) -> None:
            await ctx.cancelled.wait()
            ctx.check()

        operation = await start(operations, run)
        await operations.cancel(operation.id)
        done = await ended(operations, operation)
        assert done.state is OperationState.CANCELLED
        assert done.error is not None
        assert done.error["code"] == "cancelled"

    async def test_a_queued_operation_gives_its_wait_up_at_once(self, operations: Operations) -> None:
        locks = LifecycleLocks()

        async def run(ctx: OperationContext) -> None:
            async with locks.hold(["w1"], f"deploy {ctx.id}", on_wait=ctx.waiting, waits_in=ctx.interruptible):
                raise AssertionError("never held")

        async with locks.hold(["w1"], "restore 1"):
            operation = await start(operations, run)
            async for seen in operations.events(operation.id):
                if seen.waiting_for:
                    break
            await operations.cancel(operation.id)
            assert (await ended(operations, operation)).state is OperationState.CANCELLED
        assert locks.holder("w1") is None

    async def test_an_ended_operation_can_not_be_cancelled(self, operations: Operations) -> None:
        done = await ended(operations, await start(operations, nothing))
        with pytest.raises(Conflict) as caught:
            await operations.cancel(done.id)
        assert caught.value.code == "not_cancellable"

    async def test_past_the_point_of_no_return_a_cancel_is_refused(self, operations: Operations) -> None:
        gate = Gate()

        async def run(ctx: OperationContext) -> None:
            ctx.point_of_no_return()
            await gate(ctx)

        operation = await start(operations, run)
        await gate.entered.wait()
        assert not (await operations.get(operation.id)).cancellable
        with pytest.raises(Conflict) as caught:
            await operations.cancel(operation.id)
        assert caught.value.code == "not_cancellable"
        gate.open.set()
        assert (await ended(operations, operation)).state is OperationState.SUCCEEDED

    async def test_a_cancel_that_came_first_wins_over_the_point_of_no_return(self, operations: Operations) -> None:
        gate = Gate()

        async def run(ctx: OperationContext) -> None:
            gate.entered.set()
            await gate.open.wait()
            ctx.point_of_no_return()

        operation = await start(operations, run)
        await gate.entered.wait()
        await operations.cancel(operation.id)
        gate.open.set()
        assert (await ended(operations, operation)).state is OperationState.CANCELLED

    async def test_a_runner_can_make_a_late_cancel_mean_the_way_back(self, operations: Operations) -> None:
        trial = asyncio.Event()

        async def run(ctx: OperationContext) -> dict[str, object]:
            ctx.point_of_no_return()
            ctx.on_cancel(ctx.cancelled.set)
            trial.set()
            await ctx.cancelled.wait()
            with pytest.raises(Cancelled):
                ctx.check()
            ctx.on_cancel(None)
            ctx.check()
            return {"result": "reverted"}

        operation = await start(operations, run)
        await trial.wait()
        await operations.cancel(operation.id)
        done = await ended(operations, operation)
        assert (done.state, done.outcome) == (OperationState.SUCCEEDED, {"result": "reverted"})

    async def test_a_wait_that_the_shutdown_cuts_off_is_no_cancel_by_a_person(self, store: OperationStore) -> None:
        operations, entered, raised = Operations(store, DrainBarrier()), asyncio.Event(), []

        async def run(ctx: OperationContext) -> None:
            try:
                with ctx.interruptible():
                    entered.set()
                    await asyncio.Event().wait()
            except BaseException as error:
                raised.append(type(error))
                raise

        await start(operations, run)
        await entered.wait()
        await operations.close(0)
        assert raised == [asyncio.CancelledError]


class TestShutdownAndRecovery:
    async def test_a_shutdown_waits_for_what_ends_in_time(self, store: OperationStore) -> None:
        operations, gate = Operations(store, DrainBarrier()), Gate()
        operation = await start(operations, gate)
        await gate.entered.wait()
        closing = asyncio.create_task(operations.close(10))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await start(operations, nothing)
        gate.open.set()
        await closing
        assert (await seen_on_disk(store, operation)).state is OperationState.SUCCEEDED

    async def test_what_a_shutdown_cuts_off_is_interrupted_at_the_next_start(self, store: OperationStore) -> None:
        operations, gate = Operations(store, DrainBarrier()), Gate()
        operation = await start(operations, gate)
        await gate.entered.wait()
        reader = asyncio.create_task(operations.wait(operation.id))
        await asyncio.sleep(0)
        await operations.close(0)
        assert not (await asyncio.wait_for(reader, 10)).state.ended
        kept = await seen_on_disk(store, operation)
        assert kept.state is OperationState.RUNNING
        assert [step.name for step in kept.steps] == ["waiting"]

        again = Operations(store, DrainBarrier())
        assert [found.id for found in await again.recover_unfinished()] == [operation.id]
        found = await again.get(operation.id)
        assert found.state is OperationState.INTERRUPTED
        assert found.error is not None
        assert found.error["code"] == "interrupted"
        assert found.steps[-1].finished_at is not None
        assert await again.recover_unfinished() == ()

    async def test_a_cut_off_operation_can_be_taken_up_again(self, store: OperationStore) -> None:
        operations, gate = Operations(store, DrainBarrier()), Gate()
        operation = await start(operations, gate)
        await gate.entered.wait()
        await operations.close(0)

        again = Operations(store, DrainBarrier())
        await again.recover_unfinished()
        resumed = await again.resume(operation.id, gate)
        assert resumed.state is OperationState.RUNNING
        assert await again.recover_unfinished() == ()
        with pytest.raises(Conflict):
            await again.cancel(operation.id)
        gate.open.set()
        done = await ended(again, operation)
        assert done.state is OperationState.SUCCEEDED
        assert done.error is None
        assert [line.message for line in done.log] == ["resumed after a restart"]
        assert [step.name for step in done.steps] == ["waiting", "waiting"]
        with pytest.raises(NotFound):
            await again.resume("none", gate)
