"""Backups over HTTP: for admins, the passphrase for no confined token, and nothing secret in any answer."""

from __future__ import annotations

import dataclasses

from holdfast.domain.accounts import Principal, Role, TokenScope
from tests.unit.api.standins import OPERATION_ID, Api, StandInTokens

BACKUPS = "/api/backups"
PASSPHRASE = "correct horse battery"


async def test_backups_are_listed_with_what_everybody_can_read_of_them(api: Api) -> None:
    answer = await api.ask("GET", BACKUPS)
    (item,) = answer.json()["items"]
    assert item == {
        "id": OPERATION_ID,
        "created_at": item["created_at"],
        "bytes": 4096,
        "reason": "scheduled",
        "holdfast": "1",
        "schema": "0015",
        "audit_head": "7:ab",
    }
    assert answer.json()["passphrase"] == "set"


async def test_a_backup_is_made_verified_downloaded_and_deleted(api: Api) -> None:
    made = await api.ask("POST", BACKUPS, headers={"Idempotency-Key": "k"})
    assert (made.status_code, made.json()["kind"]) == (202, "backup")
    assert api.backups.last["idempotency_key"] == "k"
    wanted, key = {"passphrase": PASSPHRASE}, {"Idempotency-Key": "v"}
    verified = await api.ask("POST", f"{BACKUPS}/{OPERATION_ID}/verify", json=wanted, headers=key)
    assert (verified.status_code, api.backups.last["passphrase"]) == (202, PASSPHRASE)
    assert api.backups.last["idempotency_key"] == "v"
    downloaded = await api.ask("GET", f"{BACKUPS}/{OPERATION_ID}/file")
    assert (downloaded.content, downloaded.headers["Content-Length"]) == (b"sealed", "6")
    assert (await api.ask("DELETE", f"{BACKUPS}/{OPERATION_ID}")).status_code == 204
    for method, path in (("GET", "file"), ("POST", "verify")):
        answer = await api.ask(method, f"{BACKUPS}/none/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "backup_unknown")


async def test_the_passphrase_goes_in_and_never_out(api: Api) -> None:
    answer = await api.ask("PUT", f"{BACKUPS}/passphrase", json={"passphrase": PASSPHRASE})
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.backups.last == {"passphrase": PASSPHRASE}
    answer = await api.ask("PUT", f"{BACKUPS}/passphrase", json={"passphrase": PASSPHRASE, "more": 1})
    assert (answer.status_code, PASSPHRASE in answer.text) == (400, False)
    assert PASSPHRASE not in str(api.audit.entries)


class Confined(StandInTokens):
    async def verify(self, token: str) -> Principal | None:
        return Principal(name="ann/ci", role=Role.ADMIN, scopes=frozenset({TokenScope.BACKUPS}))


async def test_a_confined_token_sets_no_passphrase_and_brings_nothing_back(api: Api) -> None:
    api.app.state.services = dataclasses.replace(api.services, tokens=Confined())
    assert (await api.ask("POST", BACKUPS)).status_code == 202
    answer = await api.ask("PUT", f"{BACKUPS}/passphrase", json={"passphrase": PASSPHRASE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_insufficient")
    answer = await api.ask("POST", f"{BACKUPS}/{OPERATION_ID}/restore", headers={"X-Confirm-Restore": OPERATION_ID})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_insufficient")
    assert not api.backup_restores.calls


async def test_a_restore_hands_the_confirmation_over(api: Api) -> None:
    answer = await api.ask("POST", f"{BACKUPS}/{OPERATION_ID}/restore", headers={"X-Confirm-Restore": OPERATION_ID})
    assert (answer.status_code, answer.json()["kind"]) == (202, "restore_backup")
    wanted = {"backup_id": OPERATION_ID, "confirm": OPERATION_ID, "passphrase": None}
    assert wanted.items() <= api.backup_restores.last.items()
