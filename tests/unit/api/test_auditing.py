"""What goes on record of what is asked of the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.strict_route import LOOKS, is_recorded
from holdfast.domain.accounts import Role
from holdfast.domain.audit import AuditEntry
from holdfast.domain.errors import Conflict, TooMany, Unauthorized, Unavailable
from holdfast.domain.operation import OperationKind
from tests.unit.api.standins import OPERATION_ID, SNAPSHOT_ID, WORKLOAD_ID, Api
from tests.unit.api.test_access import NEEDED, filled, routes

CHANGING = {route.name for route in routes() if route.methods != {"GET"} and route.path.startswith("/api/")}
SECRET = "a-value-that-nobody-may-see"
LANGUAGES = Path(__file__).parents[3] / "web/src/i18n/languages"


def entry(api: Api) -> AuditEntry:
    (only,) = api.audit.entries
    return only


def test_what_changes_something_and_what_not_every_viewer_may_read_is_recorded() -> None:
    recorded = {route.name for route in routes() if is_recorded(route)}
    reads = {
        route.name
        for route in routes()
        if route.methods == {"GET"} and NEEDED.get(route.name, Role.VIEWER) != Role.VIEWER
    }
    assert recorded == (CHANGING | reads) - LOOKS
    assert CHANGING | reads >= LOOKS
    assert {
        "restore_snapshot",
        "delete_snapshot",
        "set_secret",
        "export_snapshot",
        "download",
        "export_audit",
    } <= recorded


def test_each_action_that_can_be_on_record_has_words_in_each_language_of_the_interface() -> None:
    asked_for = {route.name for route in routes() if is_recorded(route)} | {"renew_first_token"}  # on the host
    languages = list(LANGUAGES.glob("*.ts"))
    assert len(languages) > 1
    for language in languages:
        told = re.findall(r'^  "(audit_action|kind)\.([a-z_]+)":', language.read_text(), re.MULTILINE)
        assert {name for part, name in told if part == "audit_action"} == asked_for, language.name
        # what an operation's end is called is made of what the operation is called
        assert {name for part, name in told if part == "kind"} == set(OperationKind), language.name


async def test_each_of_them_is_recorded(api: Api) -> None:
    for route in routes():
        if not is_recorded(route) or route.name == "sign_in":
            continue
        api.audit.entries.clear()
        answer = await api.ask(next(iter(route.methods or ())), filled(route))
        recorded = entry(api)
        assert (recorded.action, recorded.actor, recorded.address) == (route.name, "the admin", "127.0.0.1")
        assert recorded.status == answer.status_code
        assert recorded.outcome in ({answer.json()["error"]["code"]} if answer.is_error else {"done", "accepted"})


async def test_looks_are_not_recorded(api: Api) -> None:
    for path in ("/api/workloads", "/api/doctor", "/api/audit", "/healthz", "/api/workloads/notes/logs"):
        assert (await api.ask("GET", path)).status_code == 200
    assert (await api.ask("POST", "/hooks/none")).status_code == 200
    assert api.audit.entries == []


async def test_an_operation_that_was_begun_is_named(api: Api) -> None:
    await api.ask("DELETE", "/api/workloads/notes?delete_data=true")
    assert entry(api) == AuditEntry(
        at=entry(api).at,
        actor="the admin",
        address="127.0.0.1",
        action="delete_workload",
        subject={"workload": "notes", "delete_data": "true"},
        status=202,
        outcome="accepted",
        operation_id=OPERATION_ID,
    )


async def test_what_was_made_is_named(api: Api) -> None:
    declaration = {"name": "notes", "source": {"type": "image", "image": "notes:2"}}
    await api.ask("POST", "/api/workloads", json=declaration)
    login = {"registry": "registry.example:5000", "username": "ann", "password": SECRET}
    await api.ask("POST", "/api/registries", json=login)
    made, registered = api.audit.entries
    assert made.subject == {"id": WORKLOAD_ID, "name": "notes"}
    assert registered.subject == {"registry": "registry.example:5000"}
    assert (registered.status, registered.outcome) == (201, "done")


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("PUT", "/api/workloads/notes/secrets/KEY", {"json": {"value": SECRET}}),
        ("POST", "/api/workloads/notes/env", {"json": {"text": f"KEY={SECRET}", "secrets": ["KEY"]}}),
        ("POST", f"/api/workloads/notes/webhooks?token={SECRET}", {}),
        ("POST", "/api/workloads/notes/deploy", {"json": {SECRET: 1}, "headers": {"Idempotency-Key": SECRET}}),
    ],
)
async def test_nothing_that_was_sent_is_recorded_but_what_the_address_names(
    api: Api, method: str, path: str, sent: dict[str, Any]
) -> None:
    await api.ask(method, path, **sent)
    assert SECRET not in repr(api.audit.entries)


async def test_the_address_of_a_new_webhook_is_not_recorded(api: Api) -> None:
    answer = await api.ask("POST", "/api/workloads/notes/webhooks", json={"provider": "github", "secret": SECRET})
    assert answer.status_code == 201
    assert answer.json()["address"].rpartition("/")[2] not in repr(entry(api))
    assert entry(api).subject["id"] == answer.json()["id"]


async def test_a_refusal_for_the_role_is_recorded(api: Api) -> None:
    await api.ask("DELETE", f"/api/workloads/notes/snapshots/{SNAPSHOT_ID}", role=Role.OPERATOR)
    assert (entry(api).actor, entry(api).status, entry(api).outcome) == ("the operator", 403, "role_insufficient")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}])
async def test_who_is_not_known_fills_no_log(api: Api, headers: dict[str, str]) -> None:
    answer = await api.ask("POST", "/api/workloads/notes/deploy", role=None, headers=headers)
    assert answer.status_code == 401
    assert api.audit.entries == []


async def test_signing_in_is_recorded_and_so_is_that_somebody_could_not(api: Api) -> None:
    header = {"X-Holdfast-Request": "1"}
    body = {"username": "ann", "password": SECRET}
    assert (await api.ask("POST", "/api/session", role=None, json=body, headers=header)).status_code == 201
    api.sessions.failure = Unauthorized("sign_in_failed", "Wrong.", next_step="Try again.")
    await api.ask("POST", "/api/session", role=None, json=body, headers=header)
    api.sessions.failure = TooMany("sign_in_too_often", "Too often.", next_step="Wait.")
    await api.ask("POST", "/api/session", role=None, json=body, headers=header)
    await api.ask("POST", "/api/session", role=None, json=body)
    done, failed = api.audit.entries
    assert (done.actor, done.outcome, done.action) == ("ann", "done", "sign_in")
    assert (failed.actor, failed.outcome, failed.address) == ("", "sign_in_failed", "127.0.0.1")
    assert SECRET not in repr(api.audit.entries)


async def test_what_fails_is_recorded_with_its_code(api: Api) -> None:
    api.deployer.failure = Conflict("deploy_running", "Something is at work.", next_step="Wait.")
    await api.ask("POST", "/api/workloads/notes/deploy")
    api.deployer.failure = ZeroDivisionError()
    await api.ask("POST", "/api/workloads/notes/deploy")
    assert [(each.status, each.outcome) for each in api.audit.entries] == [
        (409, "deploy_running"),
        (500, "internal_error"),
    ]


async def test_nothing_is_begun_that_cant_be_put_on_record(api: Api) -> None:
    api.audit.refuses = Unavailable("audit_unwritable", "The log can't be written.", next_step="Free some space.")
    refused = await api.ask("POST", "/api/workloads/notes/deploy")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "audit_unwritable")
    assert api.deployer.calls == []
    assert (await api.ask("GET", f"/api/workloads/{WORKLOAD_ID}")).status_code == 200


async def test_long_and_odd_values_are_cut_short(api: Api) -> None:
    await api.ask("POST", f"/api/workloads/{'n' * 900}%0a/deploy")
    shown = entry(api).subject["workload"]
    assert len(shown) < 250
    assert shown.isprintable()


async def test_lines_are_listed_by_what_is_asked_for(api: Api) -> None:
    await api.ask("POST", "/api/workloads/notes/deploy")
    answer = await api.ask(
        "GET",
        "/api/audit?actor=ann&action=deploy_workload&subject=notes&outcome=done&since=2026-11-26T09:00:00Z&cursor=7&limit=3",
    )
    assert api.audit.asked is not None
    wanted, limit, cursor = api.audit.asked
    assert (wanted.actor, wanted.action, wanted.subject, wanted.outcome) == ("ann", "deploy_workload", "notes", "done")
    assert (wanted.since, wanted.until, limit, cursor) == ("2026-11-26T09:00:00.000000Z", None, 3, 7)
    document = answer.json()
    assert document["items"][0]["action"] == "deploy_workload"
    assert document["head"] == f"1:{document['items'][0]['hash']}"


async def test_all_lines_are_exported(api: Api) -> None:
    await api.ask("POST", "/api/workloads/notes/deploy")
    answer = await api.ask("GET", "/api/audit/export")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.text == f"{api.audit.lines()[0].exported()}\n"
    assert api.audit.entries[-1].action == "export_audit"
