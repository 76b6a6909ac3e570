"""Watching an operation: to its end, through lost connections, and away from it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import typer

from holdfast.cli.client import Client
from holdfast.cli.connection import Connection
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.output import Output
from holdfast.cli.watch import Watcher
from holdfast.domain.errors import Unavailable
from tests.unit.cli.fake_server import KILLED, OPERATION, FakeServer, answer, operation, refusal, step, stream

EVENTS = f"/api/operations/{OPERATION}/events"
DEPLOY = "/api/workloads/notes/deploy"


def client_of(server: FakeServer) -> Client:
    return Client(Connection(url="http://test", token="t"), httpx.MockTransport(server.handle))


def test_a_deploy_is_watched_to_its_end_in_plain_lines(server: FakeServer) -> None:
    server.on("POST", DEPLOY, answer(operation(), 202))
    server.on(
        "GET",
        EVENTS,
        stream(
            operation(steps=[step("pulling")]),
            operation(steps=[step("pulling"), step("starting")], log=[{"at": "", "message": "up", "level": "info"}]),
            operation(state="succeeded", steps=[step("pulling"), step("starting")]),
        ),
    )
    result = server.run("deploy", "notes", "--image", "notes:2")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == "notes is deployed.\n"
    assert result.stderr == "step: pulling\nstep: starting\n  up\n"
    assert server.bodies("POST", DEPLOY) == [{"image": "notes:2", "accept_volumes": False}]


def test_for_programs_the_operation_is_the_one_document(server: FakeServer) -> None:
    server.on("POST", DEPLOY, answer(operation(), 202))
    server.on("GET", EVENTS, stream(operation(state="succeeded")))
    result = server.run("deploy", "notes", "--json")
    assert json.loads(result.stdout)["state"] == "succeeded"


def test_detached_nothing_is_watched(server: FakeServer) -> None:
    server.on("POST", DEPLOY, answer(operation(), 202))
    result = server.run("deploy", "notes", "--detach")
    assert result.exit_code == ExitCode.OK
    assert OPERATION in result.stdout
    assert not server.sent("GET", EVENTS)


def test_a_failed_operation_tells_why_and_what_to_do(server: FakeServer) -> None:
    error = {"code": "image_pull_failed", "message": "No such image.", "next_step": "Check the name.", "details": {}}
    server.on("POST", DEPLOY, answer(operation(), 202))
    server.on("GET", EVENTS, stream(operation(state="failed", error=error)))
    result = server.run("deploy", "notes")
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr == "error: No such image.\nnext: Check the name.\n"


def test_what_had_to_be_killed_is_told_beside_the_end(server: FakeServer) -> None:
    server.on("POST", "/api/workloads/notes/deploy", answer(operation(), 202))
    server.on("GET", EVENTS, stream(operation(state="succeeded", outcome={"unclean_stops": [KILLED]})))
    result = server.run("deploy", "notes")
    assert "warning: notes-1 did not end within its grace of 10 s and was killed." in result.stderr
    assert "notes is deployed." in result.stdout


def test_what_an_operation_waits_for_is_told_once(server: FakeServer) -> None:
    server.on("POST", DEPLOY, answer(operation(), 202))
    waits = operation(waiting_for="waiting for restore 01j")
    server.on("GET", EVENTS, stream(waits, waits, operation(state="succeeded")))
    assert server.run("deploy", "notes").stderr == "waiting for restore 01j\n"


def test_a_cancelled_operation_is_told(server: FakeServer) -> None:
    server.on("POST", DEPLOY, answer(operation(), 202))
    server.on("GET", EVENTS, stream(operation(state="cancelled")))
    result = server.run("deploy", "notes")
    assert result.exit_code == ExitCode.FAILED
    assert "was cancelled" in result.stderr


def test_a_lost_connection_is_taken_up_again_and_told_once_it_takes_time(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[float] = []
    server.on(
        "GET",
        EVENTS,
        stream(operation(steps=[step("staging")])),
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
        stream(operation(state="succeeded")),
    )
    ended = Watcher(client_of(server), Output(interactive=False), pause=pauses.append).watch(operation())
    assert ended["state"] == "succeeded"
    assert pauses == [0.2, 1.0, 2.0]
    assert capsys.readouterr().err.count("Trying again") == 1


def test_a_server_that_stays_away_is_given_up_with_how_to_go_on(server: FakeServer) -> None:
    server.on("GET", EVENTS, httpx.ConnectError("refused"))
    with pytest.raises(Unavailable) as caught:
        Watcher(client_of(server), Output(interactive=False), pause=lambda _: None).watch(operation())
    assert f"holdfast operation watch {OPERATION}" in caught.value.next_step


def test_a_server_that_is_not_ready_yet_is_waited_for(server: FakeServer) -> None:
    server.on("GET", EVENTS, refusal(503, "draining"), stream(operation(state="succeeded")))
    watcher = Watcher(client_of(server), Output(interactive=False), pause=lambda _: None)
    assert watcher.watch(operation())["state"] == "succeeded"


class Interrupting:
    """Ctrl-C while the stream is read."""

    def __call__(self, _request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt


def test_ctrl_c_without_a_terminal_stops_watching_and_leaves_the_operation(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET", EVENTS, Interrupting())
    with pytest.raises(typer.Exit) as caught:
        Watcher(client_of(server), Output(interactive=False)).watch(operation())
    assert caught.value.exit_code == ExitCode.STOPPED
    assert "goes on" in capsys.readouterr().err
    assert not server.sent("POST", f"/api/operations/{OPERATION}/cancel")


def test_ctrl_c_on_a_terminal_asks_and_cancels_only_when_told_to(server: FakeServer) -> None:
    answers = iter(["", "c"])
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return next(answers)

    server.on("GET", EVENTS, Interrupting(), Interrupting(), stream(operation(state="cancelled")))
    server.on("POST", f"/api/operations/{OPERATION}/cancel", answer(operation(), 202))
    ended = Watcher(client_of(server), Output(interactive=True), ask=ask).watch(operation())
    assert ended["state"] == "cancelled"
    assert len(questions) == 2
    assert len(server.sent("POST", f"/api/operations/{OPERATION}/cancel")) == 1


def test_ctrl_c_on_a_terminal_can_stop_watching(server: FakeServer) -> None:
    server.on("GET", EVENTS, Interrupting())
    with pytest.raises(typer.Exit) as caught:
        Watcher(client_of(server), Output(interactive=True), ask=lambda _: "s").watch(operation())
    assert caught.value.exit_code == ExitCode.STOPPED


def test_a_cancel_that_comes_too_late_is_told_and_watching_goes_on(server: FakeServer) -> None:
    server.on("GET", EVENTS, Interrupting(), stream(operation(state="succeeded")))
    server.on("POST", f"/api/operations/{OPERATION}/cancel", refusal(409, "not_cancellable"))
    ended = Watcher(client_of(server), Output(interactive=True), ask=lambda _: "c").watch(operation())
    assert ended["state"] == "succeeded"


def test_a_terminal_sees_step_amount_and_log(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    progress: dict[str, Any] = {"done_bytes": 512, "total_bytes": 1024, "done_files": 1, "total_files": 2, "note": ""}
    log = [{"at": "", "message": "restored \x1b[2J file", "level": "info"}]
    states = [
        operation(steps=[step("staging")], progress=progress, log=log),
        operation(waiting_for="waiting for restore x"),
        operation(state="succeeded"),
    ]
    server.on("GET", EVENTS, stream(*states))
    ended = Watcher(client_of(server), Output(interactive=True)).watch(operation())
    shown = capsys.readouterr().err
    assert ended["state"] == "succeeded"
    assert "restored \\x1b[2J file" in shown


def test_watch_takes_up_an_operation_by_its_id(server: FakeServer) -> None:
    server.on("GET", f"/api/operations/{OPERATION}", answer(operation()))
    server.on("GET", EVENTS, stream(operation(state="succeeded")))
    result = server.run("operation", "watch", OPERATION)
    assert (result.exit_code, result.stdout) == (0, "The deploy succeeded.\n")
