"""Whatever a client sends, the API answers as its own description says, and never with a failure of its own.

A real server with real files; its engine is the fake one, so that what is sent may do its worst. Requests are generated
from the OpenAPI document, sensible and absurd ones, with the same seed each time.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
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
from holdfast.api.schemas.workload import json_schema
from holdfast.api.services import SessionsPort
from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.accounts import Role
from holdfast.domain.operation import Operation
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.domain.webhook import Binding, Provider
from holdfast.services.passwords import PasswordCost
from holdfast.services.previews import PreviewWish
from holdfast.testing.installation import deployed, ended, installation, snapshotted
from holdfast.testing.quick_workers import QuickWorkers
from tests.unit.api.test_access import NEEDED

pytestmark = pytest.mark.xdist_group("fuzz of the API")  # one server, and one set of strategies

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
"""As published; a test of its own compares that with what the server tells."""


@dataclass(frozen=True, slots=True)
class Described:
    """An operation as the document has it."""

    method: str
    path: str

    @property
    def raw(self) -> dict[str, Any]:
        return cast("dict[str, Any]", DOCUMENT["paths"][self.path][self.method])

    @property
    def label(self) -> str:
        return f"{self.method.upper()} {self.path}"


OPERATIONS = [Described(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
DELETING_LAST = sorted(OPERATIONS, key=lambda operation: (operation.method == "delete", -len(operation.path)))
"""So that the others find what they are about."""
OPEN = {"/healthz", "/readyz", "/api/setup"}
ENDLESS = "/api/events"
"""A stream without end, by design; that its parameters are checked is seen by odd ones."""
OF_SESSIONS = ("/api/session", "/api/password", "/api/tokens")
TOLD_TO_ANYBODY = {
    "role_insufficient",
    *("request_malformed", "query_unknown", "query_twice", "head_too_large", "body_too_large"),
}
"""Codes of answers to those who may not do what they ask for: of the request's form at most, never of what there is."""
PASSWORD = "correct horse battery"
EXAMPLES = 200 if os.environ.get("HOLDFAST_TORTURE") == "1" else 2
"""Of each operation, sensible and absurd ones each; odd values at every single place are sent besides, always all."""

HUGE = "1" + "0" * 400
ODD_VALUES = (
    *(HUGE, f"-{HUGE}", "1" + "0" * 5000, "18446744073709551616", "-1", "1e400", "1e-400", "-0.0", "0.1"),
    *("NaN", "-Infinity", "true", "null", "[]", "{}", '""', r'"\ud800"', r'"\u0000"', '"\u202e"', '"٣"'),
    *(f'"{"9" * 400}s"', '"4294967296"', f'"{"a" * 70_000}"', "[" * 300 + "]" * 300),
)
"""As they may stand in JSON."""
ODDEST_VALUES = (HUGE, "1e-400", '"4294967296"')
MARK = '"the odd one"'
ODD_TEXTS = (HUGE, "-1", "1e400", "NaN", "", "%00", "%ff", "%D9%A3", "9" * 4000, "9999-12-31T23:59:59-23:59")
"""As they may stand in an address."""
DECLARATION: dict[str, Any] = {
    "name": "odd",
    "project": "home",
    "stage": "production",
    "source": {"type": "image", "image": "notes:1", "settings": {}},
    "env": {"A": "b"},
    "secrets": [],
    "labels": {"a": "b"},
    "command": ["x"],
    "entrypoint": ["x"],
    "user": "1000",
    "stop_signal": "SIGINT",
    "stop_grace": 0,
    "ports": [8080],
    "domains": [],
    "networks": ["proxy"],
    "volumes": [
        {"target": "/data", "scope": "stage", "source": "data", "read_only": False},
        {"target": "/tmp", "scope": "ephemeral", "size": 8192},
        {"target": "/db", "scope": "named", "source": "db", "engine_volume": "home_db"},
    ],
    "health": {"type": "none", "port": None, "path": None, "command": None, "interval": 1, "timeout": 1, "deadline": 1},
    "restart": "no",
    "strategy": "recreate",
    "max_instances": 1,
    "resources": {"memory": 8388608, "cpus": 1},
    "hooks": {"pre_snapshot": ["x"], "post_snapshot": ["x"], "post_restore": ["x"], "timeout": 1},
    "snapshots": {
        "quiesce": "hooks",
        "before_deploy": True,
        "schedule": "0 3 * * *",
        "missed": "tell",
        "keep": {"last": 7, "hourly": 1, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1},
        "drill": {"schedule": "0 5 * * 0", "command": ["true"], "timeout": 60},
    },
    "time_zone": "Europe/Berlin",
    "revert_data": "never",
    "updates": {"schedule": "0 4 * * *", "tags": "1.*"},
    "previews": {
        "domain": "{preview}.example.org:80",
        "env": {"A": "b"},
        "seed": "latest",
        "expires": "1d",
        "max": 1,
        "last_snapshot": True,
    },
}


