"""Notices reach a webhook and a mail server, none is lost, and none comes in floods."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from holdfast.domain.errors import Conflict, Failed, NotFound, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.notice import (
    AGAIN,
    GIVEN_UP,
    SETTLED,
    Channel,
    ChannelKind,
    ChannelSecrets,
    Delivery,
    Level,
    Mail,
    MailTls,
    Notice,
    NoticeKind,
    Webhook,
)
from holdfast.domain.operation import OperationKind, OperationState
from holdfast.domain.schedule import Run, RunResult, Schedule, ScheduleHealth, ScheduleKind, ScheduleState
from holdfast.domain.times import now, rfc3339
from holdfast.domain.told import Told
from holdfast.domain.workload import DesiredState, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.sealing import Sealing
from holdfast.services import senders
from holdfast.services.alarms import Alarms
from holdfast.services.doctor import Finding, FindingLevel
from holdfast.services.locks import DrainBarrier
from holdfast.services.notifications import Notifications, send
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.scheduler import Standing
from holdfast.store.database import Database
from holdfast.store.notices import ChannelStore, Outbox
from holdfast.store.operations import OperationStore
from holdfast.store.workloads import WorkloadStore

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AT = rfc3339(NOON)
MINUTE = timedelta(minutes=1)
SECRET = "s3cret-hush"
NOTICE = Notice(kind=NoticeKind.DEPLOY_FAILED, level=Level.PROBLEM, title="Deploy of notes failed", at=AT)
DELIVERY = Delivery(id="01j0", channel_id="c", notice=replace(NOTICE, message="No image."), created_at=AT, next_at=AT)


class SetClock:
    """A clock that shows what it was set to, and on which nobody wakes."""

    def __init__(self) -> None:
        self.at = NOON

    def monotonic(self) -> float:
        return self.at.timestamp()

    def time(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


# --- what receives


@dataclass
class Received:
    """What a web server on this machine got; it answers with ``status``."""

    port: int = 0
    status: str = "204 No Content"
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/t0ken"


@asynccontextmanager
async def web_server() -> AsyncIterator[Received]:
    received = Received()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        received.requests.append((head[0], headers, body))
        elsewhere = f"Location: {received.url}/elsewhere\r\n"
        answer = f"HTTP/1.1 {received.status}\r\n{elsewhere}Content-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        received.port = server.sockets[0].getsockname()[1]
        yield received


class MailBox:
    """What a mail server on this machine got."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[Envelope] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(envelope)
        return self.answer


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailBox]:
    box = MailBox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", 0)
    async with server:
        box.port = server.sockets[0].getsockname()[1]
        yield box


def mail_to(port: int, **facts: Any) -> Mail:
    given: dict[str, Any] = {"tls": MailTls.NONE, "sender": "holdfast@example.org", "recipients": ("ops@example.org",)}
    return Mail(host="127.0.0.1", port=port, **(given | facts))


# --- senders


async def test_a_webhook_gets_the_notice_as_json_signed_over_its_body() -> None:
    async with web_server() as received:
        await senders.post(ChannelSecrets(url=received.url, secret=SECRET), DELIVERY)
    [(line, headers, body)] = received.requests
    assert line == "POST /hook/t0ken HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{received.port}"
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-holdfast-signature"] == f"sha256={expected}"
    told = json.loads(body)
    assert (told["id"], told["kind"], told["level"], told["at"]) == ("01j0", "deploy_failed", "problem", AT)
    assert told["text"] == "Deploy of notes failed\nNo image."


async def test_without_a_secret_nothing_is_signed() -> None:
    async with web_server() as received:
        await senders.post(ChannelSecrets(url=received.url), DELIVERY)
    assert "x-holdfast-signature" not in received.requests[0][1]


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect", "404 Not Found", "500 Error"])
async def test_an_answer_that_is_no_success_is_a_failure_and_a_redirect_is_not_followed(status: str) -> None:
    async with web_server() as received:
        received.status = status
        with pytest.raises(Failed, match=status[:3]) as caught:
            await senders.post(ChannelSecrets(url=received.url), DELIVERY)
    assert (caught.value.code, len(received.requests)) == ("webhook_failed", 1)


