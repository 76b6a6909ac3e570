"""Channels over HTTP: added, listed without what is secret, tried, forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.domain.errors import Problem, Refused
from holdfast.domain.notice import ChannelKind, ChannelSecrets, MailTls, NoticeKind, Webhook
from tests.unit.api.standins import Api

CHANNELS = "/api/notifications/channels"
HOOK = {"url": "https://hooks.example.org/t0ken?x=1", "secret": "s3cret"}
MAIL = {"host": "mail.example.org", "sender": "holdfast@example.org", "recipients": ["ops@example.org"]}


async def test_a_webhook_is_added_and_what_is_secret_of_it_is_never_shown(api: Api) -> None:
    body = {"name": "ops", "webhook": HOOK, "kinds": ["disk_low"]}
    answer = await api.ask("POST", CHANNELS, json=body)
    assert (answer.status_code, answer.json()["target"]) == (201, "https://hooks.example.org")
    assert "t0ken" not in answer.text
    assert "s3cret" not in answer.text
    channel = api.notifications.last["channel"]
    assert (channel.kind, channel.webhook) == (ChannelKind.WEBHOOK, Webhook(origin="https://hooks.example.org"))
    assert channel.kinds == (NoticeKind.DISK_LOW,)
    assert api.notifications.last["secrets"] == ChannelSecrets(url=HOOK["url"], secret="s3cret")


async def test_a_mail_server_is_added_with_tls_unless_said_otherwise(api: Api) -> None:
    answer = await api.ask(
        "POST", CHANNELS, json={"name": "ops", "mail": MAIL | {"username": "u", "password": "s3cret"}}
    )
    assert (answer.status_code, answer.json()["target"]) == (201, "ops@example.org by mail.example.org")
    assert "s3cret" not in answer.text
    mail = api.notifications.last["channel"].mail
    assert (mail.port, mail.tls, mail.username) == (587, MailTls.STARTTLS, "u")
    assert api.notifications.last["secrets"] == ChannelSecrets(secret="s3cret")


async def test_a_service_is_added_by_its_secret_address(api: Api) -> None:
    answer = await api.ask("POST", CHANNELS, json={"name": "ops", "service": {"url": "tgram://t0ken/1"}})
    assert (answer.status_code, answer.json()["kind"]) == (201, "service")
    assert "t0ken" not in answer.text
    assert api.notifications.last["channel"].kind is ChannelKind.SERVICE
    assert api.notifications.last["secrets"] == ChannelSecrets(url="tgram://t0ken/1")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "ops"}, "channel_target_missing"),
        ({"name": "ops", "webhook": HOOK, "service": {"url": "tgram://t/1"}}, "channel_target_missing"),
        ({"name": "ops", "webhook": HOOK, "mail": MAIL}, "channel_target_missing"),
        ({"name": "ops", "mail": MAIL | {"username": "u", "tls": "none"}}, "mail_login_in_the_open"),
        ({"name": "../ops", "webhook": HOOK}, "request_malformed"),
        ({"name": "ops", "webhook": {"url": "file:///etc/passwd"}}, "request_malformed"),
        ({"name": "ops", "webhook": {"url": "https://user:pass@example.org/"}}, "request_malformed"),
        ({"name": "ops", "webhook": {"url": "https://example.org/\r\nHost: x"}}, "request_malformed"),
        ({"name": "ops", "mail": MAIL | {"recipients": ["a@b, c@d"]}}, "request_malformed"),
        ({"name": "ops", "mail": MAIL | {"sender": "a@b\nBcc: c@d"}}, "request_malformed"),
        ({"name": "ops", "webhook": HOOK, "kinds": ["everything"]}, "request_malformed"),
    ],
)
async def test_a_channel_that_leads_nowhere_or_elsewhere_is_refused(api: Api, body: dict[str, Any], code: str) -> None:
    answer = await api.ask("POST", CHANNELS, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert api.notifications.calls == []


async def test_channels_are_listed_with_what_waits_tried_and_forgotten(api: Api) -> None:
    [listed] = (await api.ask("GET", CHANNELS)).json()["items"]
    assert (listed["name"], listed["waiting"]) == ("ops", 2)
    down: dict[str, object] = {
        "code": "webhook_failed",
        "message": "It is down.",
        "next_step": "Mend it.",
        "details": {},
        "values": None,
    }
    assert listed["error"] == down
    assert (await api.ask("POST", f"{CHANNELS}/ops/test")).json() == {"delivered": True}
    assert (await api.ask("DELETE", f"{CHANNELS}/ops")).status_code == 204
    assert [name for name, _ in api.notifications.calls] == ["test", "remove"]
    problem = Problem(code="webhook_failed", message="It is down.", next_step="Mend it.")
    api.notifications.failure = Refused([problem])
    answer = await api.ask("POST", f"{CHANNELS}/ops/test")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "webhook_failed")
    assert (await api.ask("DELETE", f"{CHANNELS}/No!")).json()["error"]["code"] == "channel_unknown"