@cache
def generated() -> Any:
    """What makes the requests: it takes more than a second, and only who sends some needs it."""
    return schemathesis.openapi.from_dict(DOCUMENT)


def can_be_generated(operation: Described, mode: GenerationMode) -> bool:
    """Whether there are such requests: what takes nothing can't be asked wrongly."""
    return mode is GenerationMode.POSITIVE or any(
        operation.raw.get(key) for key in ("parameters", "requestBody", "security")
    )


@dataclass(slots=True)
class Target:
    """A server in a thread, with a workload that has a snapshot."""

    directory: Path
    url: str = ""
    token: str = ""
    lesser: dict[Role, str] = field(default_factory=dict)
    """Tokens of those who may do less."""
    known: dict[str, str] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None
    _sessions: SessionsPort | None = None
    _ready: threading.Event = field(default_factory=threading.Event)
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _unforeseen: list[Operation] = field(default_factory=list)

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="server")
        self._thread.start()
        assert self._ready.wait(30)
        assert self.url, "the server did not start"

    def caller(self, path: str) -> dict[str, str]:
        """Headers of somebody who may do everything. What is about sessions is for who has one, which may end by it."""
        if not path.startswith(OF_SESSIONS):
            return {"Authorization": f"Bearer {self.token}"}
        assert self._loop is not None
        assert self._sessions is not None
        signing_in = self._sessions.sign_in("ann", PASSWORD, address="192.0.2.1", agent="")
        secret, _, _ = asyncio.run_coroutine_threadsafe(signing_in, self._loop).result(30)
        return {"Cookie": f"holdfast={secret}", "X-Holdfast-Request": "1"}

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(60)
        assert self._unforeseen == [], "what was started ended in defects"

    async def _run(self) -> None:
        try:
            cost = PasswordCost(memory_kib=8, passes=1, lanes=1)
            place = replace(
                installation(self.directory), seams=Seams(workers=QuickWorkers, password_cost=cost, backup_cost=2)
            )
            async with place.running() as holdfast:
                self._loop, self._sessions = asyncio.get_running_loop(), holdfast.api.sessions
                ann = await holdfast.api.accounts.create("ann", PASSWORD, Role.ADMIN, actor="test")
                bob = await holdfast.api.accounts.create("bob", PASSWORD, Role.ADMIN, actor="test")
                self.token, _ = await holdfast.api.tokens.create(ann, "t", role=ann.role, lasts=None, actor="test")
                _, bobs = await holdfast.api.tokens.create(bob, "t", role=bob.role, lasts=None, actor="test")
                for role in (Role.VIEWER, Role.OPERATOR):
                    self.lesser[role], _ = await holdfast.api.tokens.create(
                        ann, role, role=role, lasts=None, actor="test"
                    )
                workload = await deployed(holdfast)
                snapshot = await snapshotted(holdfast, workload)
                operations = await holdfast.operations.list(1)
                copies = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(self.directory / "copies"))
                await holdfast.api.repositories.add("disk", copies, "", encrypt=True, take_over=False)
                wanted = Binding(id="", workload_id="", provider=Provider.GENERIC)
                binding, address = await holdfast.api.webhooks.create("notes", wanted, "", actor="test")
                hook = address.rpartition("/")[2]
                received = await holdfast.api.webhooks.receive(hook, {}, no_body)
                wish = PreviewWish(key="pr-1", actor="test")
                preview = await ended(holdfast, await holdfast.api.previews.begin("notes", wish))
                await holdfast.api.backups.set_passphrase(PASSWORD)
                backup = await ended(holdfast, await holdfast.api.backups.create(actor="test"))
                self.known = {
                    "backup": str(backup.outcome["backup_id"]),
                    "workload": "notes",
                    "snapshot": snapshot,
                    "operation": operations.items[0].id,
                    "repository": "disk",
                    "deployment": (await holdfast.api.deployer.deployments("notes", 1, None)).items[0].id,
                    "secret": "KEY",
                    "registry": "registry.example",
                    "channel": "people",
                    "webhook": binding.id,
                    "delivery": received[0].delivery.id,
                    "address": hook,
                    "preview": str(preview.workload_id),
                    "user": "bob",
                    "token": bobs.id,
                    "session": operations.items[0].id,
                }
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


