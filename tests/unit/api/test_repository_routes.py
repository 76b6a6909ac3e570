"""Second repositories over HTTP: what each route takes, hands to its service, and answers."""

from __future__ import annotations

import pytest

from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from tests.unit.api.standins import OPERATION_ID, SNAPSHOT_ID, Api

FAR = "/api/repositories/far"
LOCATION = f"/api/operations/{OPERATION_ID}"
S3 = {"bucket": "bucket", "endpoint": "https://s3.example", "access_key_id": "AKIA", "secret_access_key": "hush-hush"}


async def test_a_bucket_is_added_and_its_secret_never_answered(api: Api) -> None:
    answer = await api.ask("POST", "/api/repositories", json={"name": "far", "s3": S3 | {"prefix": "a/b"}})
    assert answer.status_code == 201
    assert answer.headers["Location"] == FAR
    assert answer.json()["place"] == "s3://bucket at https://s3.example"
    assert "hush-hush" not in answer.text
    assert api.repositories.last == {
        "name": "far",
        "place": RepositoryPlace(
            kind=RepositoryKind.S3,
            bucket="bucket",
            prefix="a/b",
            endpoint="https://s3.example",
            region="us-east-1",
            access_key_id="AKIA",
        ),
        "secret": "hush-hush",
        "encrypt": True,
        "take_over": False,
    }


async def test_a_directory_is_added_encrypted_unless_it_says_otherwise(api: Api) -> None:
    for given, encrypt in (({}, True), ({"encrypt": False}, False)):
        body = {"name": "disk", "directory": {"path": "/mnt/disk/holdfast"} | given, "take_over": True}
        assert (await api.ask("POST", "/api/repositories", json=body)).status_code == 201
        assert api.repositories.last["encrypt"] is encrypt
        assert api.repositories.last["place"].path == "/mnt/disk/holdfast"
        assert (api.repositories.last["take_over"], api.repositories.last["secret"]) == (True, "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "far"}, "repository_place_missing"),
        ({"name": "far", "s3": S3, "directory": {"path": "/x"}}, "repository_place_missing"),
        ({"name": "far", "s3": S3 | {"secret_access_key": 7}}, "request_malformed"),
        ({"name": "far", "s3": S3 | {"secret": "hush-hush"}}, "request_malformed"),
        ({"name": "f\n", "s3": S3}, "request_malformed"),
        ({"s3": S3}, "request_malformed"),
    ],
)
async def test_what_names_no_repository_is_malformed_and_no_secret_is_told(
    api: Api, body: dict[str, object], code: str
) -> None:
    answer = await api.ask("POST", "/api/repositories", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert "hush-hush" not in answer.text
    assert api.repositories.calls == []


async def test_they_are_listed_looked_at_tried_and_forgotten(api: Api) -> None:
    (item,) = (await api.ask("GET", "/api/repositories")).json()["items"]
    assert item == (await api.ask("GET", FAR)).json()
    assert (item["name"], item["kind"], item["encrypted"], item["access_key_id"]) == ("far", "s3", True, "AKIA")
    tried = await api.ask("POST", f"{FAR}/test")
    assert tried.json() == {"snapshots": 3, "packs": 2, "bytes": 100, "seconds": 0.5}
    assert (await api.ask("DELETE", FAR)).status_code == 204
    assert api.repositories.last == {"name": "far"}


async def test_a_name_that_none_can_have_is_unknown(api: Api) -> None:
    answer = await api.ask("GET", "/api/repositories/Far")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "repository_unknown")


async def test_copies_are_started_with_their_bound(api: Api) -> None:
    answer = await api.ask("POST", f"{FAR}/copies", json={"workload": "notes"}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
    given = {"name": "far", "workload": "notes", "actor": "the admin"}
    assert api.copies.last == given | {"snapshot_id": None, "limit_rate": None, "idempotency_key": "k"}
    await api.ask("POST", f"{FAR}/copies", json={"workload": "notes", "snapshot": SNAPSHOT_ID, "limit_rate": 1 << 20})
    assert api.copies.last == given | {"snapshot_id": SNAPSHOT_ID, "limit_rate": 1 << 20, "idempotency_key": None}


async def test_what_is_there_is_listed_verified_deleted_and_pruned(api: Api) -> None:
    there = f"{FAR}/snapshots"
    (item,) = (await api.ask("GET", f"{there}?workload=notes&limit=3")).json()["items"]
    assert item["id"] == SNAPSHOT_ID
    assert api.second_snapshots.last == {"name": "far", "workload": "notes", "limit": 3, "cursor": None}
    assert (await api.ask("GET", f"{there}/{SNAPSHOT_ID}")).json() == item
    by: dict[str, object] = {"name": "far", "actor": "the admin"}
    asked: list[tuple[str, dict[str, object] | None, dict[str, object]]] = [
        (f"{there}/{SNAPSHOT_ID}/verify", None, {"sid": SNAPSHOT_ID}),
        (f"{FAR}/verify", {"share": 10}, {"percent": 10}),
        (f"{FAR}/prune", {"dry_run": True}, {"dry_run": True}),
    ]
    for path, body, expected in asked:
        for key, headers in ((None, {}), ("k", {"Idempotency-Key": "k"})):
            answer = await api.ask("POST", path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["Location"]) == (202, LOCATION)
            assert api.second_snapshots.last == by | expected | {"idempotency_key": key}
    assert (await api.ask("DELETE", f"{there}/{SNAPSHOT_ID}")).status_code == 204
    assert api.second_snapshots.last == {"name": "far", "sid": SNAPSHOT_ID}


async def test_a_restore_says_from_where(api: Api) -> None:
    path = f"/api/workloads/notes/snapshots/{SNAPSHOT_ID}/restore"
    await api.ask("POST", path, json={"repository": "far"}, headers={"X-Confirm-Restore": SNAPSHOT_ID})
    assert api.restores.last["repository"] == "far"