async def test_nobody_there_is_a_failure() -> None:
    async with web_server() as received:
        pass
    with pytest.raises(Failed) as caught:
        await senders.post(ChannelSecrets(url=received.url), DELIVERY)
    assert caught.value.code == "webhook_failed"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "http://93.184.215.14/",
    ],
)
async def test_addresses_where_no_webhook_can_be_and_plain_http_beyond_private_networks_are_refused(url: str) -> None:
    with pytest.raises(Failed) as caught:
        await senders.post(ChannelSecrets(url=url), DELIVERY)
    assert caught.value.code == "webhook_address_refused"


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://127.0.0.1/", "http://[::1]:1/", "https://93.184.215.14/"])
async def test_other_addresses_are_posted_to_as_they_were_looked_at(url: str) -> None:
    assert await senders._address(httpx.URL(url)) == httpx.URL(url).host


async def test_a_mail_arrives_with_what_a_person_has_to_know() -> None:
    async with mail_server() as box:
        delivery = replace(
            DELIVERY,
            notice=replace(
                DELIVERY.notice,
                operation_id="01jop",
                title="Deploy\nBcc: x failed",
                message="No image.\x1b[2J\u202e\nNone.",
            ),
        )
        await senders.mail(mail_to(box.port, recipients=("a@example.org", "b@example.org")), ChannelSecrets(), delivery)
    [envelope] = box.mails
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    assert isinstance(envelope.content, bytes)
    mail = message_from_bytes(envelope.content, policy=policy.default)
    assert (mail["Subject"], mail["Bcc"]) == ("[Holdfast] problem: Deploy Bcc: x failed", None)
    body = mail.get_content()
    assert body.splitlines()[1:3] == ["No image. [2J ", "None."]
    assert "holdfast operation show 01jop" in body


async def test_a_mail_that_is_not_taken_is_a_failure() -> None:
    async with mail_server() as box:
        box.answer = "554 no"
        with pytest.raises(Failed) as caught:
            await senders.mail(mail_to(box.port), ChannelSecrets(), DELIVERY)
        assert caught.value.code == "mail_failed"
        with pytest.raises(Failed, match="STARTTLS"):  # never in the open where it was asked for
            await senders.mail(mail_to(box.port, tls=MailTls.STARTTLS), ChannelSecrets(), DELIVERY)
    assert len(box.mails) == 1


# --- channels, and what waits for them


class Bench:
    """Channels on a database, with a sender that records and fails when told to."""

    def __init__(self, path: Path) -> None:
        self.database = Database.at(path / "state.db")
        self.clock = SetClock()
        self.outbox = Outbox(self.database)
        self.channels = ChannelStore(self.database)
        self.sealing = Sealing(Fs(), path / "keys")
        self.sent: list[tuple[str, Delivery]] = []
        self.failing: set[str] = set()
        self.notifications = self.server(self._send)

    def server(self, sender: Callable[..., Awaitable[None]] = send) -> Notifications:
        return Notifications(
            clock=self.clock, sealing=self.sealing, channels=self.channels, outbox=self.outbox, sender=sender
        )

    async def _send(self, channel: Channel, secrets: ChannelSecrets, delivery: Delivery) -> None:
        assert secrets.secret == SECRET
        if channel.name in self.failing:
            raise Failed("webhook_failed", "It is down.", next_step="Wait.")
        self.sent.append((channel.name, delivery))

    async def channel(self, name: str = "ops", *kinds: NoticeKind, url: str = "https://example.org/x") -> Channel:
        wanted = Channel(
            id="",
            name=name,
            kind=ChannelKind.WEBHOOK,
            created_at="",
            webhook=Webhook(origin="https://example.org"),
            kinds=kinds,
        )
        return await self.notifications.add(wanted, ChannelSecrets(url=url, secret=SECRET))

    async def told(self, *notices: Notice) -> None:
        await self.outbox.tell(notices, now=self.clock.at, lasting={}, over=[])

    async def titles(self, after: timedelta = timedelta()) -> list[str]:
        """What is delivered when it is so much later."""
        self.clock.at += after
        before = len(self.sent)
        await self.notifications.look()
        return [delivery.notice.line for _, delivery in self.sent[before:]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "keys").mkdir()
    bench = Bench(tmp_path)
    await bench.database.open()
    yield bench
    await bench.database.close()


async def test_a_notice_goes_once_through_every_channel_that_takes_it(bench: Bench) -> None:
    await bench.channel("all")
    await bench.channel("disks", NoticeKind.DISK_LOW)
    await bench.told(NOTICE)
    assert await bench.titles() == ["Deploy of notes failed"]
    assert await bench.titles(GIVEN_UP) == []
    assert await bench.outbox.waiting() == ()


