"""One round: something is asked for, something is killed, everything comes back, and everything is looked at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.testing.docker_engine import EngineTrouble
from torture.findings import Findings
from torture.judge import Data, Side, violations
from torture.machine import Stuck, end_cut_off_starts, until
from torture.moments import Seen, Watch
from torture.plan import Action, Again, Round, Victim
from torture.trees import observing
from torture.world import WORKLOAD, World
from torture.writer import FIXED, IMAGES

RESTORED: Final = frozenset({"restored", "restored_stopped", "restored_unhealthy", "restored_deploy_failed"})
"""Results after which the restored data is live."""
_REVERTED: Final = frozenset({"reverted", "reverted_unhealthy"})


@dataclass(slots=True, kw_only=True)
class Result:
    """How a round went.

    Attributes:
        seen: how far things had got when the kill came.
        ended: how the operation ended, in a word or two.
        troubles: what is not as it must be.
    """

    round: Round
    seen: Seen | None = None
    ended: str = ""
    seconds: float = 0.0
    troubles: list[str] = field(default_factory=list)


def carry_out(world: World, plan: Round) -> Result:
    """Do a round, in a world that the first one opens. Raises nothing for what goes wrong: that is in the result."""
    result = Result(round=plan)
    began = time.monotonic()
    try:
        world.open()
        _RoundInWorld(world, plan, result).run()
    except (Stuck, EngineTrouble) as trouble:
        result.troubles.append(str(trouble))
    result.seconds = time.monotonic() - began
    return result


class _RoundInWorld:
    def __init__(self, world: World, plan: Round, result: Result) -> None:
        self._world = world
        self._machine = world.machine
        self._plan = plan
        self._result = result
        self._findings = Findings(world)

    def run(self) -> None:
        self._prepare()
        self._world.fixed.change()
        self._findings.begin()
        with observing(self._world.volumes) as observer:
            operation_id, target = self._ask()
            self._result.seen = Watch(self._machine, operation_id).wait(self._plan.moment, self._plan.victim)
            self._machine.kill(self._plan.victim)
            self._come_back()
            until(self._machine.ready, lambda: f"the server to be ready: {self._waits()}")
            self._findings.wait_for_operations()
            operation = self._machine.operation(operation_id)
            told = self._told(operation)
            in_parts = self._plan.action is Action.PATHS
            found = self._findings.look(observer, told=told, target=target, in_parts=in_parts)
        self._result.troubles += violations(found)
        self._findings.remember(found)

    def _prepare(self) -> None:
        """Have what the action needs: nobody in its way, something to undo, or something to prune."""
        end_cut_off_starts(self._world.volumes)
        match self._plan.action:
            case Action.UNDO if self._undo_target() is None:
                self._findings.begin()
                self._machine.succeeded(self._restore(self._world.good))
                self._findings.note_safety()
            case Action.PRUNE:
                self._findings.release_all_but(self._undo_target())
                for _ in range(3):
                    self._world.fixed.change()
                    self._world.snapshot()
            case _:
                pass

    def _ask(self) -> tuple[str, Data | None]:
        """Ask for the action. Returns the operation's id, and what a restore has to bring."""
        world, machine = self._world, self._machine
        match self._plan.action:
            case Action.DEPLOY:
                runs = machine.ask(f"{WORKLOAD}/status")["image"]
                other = IMAGES[1] if runs == IMAGES[0] else IMAGES[0]
                return machine.begin(f"{WORKLOAD}/deploy", {"image": other}), None
            case Action.CAPTURE:
                return machine.begin(f"{WORKLOAD}/snapshots", {"quiesce": self._plan.quiesce}), None
            case Action.RESTORE:
                return self._restore(world.good), world.kept[world.good]
            case Action.PATHS:
                return self._restore(world.good, paths=FIXED), world.kept[world.good]
            case Action.REVERT:
                return self._restore(world.poisoned), world.kept[world.poisoned]
            case Action.UNDO:
                target = str(self._undo_target())
                return machine.begin(f"{WORKLOAD}/undo", confirm=target), world.kept[target]
            case Action.PRUNE:
                return machine.begin("/api/repository/prune"), None

    def _restore(self, snapshot: str, *, paths: Sequence[str] = ()) -> str:
        path = f"{WORKLOAD}/snapshots/{snapshot}/restore"
        wanted = {"on_unhealthy": "revert"} | ({"paths": list(paths)} if paths else {})
        return self._machine.begin(path, wanted, confirm=snapshot)

    def _undo_target(self) -> str | None:
        target = self._machine.ask(f"{WORKLOAD}/undo")["snapshot"]
        return None if target is None else str(target["id"])

    def _come_back(self) -> None:
        """Have everything run again, killed once more on the way if the plan says so."""
        plan, machine = self._plan, self._machine
        time.sleep(plan.pause)
        if plan.again is not None:
            self._again(plan.again)
        machine.bring_up(engine_first=plan.engine_first)

    def _again(self, again: Again) -> None:
        """Begin to come back, and kill that."""
        machine = self._machine
        if self._plan.victim is Victim.ENGINE or (self._plan.victim is Victim.ALL and self._plan.engine_first):
            machine.start_engine()
        machine.start_server()
        time.sleep(again.seconds)
        machine.kill(again.victim)

    def _told(self, operation: dict[str, Any]) -> Side:
        """On which side the data is, as the operation tells, or the person's decision that it asked for."""
        error = operation["error"] or {}
        self._result.ended = str(operation["outcome"].get("result") or error.get("code") or operation["state"])
        pending = self._machine.ask(f"{WORKLOAD}/restore-decision")["pending"]
        if pending is not None:
            operation = self._decide(pending)
        result = operation["outcome"].get("result")
        if result in _REVERTED:
            self._machine.succeeded(self._machine.begin(f"{WORKLOAD}/restore-decision", {"choice": "release"}))
        return Side.RESTORED if result in RESTORED else Side.OLD

    def _decide(self, pending: dict[str, Any]) -> dict[str, Any]:
        """Take back what waits for a person's decision. Returns how that ended."""
        if pending["restore_id"] is None:
            raise Stuck(f"recovery can't go on by itself: {pending['why']}")
        operation = self._machine.ended(
            self._machine.begin(
                f"{WORKLOAD}/restore-decision", {"choice": "revert"}, confirm=str(pending["restore_id"])
            )
        )
        self._result.ended += f", decided: {operation['outcome'].get('result') or operation['error']}"
        return operation

    def _waits(self) -> str:
        return str(self._machine.http.get("/readyz").text)
