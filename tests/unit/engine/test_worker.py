from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import pytest

from holdfast.domain.errors import Conflict, Damaged, Failed, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.restore import RootRef
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.times import now
from holdfast.domain.workload import Scope
from holdfast.engine.requests import (
    AnyRequest,
    CaptureRequest,
    DiffRequest,
    ImportRequest,
    MeasureRequest,
    ReapRequest,
    RemoveTreeRequest,
    Request,
    StageRequest,
    VerifyRequest,
    WarmRequest,
    WorkerSettings,
)
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.worker import EXIT_ORPHANED
from holdfast.engine.worker_protocol import Cancel, FromWorker, Problematic, Report, Result, Run, Setup, line
from holdfast.testing.live_volumes import live_tree, live_volume, staged_tree
from holdfast.testing.stores import store_settings
from holdfast.testing.trees import build_sample_tree, describe_tree

R = TypeVar("R")
WORKLOAD = new_id()


class Client:
    """The server's side of the protocol, one message at a time."""

    def __init__(self, module: str, settings: WorkerSettings) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"LANG": "C.UTF-8"},
        )
        self._number = 0
        self.send(line(Setup(settings=settings)))
        self.hello = self.receive()

    def send(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def receive(self) -> FromWorker:
        assert self.process.stdout is not None
        answer: FromWorker = msgspec.json.decode(self.process.stdout.readline(), type=FromWorker)
        return answer

    def begin(self, request: Request[R]) -> int:
        self._number += 1
        self.send(line(Run(number=self._number, request=cast("AnyRequest", request))))
        return self._number

    def run(self, request: Request[R]) -> R:
        self.begin(request)
        while isinstance(answer := self.receive(), Report):
            pass
        if isinstance(answer, Problematic):
            raise answer.error()
        assert isinstance(answer, Result)
        return cast("R", msgspec.json.decode(answer.value, type=request.result))

    def hang_up(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def settings_for(tmp_path: Path) -> WorkerSettings:
    for name in ("volumes", "data"):
        (tmp_path / name).mkdir()
    return WorkerSettings(roots=(str(tmp_path / "volumes"),), stores=store_settings(tmp_path / "data"))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Client]:
    client = Client("holdfast.engine.worker", settings_for(tmp_path))
    yield client
    client.end()


@pytest.fixture
def puppet() -> Iterator[Client]:
    settings = WorkerSettings(roots=(), stores=store_settings(Path("/")))
    client = Client("holdfast.testing.worker_program", settings)
    yield client
    client.end()


def draft() -> SnapshotManifest:
    return SnapshotManifest(
        id=new_id(),
        workload_id=WORKLOAD,
        workload_name="notes",
        created_at=now(),
        reason=SnapshotReason.MANUAL,
        consistency=Consistency.STOPPED,
        volumes=(CapturedVolume(index=0, target="/data", scope=Scope.STAGE, source="data"),),
    )


def test_capture_verify_diff_stage_and_reap_work_through_the_worker(worker: Client, tmp_path: Path) -> None:
    facts = live_volume(tmp_path / "volumes")
    build_sample_tree(live_tree(facts))
    captured = describe_tree(live_tree(facts))
    sources = (CaptureSource(index=0, live=facts.live, expected=facts.live_identity),)

    assert not worker.run(WarmRequest(workload_id=WORKLOAD, sources=sources)).useful
    manifest = worker.run(CaptureRequest(draft=draft(), sources=sources))
    assert manifest.files > 3
    assert manifest.own
    assert worker.run(VerifyRequest(snapshot_id=manifest.id)) == ()
    assert worker.run(MeasureRequest(live=(facts.live, facts.live))) > 2048

    (live_tree(facts) / "which").write_text("changed since")
    found = worker.run(DiffRequest(snapshot_id=manifest.id, index=0, live=facts.live))
    assert (found.added, found.changed_paths, found.removed) == (0, ("which",), 0)

    staged = worker.run(StageRequest(snapshot_id=manifest.id, volumes=(facts,)))
    assert list(staged.identities) == [0]
    assert staged.written[0].files == manifest.files
    assert describe_tree(staged_tree(facts)) == captured

    worker.run(ReapRequest(volumes=(facts,)))
    worker.run(ReapRequest(volumes=(facts,)))
    assert not staged_tree(facts).parent.exists()
    assert (live_tree(facts) / "which").read_text() == "changed since"


def test_reaping_goes_on_past_a_wrapper_that_can_not_be_removed(worker: Client, tmp_path: Path) -> None:
    first, second = (live_volume(tmp_path / "volumes", f"notes/{n}", index=n) for n in (0, 1))
    manifest = worker.run(
        CaptureRequest(draft=draft(), sources=(CaptureSource(index=0, live=first.live),)),
    )
    worker.run(StageRequest(snapshot_id=manifest.id, volumes=(first,)))
    missing = live_volume(tmp_path / "volumes", "other/data", index=7)
    live_tree(missing).parent.rename(tmp_path / "volumes" / "moved")
    with pytest.raises(HoldfastError):
        worker.run(ReapRequest(volumes=(missing, first, second)))
    assert not staged_tree(first).parent.exists()


def test_a_directory_is_removed_with_all_that_is_in_it_and_nothing_beside_it(worker: Client, tmp_path: Path) -> None:
    facts, beside = (live_volume(tmp_path / "volumes", f"notes/{name}") for name in ("data", "other"))
    build_sample_tree(live_tree(facts))
    for _ in range(2):
        worker.run(RemoveTreeRequest(live=facts.live))
        assert not live_tree(facts).exists()
    assert (live_tree(beside) / "which").read_text() == "old"
    with pytest.raises(Refused):
        worker.run(RemoveTreeRequest(live=RootRef(root="/", relative="etc")))


def test_errors_of_the_engine_arrive_as_what_they_are(worker: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        worker.run(VerifyRequest(snapshot_id=new_id()))
    missing = RootRef(root=str(tmp_path / "volumes"), relative="none")
    with pytest.raises(Refused) as refused:
        worker.run(MeasureRequest(live=(missing,)))
    assert refused.value.problems[0].code == "volume_missing"
    upload = tmp_path / "data" / "upload"
    upload.write_bytes(b"no archive at all")
    with pytest.raises(HoldfastError):
        worker.run(
            ImportRequest(
                upload=str(upload),
                workload_id=WORKLOAD,
                workload_name="notes",
                snapshot_id=new_id(),
                allow_links=False,
                actor="ann",
            )
        )


def test_a_worker_goes_at_once_when_the_server_is_gone(puppet: Client) -> None:
    assert puppet.hang_up() == EXIT_ORPHANED


def test_a_worker_goes_at_once_when_the_server_is_gone_in_the_middle_of_a_job(puppet: Client) -> None:
    puppet.begin(VerifyRequest(snapshot_id="hang"))
    assert isinstance(puppet.receive(), Report)
    assert puppet.hang_up() == EXIT_ORPHANED


def test_a_worker_that_does_not_understand_the_server_goes(puppet: Client) -> None:
    puppet.send(b'{"type": "nonsense"}\n')
    assert puppet.process.wait(30) == EXIT_ORPHANED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_meant_for_the_server_do_not_end_a_worker(puppet: Client, number: signal.Signals) -> None:
    puppet.process.send_signal(number)
    assert puppet.run(VerifyRequest(snapshot_id="say:here")) == ("here",)


def test_a_cancel_is_for_its_own_request_only(puppet: Client) -> None:
    puppet.send(line(Cancel(number=1)))
    assert puppet.run(VerifyRequest(snapshot_id="say:one")) == ("one",)
    puppet.send(line(Cancel(number=1)))
    assert puppet.run(VerifyRequest(snapshot_id="say:two")) == ("two",)
    number = puppet.begin(VerifyRequest(snapshot_id="wait"))
    assert isinstance(puppet.receive(), Report)
    puppet.send(line(Cancel(number=number)))
    answer = puppet.receive()
    assert isinstance(answer, Problematic)
    assert answer.code == "cancelled"


def test_a_worker_loads_the_engine_and_the_domain_only() -> None:
    program = "import json, sys, holdfast.engine.worker; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    modules: list[str] = json.loads(done.stdout)
    heavy = {"fastapi", "starlette", "pydantic", "sqlalchemy", "alembic", "aiodocker", "aiohttp", "httpx", "asyncio"}
    assert heavy.isdisjoint(modules)
    ours = {name.split(".")[1] for name in modules if name.startswith("holdfast.")}
    assert ours == {"engine", "domain"}


@pytest.mark.parametrize(
    "error",
    [
        Failed("a", "A.", next_step="Do.", details={"paths": ["/x"], "n": 1}),
        Damaged("b", "B."),
        Refused([Problem(code="c", message="C.", next_step="Mend.", details={"k": "v"})]),
        Refused([Problem(code="c", message="C."), Problem(code="d", message="D.")], summary="Two of them."),
    ],
)
def test_an_error_survives_its_way_through_the_pipe(error: HoldfastError) -> None:
    sent: FromWorker = msgspec.json.decode(line(Problematic.of(error)), type=FromWorker)
    assert isinstance(sent, Problematic)
    again = sent.error()
    assert type(again) is type(error)
    assert (again.code, again.message, again.next_step) == (error.code, error.message, error.next_step)
    assert again.details == error.details
    assert str(again) == str(error)
    if isinstance(error, Refused):
        assert isinstance(again, Refused)
        assert again.problems == error.problems


def test_an_error_of_a_class_outside_of_the_tree_arrives_as_its_nearest_base() -> None:
    class VerySpecial(Conflict):
        pass

    again = Problematic.of(VerySpecial("x", "X.")).error()
    assert type(again) is Conflict
    assert again.code == "x"