async def test_what_can_not_be_delivered_is_tried_again_less_and_less_often_in_order_and_through_a_restart(
    bench: Bench,
) -> None:
    await bench.channel("down")
    await bench.channel("up")
    bench.failing = {"down"}
    await bench.told(NOTICE, replace(NOTICE, title="later"))
    assert await bench.titles() == ["Deploy of notes failed", "later"]
    assert {name for name, _ in bench.sent} == {"up"}
    [down, _] = await bench.notifications.list()
    assert (down.waiting, down.error) == (2, Told("It is down.", code="webhook_failed", next_step="Wait."))
    assert [str(each) for each in (await bench.notifications.facts()).failing] == ["down: It is down."]
    bench.notifications = bench.server(bench._send)
    bench.failing = set()
    assert await bench.titles(MINUTE - timedelta(seconds=1)) == []
    assert await bench.titles(timedelta(seconds=1)) == ["Deploy of notes failed", "later"]
    assert (await bench.notifications.facts()).failing == ()


async def test_a_clock_that_was_ahead_keeps_nothing_from_being_delivered(bench: Bench) -> None:
    await bench.channel()
    bench.clock.at += timedelta(days=2000)
    bench.failing = {"ops"}
    await bench.told(NOTICE)
    await bench.titles()
    bench.clock.at = NOON
    bench.failing = set()
    assert await bench.titles() == ["Deploy of notes failed"]


async def test_what_can_not_be_delivered_for_a_week_is_given_up_and_holds_up_nothing(bench: Bench) -> None:
    await bench.channel("down")
    bench.failing = {"down"}
    await bench.told(NOTICE)
    await bench.titles()
    bench.clock.at += GIVEN_UP
    await bench.notifications.look()
    assert await bench.outbox.waiting() == ()


async def test_a_delivery_whose_success_was_not_recorded_comes_again_with_the_same_id(bench: Bench) -> None:
    await bench.channel()
    await bench.told(NOTICE)
    [waiting] = await bench.outbox.waiting()
    await bench.titles()
    assert bench.sent[0][1].id == waiting.id


async def test_a_test_goes_through_at_once_or_says_why_not(bench: Bench) -> None:
    await bench.channel()
    await bench.notifications.test("ops")
    assert bench.sent[0][1].notice.kind is NoticeKind.TEST
    bench.failing = {"ops"}
    with pytest.raises(Refused) as caught:
        await bench.notifications.test("ops")
    assert caught.value.code == "webhook_failed"
    with pytest.raises(NotFound):
        await bench.notifications.test("none")


def read_all(directory: Path) -> Iterator[bytes]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


async def test_what_is_secret_of_a_channel_is_sealed_and_goes_with_it(bench: Bench, tmp_path: Path) -> None:
    await bench.channel(url="https://example.org/t0ken-in-the-path")
    with pytest.raises(Conflict):
        await bench.channel()
    await bench.told(NOTICE)
    files = b"".join(read_all(tmp_path))
    assert SECRET.encode() not in files
    assert b"t0ken-in-the-path" not in files
    await bench.notifications.remove("ops")
    assert (await bench.outbox.waiting(), await bench.notifications.list()) == ((), ())


async def test_from_an_operation_that_fails_to_the_webhook(bench: Bench) -> None:
    workload = Workload(
        id=new_id(),
        spec=WorkloadSpec(name="notes", image="notes:1", project="home"),
        desired=DesiredState.RUNNING,
        created_at=now(),
        updated_at=now(),
    )
    await WorkloadStore(bench.database).insert(workload)
    operations = Operations(OperationStore(bench.database), DrainBarrier())

    async def fail(_ctx: OperationContext) -> None:
        raise Failed("no_image", "There is no image.", next_step="Build it.")

    async with web_server() as received:
        await bench.channel(url=received.url)
        started = await operations.start(OperationKind.DEPLOY, workload.id, "ann", fail)
        assert (await operations.wait(started.id)).state is OperationState.FAILED
        await bench.server().look()
    told = json.loads(received.requests[0][2])
    assert (told["title"], told["workload"]) == ("Deploy of notes failed", "notes")
    assert (told["message"], told["operation_id"]) == ("There is no image.", started.id)


async def test_what_the_servers_death_cut_off_is_told_by_the_next_one(bench: Bench) -> None:
    await bench.channel()
    operations = Operations(OperationStore(bench.database), DrainBarrier())

    async def hang(_ctx: OperationContext) -> None:
        await asyncio.Event().wait()

    await operations.start(OperationKind.DEPLOY, None, "ann", hang)
    await operations.close(0.0)
    assert await bench.titles() == []
    await Operations(OperationStore(bench.database), DrainBarrier()).recover_unfinished()
    assert await bench.titles() == ["Deploy interrupted"]