async def no_body() -> bytes:
    return b""


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
    [
        (each, mode)
        for each in DELETING_LAST
        for mode in GenerationMode
        if can_be_generated(each, mode) and each.path != ENDLESS
    ],
    ids=lambda value: value.value if isinstance(value, GenerationMode) else f"{value.method} {value.path}",
)
def test_whatever_is_sent_gets_a_documented_answer(target: Target, operation: Described, mode: GenerationMode) -> None:
    @seed(20_26)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=generated()[operation.path][operation.method].as_strategy(mode),
        known=st.booleans(),
        lesser=st.sampled_from(list(target.lesser)),
    )
    def send(case: Any, known: bool, lesser: Role) -> None:
        if known:
            case.path_parameters.update({name: target.known[name] for name in case.path_parameters})
            case.headers["X-Confirm-Restore"] = target.known["snapshot"]
        if operation.label == "POST /api/repositories":
            keep_to(target.directory, case.body)
        if operation.label == "POST /api/notifications/channels":
            keep_to_this_host(case.body)
        if (case.query or {}).get("follow"):
            case.query["follow"] = False  # a stream without end, by design
        checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
        needed = NEEDED.get(operation.raw["operationId"])
        if needed is not None and not lesser.includes(needed):
            headers = {"Authorization": f"Bearer {target.lesser[lesser]}"}
            answer = case.call(base_url=target.url, headers=headers, timeout=20)
            case.validate_response(answer, checks=checks)
            assert answer.json()["error"]["code"] in TOLD_TO_ANYBODY, (lesser, answer.text)
        answer = case.call(base_url=target.url, headers=target.caller(operation.path), timeout=20)
        case.validate_response(answer, checks=checks)

    send()


def keep_to(directory: Path, body: Any) -> None:
    """A repository may be made where the request says; here that is nowhere but in the test's own directory."""
    if not isinstance(body, dict):
        return
    for place, key, safe in (("directory", "path", f"{directory}/more"), ("s3", "endpoint", "http://127.0.0.1:1")):
        if isinstance(body.get(place), dict) and isinstance(body[place].get(key, ""), str):
            body[place][key] = safe


