"""What each route takes, hands to its service, and answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from holdfast import __version__
from holdfast.api.workload_body import read_declaration
from holdfast.domain.accounts import Role
from holdfast.domain.clone import LikeSource
from holdfast.domain.errors import NotFound, Problem
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.told import Told
from holdfast.domain.workload import Port, Quiesce, WorkloadSpec
from holdfast.engine.entries import encode_path
from holdfast.services.clones import CloneWish
from holdfast.services.restore_registry import Decision, Undecided
from tests.unit.api.standins import AT, OPERATION_ID, SNAPSHOT_ID, SPEC, WORKLOAD_ID, Api, left_in

DECLARATION: dict[str, Any] = {"name": "notes", "source": {"type": "image", "image": "notes:2"}}
YAML = b"name: notes\nsource: {type: image, image: 'notes:2'}\n"
SNAPSHOTS = "/api/workloads/notes/snapshots"
CLONE = f"/api/snapshots/{SNAPSHOT_ID}/clone"
ONE = f"{SNAPSHOTS}/{SNAPSHOT_ID}"
LOCATION = f"/api/operations/{OPERATION_ID}"


# --- workloads


async def test_workloads_are_listed_in_pages(api: Api) -> None:
    answer = await api.ask("GET", f"/api/workloads?limit=7&cursor={WORKLOAD_ID}")
    assert answer.json()["next_cursor"] == WORKLOAD_ID
    (item,) = answer.json()["items"]
    assert (item["name"], item["desired"], item["strategy"]) == ("notes", "running", "recreate")
    assert item["config"]["volumes"] == [{"target": "/data", "scope": "stage", "source": "data"}]
    assert api.workloads.last == {"limit": 7, "cursor": WORKLOAD_ID}


async def test_a_shown_configuration_can_be_sent_back(api: Api) -> None:
    shown = (await api.ask("GET", "/api/workloads/notes")).json()["config"]
    answer = await api.ask("PUT", "/api/workloads/notes", json=shown)
    assert answer.status_code == 200
    assert api.workloads.last["spec"].name == "notes"


async def test_a_configuration_is_told_with_its_revision_which_a_change_can_name(api: Api) -> None:
    shown = await api.ask("GET", "/api/workloads/notes")
    tag = shown.headers["ETag"]
    assert tag == f'"{shown.json()["revision"]}"'
    for text, made_from in (
        (tag, {SPEC.revision}),
        (f"W/{tag}", {SPEC.revision}),
        (f'"one", {tag} ,"*"', {"one", SPEC.revision}),
        ("*", {"*"}),
    ):
        answer = await api.ask("PUT", "/api/workloads/notes", json=DECLARATION, headers={"If-Match": text})
        assert (answer.status_code, answer.headers["ETag"]) == (200, tag)
        assert api.workloads.last["made_from"] == made_from, text
    await api.ask("PUT", "/api/workloads/notes", json=DECLARATION)
    assert api.workloads.last["made_from"] is None


@pytest.mark.parametrize("text", ["", "abc", '"', '"a" "b"', '"a",', "*, *", '"a b"', '"' + 300 * "a" + '"'])
async def test_a_revision_that_is_none_is_malformed(api: Api, text: str) -> None:
    answer = await api.ask("PUT", "/api/workloads/notes", json=DECLARATION, headers={"If-Match": text})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request_malformed")
    assert not [name for name, _ in api.workloads.calls if name == "apply"]


async def test_create_makes_a_new_one_and_says_where(api: Api) -> None:
    answer = await api.ask("POST", "/api/workloads", json=DECLARATION)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/workloads/{WORKLOAD_ID}"
    assert answer.json()["created"] is True
    assert {"path": "image", "before": None, "after": "notes:2"} in answer.json()["changes"]
    assert (api.workloads.last["create"], api.workloads.last["actor"]) == (True, "the admin")


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"])
async def test_a_declaration_may_be_yaml(api: Api, kind: str) -> None:
    answer = await api.ask("POST", "/api/workloads/preview", content=YAML, headers={"Content-Type": kind})
    assert answer.status_code == 200
    assert answer.json()["workload"] is None
    assert api.workloads.last["spec"].image == "notes:2"


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (YAML, "text/plain", "content_type_unsupported"),
        (YAML, "", "content_type_unsupported"),
        (b"\xff", "application/yaml", "text_not_utf8"),
        (b"{", "application/json", "json_malformed"),
        (b'{"name": 1, "name": 2}', "application/json", "json_malformed"),
        (b'{"name": NaN}', "application/json", "json_malformed"),
        (b"[]", "application/json", "workload_malformed"),
        (b'{"nmae": "x"}', "application/json", "workload_malformed"),
        (b"a: [", "application/yaml", "yaml_malformed"),
    ],
)
async def test_a_declaration_that_is_none_is_malformed(api: Api, content: bytes, kind: str, code: str) -> None:
    answer = await api.ask("POST", "/api/workloads", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert not api.workloads.calls


async def test_put_by_name_creates_what_is_not_there(api: Api) -> None:
    api.workloads.known = False
    answer = await api.ask("PUT", "/api/workloads/notes", json=DECLARATION)
    assert answer.status_code == 201
    assert api.workloads.last["expect_id"] is None


async def test_put_changes_only_the_workload_that_is_addressed(api: Api) -> None:
    for ref in ("notes", WORKLOAD_ID):
        assert (await api.ask("PUT", f"/api/workloads/{ref}", json=DECLARATION)).status_code == 200
        assert api.workloads.last["expect_id"] == WORKLOAD_ID


async def test_put_to_another_name_or_an_unknown_id_creates_nothing(api: Api) -> None:
    for ref in ("other", OPERATION_ID):
        answer = await api.ask("PUT", f"/api/workloads/{ref}", json=DECLARATION)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "workload_unknown")
    assert not [name for name, _ in api.workloads.calls if name == "apply"]


async def test_delete_keeps_the_data_unless_told_otherwise(api: Api) -> None:
    for query, delete_data in (("", False), ("?delete_data=true", True)):
        answer = await api.ask("DELETE", f"/api/workloads/notes{query}")
        assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
        assert api.workloads.last == {"ref": "notes", "delete_data": delete_data, "actor": "the admin"}


async def test_a_status_tells_condition_and_last_deployment(api: Api) -> None:
    status = (await api.ask("GET", "/api/workloads/notes/status")).json()
    assert (status["name"], status["condition"]) == ("notes", "down")
    assert status["last_deployment"]["image"] == "notes:1"
    assert status["deployed"] is None
    assert (status["schedule"]["health"], status["schedule"]["last"]["result"]) == ("failed", "failed")


async def test_all_statuses_are_listed_in_pages(api: Api) -> None:
    page = (await api.ask("GET", "/api/statuses?limit=1")).json()
    [status] = page["items"]
    assert (status["name"], status["project"], status["condition"], status["running"]) == ("notes", "notes", "down", 0)
    assert (status["last_deployment"]["image"], status["deployed"], status["pending"]) == ("notes:1", None, False)
    assert page["next_cursor"] == WORKLOAD_ID
    assert api.workloads.last == {"limit": 1, "cursor": None}


async def test_schedules_are_listed_with_what_is_next_and_how_the_last_run_went(api: Api) -> None:
    answer = await api.ask("GET", "/api/schedules")
    [listed] = answer.json()["items"]
    assert (listed["kind"], listed["name"], listed["time_zone"]) == ("snapshot", "notes", "Europe/Berlin")
    assert (listed["next_at"], listed["failures"], listed["succeeded_at"]) == (AT, 2, None)
    assert listed["last"]["message"] == "The hook failed."


async def test_the_schema_of_a_declaration_is_published(api: Api) -> None:
    schema = (await api.ask("GET", "/api/schemas/workload")).json()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "volumes" in schema["properties"]


# --- deployments


async def test_a_deploy_is_accepted_with_its_operation(api: Api) -> None:
    answer = await api.ask(
        "POST", "/api/workloads/notes/deploy", json={"image": "notes:2"}, headers={"Idempotency-Key": "once"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
    assert (answer.json()["id"], answer.json()["state"]) == (OPERATION_ID, "running")
    assert api.deployer.last == {
        "ref": "notes",
        "accept_volumes": False,
        "image": "notes:2",
        "actor": "the admin",
        "idempotency_key": "once",
    }


async def test_a_deploy_needs_no_body(api: Api) -> None:
    assert (await api.ask("POST", "/api/workloads/notes/deploy")).status_code == 202
    assert api.deployer.last["image"] is None


async def test_what_a_rollback_would_do_is_shown(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads/notes/rollback")
    assert answer.status_code == 200
    assert api.deployer.last == {"ref": "notes", "deployment_id": None}
    plan = answer.json()
    assert (plan["deployment"]["image"], plan["image_here"]) == ("notes:0", False)
    assert plan["changes"] == [
        {"path": "image", "before": "notes:1", "after": "notes:0"},
        {"path": "env.TZ", "before": None, "after": "UTC"},
    ]


async def test_a_rollback_names_its_deployment_and_is_accepted(api: Api) -> None:
    path = "/api/workloads/notes/rollback"
    answer = await api.ask("POST", path, json={"deployment": OPERATION_ID}, headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "rollback")
    assert api.deployer.last == {
        "ref": "notes",
        "deployment_id": OPERATION_ID,
        "accept_volumes": False,
        "volumes_of_others": True,
        "actor": "the admin",
        "idempotency_key": "once",
    }
    assert (await api.ask("POST", path)).status_code == 400, "a repetition must not return to something else"


async def test_a_rollback_with_data_is_shown_confirmed_and_rehearsed(api: Api) -> None:
    path = "/api/workloads/notes/rollback"
    plan = (await api.ask("GET", path, params={"with_data": "true"})).json()
    assert (plan["deployment"]["image"], plan["snapshot"]["id"]) == ("notes:0", SNAPSHOT_ID)
    assert (await api.ask("GET", path)).json()["snapshot"] is None
    wanted = {"deployment": OPERATION_ID, "with_data": True}
    answer = await api.ask("POST", path, json=wanted, headers={"X-Confirm-Restore": SNAPSHOT_ID})
    assert (answer.status_code, answer.json()["kind"]) == (202, "rollback")
    assert (api.data_rollbacks.last["confirm"], api.data_rollbacks.last["dry_run"]) == (SNAPSHOT_ID, False)
    assert (await api.ask("POST", path, json=wanted | {"dry_run": True})).status_code == 202
    assert api.data_rollbacks.last["dry_run"] is True
    alone = await api.ask("POST", path, json={"deployment": OPERATION_ID, "dry_run": True})
    assert alone.status_code == 400, "nobody must take a rollback for its rehearsal"
    assert [name for name, _ in api.deployer.calls] == ["plan"]


async def test_a_promotion_is_shown_and_names_the_deployment_that_is_meant(api: Api) -> None:
    path = "/api/workloads/staging/promote"
    plan = (await api.ask("GET", path, params={"to": "notes"})).json()
    assert api.promotions.last == {"ref": "staging", "to": "notes"}
    assert (plan["to"], plan["deployment"]["image"], plan["digest"]) == ("notes", "notes:0", "notes@sha256:0")
    wanted = {"to": "notes", "deployment": OPERATION_ID}
    answer = await api.ask("POST", path, json=wanted, headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "promote")
    assert api.promotions.last == {
        "ref": "staging",
        "to": "notes",
        "deployment_id": OPERATION_ID,
        "accept_volumes": False,
        "actor": "the admin",
        "idempotency_key": "once",
    }
    assert (await api.ask("POST", path, json={"to": "notes"})).status_code == 400


async def test_sources_are_listed_with_what_is_wrong_with_them(api: Api) -> None:
    answer = await api.ask("GET", "/api/sources")
    assert answer.json() == {"items": [{"name": "image", "provided_by": "holdfast 1", "problem": None}]}
    api.sources.problem = Problem(code="source_broken", message="It can't be used.", next_step="Mend it.")
    (shown,) = (await api.ask("GET", "/api/sources")).json()["items"]
    assert (shown["problem"]["code"], shown["problem"]["next_step"]) == ("source_broken", "Mend it.")


@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_start_and_stop_are_accepted(api: Api, verb: str) -> None:
    answer = await api.ask("POST", f"/api/workloads/notes/{verb}")
    assert (answer.status_code, answer.json()["kind"]) == (202, verb)


async def test_deployments_are_listed(api: Api) -> None:
    page = (await api.ask("GET", "/api/workloads/notes/deployments")).json()
    assert [d["state"] for d in page["items"]] == ["succeeded"]
    assert page["next_cursor"] is None


async def test_logs_are_a_plain_list(api: Api) -> None:
    asked = "tail=5&since=2026-11-23T10:00:00%2B01:00&until=2026-11-23T10:00:00Z&search=Hel"
    answer = await api.ask("GET", f"/api/workloads/notes/logs?{asked}")
    assert [(line["instance"], line["text"]) for line in answer.json()["items"]] == [
        ("notes-1", "hello"),
        ("notes-1", "a\nb"),
    ]
    query = api.logs.last["query"]
    assert (api.logs.last["ref"], api.logs.last["tail"], query.search) == ("notes", 5, "Hel")
    assert (query.since, query.until) == ("2026-11-23T09:00:00.000000Z", "2026-11-23T10:00:00.000000Z")
    for beyond in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00%2B23:59", "1969-12-31T00:00:00Z"):
        answer = await api.ask("GET", f"/api/workloads/notes/logs?since={beyond}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request_malformed"), beyond


async def test_all_lines_are_downloaded_as_plain_text(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads/notes/logs/download?search=e&since=2026-11-23T10:00:00Z")
    assert answer.text == f"{AT} notes-1 stdout hello\n{AT} notes-1 stderr a\nb\n"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="notes.log"'
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert api.logs.last["query"].search == "e"


async def test_following_up_to_a_time_is_refused(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads/notes/logs?follow=true&until=2026-11-23T10:00:00Z")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "follow_until")


# --- snapshots


async def test_a_snapshot_is_taken_as_asked(api: Api) -> None:
    answer = await api.ask(
        "POST", SNAPSHOTS, json={"quiesce": "stop", "note": "before ☃"}, headers={"Idempotency-Key": "k"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
    assert api.snapshots.last["quiesce"] is Quiesce.STOP
    assert api.snapshots.last["note"] == "before ☃"
    assert api.snapshots.last["idempotency_key"] == "k"


async def test_a_snapshot_without_a_body_holds_as_the_workload_says(api: Api) -> None:
    assert (await api.ask("POST", SNAPSHOTS)).status_code == 202
    assert api.snapshots.last["quiesce"] is None


async def test_snapshots_are_shown_with_their_sums(api: Api) -> None:
    for document in ((await api.ask("GET", SNAPSHOTS)).json()["items"][0], (await api.ask("GET", ONE)).json()):
        assert (document["id"], document["files"], document["bytes"]) == (SNAPSHOT_ID, 3, 10)
        assert document["volumes"][0]["target"] == "/data"


async def test_a_snapshot_is_pinned_and_released(api: Api) -> None:
    for pinned in (True, False):
        assert (await api.ask("PATCH", ONE, json={"pinned": pinned})).status_code == 200
        assert api.snapshots.last["pinned"] is pinned


async def test_a_deleted_snapshot_is_answered_with_nothing(api: Api) -> None:
    answer = await api.ask("DELETE", ONE)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_verification_is_accepted(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    assert (await api.ask("POST", f"{ONE}/verify", headers=key)).json()["kind"] == "verify"
    assert api.snapshots.last["idempotency_key"] == "k"


async def test_an_export_is_streamed_under_a_harmless_name(api: Api) -> None:
    answer = await api.ask("GET", f"{ONE}/archive")
    assert (answer.status_code, answer.content) == (200, b"tarball")
    assert answer.headers["Content-Type"] == "application/zstd"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="no-tes--.tar.zst"'


@pytest.mark.parametrize(
    "kind", ["application/x-tar", "application/octet-stream", "application/gzip", "application/zstd"]
)
async def test_an_upload_is_handed_over_as_a_file(api: Api, kind: str) -> None:
    answer = await api.ask(
        "POST",
        f"{SNAPSHOTS}/import?allow_links=true",
        content=b"archive",
        headers={"Content-Type": kind, "Idempotency-Key": "k"},
    )
    assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
    assert api.snapshots.uploaded == (b"archive", 0o600)
    upload: Path = api.snapshots.last["upload"]
    assert upload.parent == api.uploads
    assert (api.snapshots.last["ref"], api.snapshots.last["allow_links"]) == (WORKLOAD_ID, True)
    assert api.snapshots.last["idempotency_key"] == "k"


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", "application/x-tar", "upload_empty"),
        (b"a", "application/json", "content_type_unsupported"),
        (b"a", "multipart/form-data; boundary=x", "content_type_unsupported"),
    ],
)
async def test_an_upload_that_is_none_is_refused_and_leaves_nothing(
    api: Api, content: bytes, kind: str, code: str
) -> None:
    answer = await api.ask("POST", f"{SNAPSHOTS}/import", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert left_in(api.uploads) == []


async def test_an_upload_that_its_service_refuses_leaves_nothing(api: Api) -> None:
    api.snapshots.failure = NotFound("workload_unknown", "Gone meanwhile.")
    answer = await api.ask("POST", f"{SNAPSHOTS}/import", content=b"a", headers={"Content-Type": "application/x-tar"})
    assert answer.status_code == 404
    assert left_in(api.uploads) == []


async def test_an_upload_for_an_unknown_workload_is_refused_before_it_is_read(api: Api) -> None:
    api.workloads.known = False
    answer = await api.ask("POST", f"{SNAPSHOTS}/import", content=b"a", headers={"Content-Type": "application/x-tar"})
    assert answer.status_code == 404
    assert not api.snapshots.calls


async def test_an_upload_that_has_no_room_says_so(api: Api) -> None:
    api.uploads.rmdir()
    answer = await api.ask("POST", f"{SNAPSHOTS}/import", content=b"a", headers={"Content-Type": "application/x-tar"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "file_system_error")


# --- restores


async def test_a_restore_hands_confirmation_and_wishes_on(api: Api) -> None:
    answer = await api.ask(
        "POST",
        f"{ONE}/restore",
        json={"volumes": ["/data"], "on_unhealthy": "keep", "with_image": True, "create_missing": True},
        headers={"X-Confirm-Restore": SNAPSHOT_ID, "Idempotency-Key": "k"},
    )
    assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
    assert api.restores.last == {
        "ref": "notes",
        "sid": SNAPSHOT_ID,
        "confirm": SNAPSHOT_ID,
        "volumes": ("/data",),
        "paths": (),
        "on_unhealthy": OnUnhealthy.KEEP,
        "with_image": True,
        "create_missing": True,
        "accept_replaced": False,
        "repository": None,
        "dry_run": False,
        "actor": "the admin",
        "idempotency_key": "k",
    }


async def test_a_restore_without_a_body_is_one_of_everything(api: Api) -> None:
    assert (await api.ask("POST", f"{ONE}/restore")).status_code == 202
    given = api.restores.last
    assert (given["confirm"], given["volumes"], given["on_unhealthy"], given["dry_run"]) == (None, None, None, False)


async def test_chosen_paths_are_given_as_text_or_as_a_listing_gave_them(api: Api) -> None:
    body = {"paths": ["/data/up loads/"], "encoded_paths": [{"volume": "/media", "path": encode_path(b"caf\xe9/\n")}]}
    assert (await api.ask("POST", f"{ONE}/restore", json=body)).status_code == 202
    assert api.restores.last["paths"] == (b"/data/up loads", b"/media/caf\xe9/\n")


@pytest.mark.parametrize("path", ["data", "/data/../etc", "/data//x", "/data/./x", "/da\0ta"])
async def test_what_is_no_path_in_a_container_is_refused(api: Api, path: str) -> None:
    answer = await api.ask("POST", f"{ONE}/restore", json={"paths": [path]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "path_malformed")
    assert not api.restores.calls


@pytest.mark.parametrize("body", [{"volumes": []}, {"dry_run": "perhaps"}, {"volumes": ["/a\n"]}, {"force": True}])
async def test_a_restore_with_odd_wishes_is_refused(api: Api, body: dict[str, Any]) -> None:
    answer = await api.ask("POST", f"{ONE}/restore", json=body)
    assert answer.status_code == 400
    assert not api.restores.calls


async def test_snapshots_are_listed_and_looked_at_whosever_they_are(api: Api) -> None:
    answer = await api.ask("GET", "/api/snapshots?workload=gone&limit=2")
    assert [item["id"] for item in answer.json()["items"]] == [SNAPSHOT_ID]
    assert api.snapshots.last == {"of": "gone", "limit": 2, "cursor": None}
    assert (await api.ask("GET", f"/api/snapshots/{SNAPSHOT_ID}")).json()["workload_name"] == "notes"
    assert (await api.ask("GET", "/api/snapshots/nonsense")).status_code == 404


async def test_a_clone_into_a_workload_passes_its_wishes_on(api: Api) -> None:
    body = {"into": "staging", "volumes": ["/data"], "map": {"/a": "/data"}, "on_unhealthy": "keep", "with_image": True}
    headers = {"X-Confirm-Restore": SNAPSHOT_ID, "Idempotency-Key": "k"}
    answer = await api.ask("POST", CLONE, json=body | {"create_missing": True}, headers=headers)
    assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
    assert api.clones.last == {
        "wish": CloneWish(
            snapshot_id=SNAPSHOT_ID,
            actor="the admin",
            confirm=SNAPSHOT_ID,
            volumes=("/data",),
            renames={"/a": "/data"},
            with_image=True,
            idempotency_key="k",
        ),
        "ref": "staging",
        "on_unhealthy": OnUnhealthy.KEEP,
        "create_missing": True,
        "accept_replaced": False,
    }


async def test_a_clone_into_a_new_workload_is_like_its_source_or_as_declared(api: Api) -> None:
    like = {"name": "staging", "project": "lab", "stage": "test", "ports": ["127.0.0.1:8081:80"]}
    assert (await api.ask("POST", CLONE, json={"like_source": like})).status_code == 202
    port = Port(container_port=80, host_port=8081, host_ip="127.0.0.1")
    assert api.clones.last["wanted"] == LikeSource(name="staging", project="lab", stage="test", ports=(port,))
    declared = WorkloadSpec(name="staging", image="notes:1", project="staging")
    for declaration in (
        '{"name": "staging", "source": {"type": "image", "image": "notes:1"}}',
        "name: staging\nsource: {type: image, image: 'notes:1'}\n",
    ):
        assert (await api.ask("POST", CLONE, json={"declaration": declaration})).status_code == 202
        assert api.clones.last["wanted"] == declared


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"into": "staging", "like_source": {"name": "other"}},
        {"into": "Not A Name"},
        {"like_source": {"name": "Not A Name"}},
        {"like_source": {"name": "other", "ports": ["99999"]}},
        {"like_source": {"name": "other"}, "on_unhealthy": "revert"},
        {"declaration": "name: staging"},
        {"declaration": ""},
        {"declaration": "name: [\n"},
        {"into": "staging", "map": {"/a\n": "/b"}},
        {"into": "staging", "paths": ["/data/a"]},
    ],
)
async def test_a_clone_with_odd_wishes_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await api.ask("POST", CLONE, json=body)).status_code == 400
    assert not api.clones.calls


async def test_undo_shows_its_target_and_is_confirmed_with_it(api: Api) -> None:
    assert (await api.ask("GET", "/api/workloads/notes/undo")).json()["snapshot"]["id"] == SNAPSHOT_ID
    wanted = {"dry_run": True, "accept_replaced": True}
    await api.ask(
        "POST", "/api/workloads/notes/undo", json=wanted, headers={"X-Confirm-Restore": "x", "Idempotency-Key": "k"}
    )
    assert api.restores.last == {
        "ref": "notes",
        "confirm": "x",
        "create_missing": False,
        "accept_replaced": True,
        "dry_run": True,
        "actor": "the admin",
        "idempotency_key": "k",
    }


async def test_undo_without_a_target_shows_none(api: Api) -> None:
    api.restores.target = None
    assert (await api.ask("GET", "/api/workloads/notes/undo")).json() == {"snapshot": None}


async def test_a_decision_is_shown_and_taken(api: Api) -> None:
    path = "/api/workloads/notes/restore-decision"
    assert (await api.ask("GET", path)).json() == {"pending": None, "kept_trees": []}
    api.restores.waiting = Undecided(
        restore_id=OPERATION_ID,
        workload_ids=(WORKLOAD_ID,),
        told=Told("It is so.", code="undecided_time_over", values={}),
        choices=(Decision.REVERT,),
    )
    problem = {"code": "undecided_time_over", "message": "It is so.", "next_step": "", "details": {}, "values": {}}
    told = {"restore_id": OPERATION_ID, "why": "It is so.", "problem": problem, "choices": ["revert"]}
    assert (await api.ask("GET", path)).json() == {"pending": told, "kept_trees": []}
    headers = {"X-Confirm-Restore": OPERATION_ID, "Idempotency-Key": "k"}
    answer = await api.ask("POST", path, json={"choice": "keep"}, headers=headers)
    assert answer.status_code == 202
    assert api.restores.last["choice"] is Decision.KEEP
    assert (api.restores.last["confirm"], api.restores.last["idempotency_key"]) == (OPERATION_ID, "k")


# --- operations and the server itself


async def test_operations_are_listed_also_for_one_workload(api: Api) -> None:
    answer = await api.ask("GET", "/api/operations?workload=notes")
    assert answer.json()["items"][0]["progress"]["total_bytes"] is None
    assert api.operations.last["workload_id"] == WORKLOAD_ID


async def test_an_operation_is_shown_and_cancelled(api: Api) -> None:
    assert (await api.ask("GET", LOCATION)).json()["cancellable"] is True
    assert (await api.ask("POST", f"{LOCATION}/cancel")).status_code == 202
    api.operations.states = api.operations.states[1:]
    assert (await api.ask("POST", f"{LOCATION}/cancel")).status_code == 409


async def test_readiness_says_what_it_waits_for(api: Api) -> None:
    assert (await api.ask("GET", "/readyz", role=None)).json() == {"ready": True, "waiting_for": []}
    api.readiness.waiting = ("the engine",)
    answer = await api.ask("GET", "/readyz", role=None)
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "waiting_for": ["the engine"]})


async def test_the_server_tells_health_version_and_findings(api: Api) -> None:
    assert (await api.ask("GET", "/healthz", role=None)).json() == {"status": "ok"}
    assert (await api.ask("GET", "/api/version")).json() == {"version": __version__}
    report = (await api.ask("GET", "/api/doctor")).json()
    assert report["level"] == "error"
    assert report["findings"][1] == {
        "check": "space",
        "level": "error",
        "message": "Full: 1 B.",
        "mend": "Free space.",
        "code": "doctor_space_scarce",
        "values": {"bytes": 1},
    }


async def test_the_description_is_json_with_every_address(api: Api) -> None:
    document = json.loads((await api.ask("GET", "/api/openapi.json")).content)
    assert "/api/workloads/{workload}/snapshots/{snapshot}/restore" in document["paths"]


# --- queries


async def test_a_slip_in_a_query_parameter_names_the_nearest_one_and_nothing_is_done(api: Api) -> None:
    answer = await api.ask("DELETE", "/api/workloads/notes?data=true")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "query_unknown")
    assert "delete_data" in error["next_step"]
    assert api.workloads.calls == []


async def test_a_query_parameter_that_is_there_twice_is_refused(api: Api) -> None:
    answer = await api.ask("DELETE", "/api/workloads/notes?delete_data=true&delete_data=false")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "query_twice")
    assert api.workloads.calls == []


async def test_the_name_of_a_query_parameter_can_forge_no_line(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads?" + "%0Aok" * 500)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.isprintable()
    assert len(message) < 200


# --- time


async def test_a_declaration_is_read_beside_the_event_loop() -> None:
    body = b'{"name": "notes", "source": {"type": "image", "image": "notes:1"}}'

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    request = Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive)
    reading = asyncio.create_task(read_declaration(request))
    await asyncio.sleep(0)  # as far as it gets by itself
    assert not reading.done()
    assert (await reading).name == "notes"


# --- the repository


async def test_a_prune_is_asked_for_all_workloads_or_one(api: Api) -> None:
    answer = await api.ask("POST", "/api/repository/prune")
    assert (answer.status_code, answer.json()["kind"]) == (202, "prune")
    assert api.care.last == {"ref": None, "dry_run": False, "actor": "the admin", "idempotency_key": None}
    wanted = {"workload": "notes", "dry_run": True}
    await api.ask("POST", "/api/repository/prune", json=wanted, headers={"Idempotency-Key": "k"})
    assert api.care.last == {"ref": "notes", "dry_run": True, "actor": "the admin", "idempotency_key": "k"}


async def test_a_share_of_the_repository_is_verified(api: Api) -> None:
    answer = await api.ask("POST", "/api/repository/verify", json={"share": 10}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "verify")
    assert api.care.last == {"percent": 10, "actor": "the admin", "idempotency_key": "k"}
    for share in (0, 101, "10%", 1.5):
        assert (await api.ask("POST", "/api/repository/verify", json={"share": share})).status_code == 400


async def test_a_snapshot_that_can_not_be_read_is_listed_and_deleted_once_confirmed(api: Api) -> None:
    (listed,) = (await api.ask("GET", "/api/repository/damaged")).json()["items"]
    assert listed == {
        "id": SNAPSHOT_ID,
        "code": "manifest_malformed",
        "message": "It can't be read.",
        "workload": "notes",
        "pinned": False,
        "safety_for": None,
    }
    path = f"/api/repository/damaged/{SNAPSHOT_ID}"
    assert (await api.ask("DELETE", path, headers={"X-Confirm-Delete": SNAPSHOT_ID})).status_code == 204
    assert api.unreadable.last["sid"] == SNAPSHOT_ID
    assert api.unreadable.last["confirm"] == SNAPSHOT_ID
    await api.ask("DELETE", path)
    assert api.unreadable.last["confirm"] is None
    assert (await api.ask("DELETE", path, headers={"X-Confirm-Delete": "a b"})).status_code == 400


async def test_kept_images_are_listed_and_pruned(api: Api) -> None:
    listed = (await api.ask("GET", "/api/images")).json()["items"]
    assert listed == [
        {"id": "sha256:0", "names": ["notes:0"], "size": 4096, "needed_by": ["notes"]},
        {"id": "sha256:1", "names": [], "size": 4096, "needed_by": []},
    ]
    answer = await api.ask("POST", "/api/images/prune", json={"dry_run": True})
    assert (answer.status_code, answer.json()["kind"]) == (202, "prune_images")
    assert api.images.last == {"dry_run": True, "actor": "the admin"}
    assert (await api.ask("POST", "/api/images/prune")).status_code == 202
    assert api.images.last["dry_run"] is False


class TestSecrets:
    async def test_a_value_goes_in_and_no_answer_holds_it(self, api: Api) -> None:
        answer = await api.ask("PUT", "/api/workloads/notes/secrets/KEY", json={"value": "sword\nfish"})
        assert answer.status_code == 200
        assert api.secrets.last == {"ref": "notes", "name": "KEY", "value": "sword\nfish", "actor": "the admin"}
        assert "sword" not in answer.text

    @pytest.mark.parametrize(
        "body", [{"value": 7}, {"value": None}, {"value": "sword", "more": 1}, {"value": "sword" * 14000}, ["sword"]]
    )
    async def test_a_body_that_can_t_be_is_told_without_what_is_in_it(self, api: Api, body: object) -> None:
        answer = await api.ask("PUT", "/api/workloads/notes/secrets/KEY", json=body)
        assert answer.status_code == 400
        assert "sword" not in answer.text
        assert not api.secrets.calls

    async def test_a_name_that_no_variable_has_is_refused(self, api: Api) -> None:
        answer = await api.ask("DELETE", "/api/workloads/notes/secrets/1-A")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "secret_name_malformed")

    async def test_secrets_are_listed_by_name(self, api: Api) -> None:
        answer = await api.ask("GET", "/api/workloads/notes/secrets", role=Role.VIEWER)
        assert answer.json()["items"] == [
            {"name": "KEY", "state": "set", "set_at": AT},
            {"name": "NEW", "state": "not_set", "set_at": None},
        ]

    async def test_a_file_is_taken_over(self, api: Api) -> None:
        body = {"text": "KEY=swordfish\n", "secrets": ["KEY"], "dry_run": True}
        answer = await api.ask("POST", "/api/workloads/notes/env", json=body)
        assert answer.status_code == 200
        assert api.secrets.last == {
            "ref": "notes", "text": "KEY=swordfish\n", "secret": ["KEY"], "dry_run": True, "actor": "the admin",
        }  # fmt: skip
        assert "swordfish" not in answer.text

    async def test_a_deploy_is_foreseen_and_a_deployment_shown(self, api: Api) -> None:
        answer = await api.ask("GET", "/api/workloads/notes/deploy?image=notes:9", role=Role.VIEWER)
        assert api.deployment_changes.last == {"ref": "notes", "image": "notes:9"}
        assert answer.json()["problems"][0]["code"] == "secret_not_set"
        assert {change["path"] for change in answer.json()["changes"]} == {"env.TZ", "image"}
        answer = await api.ask("GET", f"/api/workloads/notes/deployments/{OPERATION_ID}", role=Role.VIEWER)
        assert (answer.json()["id"], answer.json()["before"]) == (OPERATION_ID, OPERATION_ID)
        answer = await api.ask("GET", "/api/workloads/notes/deployments/nonsense")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "deployment_unknown")


async def test_a_drill_is_begun_with_the_command_that_is_asked_for(api: Api) -> None:
    path = f"/api/workloads/notes/snapshots/{SNAPSHOT_ID}/drill"
    answer = await api.ask("POST", path, json={"command": ["test", "-s", "/data/x"]}, headers={"Idempotency-Key": "o"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "drill")
    wanted = {"ref": "notes", "sid": SNAPSHOT_ID, "actor": "the admin"}
    assert api.drills.last == wanted | {"command": ["test", "-s", "/data/x"], "idempotency_key": "o"}
    assert (await api.ask("POST", path)).status_code == 202
    assert api.drills.last == wanted | {"command": None, "idempotency_key": None}
    assert (await api.ask("POST", path, json={"command": []})).status_code == 400


class TestRegistries:
    async def test_a_login_is_added_and_its_password_not_shown(self, api: Api) -> None:
        body = {"registry": "registry.example:5000", "username": "ann", "password": "sesame"}
        answer = await api.ask("POST", "/api/registries", json=body)
        shown = {"registry": "registry.example:5000", "username": "ann", "set_at": AT, "readable": True}
        assert (answer.status_code, answer.json()) == (201, shown)
        assert api.registries.last["password"] == "sesame"
        answer = await api.ask("GET", "/api/registries", role=Role.VIEWER)
        assert answer.json() == {"items": [shown]}

    async def test_a_login_is_forgotten(self, api: Api) -> None:
        assert (await api.ask("DELETE", "/api/registries/registry.example:5000")).status_code == 204
        assert api.registries.last == {"host": "registry.example:5000", "actor": "the admin"}

    async def test_a_body_that_can_t_be_is_told_without_the_password(self, api: Api) -> None:
        for body in ({"password": "sesame"}, {"registry": "x", "username": "ann", "password": ["sesame"]}):
            answer = await api.ask("POST", "/api/registries", json=body)
            assert answer.status_code == 400
            assert "sesame" not in answer.text
        assert not api.registries.calls


async def test_metrics_are_told_in_cores_and_bytes(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads/notes/metrics?since=2026-11-23T08:30:00Z&step=60")
    assert answer.json() == {
        "since": "2026-11-23T08:30:00.000000Z",
        "until": AT,
        "step_seconds": 60,
        "cpu_limit_cores": None,
        "memory_limit_bytes": 4096,
        "items": [
            {
                "at": "2026-11-23T08:30:00.000000Z",
                "covered_seconds": 60,
                "cpu_cores": 0.25,
                "cpu_cores_max": 0.5,
                "memory_bytes": 1024,
                "memory_bytes_max": 2048,
                "received_bytes": 120,
                "sent_bytes": 60,
            }
        ],
        "volumes": [{"target": "/data", "at": "2026-11-23T08:30:00.000000Z", "bytes": 10}],
    }
    answer = await api.ask("GET", f"/api/workloads/notes/metrics?since={AT}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "metrics_range_empty")
    answer = await api.ask("GET", "/api/workloads/notes/metrics?step=0")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request_malformed")


async def test_how_a_workload_was_is_told_from_the_time_that_is_asked_for(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads/notes/health?since=2026-11-23T08:30:00Z")
    assert answer.json() == {
        "since": "2026-11-23T08:30:00.000000Z",
        "until": AT,
        "items": [
            {"at": "2026-11-23T08:30:00.000000Z", "state": "healthy"},
            {"at": "2026-11-23T08:59:00.000000Z", "state": "down"},
        ],
    }
    assert api.health.calls == [("of", {"ref": "notes", "since": 1795422600, "until": None})]
    answer = await api.ask("GET", f"/api/workloads/notes/health?since={AT}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "metrics_range_empty")


async def test_what_takes_space_is_told_by_cause(api: Api) -> None:
    assert (await api.ask("GET", "/api/disk")).json() == {
        "filesystems": [
            {
                "mount_point": "/",
                "type": "ext4",
                "total_bytes": 100,
                "free_bytes": 40,
                "forecast": {"since": AT, "bytes_per_day": 5, "full_at": AT},
            }
        ],
        "causes": [
            {
                "cause": "volumes",
                "bytes": 10,
                "items": [{"name": "notes:/data", "bytes": 10, "at": AT}, {"name": "b", "bytes": None, "at": None}],
                "problem": None,
            }
        ],
    }


async def test_figures_come_in_the_text_form_of_prometheus(api: Api) -> None:
    answer = await api.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.text.splitlines() == [
        "# HELP holdfast_ready Whether.",
        "# TYPE holdfast_ready gauge",
        "holdfast_ready 1.0",
        "# HELP holdfast_operations_ended_total How many.",
        "# TYPE holdfast_operations_ended_total counter",
        r'holdfast_operations_ended_total{kind="deploy",state="a \"b\"\n"} 2.0',
        "# HELP holdfast_snapshots None.",
        "# TYPE holdfast_snapshots gauge",
    ]
