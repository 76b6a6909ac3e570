"""Servers that stop dead, or meet an error, at each of all the calls that they make.

Every run begins on a copy of the same installation, with nothing beside anything else, so that it makes the same calls
in the same order. Where a server can stop dead is where a call changes something: one run makes a copy of all that is
on disk before each such call, and a server is started on each copy later. An error has a run of its own for each call.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.crash_bench import Act
from tests.faults.crash_scenarios import RunningWorkload
from tests.faults.enumeration_checks import Met, check_healed, check_restorable, check_serves_on, check_told

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import HoldfastError
from holdfast.testing import one_at_a_time
from holdfast.testing.disk_copies import DiskCopies
from holdfast.testing.fault_injection import ERRORS, Call, Calls, Fault, Part, injected
from holdfast.testing.installation import Installation

_ROOM = 1 << 30
"""Bytes that have to be free in memory, for running there."""

THOROUGH_EVERY = 20
"""After which of the errors the server is restarted and restores once more, although nothing was left to mend."""

Choice = Callable[[int, Sequence[str]], bool]
"""Which calls of a run are meant: by their number, and by what the journal had been told before them."""


@dataclass(frozen=True, slots=True)
class State:
    """What a server that stopped dead left.

    Attributes:
        at: a copy of it.
        before: what it did not come to.
        reached: what it, and those before it, had come to (:class:`tests.faults.crash_checks.Crash`).
    """

    at: Path
    before: str
    reached: tuple[str, ...]


@dataclass(kw_only=True)
class Enumeration:
    """Enumerates the calls of a scenario.

    Attributes:
        place: where the servers run: always the same path, since it is in journals and in the database.
        on: the installation there.
        known: the operations that had ended before it all begins.
        dress: what is done to each installation before a server is started on it; for taking protections away.
    """

    scenario: RunningWorkload
    place: Path
    on: Installation
    copies: DiskCopies = field(default_factory=DiskCopies)
    known: frozenset[str] = frozenset()
    dress: Callable[[Installation], Installation] = lambda place: place
    names: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, scenario: type[RunningWorkload], directory: Path) -> Enumeration:
        """The enumeration of a scenario, ready for its first run."""
        place = directory / "place"
        place.mkdir()
        told = scenario.at(place)
        bench = cls(scenario=told, place=place, on=told.place)

        async def begin(holdfast: Holdfast) -> None:
            await told.begin(holdfast)
            await told.wear(holdfast, "old")
            await told.settle(holdfast)

        bench.serve(Calls(), begin)
        bench.known = frozenset(told.operations)
        bench.copies.copy(place, bench.prepared)
        return bench

    @property
    def prepared(self) -> Path:
        """What every run begins with."""
        return self.place.parent / "prepared"

    def begin_with(self, state: Path) -> None:
        """Put a copy of a state in place."""
        shutil.rmtree(self.place)
        self.copies.copy(state, self.place)
        self.scenario.operations = set(self.known)

    def serve(self, calls: Calls, act: Act, *, from_start: bool = False) -> None:
        """Have a server do something, from its start to its orderly end.

        Args:
            from_start: whether the calls of the start count, too.
        """
        self.scenario.place = self.dress(injected(self.on, calls, self.copies.identities))

        async def run() -> None:
            calls.armed = from_start
            try:
                async with self.scenario.place.running() as holdfast:
                    calls.armed = True
                    await act(holdfast)
                    calls.armed = False
            finally:
                calls.armed = False

        one_at_a_time.run(run())

    def trace(self) -> list[Call]:
        """The calls of a run in which nothing fails."""
        calls = Calls()
        self.begin_with(self.prepared)
        self.serve(calls, self.scenario.act)
        return calls.made

    # --- stopping dead -------------------------------------------------------------------------------------------

    def stop_everywhere(self, chosen: Choice) -> int:
        """Have servers stop dead before each of the chosen calls, and where all is done; and others recover.

        Returns:
            How often that was.
        """
        trace = self.trace()
        states = self.stops(self.prepared, self.scenario.act, chosen, trace)
        for state in states:
            self.recover(state)
        return len(states)

    def stop_recovery_everywhere(self, reached: Sequence[str]) -> int:
        """Have a server stop dead as soon as it had come to all of this, and each recovery from that once more.

        Returns:
            How many recoveries were stopped.
        """
        state = self.stop_at(reached)
        calls = Calls()
        self.begin_with(state.at)
        self.serve(calls, self.scenario.rest, from_start=True)
        states = self.stops(state.at, self.scenario.rest, everywhere, calls.made, state.reached, from_start=True)
        for second in states:
            self.recover(second)
        return len(states)

    def stop_at(self, reached: Sequence[str]) -> State:
        """What is left by a server that stops dead as soon as it has come to all of this."""

        def there(_number: int, passed: Sequence[str]) -> bool:
            return set(reached) <= set(passed)

        return self.stops(self.prepared, self.scenario.act, there, (), first=True)[0]

    def stops(
        self,
        begins: Path,
        act: Act,
        chosen: Choice,
        trace: Sequence[Call],
        reached: Sequence[str] = (),
        *,
        from_start: bool = False,
        first: bool = False,
    ) -> list[State]:
        """What is left by servers that stop dead before each chosen call that changes something, and where all is done.

        Args:
            begins: what they begin with.
            trace: the calls of a run like this one; the number of places to stop at is told by it.
            reached: what was reached before.
            first: only what is left at the first of them.
        """
        states: list[State] = []
        at = self.place.parent / f"states-{next(self.names)}"
        at.mkdir()

        def keep(name: str, before: str) -> None:
            self.copies.copy(self.place, at / name)
            states.append(State(at / name, before, (*reached, *calls.passed)))

        def stop(number: int, call: Call) -> None:
            if call.changes and chosen(number, calls.passed) and not (first and states):
                keep(f"{number}", f"call {number}, {call}")

        async def to_the_end(holdfast: Holdfast) -> None:
            await act(holdfast)
            if not first and chosen(len(calls.made), calls.passed):
                keep("end", "anything else")

        calls = Calls(before=stop)
        self.begin_with(begins)
        self.serve(calls, to_the_end, from_start=from_start)
        if not first:
            assert calls.made == list(trace), "the calls are not the same in every run"
            assert len(states) == self.places(trace, chosen, calls)
        return states

    @staticmethod
    def places(trace: Sequence[Call], chosen: Choice, calls: Calls) -> int:
        """At how many places a server can stop dead, as a trace tells it."""
        numbers = [*(number for number, call in enumerate(trace) if call.changes), len(trace)]
        return sum(chosen(number, calls.passed_before(number)) for number in numbers)

    def recover(self, state: State) -> None:
        """Start a server on what was left, and see that all is as it must be. The copy is used up."""
        self.copies.move(state.at, self.place)
        self.scenario.operations = set(self.known)
        self.scenario.place = injected(self.on, Calls(), self.copies.identities)
        crash = self.scenario.look(state.reached)

        async def recovered(holdfast: Holdfast) -> None:
            await self.scenario.recovered(holdfast, crash)

        try:
            self.serve(Calls(), recovered)
        except AssertionError as error:
            error.add_note(f"stopped before {state.before}; {crash.direction}, {crash.sides}, {state.reached[-3:]}")
            raise

    # --- errors --------------------------------------------------------------------------------------------------

    def fail_everywhere(self, chosen: Choice, faults: Callable[[int, Call], Iterable[Fault]]) -> int:
        """Have each chosen call of a run of its own fail, in each of these ways. Returns how many errors that were."""
        trace = self.trace()
        met = 0
        for number, call in enumerate(trace):
            if chosen(number, ()):
                for fault in faults(number, call):
                    self.meet(number, fault, trace, thorough=number % THOROUGH_EVERY == 0)
                    met += 1
        assert met == sum(len(tuple(faults(n, call))) for n, call in enumerate(trace) if chosen(n, ()))
        return met

    def meet(self, number: int, fault: Fault, trace: Sequence[Call], *, thorough: bool) -> Met:
        """Have one call of a run fail, and check all that must hold then.

        Args:
            trace: the calls of a run in which nothing fails.
            thorough: restart the server, and restore once more, although nothing was left for the next one to do.
        """
        calls = Calls(fail_at=number, fault=fault)
        self.begin_with(self.prepared)
        found: list[Met] = []

        async def run(holdfast: Holdfast) -> None:
            met = await self._act(holdfast, calls, fault)
            assert calls.made[: number + 1] == list(trace[: number + 1]), "the calls are not the same in every run"
            found.append(met)
            check_told(met)
            await check_serves_on(holdfast, self.scenario, met)

        async def healed(holdfast: Holdfast) -> None:
            await check_healed(holdfast, self.scenario, found[0])
            if thorough:
                await check_restorable(holdfast, self.scenario)

        try:
            self.serve(calls, run)
            self.scenario.look(tuple(calls.passed))
            if thorough or found[0].undecided or self.scenario.place.leftovers():
                self.serve(Calls(), healed)
        except AssertionError as error:
            error.add_note(f"{fault} at call {number}, {trace[number]}; {found and found[0]}; {calls.passed[-3:]}")
            raise
        return found[0]

    async def _act(self, holdfast: Holdfast, calls: Calls, fault: Fault) -> Met:
        refused = None
        try:
            await self.scenario.act(holdfast)
        except HoldfastError as error:
            refused = error
        calls.armed = False
        operation = await self.scenario.settle(holdfast)
        return Met(fault=fault, refused=refused, operation=operation, sides=self.scenario.sides())


def everywhere(_number: int, _passed: Sequence[str]) -> bool:
    """All calls."""
    return True


def since(point: str) -> Choice:
    """All calls that are made once a point was passed."""
    return lambda _number, passed: point in passed


def part_of(choice: Choice, part: int, parts: int) -> Choice:
    """One part of the calls, so that all parts together are all of them."""
    return lambda number, passed: number % parts == part and choice(number, passed)


def one_each(number: int, call: Call) -> Iterator[Fault]:
    """One error for each call, all of them in turn; what has an answer to lose loses it once as well."""
    if call.name == "close":  # raises nothing
        return
    error = ERRORS[number % len(ERRORS)]
    yield Fault(error)
    if call.changes and call.part is not Part.FS:
        yield Fault(error, after=True)


def all_of_them(_number: int, call: Call) -> Iterator[Fault]:
    """Every error for each call."""
    for number in range(len(ERRORS)):
        yield from one_each(number, call)


@contextmanager
def quick_directory(otherwise: Path) -> Iterator[Path]:
    """A directory in memory, if there is room for it that keeps all that is needed; else on disk."""
    memory = Path("/dev/shm")
    room = os.statvfs(memory) if memory.is_dir() else None
    if room is None or room.f_bavail * room.f_frsize < _ROOM:
        yield otherwise
        return
    with TemporaryDirectory(prefix="holdfast-", dir=memory, ignore_cleanup_errors=True) as quick:
        try:
            os.setxattr(quick, "user.holdfast", b"kept")
        except OSError:
            yield otherwise
        else:
            yield Path(quick)
