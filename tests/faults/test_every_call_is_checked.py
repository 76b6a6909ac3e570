"""That the enumeration can fail: with one protection taken away at a time, it reports what that protection is for."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.crash_scenarios import RunningWorkload
from tests.faults.enumeration_bench import Choice, Enumeration, Run, quick_directory

from holdfast.config import Settings
from holdfast.domain.errors import HoldfastError
from holdfast.domain.restore import RecordType, TreeSide, VolumeFacts
from holdfast.domain.restore_records import CommitRecord, Record
from holdfast.domain.workload import RestartPolicy
from holdfast.engine.journal import Journal
from holdfast.engine.wrapper_place import STAGED, opened_parent, opened_wrapper
from holdfast.services.apart import apart
from holdfast.services.restore_files import RestoreFiles
from holdfast.testing import one_at_a_time
from holdfast.testing.fault_injection import Calls, Fault, InjectedFs, InjectedRuntime
from holdfast.testing.installation import Installation


@pytest.fixture
def enumeration(tmp_path: Path) -> Iterator[Enumeration]:
    """Of a restore of two volumes."""
    with quick_directory(tmp_path) as directory:
        yield Enumeration.of(RunningWorkload, directory)


def around(point: str, until: str) -> Choice:
    """The calls between two points."""
    return lambda _number, passed: point in passed and until not in passed


def with_files(make: Callable[[type[RestoreFiles]], type[RestoreFiles]]) -> Callable[[Installation], Installation]:
    """An installation whose restores' file operations are others."""

    def dressed(place: Installation) -> Installation:
        assert isinstance(place.seams.files, type)
        return replace(place, seams=replace(place.seams, files=make(place.seams.files)))

    return dressed


def test_an_exchange_before_commit_is_written_is_reported(enumeration: Enumeration) -> None:
    def late(files: type[RestoreFiles]) -> type[RestoreFiles]:
        class CommitsLate(files):  # type: ignore[misc, valid-type] # a class of the test's
            async def append(self, to: Journal, record: Record) -> None:
                if record.type is not RecordType.COMMIT:
                    await super().append(to, record)

            async def exchange_all(self, volumes: Sequence[VolumeFacts], to: TreeSide, **options: object) -> None:
                await super().exchange_all(volumes, to, **options)
                await super().append(journals[-1], CommitRecord())

            async def begin(self, facts: object) -> Journal:
                journals.append(await super().begin(facts))
                return journals[-1]

        return CommitsLate

    journals: list[Journal] = []
    enumeration.dress = with_files(late)
    with pytest.raises(AssertionError, match="exchanged before COMMIT was durable"):
        enumeration.stop_everywhere(around("after journal SAFE #1", "after journal SWAPPED #1"))


def failed(enumeration: Enumeration, name: str, about: str) -> None:
    """Have the first call of this name and about this fail."""
    run = Run(enumeration.prepared, enumeration.scenario.act)
    trace = enumeration.trace(run)
    number = next(n for n, call in enumerate(trace) if (call.name, call.about) == (name, about))
    enumeration.meet(run, number, Fault(errno.EIO), trace)


def test_a_failure_handler_that_reports_success_is_reported(enumeration: Enumeration) -> None:
    def careless(files: type[RestoreFiles]) -> type[RestoreFiles]:
        class Careless(files):  # type: ignore[misc, valid-type] # a class of the test's
            async def exchange_all(self, volumes: Sequence[VolumeFacts], to: TreeSide, **options: object) -> None:
                with suppress(HoldfastError):
                    await super().exchange_all(volumes, to, **options)

        return Careless

    failed(enumeration, "exchange", "media staged")
    enumeration.dress = with_files(careless)
    with pytest.raises(AssertionError, match=r"but the volumes are \('new', 'old'\)"):
        failed(enumeration, "exchange", "media staged")


def test_a_restart_policy_that_is_left_armed_is_reported(enumeration: Enumeration) -> None:
    class Armed(InjectedRuntime):
        async def set_restart_policy(self, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
            if policy is not RestartPolicy.NO:
                await super().set_restart_policy(container_id, policy, max_retries)

    def dressed(place: Installation) -> Installation:
        def runtime(_settings: Settings) -> Armed:
            assert isinstance(place.seams.fs, InjectedFs)
            state = place.directory / "engine.json"
            return Armed(place.seams.fs.calls, state_file=state, root_dir=str(place.directory))

        return replace(place, runtime=runtime)

    enumeration.dress = dressed
    with pytest.raises(AssertionError, match="would run after a power cut although the journal says forward"):
        enumeration.stop_everywhere(around("after journal COMMIT #1", "after journal SWAPPED #1"))


def test_a_recovery_that_does_not_compare_identities_is_reported(enumeration: Enumeration) -> None:
    def blind(files: type[RestoreFiles]) -> type[RestoreFiles]:
        class Blind(files):  # type: ignore[misc, valid-type] # a class of the test's
            async def exchange_all(self, volumes: Sequence[VolumeFacts], to: TreeSide, **_options: object) -> None:
                for facts in volumes:
                    with (
                        opened_parent(self.fs, self.roots, facts) as place,
                        opened_wrapper(self.fs, place.fd, facts) as wrapper,
                    ):
                        self.fs.exchange(place.fd, place.name, wrapper, STAGED)

        return Blind

    enumeration.dress = with_files(blind)
    with pytest.raises(AssertionError):
        enumeration.stop_everywhere(around("after exchange data #1", "after exchange media #1"))


def test_a_call_that_changes_something_and_says_that_it_looks_is_reported(
    enumeration: Enumeration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.testing.fault_injection.LOOKING", frozenset({"mkdirat"}))
    with pytest.raises(AssertionError, match=r"fs mkdirat .* changed what is on disk"):
        enumeration.look_around_every_call()


def test_calls_that_are_others_in_another_run_are_reported(enumeration: Enumeration) -> None:
    run = Run(enumeration.prepared, enumeration.scenario.act)
    trace = enumeration.trace(run)
    with pytest.raises(AssertionError, match="not the same in every run"):
        enumeration.meet(run, 900, Fault(errno.EIO), [*trace[:500], trace[0], *trace[500:]])


def test_whether_the_time_of_a_trial_is_over_is_told_by_the_clock_of_the_run_however_long_the_runs_take(
    enumeration: Enumeration,
) -> None:
    state = enumeration.stop_at(["after journal TRIAL #1"])
    run = Run(state.at, enumeration.scenario.rest, state.reached, from_start=True)
    trace = enumeration.trace(run)
    enumeration.clock.pass_by(3600)
    assert enumeration.trace(run) == trace
    enumeration.times[state.at] += 3600
    assert enumeration.trace(run) != trace


def test_what_is_done_in_a_thread_of_its_own_is_done_before_any_time_passes() -> None:
    def work() -> bool:
        return threading.Event().wait(0.05)

    assert one_at_a_time.run(apart(work, name="work", patience=1.0, late=lambda _more: None)) is False


def test_all_methods_of_the_file_system_are_calls_or_are_made_of_calls() -> None:
    fs = InjectedFs(calls := Calls())
    calls.armed = True
    fs.close(fs.open_root("/"))
    assert [str(call) for call in calls.made] == ["fs open_root /", "fs close"]
