from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import Busy, Unavailable
from holdfast.services.locks import DrainBarrier, Held, KeyedMutex, LifecycleLocks


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestKeyedMutex:
    async def test_waiters_get_a_key_in_the_order_in_which_they_asked(self) -> None:
        mutex = KeyedMutex()
        await mutex.acquire("a", "first")
        order: list[int] = []

        async def take(number: int) -> None:
            await mutex.acquire("a", f"task {number}")
            order.append(number)
            mutex.release("a")

        tasks = [asyncio.create_task(take(number)) for number in range(20)]
        await settle()
        mutex.release("a")
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert len(mutex) == 0

    async def test_a_released_key_is_handed_over_and_can_not_be_snatched(self) -> None:
        mutex = KeyedMutex()
        await mutex.acquire("a", "first")
        waiter = asyncio.create_task(mutex.acquire("a", "second"))
        await settle()
        mutex.release("a")
        assert not mutex.try_acquire("a", "snatcher")
        assert mutex.holder("a") == "second"
        await waiter

    async def test_different_keys_do_not_wait_for_each_other(self) -> None:
        mutex = KeyedMutex()
        await mutex.acquire("a", "x")
        await asyncio.wait_for(mutex.acquire("b", "y"), 1)
        assert (mutex.holder("a"), mutex.holder("b"), mutex.holder("c")) == ("x", "y", None)

    async def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_the_key_on(self) -> None:
        mutex = KeyedMutex()
        await mutex.acquire("a", "first")
        unlucky = asyncio.create_task(mutex.acquire("a", "unlucky"))
        next_one = asyncio.create_task(mutex.acquire("a", "next"))
        await settle()
        mutex.release("a")
        unlucky.cancel()
        await asyncio.wait_for(next_one, 1)
        assert unlucky.cancelled()
        assert mutex.holder("a") == "next"
        mutex.release("a")
        assert len(mutex) == 0

    async def test_a_waiter_cancelled_just_before_the_release_is_passed_over(self) -> None:
        mutex = KeyedMutex()
        await mutex.acquire("a", "first")
        unlucky = asyncio.create_task(mutex.acquire("a", "unlucky"))
        await settle()
        unlucky.cancel()
        mutex.release("a")
        assert mutex.try_acquire("a", "other")
        with suppress(asyncio.CancelledError):
            await unlucky
        assert mutex.holder("a") == "other"

    async def test_waiters_learn_whom_they_wait_for_each_time_that_it_changes(self) -> None:
        mutex = KeyedMutex()
        await mutex.acquire("a", "restore 1")
        told: list[object] = []
        second = asyncio.create_task(mutex.acquire("a", "deploy 2"))
        await settle()
        third = asyncio.create_task(mutex.acquire("a", "deploy 3", told.append))
        await settle()
        mutex.release("a")
        await second
        mutex.release("a")
        await third
        assert told == ["restore 1", "deploy 2", ""]

    @given(seed=st.integers(0, 2**32))
    @settings(max_examples=60, deadline=None)
    def test_a_storm_of_cancellations_leaks_no_key_and_lets_nobody_in_twice(self, seed: int) -> None:
        chance = random.Random(seed)

        async def scenario() -> None:
            mutex = KeyedMutex()
            inside: dict[str, int] = {}

            async def work(key: str) -> None:
                await mutex.acquire(key, "work")
                try:
                    inside[key] = inside.get(key, 0) + 1
                    assert inside[key] == 1
                    await asyncio.sleep(0)
                finally:
                    inside[key] -= 1
                    mutex.release(key)

            tasks = [asyncio.create_task(work(chance.choice("abc"))) for _ in range(30)]
            while not all(task.done() for task in tasks):
                chance.choice(tasks).cancel()
                await asyncio.sleep(0)
            for task in tasks:
                assert task.cancelled() or task.exception() is None
            assert len(mutex) == 0

        asyncio.run(scenario())


