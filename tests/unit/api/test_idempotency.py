"""An idempotency key comes to the services with what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.domain.idempotency import RequestKey
from tests.unit.api.standins import SNAPSHOT_ID, Api

Given = dict[str, Any]
DECISION = "/api/workloads/notes/restore-decision"
IMPORT = "/api/workloads/notes/snapshots/import"


async def asked(api: Api, path: str, given: Given) -> str:
    """The fingerprint that a request has at the service it comes to."""
    headers = {"Idempotency-Key": "k"} | given.get("headers", {})
    answer = await api.ask("POST", path, **(given | {"headers": headers}))
    assert answer.status_code == 202, answer.text
    service = {
        DECISION: api.restores,
        "/api/repository/prune": api.care,
        IMPORT: api.snapshots,
        f"{IMPORT}?allow_links=true": api.snapshots,
        "/api/backups": api.backups,
        f"/api/backups/{SNAPSHOT_ID}/verify": api.backups,
    }.get(path, api.second_snapshots)
    key = service.last["idempotency_key"]
    assert isinstance(key, RequestKey)
    assert key == "k"
    return key.fingerprint


def upload(content: bytes) -> Given:
    return {"content": content, "headers": {"Content-Type": "application/zstd"}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((DECISION, {"json": {"choice": "keep"}}), (DECISION, {"json": {"choice": "revert"}})),
        (
            (DECISION, {"json": {"choice": "keep"}, "headers": {"X-Confirm-Restore": SNAPSHOT_ID}}),
            (DECISION, {"json": {"choice": "keep"}}),
        ),
        (("/api/repository/prune", {"json": {"dry_run": True}}), ("/api/repository/prune", {"json": {}})),
        (("/api/repositories/far/prune", {}), ("/api/repositories/near/prune", {})),
        ((IMPORT, upload(b"an archive")), (IMPORT, upload(b"another archive"))),
        ((IMPORT, upload(b"an archive")), (f"{IMPORT}?allow_links=true", upload(b"an archive"))),
    ],
)
async def test_another_request_has_another_fingerprint(
    api: Api, one: tuple[str, Given], other: tuple[str, Given]
) -> None:
    assert await asked(api, *one) == await asked(api, *one)
    assert await asked(api, *one) != await asked(api, *other)


async def test_how_a_body_is_written_is_no_matter(api: Api) -> None:
    written = [b'{"workload":"notes","dry_run":true}', b'{ "dry_run": true,\n "workload": "notes" }']
    json = {"Content-Type": "application/json"}
    one, other = [await asked(api, "/api/repository/prune", {"content": text, "headers": json}) for text in written]
    assert one == other


async def test_of_a_passphrase_nothing_is_kept_that_tells_which_it_was(api: Api) -> None:
    verify = f"/api/backups/{SNAPSHOT_ID}/verify"
    given: list[Given] = [
        {"json": {"passphrase": words}} for words in ("correct horse battery", "another one of those")
    ]
    one, other = [await asked(api, verify, each) for each in given]
    assert one == other


async def test_what_starts_an_operation_takes_a_key_but_for_what_can_not_be_begun_twice(api: Api) -> None:
    """Of those without one each has its reason: it is confirmed by name and gone then, or changes nothing."""
    document = (await api.ask("GET", "/api/openapi.json")).json()
    without = {
        f"{method} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "202" in operation["responses"]
        and all(parameter["name"] != "Idempotency-Key" for parameter in operation.get("parameters", ()))
    }
    assert without == {
        "post /api/backups/{backup}/restore",
        "post /api/images/prune",
        "post /api/import/containers/take-over",
        "post /api/operations/{operation}/cancel",
        "post /api/workloads/{workload}/snapshots/{snapshot}/compare",
        "delete /api/workloads/{workload}",
    }
