"""What the state machine has in its hands: servers, the world that must be there, and how the two are compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hypothesis import currently_in_test_context, note
from hypothesis.stateful import RuleBasedStateMachine
from tests.faults.stateful_model import ANY, VOLUMES, Instance, Kept, World
from tests.faults.stateful_servers import ACTOR, Act, Done, Seen, Servers

from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import Operation
from holdfast.domain.restore import RestoreResult
from holdfast.services.restore_registry import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The server is killed at a point of this number, and its successor at one while it recovers."""

    at: int
    again: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """The disk refuses the call of this number."""

    at: int


Fault: TypeAlias = Kill | Full | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way in which something may end: what it says of itself, and what is there then; ``None`` says anything."""

    result: str | None
    world: World


class ModelViolatedError(AssertionError):
    """What is there is not what must be there."""


class StatefulBench(RuleBasedStateMachine):
    """Servers beside the model of them.

    Attributes:
        world: what must be there.
        kept: the snapshots that must be there, by id.
        ids: the workloads' ids, by name.
        undo_stack: of each workload the safety snapshots of its restores that are in effect, the newest last, and
            whether each had moved the image as well.
    """

    count: Callable[[str, int], None] = staticmethod(lambda _name, _number: None)
    """Told the figures at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._closing = ExitStack()
        directory = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="stateful-")))
        self.servers = Servers(directory)
        self._closing.callback(self.servers.stop)
        self.world = World()
        self.kept: dict[str, Kept] = {}
        self.ids: dict[str, str] = {}
        self.undo_stack: dict[str, list[tuple[str, bool]]] = {name: [] for name in VOLUMES}
        self._steps = 0

    def teardown(self) -> None:
        """At the end every snapshot still holds what it held."""
        try:
            seen = self.servers.look()
            for id_, kept in self.kept.items():
                self._require(self.servers.content(seen.snapshots[id_]) == kept.trees, f"{id_} holds something else")
        finally:
            self.close()
            type(self).count("steps of the model", self._steps)
            type(self).count("kills within the model", self.servers.kills)
            type(self).count("calls refused for want of space within the model", self.servers.refused)

    def close(self) -> None:
        """Stop the server, and leave nothing."""
        self._closing.close()

    # --- doing ---------------------------------------------------------------------------------------------------

    def disturbed(self, act: Act, fault: Fault) -> tuple[Done, list[World]]:
        """Do something under a fault. Gives what came of it, and the worlds in which it may have begun."""
        match fault:
            case Kill(at=at, again=again):
                done, before = self.servers.do_and_kill(act, at, again), self.world.reconciled()
            case Full(at=at):
                done, before = self.servers.do_on_full_disk(act, at), self.world
            case _:
                done, before = self.servers.do(act), self.world
        if done.result == RestoreResult.NEEDS_DECISION:
            done = self.servers.decided(done)
        if currently_in_test_context():
            note(f"  {'cut off: ' if done.cut else ''}{done.result}")
        return done, before.resolved()

    @property
    def owners(self) -> dict[str, str]:
        """The names of the workloads that exist, by id."""
        return {self.ids[name]: name for name in self.world.workloads}

    def chosen(self, pick: int) -> str | None:
        """One of the snapshots of workloads that exist; ``None`` if there is none."""
        there = sorted(id_ for id_, kept in self.kept.items() if kept.owner in self.owners)
        return there[pick % len(there)] if there else None

    @property
    def unsure(self) -> bool:
        """Whether of any workload it is open what runs."""
        return any(state.unsure for state in self.world.workloads.values())

    # --- comparing -----------------------------------------------------------------------------------------------

    def settle(
        self,
        done: Done,
        ways: Sequence[Way],
        *,
        made: Kept | None = None,
        must: bool = False,
        gone: Collection[str] = (),
        all_gone: bool = False,
    ) -> None:
        """Find the one way that it went, or say that there is none.

        Args:
            made: a snapshot that may have been taken.
            must: it must have been.
            gone: snapshots that may have been deleted.
            all_gone: all of them must have been.
        """
        self._steps += 1
        self._release_kept_trees(done)
        told = [way.world for way in ways if way.result in (None, done.result)]
        told = [world.reconciled() for world in told] if done.restarted else told
        if done.cut and not done.restarted and self.servers.look().leftovers:
            self.servers.restart()  # what could not be tidied up is tried again by the next server, at the latest
            told = [world.reconciled() for world in told]
        seen = self.servers.look()
        self._require(bool(told), f"it ended as {done.result}; right were {sorted({str(w.result) for w in ways})}")
        fitting = [world for world in told if not differences(world, seen)]
        self._require(bool(fitting), f"after {done.result}: " + "; or ".join(differences(w, seen) for w in told[:3]))
        self.world = fitting[0].supposing_nothing()
        self._look_at_snapshots(seen, made=made, must=must, gone=gone, all_gone=all_gone)
        self._require(not seen.leftovers, f"left over: {seen.leftovers}")

    def _release_kept_trees(self, done: Done) -> None:
        """A restore that was taken back keeps the tree that failed until somebody lets it go."""
        if done.operation is None or not done.result.startswith("reverted"):
            return
        workload_id = str(done.operation.workload_id)

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.restores.decide(workload_id, Decision.RELEASE, confirm=None, actor=ACTOR)

        self.servers.do(act)

    def _look_at_snapshots(
        self, seen: Seen, *, made: Kept | None, must: bool, gone: Collection[str], all_gone: bool
    ) -> None:
        lost = self.kept.keys() - seen.snapshots.keys()
        self._require(lost <= set(gone), f"snapshots are gone: {lost - set(gone)}")
        self._require(not all_gone or lost == set(gone), f"not deleted: {set(gone) - lost}")
        for id_ in lost:
            del self.kept[id_]
        new = [seen.snapshots[id_] for id_ in seen.snapshots.keys() - self.kept.keys()]
        self._require(len(new) <= (made is not None), f"unexpected snapshots: {new}")
        self._require(bool(new) or not must, "no snapshot was taken")
        for snapshot in new:
            assert made is not None
            self._require(self.servers.content(snapshot) == made.trees, f"{snapshot.id} does not hold what was live")
            self._require(snapshot.manifest.workload_id == made.owner, f"{snapshot.id} belongs to somebody else")
            self.kept[snapshot.id] = made
        for id_, kept in self.kept.items():
            pinned = seen.snapshots[id_].pinned
            self._require(pinned is kept.pinned, f"{id_} is {'' if pinned else 'not '}pinned")

    @staticmethod
    def _require(holds: bool, what: str) -> None:
        if not holds:
            raise ModelViolatedError(what)