class TestLifecycleLocks:
    async def test_several_workloads_are_held_together_and_released_together(self) -> None:
        locks = LifecycleLocks()
        async with locks.hold(["b", "a", "b"], "restore 1") as held:
            assert held.covers("a")
            assert held.covers("b")
            assert not held.covers("c")
            assert locks.holder("a") == locks.holder("b") == "restore 1"
        assert locks.holder("a") is None
        assert locks.holder("b") is None

    async def test_the_proof_ends_with_the_lock(self) -> None:
        locks = LifecycleLocks()
        async with locks.hold(["a"], "deploy 1") as held:
            held.require("a")
            with pytest.raises(RuntimeError):
                held.require("a", "b")
        assert not held.covers("a")
        with pytest.raises(RuntimeError):
            held.require("a")

    def test_nobody_else_makes_a_proof(self) -> None:
        with pytest.raises(RuntimeError):
            Held(frozenset({"a"}), "forged", object())

    async def test_a_failure_inside_releases_the_locks(self) -> None:
        locks = LifecycleLocks()
        with pytest.raises(ValueError, match="inside"):
            async with locks.hold(["a"], "deploy 1"):
                raise ValueError("inside")
        assert locks.holder("a") is None

    async def test_a_cancelled_waiter_gives_back_the_locks_that_it_had(self) -> None:
        locks = LifecycleLocks()

        async def both() -> None:
            async with locks.hold(["a", "b"], "both"):
                pass

        async with locks.hold(["b"], "one"):
            task = asyncio.create_task(both())
            await settle()
            assert locks.holder("a") == "both"
            task.cancel()
            await settle()
            assert locks.holder("a") is None
            assert task.cancelled()

    async def test_a_request_is_refused_for_an_operation_at_once_says_for_which_and_takes_nothing(self) -> None:
        locks = LifecycleLocks()
        async with locks.hold(["b"], "restore 1"):
            with pytest.raises(Busy) as caught:
                async with locks.hold_briefly(["a", "b"], "apply"):
                    pass
            assert caught.value.code == "workload_busy"
            assert caught.value.values == {"holder": "restore 1"}
            assert "restore 1" in caught.value.message
            assert locks.holder("a") is None
        async with locks.hold_briefly(["a", "b"], "apply") as held:
            held.require("a", "b")
        assert locks.holder("b") is None

    async def test_a_request_waits_for_those_who_hold_a_lock_for_a_moment_in_the_order_of_asking(self) -> None:
        locks = LifecycleLocks()
        order: list[str] = []

        async def change(name: str) -> None:
            async with locks.hold_briefly(["a", "b"], name) as held:
                held.require("a", "b")
                order.append(name)
                await asyncio.sleep(0)

        async with locks.hold_briefly(["b"], "a look at it"):
            tasks = [asyncio.create_task(change(name)) for name in ("first", "second")]
            await settle()
            assert order == []
        await asyncio.gather(*tasks)
        assert order == ["first", "second"]
        assert locks.holder("a") is None
        assert locks.holder("b") is None

    async def test_a_request_is_refused_as_well_if_an_operation_is_next(self) -> None:
        locks = LifecycleLocks()

        async def deploy() -> None:
            async with locks.hold(["b"], "deploy 2"):
                pass

        async with locks.hold_briefly(["b"], "a look at it"):
            waiting = asyncio.create_task(deploy())
            await settle()
            with pytest.raises(Busy):
                async with locks.hold_briefly(["b"], "apply"):
                    pass
        await waiting
        assert locks.holder("b") is None

    async def test_a_request_waits_no_longer_than_its_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("holdfast.services.locks.PATIENCE", 0.01)
        locks = LifecycleLocks()
        async with locks.hold_briefly(["b"], "a long look"):
            with pytest.raises(Busy, match="a long look"):
                async with locks.hold_briefly(["a", "b"], "apply"):
                    pass
            assert locks.holder("a") is None
        assert locks.holder("b") is None

    @given(
        wishes=st.lists(st.sets(st.sampled_from("abcde"), min_size=1, max_size=4), min_size=2, max_size=25),
        cancelled=st.sets(st.integers(0, 24)),
    )
    @settings(max_examples=60, deadline=None)
    def test_no_set_of_workloads_ever_deadlocks(self, wishes: list[set[str]], cancelled: set[int]) -> None:
        async def scenario() -> None:
            locks = LifecycleLocks()
            inside: set[str] = set()

            async def work(ids: set[str]) -> None:
                async with locks.hold(ids, "work"):
                    assert not inside & ids
                    inside.update(ids)
                    try:
                        await asyncio.sleep(0)
                    finally:
                        inside.difference_update(ids)

            tasks = [asyncio.create_task(work(ids)) for ids in wishes]
            for number, task in enumerate(tasks):
                await asyncio.sleep(0)
                if number in cancelled:
                    task.cancel()
            async with asyncio.timeout(5):
                await asyncio.wait(tasks)
            for task in tasks:
                assert task.cancelled() or task.exception() is None
            assert all(locks.holder(key) is None for key in "abcde")

        asyncio.run(scenario())


class TestDrainBarrier:
    async def test_a_closed_barrier_refuses_new_work(self) -> None:
        barrier = DrainBarrier()
        assert await barrier.close(1)
        with pytest.raises(Unavailable) as caught:
            barrier.admit()
        assert caught.value.code == "draining"

    async def test_closing_waits_for_admitted_work_and_lets_its_parts_in(self) -> None:
        barrier = DrainBarrier()
        go = asyncio.Event()
        ended: list[str] = []

        async def part() -> None:
            with barrier.admit():
                ended.append("part")

        async def work() -> None:
            with barrier.admit():
                await go.wait()
                await asyncio.create_task(part())
                ended.append("whole")

        task = asyncio.create_task(work())
        await settle()
        closing = asyncio.create_task(barrier.close(5))
        await settle()
        assert not closing.done()
        go.set()
        assert await closing
        await task
        assert ended == ["part", "whole"]

    async def test_what_outlives_its_admission_is_new_work(self) -> None:
        barrier = DrainBarrier()
        go = asyncio.Event()

        async def straggler() -> None:
            await go.wait()
            barrier.admit()

        with barrier.admit():
            task = asyncio.create_task(straggler())
        await barrier.close(1)
        go.set()
        with pytest.raises(Unavailable):
            await task

    async def test_an_admission_counts_from_its_making_and_can_be_entered_in_another_task(self) -> None:
        barrier = DrainBarrier()
        admission = barrier.admit()

        async def work() -> None:
            with admission:
                barrier.admit().release()

        assert not await barrier.close(0)
        await asyncio.create_task(work())
        assert await barrier.close(1)
        admission.release()

    async def test_the_deadline_ends_the_wait(self) -> None:
        barrier = DrainBarrier()
        with barrier.admit():
            assert not await barrier.close(0.01)
        assert barrier.closed
