"""Webhooks from the command line; the address is shown once, the secret comes from a file."""

from __future__ import annotations

from pathlib import Path

import httpx

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, OPERATION, WORKLOAD, FakeServer, answer, refusal

WEBHOOKS = "/api/workloads/notes/webhooks"
ONE = f"{WEBHOOKS}/{OPERATION}"
DELIVERY = {
    "id": OPERATION,
    "event": {"message": "push image home/notes:1", "code": "hook_event", "values": {}},
    "state": "failed",
    "code": "image_not_in_registry",
    "message": "It is not there.",
    "values": None,
    "operation_id": None,
    "replay_of": None,
    "actor": "",
    "received_at": AT,
    "ended_at": AT,
}
WEBHOOK = {
    "id": OPERATION,
    "workload_id": WORKLOAD,
    "provider": "registry",
    "action": "deploy",
    "signed": False,
    "branch": "",
    "tag": "v*",
    "repository": "",
    "image": "",
    "image_tag": "",
    "promote_from": "",
    "created_at": AT,
    "created_by": "ann",
}
STATE = WEBHOOK | {"refused": {"count": 2, "last_at": AT, "last_code": "webhook_flood"}, "last": DELIVERY}


def test_a_webhook_is_made_and_its_address_shown(server: FakeServer, tmp_path: Path) -> None:
    server.on("POST", WEBHOOKS, answer(WEBHOOK | {"address": "/hooks/hfw_once"}, 201))
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    made = server.run(
        "webhook", "create", "notes", "--provider", "registry", "--tag", "v*", "--secret-file", str(tmp_path / "secret")
    )
    assert "http://127.0.0.1:8484/hooks/hfw_once" in made.stdout
    server.run("webhook", "create", "notes", "--provider", "gitlab", "--promote-from", "staging")
    server.run("webhook", "create", "notes", "--provider", "github", "--preview", "--image-tag", "pr-{pull}")
    both = ("--preview", "--promote-from", "staging")
    assert server.run("webhook", "create", "notes", "--provider", "github", *both).exit_code == ExitCode.USAGE
    first, second, third = server.bodies("POST", WEBHOOKS)
    assert (first["action"], first["secret"], first["tag"]) == ("deploy", "0123456789abcdef", "v*")
    assert (second["action"], second["promote_from"]) == ("promote", "staging")
    assert (third["action"], third["image_tag"]) == ("preview", "pr-{pull}")


def test_nothing_is_made_without_the_secret_or_of_another_provider(server: FakeServer, tmp_path: Path) -> None:
    given = ("webhook", "create", "notes", "--provider")
    assert server.run(*given, "github", "--secret-file", str(tmp_path / "none")).exit_code == ExitCode.USAGE
    assert server.run(*given, "svn").exit_code == ExitCode.USAGE
    assert server.requests == []


def test_webhooks_and_deliveries_are_shown_with_why(server: FakeServer) -> None:
    server.on("GET", WEBHOOKS, answer({"items": [STATE]}))
    server.on("GET", ONE, answer(STATE))
    server.on("GET", f"{ONE}/deliveries", answer({"items": [DELIVERY], "next_cursor": None}))
    for command in (("list", "notes"), ("show", "notes", OPERATION)):
        shown = server.run("webhook", *command).stdout
        for words in ("registry", "tag v*", "webhook_flood", "failed"):
            assert words in shown
    shown = server.run("webhook", "deliveries", "notes", OPERATION).stdout
    assert "image_not_in_registry: It is not there." in shown


def test_a_delivery_is_replayed_and_a_webhook_forgotten(server: FakeServer) -> None:
    path = f"{ONE}/deliveries/{OPERATION}/replay"
    again = DELIVERY | {"state": "waiting", "code": "", "message": ""}
    server.on("POST", path, answer(again, 201), refusal(409, "delivery_not_over"))
    assert "(waiting)" in server.run("webhook", "replay", "notes", OPERATION, OPERATION).stdout
    assert server.run("webhook", "replay", "notes", OPERATION, OPERATION).exit_code == ExitCode.REFUSED
    server.on("DELETE", ONE, httpx.Response(204))
    assert server.run("webhook", "delete", "notes", OPERATION).stdout == f"Forgot the webhook {OPERATION}.\n"