def differences(world: World, seen: Seen) -> str:
    """What is not as a world has it, in words; empty if all is."""
    found = []
    for where, tree in seen.trees.items():
        must = world.trees.get(where, frozenset())
        if tree != must:
            found.append(f"{where} holds {sorted(tree)} instead of {sorted(must)}")
    should = {name: state.wanted for name, state in world.workloads.items()}
    if should != seen.wanted:
        found.append(f"should run: {seen.wanted} instead of {should}")
    for name, running in seen.running.items():
        state = world.workloads.get(name)
        if state is None:
            if running or seen.policies[name]:
                found.append(f"{name} has containers though it does not exist")
        elif len(running) > 1:
            found.append(f"two of {name} run: {running}")
        elif not state.unsure:
            if not is_instance(running[0] if running else None, state.runs):
                found.append(f"of {name} runs {running} instead of {state.runs}")
            if not state.wanted and state.runs is None and "always" in seen.policies[name]:
                found.append(f"{name} is stopped, and the engine would start it")
    return ", ".join(found)


def is_instance(found: Instance | None, wanted: Instance | None) -> bool:
    """Whether what was found is what a world has, which may leave its policy open."""
    if found is None or wanted is None:
        return found is wanted
    return found.image == wanted.image and wanted.policy in (ANY, found.policy)
