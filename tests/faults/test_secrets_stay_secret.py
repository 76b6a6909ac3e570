"""What was told in confidence is found nowhere: in no answer, no line of the log, no file, no backup, in whatever form.

One installation is given a secret of each kind and works with them, well and badly; then everything that it says and
writes is searched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog

from holdfast.api.app import create_app
from holdfast.bootstrap import Holdfast, Seams
from holdfast.config import LogFormat
from holdfast.domain.accounts import Role
from holdfast.log_setup import configure_logging
from holdfast.services.passwords import PasswordCost
from holdfast.testing.installation import IMAGE, Installation, installation
from holdfast.testing.quick_workers import QuickWorkers

KINDS = ("password", "new-password", "variable", "registry", "hook", "channel", "mail", "service", "bucket", "backup")
TOLD = {"ascii-hook": "ascii-hook:0f1e2d3c4b5a6978"} | {
    kind: f"{kind}:{hashlib.sha256(kind.encode()).hexdigest()[:16]}/+ü\"'&" for kind in KINDS
}
"""What it is told, by kind; with what each way of writing has to treat in its own way."""
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
ENDLESS = {"/api/events", "/api/operations/{operation}/events"}
REFUSED = {
    **{path: 404 for path in DOCUMENT["paths"] if "{preview}" in path or "{repository}" in path},
    "/api/workloads/{workload}/promote": 400,
    "/api/workloads/{workload}/rollback": 409,
}
OF_PEOPLE = {"/api/session", "/api/sessions", "/api/tokens"}
OF_NO_CONCERN = {"/api/openapi.json", "/api/schemas/workload"}


def forms(secret: str) -> list[bytes]:
    """How it could stand somewhere: by what no way of writing changes, and encoded."""
    core = secret.partition("/")[0].encode()
    return [
        core,
        core.hex().encode(),
        *(base64.b64encode(b"x" * shift + core)[8:-4] for shift in range(3)),
        quote(core, safe="").encode(),
    ]


def found(secrets: dict[str, str], where: str, content: bytes) -> list[str]:
    return [
        f"the {kind} in {where}" for kind, secret in secrets.items() if any(form in content for form in forms(secret))
    ]


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    made = installation(tmp_path)
    cost = PasswordCost(memory_kib=8, passes=1, lanes=1)
    return Installation(
        directory=made.directory,
        runtime=made.runtime,
        seams=Seams(workers=QuickWorkers, password_cost=cost, backup_cost=2),
    )


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize("form", range(len(forms("x"))))
def test_a_secret_is_found_in_whatever_form_it_stands(form: int) -> None:
    content = b"before " + forms(TOLD["hook"])[form] + b" after"
    assert found(TOLD, "it", content) == ["the hook in it"]


async def test_no_secret_is_in_any_answer_log_file_or_backup(
    place: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogFormat.JSON)
    secrets = dict(TOLD)
    said: dict[str, bytes] = {}
    async with place.running() as holdfast:
        ann = await holdfast.api.accounts.create("ann", TOLD["password"], Role.ADMIN, actor="test")
        secrets["token"], _ = await holdfast.api.tokens.create(ann, "t", role=ann.role, lasts=None, actor="test")
        signed_in = await holdfast.api.sessions.sign_in("ann", TOLD["password"], address="192.0.2.1", agent="")
        secrets["cookie"] = signed_in[0]
        transport = httpx.ASGITransport(create_app(holdfast.api))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = Asked(holdfast, client, {"Authorization": f"Bearer {secrets['token']}"}, said)
            asked_in_person = Asked(holdfast, client, {"Cookie": f"holdfast={secrets['cookie']}"}, said)
            known = await used(asked, secrets)
            for path in DOCUMENT["paths"]:
                if "get" in DOCUMENT["paths"][path] and path not in ENDLESS | OF_NO_CONCERN:
                    filled = path.format_map(known)
                    who = asked_in_person if path in OF_PEOPLE else asked
                    await who("GET", filled, said_as=path, fails=REFUSED.get(path, 0))
    said["the log"] = capsys.readouterr().err.encode()
    assert b"operation_ended" in said["the log"]
    files = [path for path in place.directory.rglob("*") if path.is_file()]
    assert place.settings.database_file in files
    said |= {str(path.relative_to(place.directory)): path.read_bytes() for path in files if path.name != "engine.json"}
    assert [each for where, content in said.items() for each in found(secrets, where, content)] == []


class Asked:
    """Asks, and keeps what was answered."""

    def __init__(
        self, holdfast: Holdfast, client: httpx.AsyncClient, headers: dict[str, str], said: dict[str, bytes]
    ) -> None:
        self._holdfast = holdfast
        self._client = client
        self._said = said
        self._headers = {"X-Holdfast-Request": "1"} | headers

    async def __call__(
        self, method: str, path: str, *, said_as: str = "", fails: int = 0, once: bool = False, **more: Any
    ) -> Any:
        """The answer's document.

        Args:
            fails: with which status, where it has to.
            once: it tells something this once.
        """
        self._client.cookies.clear()
        headers = self._headers | more.pop("headers", {})
        answer = await self._client.request(method, path, headers=headers, **more)
        if not once:
            self._said[f"the answer to {method} {said_as or path}"] = answer.content + repr(answer.headers).encode()
        assert answer.status_code == fails if fails else answer.is_success, (
            method,
            path,
            answer.status_code,
            answer.text,
        )
        kind = answer.headers.get("content-type", "")
        return answer.json() if kind.startswith("application/json") else None

    async def operation(self, method: str, path: str, **more: Any) -> Any:
        """The operation that was begun, once it has ended."""
        begun = await self(method, path, **more)
        await self._holdfast.operations.wait(begun["id"])
        return await self("GET", f"/api/operations/{begun['id']}")


async def used(asked: Asked, secrets: dict[str, str]) -> dict[str, str]:
    """Tell it all secrets, and have it do its work with them. Returns what there is then, by the names in addresses."""
    await asked("POST", "/api/users", json={"name": "bob", "password": TOLD["password"], "role": "viewer"})
    await asked("PUT", "/api/users/bob/password", json={"password": TOLD["new-password"]})
    await asked("POST", "/api/session", json={"username": "bob", "password": TOLD["password"]}, fails=401)
    await asked("POST", "/api/session", json={"username": "bob", "password": TOLD["new-password"]})
    declaration: dict[str, Any] = {
        "name": "notes",
        "project": "home",
        "source": {"type": "image", "image": IMAGE},
        "secrets": ["VARIABLE"],
        "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
        "health": {"interval": 0.1, "timeout": 1, "deadline": 2},
        "snapshots": {"before_deploy": True},
    }
    await asked("POST", "/api/workloads", json=declaration)
    text = f"VARIABLE='{TOLD['variable']}"  # a quote is missing
    await asked("POST", "/api/workloads/notes/env", json={"text": text, "secrets": ["VARIABLE"]}, fails=400)
    await asked("PUT", "/api/workloads/notes/secrets/VARIABLE", json={"value": {"not": TOLD["variable"]}}, fails=400)
    await asked("PUT", "/api/workloads/notes/secrets/VARIABLE", json={"value": TOLD["variable"]})
    login = {"registry": "registry.example:5000", "username": "ann", "password": TOLD["registry"]}
    await asked("POST", "/api/registries", json=login)
    channels: dict[str, dict[str, Any]] = {
        "posts": {"webhook": {"url": "http://127.0.0.1:1/", "secret": TOLD["channel"]}},
        "mails": {
            "mail": {
                "host": "127.0.0.1",
                "port": 1,
                "username": "ann",
                "password": TOLD["mail"],
                "sender": "a@example.org",
                "recipients": ["b@example.org"],
            }
        },
        "serves": {"service": {"url": f"ntfy://ann:{quote(TOLD['service'], safe='')}@127.0.0.1:1/topic"}},
    }
    for name, channel in channels.items():
        await asked("POST", "/api/notifications/channels", json={"name": name, **channel})
        await asked("POST", f"/api/notifications/channels/{name}/test", fails=422)
    bucket = {
        "endpoint": "http://127.0.0.1:1",
        "bucket": "copies",
        "access_key_id": "ann",
        "secret_access_key": TOLD["bucket"],
    }
    await asked("POST", "/api/repositories", json={"name": "far", "s3": bucket}, fails=422)
    await asked("POST", "/api/workloads/notes/webhooks", json={"provider": "github", "secret": TOLD["hook"]}, fails=400)
    hook = {"provider": "github", "secret": TOLD["ascii-hook"]}
    made = await asked("POST", "/api/workloads/notes/webhooks", json=hook, once=True)
    secrets["address"] = made["address"].rpartition("/")[2]
    signed = {"X-Hub-Signature-256": f"sha256={'0' * 64}", "X-GitHub-Event": "push"}
    await asked("POST", made["address"], said_as="/hooks/…", json={"ref": "refs/heads/main"}, headers=signed, fails=401)

    first = await asked.operation("POST", "/api/workloads/notes/deploy")
    assert first["state"] == "succeeded", first
    snapshot = (await asked.operation("POST", "/api/workloads/notes/snapshots"))["outcome"]["snapshot_id"]
    confirmed = {"X-Confirm-Restore": snapshot}
    restored = await asked.operation("POST", f"/api/workloads/notes/snapshots/{snapshot}/restore", headers=confirmed)
    assert restored["state"] == "succeeded", restored
    failed = await asked.operation("POST", "/api/workloads/notes/deploy", json={"image": "registry.example:5000/x:1"})
    assert failed["state"] == "failed", failed
    await asked("PUT", "/api/backups/passphrase", json={"passphrase": TOLD["backup"]})
    backed_up = await asked.operation("POST", "/api/backups")
    assert backed_up["state"] == "succeeded", backed_up
    backup = backed_up["outcome"]["backup_id"]
    verified = await asked.operation("POST", f"/api/backups/{backup}/verify", json={"passphrase": TOLD["mail"]})
    assert verified["state"] == "failed", verified
    return {
        "workload": "notes",
        "backup": backup,
        "snapshot": snapshot,
        "operation": first["id"],
        "deployment": first["outcome"]["deployment_id"],
        "repository": "far",
        "webhook": made["id"],
        "preview": "none",
    }
