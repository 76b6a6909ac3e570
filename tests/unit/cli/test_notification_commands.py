"""Channels from the command line; what is secret comes from a file, never from the arguments."""

from __future__ import annotations

from pathlib import Path

import httpx

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, FakeServer, answer, refusal

CHANNELS = "/api/notifications/channels"
CHANNEL = {
    "name": "ops",
    "kind": "webhook",
    "target": "https://hooks.example.org",
    "kinds": [],
    "created_at": AT,
    "waiting": 2,
    "error": {"code": "webhook_failed", "message": "It is down.", "next_step": "Mend it.", "details": {}},
}


def test_channels_are_listed_with_why_something_waits(server: FakeServer) -> None:
    server.on("GET", CHANNELS, answer({"items": [CHANNEL]}))
    shown = server.run("notification", "list").stdout
    for words in ("https://hooks.example.org", "everything", "ops: It is down."):
        assert words in shown
    server.on("GET", CHANNELS, answer({"items": []}))
    assert "nobody is told" in server.run("notification", "list").stderr


def test_a_webhook_a_mail_server_and_a_service_are_added(server: FakeServer, tmp_path: Path) -> None:
    server.on("POST", CHANNELS, answer(CHANNEL, 201))
    (tmp_path / "secret").write_text("s3cret\n")
    given = ("--kind", "disk_low", "--secret-file", str(tmp_path / "secret"))
    added = server.run("notification", "add-webhook", "ops", "https://hooks.example.org/x", *given)
    assert "holdfast notification test ops" in added.stdout
    addresses = ("--from", "h@example.org", "--to", "a@example.org", "--to", "b@example.org")
    server.run("notification", "add-mail", "post", "--host", "mail.example.org", *addresses)
    (tmp_path / "address").write_text("ntfy://ntfy.sh/t0pic\n")
    server.run("notification", "add-service", "phone", "--address-file", str(tmp_path / "address"))
    assert server.bodies("POST", CHANNELS) == [
        {
            "name": "ops",
            "kinds": ["disk_low"],
            "webhook": {"url": "https://hooks.example.org/x", "secret": "s3cret"},
        },
        {
            "name": "post",
            "kinds": [],
            "mail": {
                "host": "mail.example.org",
                "port": 587,
                "tls": "starttls",
                "sender": "h@example.org",
                "recipients": ["a@example.org", "b@example.org"],
                "username": "",
                "password": "",
            },
        },
        {"name": "phone", "kinds": [], "service": {"url": "ntfy://ntfy.sh/t0pic"}},
    ]


def test_a_secret_that_can_not_be_read_adds_nothing(server: FakeServer, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    result = server.run("notification", "add-webhook", "ops", "https://x.example", "--secret-file", missing)
    assert (result.exit_code, server.requests) == (ExitCode.USAGE, [])


def test_a_channel_is_tried_and_forgotten(server: FakeServer) -> None:
    server.on("POST", f"{CHANNELS}/ops/test", answer({"delivered": True}), refusal(422, "webhook_failed"))
    assert server.run("notification", "test", "ops").stdout == "Delivered through ops.\n"
    assert server.run("notification", "test", "ops").exit_code == ExitCode.FAILED
    server.on("DELETE", f"{CHANNELS}/ops", httpx.Response(204))
    assert server.run("notification", "remove", "ops").stdout == "Forgot ops.\n"
