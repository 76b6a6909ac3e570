"""What must hold after an error that killed nobody: on the server that met it, and on the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from tests.faults.crash_checks import check_kept, check_running
from tests.faults.crash_scenarios import RunningWorkload

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import DesiredState, RestartPolicy
from holdfast.runtime.port import ContainerState
from holdfast.testing.fake_records import FakeContainer
from holdfast.testing.fault_injection import Delay, Fault
from holdfast.testing.installation import ended, restore, succeeded, undone

_ON_NEW = frozenset({"restored", "restored_stopped", "restored_unhealthy", "restored_deploy_failed"})
_ON_OLD = frozenset({"reverted", "reverted_unhealthy"})
UNDECIDED = frozenset({"restore_undecided", "commit_uncertain", "abort_uncertain"})
"""Codes that say that a person, or the next start, has to decide."""
_TO_BE_STARTED = frozenset({"restore_abort_incomplete", "restore_reverted_unhealthy"})
"""Codes that tell a person to start the workload."""
_DOWN = _TO_BE_STARTED | {"restore_deploy_failed", "restore_undecided", "restore_left_stopped"}
"""Codes that say that the workload is not running, or may not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """How a server took an error.

    Attributes:
        refused: what was answered to the request; ``None``: it was accepted.
        operation: how the operation ended, if there was one.
        sides: of each volume.
        undecided: whether a person, or the next start, has to decide; then everybody is kept off the workload.
    """

    fault: Fault | Delay
    refused: HoldfastError | None
    operation: Operation | None
    sides: tuple[str, ...]
    undecided: bool

    @property
    def told(self) -> str:
        """The code that a person gets to see; empty if it went well."""
        if self.refused is not None:
            return self.refused.code
        return str((self.operation.error or {}).get("code", "")) if self.operation else ""


def check_told(met: Met) -> None:
    """It ended, in a way that is told with a code and a next step, and what is told is where the data is."""
    assert set(met.sides) <= {"old", "new"}, met.sides
    if met.refused is not None:
        assert met.refused.code != "internal_error"
        assert met.refused.next_step
        # Who was not told whether it was written down is refused; the next start says that it was interrupted.
        assert met.operation is None or (met.fault.after and met.operation.state is OperationState.QUEUED)
    else:
        assert met.operation is not None, "neither refused nor begun"
        assert met.operation.state.ended, f"it is still {met.operation.state}"
    result = str(met.operation.outcome.get("result", "")) if met.operation else ""
    if met.operation is not None and met.operation.state is OperationState.SUCCEEDED:
        assert result in ("restored", "restored_stopped")
    elif met.operation is not None and met.refused is None:
        error = met.operation.error or {}
        assert error["code"] != "internal_error", "nobody foresaw this"
        assert error["next_step"], error
    if met.undecided:
        return
    side = "new" if result in _ON_NEW else "old"
    assert result in _ON_NEW | _ON_OLD | {""}, result
    assert set(met.sides) == {side}, f"told {met.told or 'success'} ({result}), but the volumes are {met.sides}"


async def check_serves_on(holdfast: Holdfast, scenario: RunningWorkload, met: Met) -> Met:
    """The server goes on: what it told is what is there, and what it says to do next works.

    Returns:
        How things are once that was done.
    """
    workload = await holdfast.api.workloads.get(scenario.workload.id)
    containers = scenario.containers(scenario.fake(holdfast))
    if met.undecided:
        assert len(set(met.sides)) == 1 or not any(c.alive for c in containers), "something runs on mixed volumes"
        with pytest.raises(HoldfastError) as kept_off:
            await ended(holdfast, await restore(holdfast, workload, scenario.snapshot_id))
        assert kept_off.value.code in ("restore_undecided", "restore_in_flight")
    if met.told not in _DOWN and not met.undecided:
        check_running(_without_leftover(containers, met), scenario.workloads, scenario.desired)
    if met.told == "restore_deploy_failed" and not scenario.survives:
        # Deployed again it would end again, on data that it does not run on: the other way that is told.
        scenario.operations.add((await undone(holdfast, workload)).id)
        await holdfast.reaper.idle()
        met = replace(met, sides=scenario.sides())
        assert set(met.sides) == {"old"}
        check_running(scenario.containers(scenario.fake(holdfast)), scenario.workloads, scenario.desired)
    elif met.told == "restore_deploy_failed":
        deployed = await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        scenario.operations.add(deployed.id)
        check_running(scenario.containers(scenario.fake(holdfast)), scenario.workloads, scenario.desired)
    if met.told in _TO_BE_STARTED and scenario.desired is DesiredState.RUNNING:
        started = await succeeded(holdfast, await holdfast.api.deployer.start(workload.id, actor="test"))
        scenario.operations.add(started.id)
        containers = scenario.containers(scenario.fake(holdfast))
        check_running(_without_leftover(containers, met), scenario.workloads, scenario.desired)
    if met.operation is not None and "kept_trees" in met.operation.outcome:
        released = await check_kept(holdfast, scenario.place, scenario.workload, met.operation, scenario.new)
        scenario.operations.add(released)
    return met


async def check_healed(holdfast: Holdfast, scenario: RunningWorkload, met: Met) -> None:
    """A server that is started where nothing fails any more has all in order, and its volumes as they were told."""
    if met.undecided and met.operation is not None:
        scenario.operations.discard(met.operation.id)  # it had not come to its end; this server goes on with it
    operation = await scenario.settle(holdfast)
    sides = scenario.sides()
    assert len(set(sides)) == 1, sides
    if not met.undecided:
        assert sides == met.sides, f"{met.sides} became {sides} by a restart"
    assert await holdfast.api.restores.undecided(scenario.workload.id) is None
    if met.told not in _DOWN or met.undecided:
        containers = scenario.containers(scenario.fake(holdfast))
        check_running(_without_leftover(containers, met), scenario.workloads, scenario.desired)
    if operation is not None and met.undecided and "kept_trees" in operation.outcome:
        await check_kept(holdfast, scenario.place, scenario.workload, operation, scenario.new)
    assert scenario.place.leftovers() == []


def _without_leftover(containers: Sequence[FakeContainer], met: Met) -> list[FakeContainer]:
    """The containers, but for those of which the operation's log says that they are still there, stopped for good."""
    log = met.operation.log if met.operation else ()
    if not any(line.message.startswith("not tidied up yet") for line in log):
        return list(containers)
    return [c for c in containers if (c.state, c.restart) != (ContainerState.EXITED, RestartPolicy.NO)]


async def check_restorable(holdfast: Holdfast, scenario: RunningWorkload) -> None:
    """Of a sample: the same restore goes well now."""
    again = await ended(holdfast, await restore(holdfast, scenario.workload, scenario.snapshot_id))
    assert again.outcome.get("result") in _ON_NEW | _ON_OLD, again.error
    await holdfast.reaper.idle()
