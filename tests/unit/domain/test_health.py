"""The health gate's decisions, without containers and without time."""

import dataclasses
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.health import Decision, Gate, Observation, OwnHealth, Probe, Process, ProcessState, Verdict
from holdfast.domain.workload import HealthCheck, HealthType

RUNNING = Process(state=ProcessState.RUNNING, started_at="t1")
ENDED = Process(state=ProcessState.ENDED, started_at="t1", exit_code=3)
STEADY = HealthCheck(type=HealthType.NONE)
HTTP = HealthCheck(type=HealthType.HTTP, port=80, deadline=60.0)


def judge(check: HealthCheck, observations: Iterable[Observation], *, deadline: float | None = None) -> Decision:
    """The first decision that ends the gate, or the last one."""
    gate = Gate.begin(check, steady_seconds=10.0, deadline=deadline)
    decision = Decision(verdict=Verdict.WAIT)
    for seen in observations:
        gate, decision = gate.observe(seen)
        if decision.verdict is not Verdict.WAIT:
            break
    return decision


def seen(elapsed: float, process: Process = RUNNING) -> Observation:
    return Observation(elapsed=elapsed, before=process)


def asked(elapsed: float, probe: Probe, before: Process = RUNNING, after: Process = RUNNING) -> Observation:
    return Observation(elapsed=elapsed, before=before, probe=probe, after=after)


def test_without_a_check_running_is_not_health() -> None:
    assert judge(STEADY, [seen(0), seen(9.9)]).verdict is Verdict.WAIT


def test_without_a_check_a_process_that_stood_for_the_steady_time_is_healthy() -> None:
    assert judge(STEADY, [seen(0), seen(5), seen(10)]).verdict is Verdict.HEALTHY


def test_the_steady_time_begins_again_with_every_restart() -> None:
    again = dataclasses.replace(RUNNING, started_at="t2", restart_count=1)
    assert judge(STEADY, [seen(0), seen(9), seen(9.5, again), seen(19)]).verdict is Verdict.WAIT
    assert judge(STEADY, [seen(0), seen(9.5, again), seen(19.5, again)]).verdict is Verdict.HEALTHY


def test_a_restart_by_hand_that_resets_the_count_is_noticed_by_the_start_time() -> None:
    before = dataclasses.replace(RUNNING, restart_count=2)
    after = dataclasses.replace(RUNNING, started_at="t2", restart_count=0)
    assert judge(STEADY, [seen(0, before), seen(9, after), seen(12, after)]).verdict is Verdict.WAIT


def test_a_pause_interrupts_the_steady_time() -> None:
    paused = dataclasses.replace(RUNNING, state=ProcessState.PAUSED)
    assert judge(STEADY, [seen(0), seen(5, paused), seen(6), seen(12)]).verdict is Verdict.WAIT


def test_a_process_that_ended_and_is_not_restarted_is_unhealthy_at_once_with_its_exit_code() -> None:
    decision = judge(STEADY, [seen(0), seen(1, ENDED)])
    assert (decision.verdict, decision.code) == (Verdict.UNHEALTHY, "exited")
    assert "exit code 3" in decision.reason


def test_running_out_of_memory_is_said() -> None:
    killed = dataclasses.replace(ENDED, exit_code=137, out_of_memory=True)
    assert "out of memory" in judge(HTTP, [seen(0, killed)]).reason


def test_a_process_that_ended_and_is_restarted_is_waited_for() -> None:
    assert judge(HTTP, [seen(0, dataclasses.replace(ENDED, restarts_by_itself=True))]).verdict is Verdict.WAIT


@pytest.mark.parametrize("check", [STEADY, HTTP], ids=lambda check: check.type.value)
def test_a_crash_loop_is_unhealthy(check: HealthCheck) -> None:
    loop = [
        seen(n, Process(state=ProcessState.RUNNING, started_at=f"t{n}", restart_count=n, restarts_by_itself=True))
        for n in range(6)
    ]
    decision = judge(check, loop)
    assert (decision.verdict, decision.code) == (Verdict.UNHEALTHY, "crash_loop")


