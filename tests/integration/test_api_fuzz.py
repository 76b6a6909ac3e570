"""Whatever a client sends, the API answers as its own description says, and never with a failure of its own.

A real server with real files; its engine is the fake one, so that what is sent may do its worst. Requests are generated
from the OpenAPI document, sensible and absurd ones, with the same seed each time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from holdfast.api.app import create_app
from holdfast.api.openapi import document
from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import Operation
from holdfast.testing.installation import deployed, ended, installation, snapshotted

SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS: list[Any] = [cast("Any", result).ok() for result in SCHEMA.get_all_operations()]
CHECKS = (
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.CHECKS.get_one("status_code_conformance"),
    schemathesis.checks.CHECKS.get_one("content_type_conformance"),
    schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
)
DELETING_LAST = sorted(OPERATIONS, key=lambda operation: (operation.method == "delete", -len(operation.path)))
"""So that the others find what they are about."""
OPEN = {"/healthz", "/readyz"}


def can_be_generated(operation: Any, mode: GenerationMode) -> bool:
    """Whether there are such requests: what takes nothing can't be asked wrongly."""
    parameters = (operation.path_parameters, operation.query, operation.headers, operation.body)
    return mode is GenerationMode.POSITIVE or any(len(list(each)) for each in parameters)


@dataclass(slots=True)
class Target:
    """A server in a thread, with a workload that has a snapshot."""

    directory: Path
    url: str = ""
    token: str = ""
    known: dict[str, str] = field(default_factory=dict)
    _ready: threading.Event = field(default_factory=threading.Event)
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _unforeseen: list[Operation] = field(default_factory=list)

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="server")
        self._thread.start()
        assert self._ready.wait(30)
        assert self.url, "the server did not start"

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(60)
        assert self._unforeseen == [], "what was started ended in defects"

    async def _run(self) -> None:
        try:
            async with installation(self.directory).running() as holdfast:
                workload = await deployed(holdfast)
                snapshot = await snapshotted(holdfast, workload)
                operations = await holdfast.operations.list(1)
                self.known = {"workload": "notes", "snapshot": snapshot, "operation": operations.items[0].id}
                self.token = holdfast.settings.admin_token_file.read_text().strip()
                config = uvicorn.Config(create_app(holdfast.api), port=0, lifespan="off", log_config=None)
                self._server = uvicorn.Server(config)
                serving = asyncio.create_task(self._server.serve())
                while not self._server.started:
                    await asyncio.wait([serving], timeout=0.01)
                port = self._server.servers[0].sockets[0].getsockname()[1]
                self.url = f"http://127.0.0.1:{port}"
                self._ready.set()
                await serving
                self._unforeseen = await unforeseen(holdfast)
        finally:
            self._ready.set()


async def unforeseen(holdfast: Holdfast) -> list[Operation]:
    """The operations that failed for a reason that Holdfast did not foresee, once all have ended."""
    found, cursor = [], None
    while True:
        page = await holdfast.operations.list(100, cursor)
        ends = [await ended(holdfast, operation) for operation in page.items]
        found += [end for end in ends if (end.error or {}).get("code") == "internal_error"]
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(tmp_path_factory.mktemp("fuzzed"))
    target.start()
    yield target
    target.stop()


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(each, mode) for each in DELETING_LAST for mode in GenerationMode if can_be_generated(each, mode)],
    ids=lambda value: value.value if isinstance(value, GenerationMode) else f"{value.method} {value.path}",
)
def test_whatever_is_sent_gets_a_documented_answer(target: Target, operation: Any, mode: GenerationMode) -> None:
    @seed(20_26)
    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), known=st.booleans())
    def send(case: Any, known: bool) -> None:
        if known:
            case.path_parameters.update({name: target.known[name] for name in case.path_parameters})
            case.headers["X-Confirm-Restore"] = target.known["snapshot"]
        if (case.query or {}).get("follow"):
            case.query["follow"] = False  # a stream without end, by design
        answer = case.call(base_url=target.url, headers={"Authorization": f"Bearer {target.token}"}, timeout=20)
        case.validate_response(answer, checks=CHECKS)

    send()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_nothing_but_health_answers_without_a_token(target: Target, operation: Any) -> None:
    path = operation.path
    for name, value in target.known.items():
        path = path.replace(f"{{{name}}}", value)
    answer = httpx.request(operation.method, target.url + path, trust_env=False)
    if operation.path in OPEN:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "token_missing"
