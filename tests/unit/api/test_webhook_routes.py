"""Webhooks over HTTP: made once, without what is secret; and the addresses that need no token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from holdfast.api.middleware import MAX_JSON_BYTES
from holdfast.domain.errors import Problem, Refused, TooMany
from holdfast.domain.webhook import HookAction, Provider
from tests.unit.api.standins import OPERATION_ID, Api

WEBHOOKS = "/api/workloads/notes/webhooks"
ONE = f"{WEBHOOKS}/{OPERATION_ID}"
SECRET = "0123456789abcdef"


async def test_a_webhook_is_made_and_neither_its_secret_nor_later_its_address_is_told(api: Api) -> None:
    body = {"provider": "github", "secret": SECRET, "tag": "v*", "action": "promote", "promote_from": "staging"}
    made = await api.ask("POST", WEBHOOKS, json=body)
    assert (made.status_code, made.json()["address"]) == (201, "/hooks/hfw_once")
    assert SECRET not in made.text
    wanted = api.webhooks.last["wanted"]
    assert (wanted.provider, wanted.action, wanted.tag) == (Provider.GITHUB, HookAction.PROMOTE, "v*")
    assert (api.webhooks.last["secret"], wanted.promote_from) == (SECRET, "staging")
    for path in (WEBHOOKS, ONE):
        assert "hfw_once" not in (await api.ask("GET", path)).text
    [listed] = (await api.ask("GET", WEBHOOKS)).json()["items"]
    assert (listed["refused"]["count"], listed["last"]["event"]["message"]) == (1, "push branch main of home/notes")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"provider": "svn"},
        {"provider": "github", "action": "destroy"},
        {"provider": "github", "secret": "short"},
        {"provider": "github", "secret": SECRET + "\n"},
        {"provider": "github", "brnach": "main"},
        {"provider": "github", "tag": "a\x1b"},
    ],
)
async def test_what_is_no_webhook_is_malformed(api: Api, body: dict[str, Any]) -> None:
    answer = await api.ask("POST", WEBHOOKS, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request_malformed")
    assert SECRET not in answer.text
    assert api.webhooks.calls == []


async def test_deliveries_are_listed_and_replayed_and_webhooks_forgotten(api: Api) -> None:
    [listed] = (await api.ask("GET", f"{ONE}/deliveries")).json()["items"]
    assert (listed["state"], listed["operation_id"]) == ("waiting", None)
    assert (listed["event"]["code"], listed["event"]["values"]["repository"]) == ("hook_event_in", "home/notes")
    why = {"code": "hook_filtered", "message": "branch main is not x", "values": {"what": "branch main", "wanted": "x"}}
    assert {key: listed[key] for key in why} == why
    again = await api.ask("POST", f"{ONE}/deliveries/{OPERATION_ID}/replay")
    assert (again.status_code, again.json()["replay_of"]) == (201, OPERATION_ID)
    assert (await api.ask("DELETE", ONE)).status_code == 204
    for path, code in ((f"{WEBHOOKS}/x", "binding_unknown"), (f"{ONE}/deliveries/x/replay", "delivery_unknown")):
        answer = await api.ask("POST" if "replay" in path else "GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)


async def test_a_delivery_needs_no_token_and_its_body_goes_on_as_it_is(api: Api) -> None:
    body = b'{ "odd":   "spacing"}'
    answer = await api.ask(
        "POST", "/hooks/hfw_x?source=ci", role=None, content=body, headers={"X-GitHub-Event": "push"}
    )
    assert answer.status_code == 200
    assert answer.json()["deliveries"] == [
        {"id": OPERATION_ID, "state": "waiting", "message": "branch main is not x", "duplicate": False}
    ]
    assert api.webhooks.received == body
    assert (api.webhooks.last["address"], api.webhooks.last["headers"]["x-github-event"]) == ("hfw_x", "push")


async def test_refusals_have_their_status(api: Api) -> None:
    problem = Problem(code="webhook_not_applied", message="No.", next_step="Ask otherwise.")
    for failure, status in ((TooMany("webhook_flood", "Many.", next_step="Later."), 429), (Refused([problem]), 422)):
        api.webhooks.failure = failure
        answer = await api.ask("POST", "/hooks/hfw_x", role=None)
        assert (answer.status_code, "Retry-After" in answer.headers) == (status, status == 429)


async def test_a_large_body_is_refused_and_not_read(api: Api) -> None:
    read = 0

    async def ten_megabytes() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(160):
            read += 1 << 16
            yield bytes(1 << 16)

    declared = {"Content-Length": str(10 << 20)}
    for headers, most in ((declared, 0), ({}, MAX_JSON_BYTES + (1 << 17))):
        read = 0
        answer = await api.ask("POST", "/hooks/hfw_x", role=None, content=ten_megabytes(), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert read <= most
    assert api.webhooks.calls == []


async def test_the_address_stands_in_no_log_whatever_goes_wrong(api: Api) -> None:
    api.webhooks.failure = RuntimeError("nobody foresaw this")
    with capture_logs() as logs:
        answer = await api.ask("POST", "/hooks/hfw_secret", role=None)
    assert answer.status_code == 500
    [logged] = [entry for entry in logs if entry["event"] == "internal_error"]
    assert logged["path"] == "/hooks/%2A%2A%2A"
    assert "hfw_secret" not in answer.text