def test_one_restart_is_counted_once_however_it_is_seen() -> None:
    waiting = Process(
        state=ProcessState.RESTARTING, started_at="t1", restart_count=1, restarts_by_itself=True, exit_code=1
    )
    again = Process(state=ProcessState.RUNNING, started_at="t2", restart_count=1, restarts_by_itself=True)
    gate = Gate.begin(STEADY, steady_seconds=10.0)
    gate = dataclasses.replace(gate, restarts_allowed=1)
    for observation in (seen(0), seen(1, waiting), seen(2, again)):
        gate, decision = gate.observe(observation)
    assert decision.verdict is Verdict.WAIT


@given(st.lists(st.integers(min_value=0, max_value=9), min_size=1, max_size=30))
def test_a_process_that_never_stands_for_the_steady_time_is_never_healthy(lives: list[int]) -> None:
    gate = Gate.begin(STEADY, steady_seconds=10.0)
    elapsed = 0.0
    for number, life in enumerate(lives):
        process = Process(
            state=ProcessState.RUNNING, started_at=f"t{number}", restart_count=number, restarts_by_itself=True
        )
        for second in range(life + 1):
            gate, decision = gate.observe(seen(elapsed + second, process))
            assert decision.verdict is not Verdict.HEALTHY
        elapsed += life + 1


def test_a_passed_check_of_the_same_process_is_health() -> None:
    assert judge(HTTP, [asked(1, Probe(passed=True, detail="200"))]).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    "after",
    [
        dataclasses.replace(RUNNING, started_at="t2", restart_count=1, restarts_by_itself=True),
        dataclasses.replace(ENDED, restarts_by_itself=True),
    ],
    ids=["restarted", "ended"],
)
def test_a_check_that_another_process_answered_does_not_count(after: Process) -> None:
    assert judge(HTTP, [asked(1, Probe(passed=True), after=after)]).verdict is Verdict.WAIT


def test_a_check_that_passed_before_the_process_ended_for_good_is_not_health() -> None:
    assert judge(HTTP, [asked(1, Probe(passed=True), after=ENDED)]).code == "exited"


def test_a_failed_check_is_waited_out_until_the_deadline_and_named_there() -> None:
    failed = Probe(passed=False, detail="answered 503")
    decision = judge(HTTP, [asked(1, failed), asked(59, failed), asked(60, failed)])
    assert (decision.verdict, decision.code) == (Verdict.UNHEALTHY, "deadline_passed")
    assert "answered 503" in decision.reason


def test_health_at_the_deadline_is_health() -> None:
    assert judge(HTTP, [asked(60, Probe(passed=True))]).verdict is Verdict.HEALTHY


def test_a_deadline_of_the_caller_overrides_the_configured_one() -> None:
    assert judge(HTTP, [asked(5, Probe(passed=False))], deadline=5).code == "deadline_passed"


def test_without_a_check_the_deadline_leaves_room_for_the_steady_time() -> None:
    impatient = HealthCheck(type=HealthType.NONE, deadline=1.0)
    assert judge(impatient, [seen(0), seen(5), seen(10)]).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("own", "verdict", "code"),
    [
        (OwnHealth.HEALTHY, Verdict.HEALTHY, ""),
        (OwnHealth.STARTING, Verdict.WAIT, ""),
        (OwnHealth.UNHEALTHY, Verdict.UNHEALTHY, "image_unhealthy"),
        (OwnHealth.NONE, Verdict.UNHEALTHY, "image_has_no_healthcheck"),
    ],
)
def test_the_image_s_own_health_check_is_believed(own: OwnHealth, verdict: Verdict, code: str) -> None:
    decision = judge(HealthCheck(type=HealthType.DOCKER), [seen(1, dataclasses.replace(RUNNING, own_health=own))])
    assert (decision.verdict, decision.code) == (verdict, code)


def test_an_instance_that_was_never_started_is_not_healthy() -> None:
    created = Process(state=ProcessState.NOT_STARTED)
    assert judge(STEADY, [seen(0, created), seen(60, created)]).code == "deadline_passed"
