"""A server made of prepared answers, behind the command line's transport."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpx
import typer
from typer import testing
from typer.testing import CliRunner, Result

from holdfast.cli.main import create_cli
from holdfast.cli.session import Session

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]

OPERATION = "01jzzzzzzzzzzzzzzzzzzzzzz0"
SNAPSHOT = "01jzzzzzzzzzzzzzzzzzzzzzz1"
WORKLOAD = "01jzzzzzzzzzzzzzzzzzzzzzz2"
AT = "2026-11-23T09:00:00.000000Z"


_new_session: ContextVar[Callable[[], Session]] = ContextVar("new_session")


@cache
def _command_line() -> typer.Typer:
    """One for all tests: to put it together takes a tenth of a second."""
    return create_cli(lambda: _new_session.get()())


testing._get_command = cache(testing._get_command)  # type: ignore[attr-defined] # the runner would put it together for each run


def run_as(
    new_session: Callable[[], Session],
    *arguments: str,
    typed: str | None = None,
    process_env: Mapping[str, str] | None = None,
) -> Result:
    """Run the command line with sessions of this making."""
    _new_session.set(new_session)
    runner = CliRunner()
    return runner.invoke(_command_line(), list(arguments), input=typed, catch_exceptions=False, env=process_env)


class FakeServer:
    """Answers by method and path; several answers for one are given in turn, the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answers = self._answers.get((request.method, request.url.path))
        if answers is None:
            raise AssertionError(f"nothing prepared for {request.method} {request.url.path}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def sent(self, method: str, path: str) -> list[httpx.Request]:
        return [r for r in self.requests if r.method == method and r.url.path == path]

    def bodies(self, method: str, path: str) -> list[Any]:
        return [json.loads(request.content) for request in self.sent(method, path)]

    def run(
        self,
        *arguments: str,
        typed: str | None = None,
        interactive: bool = False,
        env: Mapping[str, str] | None = None,
        process_env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run the command line against this server; ``process_env`` is for what comes before there is a command."""

        def new_session() -> Session:
            variables = {"HOLDFAST_TOKEN": "hf_test", **(env or {})}
            return Session(variables, transport=httpx.MockTransport(self.handle), interactive=interactive)

        return run_as(new_session, *arguments, typed=typed, process_env=process_env)


def answer(document: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=document)


def refusal(
    status: int,
    code: str,
    *,
    details: Mapping[str, Any] | None = None,
    next_step: str = "Do this.",
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    error = {"code": code, "message": f"It is {code}.", "next_step": next_step, "details": dict(details or {})}
    return httpx.Response(status, json={"error": error}, headers=dict(headers or {}))


def safety(count: int = 0) -> dict[str, Any]:
    """As a workload's status tells of its safety snapshots; it has no schedule."""
    kept = {"count": count, "stored_bytes": 3 << 20, "oldest_id": SNAPSHOT, "oldest_at": AT}
    return {"safety_snapshots": kept, "schedule": None}


def operation(kind: str = "deploy", state: str = "running", **fields: Any) -> dict[str, Any]:
    return {
        "id": OPERATION,
        "kind": kind,
        "state": state,
        "workload_id": WORKLOAD,
        "actor": "admin",
        "created_at": AT,
        "started_at": AT,
        "finished_at": None,
        "steps": [],
        "progress": {"done_bytes": 0, "total_bytes": None, "done_files": 0, "total_files": None, "note": ""},
        "log": [],
        "waiting_for": "",
        "waiting": None,
        "cancellable": True,
        "outcome": {},
        "error": None,
    } | fields


def step(name: str) -> dict[str, Any]:
    return {"name": name, "started_at": AT, "finished_at": None}


def stream(*operations: dict[str, Any]) -> httpx.Response:
    return events("operation", *operations)


def events(name: str, *documents: dict[str, Any]) -> httpx.Response:
    told = (json.dumps(document, ensure_ascii=False) for document in documents)  # as the server writes them
    sent = "".join(f"event: {name}\ndata: {each}\nid: {n}\n\n: ping\n\n" for n, each in enumerate(told))
    return httpx.Response(200, content=sent.encode(), headers={"Content-Type": "text/event-stream"})


def workload(name: str = "notes") -> dict[str, Any]:
    return {
        "id": WORKLOAD,
        "name": name,
        "project": name,
        "stage": "production",
        "image": "notes:1",
        "desired": "running",
        "config_hash": "0" * 16,
        "revision": "1" * 16,
        "strategy": "recreate",
        "stop_grace_seconds": 30.0,
        "config": {"name": name, "volumes": [{"target": "/data", "scope": "stage", "source": "data"}]},
        "created_at": AT,
        "updated_at": AT,
        "configured_at": AT,
        "configured_by": "ann",
    }


def status_in_brief(name: str) -> dict[str, Any]:
    shown = workload(name)
    return {key: shown[key] for key in ("id", "name", "project", "stage", "image", "desired", "updated_at")} | {
        "condition": "running",
        "running": 1,
        "last_deployment": None,
        "deployed": None,
        "pending": False,
        "busy": None,
        "undecided": None,
        "engine_problem": None,
        "edge_problem": None,
    }


KILLED = {
    "container": "notes-1",
    "end": "killed",
    "exit_code": 137,
    "grace_seconds": 10.0,
    "brief": "killed after 10 s",
    "words": "notes-1 did not end within its grace of 10 s and was killed",
}
"""As a snapshot and an operation's outcome tell of a container that had to be killed."""


def snapshot(snapshot_id: str = SNAPSHOT, **fields: Any) -> dict[str, Any]:
    return {
        "id": snapshot_id,
        "workload_id": WORKLOAD,
        "workload_name": "notes",
        "created_at": AT,
        "reason": "manual",
        "consistency": "paused",
        "volumes": [
            {
                "index": 0,
                "target": "/data",
                "scope": "stage",
                "source": "data",
                "files": 3,
                "directories": 1,
                "links": 0,
                "bytes": 2048,
                "disk_bytes": 4096,
            }
        ],
        "bytes": 2048,
        "files": 3,
        "stored_bytes": 900,
        "image": "notes:1",
        "image_id": "sha256:0",
        "config_hash": "0" * 16,
        "stopped_cleanly": None,
        "unclean_stops": [],
        "duration_seconds": 0.5,
        "own": True,
        "note": "before the upgrade",
        "actor": "admin",
        "warnings": [],
        "pinned": False,
        "safety_for": None,
        "verified_at": None,
        "proved_at": None,
        "damaged": [],
    } | fields


def dry_run_plan() -> dict[str, Any]:
    return {
        "result": "dry_run",
        "snapshot_id": SNAPSHOT,
        "snapshot_taken_at": AT,
        "volumes": [
            {
                "target": "/data",
                "path": "/srv/notes/data",
                "restored_bytes": 2048,
                "restored_files": 3,
                "added": 1,
                "changed": 2,
                "removed": 0,
                "bytes_added": 10,
                "bytes_changed": 20,
                "bytes_removed": 0,
                "added_paths": ["new.txt"],
                "changed_paths": ["a.txt", "b.txt"],
                "removed_paths": [],
            }
        ],
        "live_bytes": 4096,
        "also_stopped": [],
        "stops": [{"workload": "notes", "grace_seconds": 10.0}],
        "runs_afterwards": "sha256:0123456789abcdef",
        "image": "notes:1",
        "on_unhealthy": "revert",
        "safety_snapshot": True,
        "last_downtime_seconds": 0.2,
        "warnings": [{"message": "the image carries no digest", "code": "", "values": None}],
    }
