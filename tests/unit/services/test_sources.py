"""Sources: a plugin from outside of the package is deployed through, and none, however broken, does harm."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import itertools
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.deploy_bench import STATEFUL, Bench, opened

from holdfast import __version__
from holdfast.domain.errors import Conflict, HoldfastError, Refused
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import SourceWish, Workload, WorkloadSpec
from holdfast.services.apart import apart
from holdfast.services.sources import Sources
from holdfast.sources import GROUP, Context
from holdfast.testing.plugins import install, provide

PROJECT = Path(__file__).resolve().parents[2] / "plugins" / "holdfast-channel"
WISH = SourceWish(type="odd", settings=(("a", "b"),))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path, where distributions are installed."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    before = set(sys.modules)
    yield directory
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(directory) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
async def bench(tmp_path: Path, site: Path) -> AsyncIterator[Bench]:
    install(PROJECT, site)
    async with opened(tmp_path) as bench:
        yield bench


class Odd:
    """A source that does what the test wants; made by the entry point of the distribution ``holdfast-odd``."""

    checks: Any = ()
    answers: Any = "notes:2"
    raises: BaseException | None = None
    hangs: threading.Event | None = None
    seen: Context | None = None
    asked: threading.Event

    def check(self, settings: Mapping[str, str]) -> Iterable[str]:
        assert settings == {"a": "b"}
        found: Iterable[str] = self.checks
        return found

    def resolve(self, settings: Mapping[str, str], context: Context) -> str:
        assert settings == {"a": "b"}
        type(self).seen = context
        self.asked.set()
        if self.hangs is not None:
            self.hangs.wait(60)
        if self.raises is not None:
            raise self.raises
        answer: str = type(self).answers(context) if callable(type(self).answers) else self.answers
        return answer


@pytest.fixture
def odd(site: Path) -> Iterator[type[Odd]]:
    class Fresh(Odd):
        asked = threading.Event()

    (site / "holdfast_odd.py").write_text("")
    provide(site, "holdfast-odd", "2.0", {GROUP: {"odd": "holdfast_odd:Made"}})
    importlib.import_module("holdfast_odd").__dict__["Made"] = Fresh
    yield Fresh
    if Fresh.hangs is not None:
        Fresh.hangs.set()


async def channelled(bench: Bench, tmp_path: Path) -> tuple[Workload, Path]:
    """A workload that runs what a file says, by the plugin outside of the package."""
    for image in ("notes:1", "notes:2"):
        bench.runtime.add_image(image)
    file = tmp_path / "channel"
    file.write_text("notes:1\n")
    wish = SourceWish(type="channel", settings=(("file", str(file)),))
    workload = await bench.add(dataclasses.replace(STATEFUL, image="", plugin=wish))
    operation = await bench.deploy(workload)
    assert operation.state is OperationState.SUCCEEDED, operation.error
    return workload, file


def by_odd(spec: WorkloadSpec) -> WorkloadSpec:
    return dataclasses.replace(spec, image="", plugin=WISH)


async def failed_with(bench: Bench, code: str) -> Operation:
    """What runs by name is to be run by the odd source; that fails, and nothing changes."""
    workload = await bench.deployed()
    before = await bench.running(workload)
    await bench.workloads.update_spec(workload.id, by_odd(workload.spec), "ann")
    operation = await bench.deploy(workload)
    assert operation.error is not None
    assert operation.error["code"] == code, operation.error
    assert await bench.running(workload) == before
    assert (await bench.newest(workload)).spec.image == "notes:1"
    return operation


async def test_a_plugin_of_another_distribution_says_what_is_deployed(bench: Bench, tmp_path: Path) -> None:
    workload, file = await channelled(bench, tmp_path)
    first = await bench.newest(workload)
    assert (first.spec.image, first.image_id) == ("notes:1", (await bench.running(workload))[0].image_id)
    file.write_text("notes:2")
    operation = await bench.deploy(workload)
    assert operation.outcome["result"] == "deployed"
    assert any("says that notes runs notes:2" in line.message for line in operation.log)
    assert (await bench.newest(workload)).spec.image == "notes:2"
    assert (await bench.reload(workload)).spec == workload.spec, "what is declared names no image"
    assert (await bench.deploy(workload)).outcome["result"] == "already_there"


async def test_what_a_plugin_deployed_is_rolled_back_without_asking_it(bench: Bench, tmp_path: Path) -> None:
    workload, file = await channelled(bench, tmp_path)
    first = await bench.newest(workload)
    file.write_text("notes:2")
    await bench.workloads.update_spec(workload.id, dataclasses.replace(workload.spec, env=(("MODE", "two"),)), "ann")
    await bench.deploy(workload)
    file.unlink()
    plan = await bench.rollbacks.plan(workload.id, None)
    assert (plan.rollback.to, [change.path for change in plan.rollback.changes]) == (first, ["env.MODE"])
    operation = await bench.ended(await bench.rollbacks.rollback(workload.id, first.id, actor="ann"))
    assert operation.state is OperationState.SUCCEEDED
    assert (await bench.running(workload))[0].image_id == first.image_id
    assert (await bench.reload(workload)).spec == workload.spec
    stopped = await bench.stop(workload)
    assert stopped.state is OperationState.SUCCEEDED
    assert (await bench.start(workload)).state is OperationState.SUCCEEDED
    refusal = await bench.deploy(workload)
    assert refusal.error is not None
    assert (refusal.error["code"], refusal.error["next_step"]) == ("source_refused", "Write the file.")
    assert (await bench.running(workload))[0].image_id == first.image_id


async def test_a_plugin_is_not_even_asked_while_a_restore_holds_the_workload(bench: Bench, odd: type[Odd]) -> None:
    bench.runtime.add_image("notes:2")
    workload = await bench.deployed()
    await bench.workloads.update_spec(workload.id, by_odd(workload.spec), "ann")
    async with bench.locks.hold([workload.id], "restore r1"):
        asked = await bench.deployer.deploy(workload.id, actor="ann")
        async for seen in bench.operations.events(asked.id):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore r1"
                break
        assert not odd.asked.is_set()
    assert (await bench.ended(asked)).state is OperationState.SUCCEEDED
    assert odd.seen is not None
    assert (odd.seen.workload, odd.seen.project, odd.seen.engine) == ("notes", "home", "unix:///engine.sock")
    assert odd.seen.cancelled(), "nobody waits any more"


async def test_nonsense_is_no_image(bench: Bench, odd: type[Odd]) -> None:
    odd.answers = None
    await failed_with(bench, "source_answer_invalid")
    for answer in (7, b"notes:2", "", "NOTES", "notes:2\n", "sha256:1", ["notes:2"], "x" * 5000, "\ud800"):
        odd.answers = answer
        with pytest.raises(HoldfastError) as caught:
            await bench.within(lambda ctx: bench.sources.resolve(by_odd(STATEFUL), ctx))
        assert caught.value.code == "source_answer_invalid", answer


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


async def test_a_source_that_raises_is_told(bench: Bench, odd: type[Odd]) -> None:
    odd.raises = RuntimeError("no\nroute")
    operation = await failed_with(bench, "source_failed")
    assert operation.error is not None
    assert "RuntimeError: no route" in str(operation.error["message"])
    for error, said in (
        (StopIteration("x"), "StopIteration: x"),
        (SystemExit(3), "SystemExit: 3"),
        (TimeoutError("slow"), "TimeoutError: slow"),
        (Refused.__new__(Refused), "Refused"),
        (Unprintable(), "Unprintable"),
        (RuntimeError("\ud800" + "x" * 5000), "RuntimeError: ?xxx"),
    ):
        odd.raises = error
        with pytest.raises(HoldfastError) as caught:
            await bench.within(lambda ctx: bench.sources.resolve(by_odd(STATEFUL), ctx))
        assert caught.value.code == "source_failed"
        assert said in caught.value.message


async def test_a_source_that_hangs_can_be_cancelled_and_holds_nothing(bench: Bench, odd: type[Odd]) -> None:
    odd.hangs = threading.Event()
    workload = await bench.deployed()
    before = await bench.running(workload)
    await bench.workloads.update_spec(workload.id, by_odd(workload.spec), "ann")
    asked = await bench.deployer.deploy(workload.id, actor="ann")
    assert await asyncio.to_thread(odd.asked.wait, 20)
    await bench.operations.cancel(asked.id)
    assert (await bench.ended(asked)).state is OperationState.CANCELLED
    assert odd.seen is not None
    assert odd.seen.cancelled()
    odd.seen.log("too late")
    assert await bench.running(workload) == before
    assert (await bench.stop(workload)).state is OperationState.SUCCEEDED


async def test_a_source_that_hangs_is_given_up_and_at_last_not_asked_again(bench: Bench, odd: type[Odd]) -> None:
    odd.hangs = threading.Event()
    sources = Sources(bench.images, engine="", patience=0.01)
    codes = []
    for _ in range(5):
        with pytest.raises(HoldfastError) as caught:
            await bench.within(lambda ctx: sources.resolve(by_odd(STATEFUL), ctx))
        codes.append(caught.value.code)
    assert codes == ["source_timeout"] * 4 + ["source_stuck"]
    bench.runtime.add_image("notes:1")
    patient = Sources(bench.images, engine="", patience=60.0)
    assert (await bench.within(lambda ctx: patient.resolve(STATEFUL, ctx))).reference == "notes:1"
    odd.hangs.set()


async def test_one_that_ends_after_all_is_no_longer_counted() -> None:
    release, told = threading.Event(), asyncio.Event()
    counted = []

    def late(more: int) -> None:
        counted.append(more)
        if more < 0:
            told.set()

    with pytest.raises(TimeoutError):
        await apart(lambda: release.wait(60), name="slow", patience=0.01, late=late)
    assert counted == [1]
    release.set()
    async with asyncio.timeout(20):
        await told.wait()
    assert counted == [1, -1]


async def test_a_talkative_source_is_heard_within_bounds(bench: Bench, odd: type[Odd]) -> None:
    bench.runtime.add_image("notes:2")

    def talk(context: Context) -> str:
        for number in range(2000):
            context.log(f"line {number}\n" + "x" * 1000)
        return "notes:2"

    odd.answers = talk
    await bench.within(lambda ctx: bench.sources.resolve(by_odd(STATEFUL), ctx))
    assert bench.last is not None
    told = [line.message for line in bench.last.log if line.message.startswith(("line", "the source"))]
    assert told[0].startswith("line 0 x")
    assert told[-1] == "the source says more; it is left out"
    assert len(told) <= 500
    assert max(map(len, told)) <= 300


async def refusal(bench: Bench, wish: SourceWish) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        await bench.sources.check(wish)
    return caught.value


async def test_settings_are_judged_by_the_source_itself(bench: Bench, odd: type[Odd]) -> None:
    await bench.sources.check(SourceWish(type="channel", settings=(("file", "/srv/channel"),)))
    error = await refusal(bench, SourceWish(type="channel", settings=(("path", "/srv/channel"),)))
    assert isinstance(error, Refused)
    assert [problem.code for problem in error.problems] == ["source_settings_invalid"] * 2
    assert "path is not a setting of it" in error.problems[0].message
    for nonsense in (None, 7, "text", [7], b"x"):
        odd.checks = nonsense
        assert (await refusal(bench, WISH)).code == "source_answer_invalid"
    odd.checks = (f"problem {number}" for number in itertools.count())
    endless = await refusal(bench, WISH)
    assert isinstance(endless, Refused)
    assert len(endless.problems) == 20


async def test_a_source_that_is_not_there_is_told_with_those_that_are(bench: Bench) -> None:
    error = await refusal(bench, SourceWish(type="chanel"))
    assert (error.code, error.next_step) == ("source_unknown", "Did you mean channel?")
    assert "channel, image" in error.message
    assert (await refusal(bench, SourceWish(type="zzz"))).code == "source_unknown"


async def test_of_two_with_one_name_none_is_used_and_the_built_in_one_stays(bench: Bench, site: Path) -> None:
    provide(site, "channel-too", "3", {GROUP: {"channel": "nothing:Here", "image": "nothing:Here"}})
    error = await refusal(bench, SourceWish(type="channel", settings=(("file", "/a"),)))
    assert error.code == "source_ambiguous"
    assert "channel-too 3, holdfast-channel 1.0" in error.message
    assert (await bench.deployed()).spec.image == "notes:1"


@pytest.mark.parametrize(
    ("module", "value", "why"),
    [
        (None, "holdfast_gone:Made", "No module named"),
        ("raise SystemExit(1)", "holdfast_bad:Made", "SystemExit: 1"),
        ("Made = ", "holdfast_bad:Made", "SyntaxError"),
        ("", "holdfast_bad:Made", "has no attribute"),
        ("Made = 7", "holdfast_bad:Made", "not callable"),
        ("Made = object", "holdfast_bad:Made", "it has no method check"),
        ("Made = object", "!!!", "can't be loaded"),
    ],
)
async def test_one_that_can_not_be_loaded_says_why(
    bench: Bench, site: Path, module: str | None, value: str, why: str
) -> None:
    if module is not None:
        (site / "holdfast_bad.py").write_text(module)
    provide(site, "holdfast-bad", "1", {GROUP: {"bad": value}})
    error = await refusal(bench, SourceWish(type="bad"))
    assert error.code == "source_broken"
    assert "bad (holdfast-bad 1)" in error.message
    assert why in error.message


async def test_all_are_listed_with_what_is_wrong_with_them(bench: Bench, site: Path) -> None:
    provide(site, "holdfast-bad", "1", {GROUP: {"bad": "holdfast_gone:Made"}})
    provide(site, "channel-too", "3", {GROUP: {"channel": "nothing:Here", "image": "nothing:Here"}})
    broken = site / "unreadable-1.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"\xff\xfe[")
    found = await bench.sources.list()
    assert [(facts.name, facts.provided_by, facts.problem and facts.problem.code) for facts in found] == [
        ("bad", "holdfast-bad 1", "source_broken"),
        ("channel", "channel-too 3", "source_ambiguous"),
        ("channel", "holdfast-channel 1.0", "source_ambiguous"),
        ("image", f"holdfast {__version__}", None),
    ]


async def test_a_workload_with_a_source_takes_no_image_by_name(bench: Bench, tmp_path: Path) -> None:
    workload, _ = await channelled(bench, tmp_path)
    operation = await bench.deploy(workload, "notes:2")
    assert operation.error is not None
    assert operation.error["code"] == "source_names_image"
    assert (await bench.newest(workload)).spec.image == "notes:1"
    bench.runtime.add_remote_image("registry.example/notes:main")
    spec = dataclasses.replace(STATEFUL, name="staging", image="registry.example/notes:main", volumes=())
    staging = await bench.add(spec)
    assert (await bench.deploy(staging)).state is OperationState.SUCCEEDED
    with pytest.raises(Conflict) as caught:
        await bench.promotions.plan("staging", "notes")
    assert caught.value.code == "source_names_image"


def test_the_page_for_authors_shows_this_very_plugin() -> None:
    page = (PROJECT.parents[2] / "docs/reference/source-plugins.md").read_text(encoding="utf-8")
    for file in ("pyproject.toml", "holdfast_channel.py"):
        assert (PROJECT / file).read_text(encoding="utf-8") in page, f"the page's {file} is not the one that is tested"
