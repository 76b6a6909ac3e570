"""The health gate's decisions: is an instance healthy, not yet, or never going to be?

Pure: observations go in, a decision comes out. ``services/health_gate.py`` makes the observations.

Invariants:
- "Running" is not health. With no check configured an instance is healthy when it was *steady*: the same process,
  never restarted, for ``steady_seconds``.
- A check counts only when the same process ran before and after it; an answer of a process that is gone says nothing.
- A crash loop is never healthy: a process that ended and isn't restarted fails the gate at once, one that is restarted
  again and again fails it after ``restarts_allowed`` restarts.
- Every gate ends: at its deadline what is not healthy is unhealthy.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.workload import HealthCheck, HealthType

RESTARTS_ALLOWED: Final = 3
"""So many restarts during one gate are patience with a dependency that starts late; one more is a crash loop."""


class Verdict(StrEnum):
    WAIT = "wait"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class ProcessState(StrEnum):
    """What an instance's main process does."""

    NOT_STARTED = "not_started"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    ENDED = "ended"


class OwnHealth(StrEnum):
    """What the image's own health check says."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """An instance at one moment.

    Attributes:
        started_at: the engine's start time, compared for equality only.
        restarts_by_itself: whether the engine would start it again after it ended.
        exit_code: how it ended, while it is not running.
    """

    state: ProcessState
    started_at: str = ""
    restart_count: int = 0
    restarts_by_itself: bool = False
    exit_code: int | None = None
    out_of_memory: bool = False
    own_health: OwnHealth = OwnHealth.NONE

    def same_run(self, other: Process) -> bool:
        """Whether both are the same run of the process, running now as it was then."""
        return (
            self.state is ProcessState.RUNNING
            and other.state is ProcessState.RUNNING
            and self.started_at == other.started_at
            and self.restart_count == other.restart_count
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of one check made from outside. ``detail`` says in words what came back."""

    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at an instance.

    Attributes:
        elapsed: seconds since the gate began.
        before: the process before the check; for types without one, the process.
        probe: the check made in between, if one was made.
        after: the process after the check, if one was made.
    """

    elapsed: float
    before: Process
    probe: Probe | None = None
    after: Process | None = None

    @property
    def latest(self) -> Process:
        return self.after or self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from the observations so far.

    Attributes:
        code: stable name of the cause of ``UNHEALTHY``: ``exited``, ``crash_loop``, ``image_unhealthy``,
            ``image_has_no_healthcheck`` or ``deadline_passed``; empty otherwise.
        reason: the same in words, with the last thing seen.
    """

    verdict: Verdict
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The state machine. Immutable: :meth:`observe` returns the next state beside the decision.

    Attributes:
        deadline: seconds after which the gate ends; never shorter than ``steady_seconds`` for the type ``none``.
        steady_seconds: how long a process without a check must stand.
        first: the process when it was first seen.
        run: the run of the process that is being watched.
        run_since: ``elapsed`` when that run was first seen.
        starts: how often another start time was seen since the gate began.
        last: what the last look found, for the reason at the deadline.
    """

    check: HealthCheck
    deadline: float
    steady_seconds: float
    restarts_allowed: int = RESTARTS_ALLOWED
    first: Process | None = None
    run: Process | None = None
    run_since: float = 0.0
    starts: int = 0
    last: str = "it was not seen running"

    @staticmethod
    def begin(check: HealthCheck, *, steady_seconds: float, deadline: float | None = None) -> Gate:
        """A gate before its first observation.

        Args:
            deadline: seconds; ``None`` takes the check's own.
        """
        limit = check.deadline if deadline is None else deadline
        if check.type is HealthType.NONE and deadline is None:
            # A configured deadline belongs to a check; without one it must leave room for the steadiness asked for.
            limit = max(limit, 2 * steady_seconds)
        return Gate(check=check, deadline=limit, steady_seconds=steady_seconds)

    @property
    def probes(self) -> bool:
        """Whether the type needs a check made from outside."""
        return self.check.type in (HealthType.HTTP, HealthType.TCP, HealthType.COMMAND)

    def observe(self, seen: Observation) -> tuple[Gate, Decision]:
        """Take one observation in.

        Returns:
            The next state, and what follows. After ``HEALTHY`` or ``UNHEALTHY`` nothing more is to be observed.
        """
        gate = self._follow(seen.before, seen.elapsed)._follow(seen.latest, seen.elapsed)
        decision = gate._judge(seen)
        if decision.verdict is Verdict.WAIT:
            gate = dataclasses.replace(gate, last=decision.reason or gate.last)
            if seen.elapsed >= gate.deadline:
                decision = gate.expired()
        return gate, decision

    def expired(self) -> Decision:
        """The decision at the deadline."""
        return Decision(
            verdict=Verdict.UNHEALTHY,
            code="deadline_passed",
            reason=f"not healthy within {self.deadline:g} seconds: {self.last}",
        )

    def _follow(self, process: Process, elapsed: float) -> Gate:
        """Note a new run of the process."""
        if self.first is None or self.run is None:
            return dataclasses.replace(self, first=process, run=process, run_since=elapsed)
        if process.same_run(self.run):
            return self
        begun = self.run.state is not ProcessState.NOT_STARTED and process.started_at != self.run.started_at
        return dataclasses.replace(self, run=process, run_since=elapsed, starts=self.starts + int(begun))

    def _restarts(self, process: Process) -> int:
        """How many restarts there were since the gate began.

        The engine's count is exact, but starts at nought again when somebody restarts the container by hand; the
        start times seen tell those, but miss what happens between two looks.
        """
        before = self.first.restart_count if self.first else 0
        return max(process.restart_count - before, self.starts)

    def _judge(self, seen: Observation) -> Decision:
        process = seen.latest
        restarts = self._restarts(process)
        if restarts > self.restarts_allowed:
            return Decision(
                verdict=Verdict.UNHEALTHY,
                code="crash_loop",
                reason=f"it was restarted {restarts} times while it was watched{_ending(process)}",
            )
        if process.state is ProcessState.ENDED and not process.restarts_by_itself:
            return Decision(verdict=Verdict.UNHEALTHY, code="exited", reason=f"it ended{_ending(process)}")
        if process.state is not ProcessState.RUNNING:
            return _wait(f"it is {process.state.value.replace('_', ' ')}{_ending(process)}")
        if self.check.type is HealthType.NONE:
            return self._judge_steadiness(seen)
        if self.check.type is HealthType.DOCKER:
            return _judge_own_health(process)
        if seen.probe is None:
            return _wait("it has not been asked yet")
        if not seen.probe.passed:
            return _wait(seen.probe.detail)
        if not process.same_run(seen.before):
            return _wait("it restarted while it was being checked")
        return Decision(verdict=Verdict.HEALTHY, reason=seen.probe.detail)

    def _judge_steadiness(self, seen: Observation) -> Decision:
        steady = seen.elapsed - self.run_since
        if steady >= self.steady_seconds:
            return Decision(verdict=Verdict.HEALTHY, reason=f"it ran steadily for {steady:.0f} seconds")
        return _wait(f"it has run for {steady:.0f} of {self.steady_seconds:g} seconds without a restart")


def _judge_own_health(process: Process) -> Decision:
    match process.own_health:
        case OwnHealth.HEALTHY:
            return Decision(verdict=Verdict.HEALTHY, reason="the image's own health check passed")
        case OwnHealth.UNHEALTHY:
            return Decision(
                verdict=Verdict.UNHEALTHY, code="image_unhealthy", reason="the image's own health check failed"
            )
        case OwnHealth.NONE:
            return Decision(
                verdict=Verdict.UNHEALTHY,
                code="image_has_no_healthcheck",
                reason="the image brings no health check of its own",
            )
        case OwnHealth.STARTING:
            return _wait("the image's own health check has not passed yet")


def _wait(reason: str) -> Decision:
    return Decision(verdict=Verdict.WAIT, reason=reason)


def _ending(process: Process) -> str:
    if process.state is ProcessState.RUNNING or process.exit_code is None:
        return ""
    why = ", out of memory" if process.out_of_memory else ""
    return f" (exit code {process.exit_code}{why})"
