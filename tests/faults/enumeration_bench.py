"""Servers that stop dead, or meet an error, at each of all the calls that they make.

Every run begins on a copy of the same installation, with nothing beside anything else, so that it makes the same calls
in the same order. Where a server can stop dead is where a call changes something: one run makes a copy of all that is
on disk before each such call, and a server is started on each copy later. An error has a run of its own for each call.

Calls that only look are alike when they come from the same place in the code, in the same part of the restore, and the
way there through the services is one that others of them come by: what an error in them leads to is written in the same
lines, for another volume or another entry.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType

from tests.faults.crash_bench import Act
from tests.faults.crash_scenarios import RunningWorkload
from tests.faults.enumeration_checks import UNDECIDED, Met, check_healed, check_restorable, check_serves_on, check_told

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import HoldfastError
from holdfast.testing import one_at_a_time
from holdfast.testing.crash import StillClock
from holdfast.testing.disk_copies import DiskCopies
from holdfast.testing.fault_injection import ERRORS, Call, Calls, Delay, Fault, Part, injected
from holdfast.testing.installation import Installation

_ROOM = 1 << 30
"""Bytes that have to be free in memory, for running there."""

THOROUGH_EVERY = 20
"""After which of the errors the server is restarted and restores once more, although nothing was left to mend."""

TURNS = ("after journal COMMIT #1", "after journal TRIAL #1", "after journal CONFIRMED #1")
"""Points from which on an error leads to something else."""

Choice = Callable[[int, Sequence[str]], bool]
"""Which calls of a run are meant: by their number, and by what the journal had been told before them."""

Faults = Callable[[int, Call], Iterable[Fault | Delay]]
"""The ways in which a call, by its number, is to fail, or to be slow."""


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


@dataclass(frozen=True, slots=True)
class Run:
    """What is done again and again.

    Attributes:
        begins: a copy of what it begins with.
        reached: what was reached before.
        from_start: whether the calls of the server's start count, too.
    """

    begins: Path
    act: Act
    reached: tuple[str, ...] = ()
    from_start: bool = False


@dataclass(kw_only=True)
class Enumeration:
    """Enumerates the calls of a scenario.

    Attributes:
        place: where the servers run: always the same path, since it is in journals and in the database.
        on: the installation there.
        clock: that of the servers and of the engine there; it is as late as it was when the copy was made with which
            they begin.
        times: of copies: how late it was.
        known: the operations that had ended before it all begins.
        dress: what is done to each installation before a server is started on it; for taking protections away.
    """

    scenario: RunningWorkload
    place: Path
    on: Installation
    clock: StillClock
    times: dict[Path, float] = field(default_factory=dict)
    copies: DiskCopies = field(default_factory=DiskCopies)
    known: frozenset[str] = frozenset()
    dress: Callable[[Installation], Installation] = lambda place: place
    names: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, scenario: type[RunningWorkload], directory: Path) -> Enumeration:
        """The enumeration of a scenario, ready for its first run."""
        place = directory / "place"
        place.mkdir()
        told, clock = scenario.at(place), StillClock()
        on = replace(told.place, seams=replace(told.place.seams, clock=clock))
        bench = cls(scenario=told, place=place, on=on, clock=clock)

        async def begin(holdfast: Holdfast) -> None:
            await told.begin(holdfast)
            await told.wear(holdfast, "old")
            await told.settle(holdfast)

        bench.serve(Calls(), begin)
        bench.known = frozenset(told.operations)
        bench.keep(bench.prepared)
        return bench

    @property
    def prepared(self) -> Path:
        """What every run begins with."""
        return self.place.parent / "prepared"

    def keep(self, at: Path) -> None:
        """Keep a copy of what is there now."""
        self.copies.copy(self.place, at)
        self.times[at] = self.clock.monotonic()

    def begin_with(self, state: Path) -> None:
        """Put a copy of a state in place."""
        shutil.rmtree(self.place)
        self.copies.copy(state, self.place)
        self.clock.set_to(self.times[state])
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

    def trace(self, run: Run) -> list[Call]:
        """The calls of a run in which nothing fails."""
        calls = Calls()
        self.begin_with(run.begins)
        self.serve(calls, run.act, from_start=run.from_start)
        return calls.made

    # --- stopping dead -------------------------------------------------------------------------------------------

    def stop_everywhere(self, chosen: Choice) -> int:
        """Have servers stop dead before each of the chosen calls, and where all is done; and others recover.

        Returns:
            How often that was.
        """
        return self._stop_at_each(Run(self.prepared, self.scenario.act), chosen)

    def stop_recovery_everywhere(self, reached: Sequence[str]) -> int:
        """Have a server stop dead as soon as it had come to all of this, and each recovery from that once more.

        Returns:
            How many recoveries were stopped.
        """
        state = self.stop_at(reached)
        return self._stop_at_each(Run(state.at, self.scenario.rest, state.reached, from_start=True), everywhere)

    def stop_at(self, reached: Sequence[str]) -> State:
        """What is left by a server that stops dead as soon as it has come to all of this."""

        def there(_number: int, passed: Sequence[str]) -> bool:
            return set(reached) <= set(passed)

        return self._stops(Run(self.prepared, self.scenario.act), there, first=True)[1][0]

    def _stop_at_each(self, run: Run, chosen: Choice) -> int:
        trace = self.trace(run)
        calls, states = self._stops(run, chosen)
        assert calls.made == trace, "the calls are not the same in every run"
        places = [*(number for number, call in enumerate(trace) if call.changes), len(trace)]
        assert len(states) == sum(chosen(number, calls.passed_before(number)) for number in places)
        for state in states:
            self.recover(state)
        return len(states)

    def _stops(self, run: Run, chosen: Choice, *, first: bool = False) -> tuple[Calls, list[State]]:
        """What is left by servers that stop dead before each chosen call that changes something, and where all is done.

        Args:
            first: only what is left at the first of them.
        """
        states: list[State] = []
        at = self.place.parent / f"states-{next(self.names)}"
        at.mkdir()

        def keep(name: str, before: str) -> None:
            self.keep(at / name)
            states.append(State(at / name, before, (*run.reached, *calls.passed)))

        def stop(number: int, call: Call) -> None:
            if call.changes and chosen(number, calls.passed) and not (first and states):
                keep(f"{number}", f"call {number}, {call}")

        async def to_the_end(holdfast: Holdfast) -> None:
            await run.act(holdfast)
            if chosen(len(calls.made), calls.passed) and not (first and states):
                keep("end", "anything else")

        calls = Calls(before=stop)
        self.begin_with(run.begins)
        self.serve(calls, to_the_end, from_start=run.from_start)
        return calls, states

    def look_around_every_call(self) -> int:
        """See that what is said of calls to only look is so: after each of them all is on disk as it was before.

        Returns:
            How many only looked.
        """
        seen: list[tuple[bool, Call, object]] = []

        def look(_number: int, call: Call) -> None:
            now = fingerprint(self.place)
            if seen and not seen[-1][0]:
                assert now == seen[-1][2], f"{seen[-1][1]} changed what is on disk"
            seen.append((call.changes, call, now))

        self.begin_with(self.prepared)
        self.serve(Calls(before=look), self.scenario.act)
        return sum(not changes for changes, _, _ in seen)

    def recover(self, state: State) -> None:
        """Start a server on what was left, and see that all is as it must be. The copy is used up."""
        self.copies.move(state.at, self.place)
        self.clock.set_to(self.times.pop(state.at))
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

    def fail_everywhere(self, chosen: Choice, faults: Faults, *, alike: bool = True) -> int:
        """Have each chosen call of a run of its own fail, in each of these ways. Returns how many errors that were.

        Args:
            alike: whether of calls that only look, and are alike, all are chosen from, or only the first.
        """
        return self._fail_at_each(Run(self.prepared, self.scenario.act), chosen, faults, alike)

    def fail_recovery_everywhere(
        self, reached: Sequence[str], chosen: Choice, faults: Faults, *, alike: bool = True
    ) -> int:
        """The same of the calls of a recovery, from what is left by a server that stopped dead (:meth:`stop_at`)."""
        state = self.stop_at(reached)
        run = Run(state.at, self.scenario.rest, state.reached, from_start=True)
        return self._fail_at_each(run, chosen, faults, alike)

    def _fail_at_each(self, run: Run, chosen: Choice, faults: Faults, alike: bool) -> int:
        trace = self.trace(run)
        among = range(len(trace)) if alike else self._first_of_those_alike(run, trace)
        met = 0
        for turn, number in enumerate(among):
            if chosen(turn, ()):
                for fault in faults(number, trace[number]):
                    self.meet(run, number, fault, trace)
                    met += 1
        assert met == sum(len(tuple(faults(n, trace[n]))) for turn, n in enumerate(among) if chosen(turn, ()))
        return met

    def _first_of_those_alike(self, run: Run, trace: Sequence[Call]) -> list[int]:
        """The numbers of all calls that change something, and of the first of those that look and are alike.

        Of the latter each place in the code is one, in each part of the restore; and each way there.
        """
        chosen: list[int] = []
        seen: set[object] = set()

        def look(number: int, call: Call) -> None:
            way = where()
            direction = tuple(point for point in TURNS if point in calls.passed)
            services = tuple(place for place in way if "/services/" in place[0].co_filename)
            kinds = {number} if call.changes else {(direction, call.name, way[:1]), (call.part, services)}
            if not kinds <= seen:
                chosen.append(number)
                seen.update(kinds)

        calls = Calls(before=look)
        self.begin_with(run.begins)
        self.serve(calls, run.act, from_start=run.from_start)
        assert calls.made == trace, "the calls are not the same in every run"
        return chosen

    def meet(
        self, run: Run, number: int, fault: Fault | Delay, trace: Sequence[Call], *, thorough: bool = False
    ) -> Met | None:
        """Have one call of a run fail or take its time, and check all that must hold then.

        Args:
            thorough: see at any rate that another server restores once more.

        Returns:
            How the server took it; ``None`` if it did not even start.
        """
        calls = (
            Calls(before=self._slow(number, fault)) if isinstance(fault, Delay) else Calls(fail_at=number, fault=fault)
        )
        self.begin_with(run.begins)
        found: list[Met] = []

        async def act(holdfast: Holdfast) -> None:
            met = await self._acted(holdfast, run, calls, fault)
            found.append(met)
            check_told(met)
            found[0] = await check_serves_on(holdfast, self.scenario, met)

        try:
            with suppress(HoldfastError) if run.from_start else nullcontext():  # a server that says why it can't start
                self.serve(calls, act, from_start=run.from_start)
            assert calls.made[: number + 1] == trace[: number + 1], "the calls are not the same in every run"
            if not found:
                let_go_of_journals()
            self._heal(run, calls, found[0] if found else None, thorough=thorough or number % THOROUGH_EVERY == 0)
        except AssertionError as error:
            error.add_note(f"{fault} at call {number}, {trace[number]}; {found and found[0]}; {calls.passed[-3:]}")
            raise
        return found[0] if found else None

    def _slow(self, number: int, delay: Delay) -> Callable[[int, Call], None]:
        def wait(at: int, _call: Call) -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, one_at_a_time.OneAtATime)
            if at == number:
                loop.pass_by(delay.seconds)
                self.clock.pass_by(delay.seconds)

        return wait

    def _heal(self, run: Run, calls: Calls, met: Met | None, *, thorough: bool) -> None:
        """Look at what was left, and have another server go on with it, if there is anything for it to do.

        Args:
            met: ``None`` if the server that met the error didn't even start.
        """
        crash = self.scenario.look((*run.reached, *calls.passed))

        async def healed(holdfast: Holdfast) -> None:
            if met is None:
                await self.scenario.recovered(holdfast, crash)
            else:
                await check_healed(holdfast, self.scenario, met)
            if thorough:
                await check_restorable(holdfast, self.scenario)

        if thorough or met is None or met.undecided or self.scenario.place.leftovers():
            self.serve(Calls(), healed)

    async def _acted(self, holdfast: Holdfast, run: Run, calls: Calls, fault: Fault | Delay) -> Met:
        refused = None
        try:
            await run.act(holdfast)
        except HoldfastError as error:
            refused = None if run.from_start else error  # who only looks on is refused a look
        calls.armed = False
        operation = await self.scenario.settle(holdfast)
        undecided = await holdfast.api.restores.undecided(self.scenario.workload.id)
        sides = self.scenario.sides()
        met = Met(fault=fault, refused=refused, operation=operation, sides=sides, undecided=undecided is not None)
        assert run.from_start or met.undecided is (met.told in UNDECIDED), f"{undecided}, but told {met.told}"
        return met


def where() -> tuple[tuple[CodeType, int], ...]:
    """The place in Holdfast's code that is being carried out, and the way there: each function, and how far it is."""
    frame: FrameType | None = sys._getframe(1)
    found: list[tuple[CodeType, int]] = []
    while frame is not None:
        if "/src/holdfast/" in frame.f_code.co_filename and "/testing/" not in frame.f_code.co_filename:
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


def let_go_of_journals() -> None:
    """A server that can't start ends, and with its process all that it has open; here it was one in this process."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if ".journal" in os.readlink(f"/proc/self/fd/{name}"):
                os.close(int(name))


def fingerprint(directory: Path) -> list[tuple[object, ...]]:
    """What can be told from all that is in a directory. Without the index of the repository, which may be lost."""
    found: list[tuple[object, ...]] = []
    for at, folders, files in os.walk(directory):
        if at.endswith("/cache"):
            folders.clear()
            continue
        for name in (*folders, *files):
            if not name.endswith(("-shm", "-wal")):
                facts = os.lstat(os.path.join(at, name))
                found.append((at, name, facts.st_ino, facts.st_size, facts.st_mode, facts.st_ctime_ns))
    return sorted(found, key=lambda each: each[:2])


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


def an_hour(_number: int, _call: Call) -> Iterator[Delay]:
    """Longer than anything waits for anything."""
    yield Delay(3600.0)


def all_of_them(number: int, call: Call) -> Iterator[Fault]:
    """Every error for each call."""
    for turn in range(len(ERRORS)):
        yield from one_each(number + turn, call)


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