def keep_to_this_host(body: Any) -> None:
    """A channel leads wherever the request says; here to nothing but a closed port, and to no service at all."""
    safe_places = (
        ("webhook", "url", "http://127.0.0.1:1/"),
        ("mail", "host", "127.0.0.1"),
        ("service", "url", "none"),
    )
    for place, key, safe in safe_places:
        inner = body.get(place) if isinstance(body, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get(key), str) and inner[key]:
            inner[key] = safe


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in a document."""
    yield at
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*at, key))


def replaced(value: Any, where: Callable[[tuple[Any, ...]], bool], at: tuple[Any, ...] = ()) -> str:
    """A document as JSON, with a mark in place of the values at the paths that ``where`` holds for."""
    if where(at):
        return MARK
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}: {replaced(item, where, (*at, key))}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(replaced(item, where, (*at, index)) for index, item in enumerate(value))}]"
    return json.dumps(value)


def with_odd_values(whole: Any) -> Iterator[str]:
    """A document as JSON, with an odd value in place of all of its values, and of each by itself.

    All problems of a document are found in one go, so that the first is as good as all odd values at each place; only
    what depends on other values being right needs them one by one.
    """
    leaves = {path for path in paths(whole) if not any(path == other[:-1] for other in paths(whole) if other)}
    everywhere = replaced(whole, leaves.__contains__)
    yield from (everywhere.replace(MARK, odd) for odd in ODD_VALUES)
    for path in paths(whole):
        yield from (replaced(whole, path.__eq__).replace(MARK, odd) for odd in ODDEST_VALUES)


def odd_bodies(operation: Described) -> Iterator[str]:
    """Bodies of an operation, each with one odd value."""
    content = operation.raw.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if "application/yaml" in content:  # all that take a declaration share its parser; this one goes on with it
        yield from with_odd_values(DECLARATION) if operation.label == "POST /api/workloads" else ()
    elif schema:
        names = [each["$ref"].rpartition("/")[2] for each in schema.get("anyOf", [schema]) if "$ref" in each]
        known = DOCUMENT["components"]["schemas"]
        yield from with_odd_values({key: None for name in names for key in known[name]["properties"]})


def odd_queries(operation: Described) -> Iterator[str]:
    """Query strings of an operation, each with one odd value."""
    for parameter in operation.raw.get("parameters", ()):
        if parameter["in"] == "query":
            yield from (f"?{parameter['name']}={odd}" for odd in ODD_TEXTS)


def test_the_declaration_with_odd_values_has_every_key() -> None:
    schema = json_schema()
    assert DECLARATION.keys() == schema["properties"].keys()
    for key, model in (
        ("health", "HealthModel"),
        ("hooks", "HooksModel"),
        ("resources", "ResourcesModel"),
        ("source", "SourceModel"),
        ("previews", "PreviewsModel"),
        ("updates", "UpdatesModel"),
    ):
        assert DECLARATION[key].keys() == schema["$defs"][model]["properties"].keys()
    assert DECLARATION["snapshots"].keys() == schema["$defs"]["SnapshotsModel"]["properties"].keys()
    assert DECLARATION["snapshots"]["keep"].keys() == schema["$defs"]["KeepModel"]["properties"].keys()
    assert DECLARATION["snapshots"]["drill"].keys() == schema["$defs"]["DrillModel"]["properties"].keys()
    volumes = schema["$defs"]["VolumeModel"]["properties"].keys()
    assert {key for volume in DECLARATION["volumes"] for key in volume} == volumes


@pytest.mark.parametrize("operation", DELETING_LAST, ids=lambda operation: f"{operation.method} {operation.path}")
def test_no_value_is_so_odd_that_it_becomes_a_failure_of_holdfasts_own(target: Target, operation: Described) -> None:
    """Numbers that no float or database can hold, halves of characters, and the like, wherever a value may stand."""
    path = operation.path
    for name, value in target.known.items():
        path = path.replace(f"{{{name}}}", value)
    headers = target.caller(operation.path)
    failures = []
    with httpx.Client(base_url=target.url, headers=headers, trust_env=False, verify=False, timeout=20) as client:
        for query in odd_queries(operation):
            answer = client.request(operation.method, path + query)
            failures += [(answer.status_code, query[:60])] if answer.status_code >= 500 else []
        for body in odd_bodies(operation):
            answer = client.request(
                operation.method, path, content=body.encode(), headers={"Content-Type": "application/json"}
            )
            failures += [(answer.status_code, body[:60])] if answer.status_code >= 500 else []
            if (
                answer.status_code == 201 and "Location" in answer.headers
            ):  # what is taken is deployed too: the fixture looks at how that ends
                assert client.post(f"{answer.headers['Location']}/deploy").status_code in (202, 409)
                assert client.delete(answer.headers["Location"]).status_code in (202, 409)
    assert failures == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_nothing_but_health_answers_without_a_token(target: Target, operation: Described) -> None:
    path = operation.path
    for name, value in target.known.items():
        path = path.replace(f"{{{name}}}", value)
    answer = httpx.request(operation.method, target.url + path, trust_env=False, verify=False)
    if operation.path in OPEN:
        assert answer.status_code == 200
    elif operation.label == "POST /api/session":
        assert answer.status_code == 400, "who signs in says who they are"
    elif operation.path == "/hooks/{address}":
        assert answer.status_code in (200, 404), "the address is all that it takes, as long as there is one"
    else:
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "token_missing"