# --- conditions


class Watched:
    """Schedules and disks that are as they were set."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.health = ScheduleHealth.ON_TIME
        self.disk = FindingLevel.OK
        self.restart()

    def restart(self) -> None:
        self.alarms = Alarms(
            clock=self.bench.clock, outbox=self.bench.outbox, schedules=self._schedules, space=self._space
        )

    async def _schedules(self) -> tuple[Standing, ...]:
        run = Run(due_at=NOON, started_at=NOON, result=RunResult.FAILED, message="The hook failed.")
        return (
            Standing(
                schedule=Schedule(kind=ScheduleKind.SNAPSHOT, subject="w1", name="notes", cron="0 3 * * *", zone="UTC"),
                state=ScheduleState(cron="0 3 * * *", zone="UTC", reckoned_at=NOON, due_at=NOON, last=run),
                health=self.health,
                next_at=NOON,
                waiting=Told("waiting for restore 01j"),
            ),
        )

    async def _space(self) -> dict[str, Finding]:
        return {"/srv": Finding(check="space /srv", level=self.disk, told=Told("1 MiB free.", next_step="Delete."))}

    async def after(self, later: timedelta, *, every: timedelta = MINUTE) -> list[str]:
        """What is told in so much time, by looks at intervals."""
        titles: list[str] = []
        end = self.bench.clock.at + later
        while self.bench.clock.at < end:
            self.bench.clock.at = min(end, self.bench.clock.at + every)
            await self.alarms.look()
            titles += await self.bench.titles()
        return titles


@pytest.fixture
async def watched(bench: Bench) -> Watched:
    await bench.channel()
    return Watched(bench)


async def test_a_failing_schedule_is_told_at_once_then_daily_then_when_it_is_over(watched: Watched) -> None:
    assert await watched.after(MINUTE) == []
    watched.health = ScheduleHealth.FAILED
    assert await watched.after(MINUTE) == ["Snapshots of notes: failed"]
    assert watched.bench.sent[0][1].notice.message == "The hook failed."
    watched.restart()
    assert await watched.after(AGAIN - MINUTE, every=timedelta(hours=1)) == []
    assert await watched.after(2 * AGAIN, every=timedelta(hours=1)) == ["Snapshots of notes: failed"] * 2
    watched.health = ScheduleHealth.ON_TIME
    assert await watched.after(timedelta(hours=3)) == ["Over: Snapshots of notes: failed"]


async def test_what_is_being_caught_up_after_a_restart_is_told_only_if_that_takes_long(watched: Watched) -> None:
    watched.health = ScheduleHealth.OVERDUE
    assert await watched.after(SETTLED) == []
    watched.health = ScheduleHealth.ON_TIME
    assert await watched.after(MINUTE) == []
    watched.health = ScheduleHealth.OVERDUE
    assert await watched.after(SETTLED + MINUTE) == ["Snapshots of notes: overdue"]
    assert watched.bench.sent[0][1].notice.message == "waiting for restore 01j"


async def test_a_disk_about_its_threshold_does_not_flood(watched: Watched) -> None:
    for _ in range(30):
        watched.disk = FindingLevel.WARNING
        assert await watched.after(2 * MINUTE) == []
        watched.disk = FindingLevel.OK
        assert await watched.after(2 * MINUTE) == []
    watched.disk = FindingLevel.ERROR
    assert await watched.after(SETTLED + MINUTE) == ["The disk of /srv is nearly full"]
    for _ in range(30):
        watched.disk = FindingLevel.OK
        assert await watched.after(2 * MINUTE) == []
        watched.disk = FindingLevel.WARNING
        assert await watched.after(2 * MINUTE) == []
    watched.disk = FindingLevel.OK
    assert await watched.after(SETTLED + MINUTE) == ["Over: The disk of /srv is nearly full"]


async def test_it_looks_and_delivers_by_itself(bench: Bench) -> None:
    await bench.channel()
    watched = Watched(bench)
    watched.health = ScheduleHealth.MISSED
    arrived = asyncio.Event()

    async def sender(_channel: Channel, _secrets: ChannelSecrets, _delivery: Delivery) -> None:
        arrived.set()

    await watched.alarms.look()
    server = bench.server(sender)
    server.start()
    watched.alarms.start()
    await arrived.wait()
    await watched.alarms.close()
    await server.close()
