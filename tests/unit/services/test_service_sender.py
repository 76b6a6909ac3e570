"""Notices by a service that Apprise knows, here ntfy: to a server that is there, that refuses, that is gone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from holdfast.domain.errors import Failed, InvalidInput
from holdfast.domain.notice import Level, Notice, NoticeKind
from holdfast.services import service_sender
from holdfast.services.addresses import never_told
from holdfast.services.service_sender import Result, Task, carry_out, service_of, tell

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # a part of Apprise

NOTICE = Notice(
    kind=NoticeKind.DEPLOY_FAILED, level=Level.PROBLEM, title="Deploy of notes failed", at="2026-11-23T12:00:00.000000Z"
)


@dataclass
class Ntfy:
    """As much of an ntfy server as a notice needs."""

    port: int = 0
    status: int = 200
    came: list[bytes] = field(default_factory=list)


@pytest.fixture
def ntfy() -> Iterator[Ntfy]:
    found = Ntfy()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(found.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_notice_reaches_the_service_and_nothing_of_apprise_stays_in_the_server(ntfy: Ntfy) -> None:
    await tell(f"ntfy://127.0.0.1:{ntfy.port}/topic", NOTICE, "No image.")
    [body] = ntfy.came
    assert b"Deploy of notes failed" in body
    assert b"No image." in body


async def test_an_address_of_no_service_is_refused_with_where_to_read_how_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def done(task: Task) -> Result:
        return carry_out(task)

    monkeypatch.setattr(service_sender, "_done", done)
    for address, words in (("nothing://at/all", "lacks something"), ("ntfy.sh/topic", "begin with the service")):
        with pytest.raises(InvalidInput, match=words) as caught:
            await service_of(address)
        assert caught.value.code == "service_address_invalid"
        assert "appriseit.com" in caught.value.next_step


async def test_a_process_that_says_nothing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_sender, "_PROGRAM", "this")  # prints something else
    with pytest.raises(Failed) as caught:
        await tell("ntfy://127.0.0.1/topic", NOTICE, "")
    assert caught.value.code == "service_failed"


def test_what_a_service_is_is_told_without_telling_anybody(ntfy: Ntfy) -> None:
    assert carry_out(Task(url=f"ntfy://127.0.0.1:{ntfy.port}/topic")) == Result(service="ntfy")
    assert ntfy.came == []


def test_what_others_said_is_no_markup_for_a_service_that_takes_some(
    ntfy: Ntfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "apprise.plugins.telegram.NotifyTelegram.notify_url", f"http://127.0.0.1:{ntfy.port}/bot", raising=True
    )
    said = 'The registry says (<a href="https://elsewhere.example">Sign in again</a>).'
    url = "tgram://123456789:abcdefg_hijklmnop/12315544/"
    assert carry_out(Task(url=url, kind="failure", title="t", body=said)).problem == ""
    text = json.loads(ntfy.came[-1])["text"]
    assert "<a " not in text
    assert "&lt;a href=" in text


def test_a_service_that_refuses_or_is_gone_says_so(ntfy: Ntfy) -> None:
    ntfy.status = 403
    refused = carry_out(Task(url=f"ntfy://127.0.0.1:{ntfy.port}/topic", kind="failure", title="t", body="b"))
    assert "403" in refused.problem
    gone = carry_out(Task(url="ntfy://127.0.0.1:1/topic", kind="failure", title="t", body="b"))
    assert (gone.service, bool(gone.problem)) == ("ntfy", True)


@pytest.mark.parametrize("url", ["json://127.0.0.1/x", "XMLS://127.0.0.1/x", "form://127.0.0.1", "no address", ""])
def test_what_posts_to_any_address_and_what_is_none_is_no_service(url: str) -> None:
    assert carry_out(Task(url=url)).service == ""


def test_nothing_is_told_where_clouds_keep_their_credentials(ntfy: Ntfy) -> None:
    for kind in ("", "info"):
        found = carry_out(Task(url="ntfy://169.254.169.254/topic", kind=kind, title="t", body="b"))
        assert "169.254.169.254, where nobody is told" in found.problem
    assert [never_told(ip_address(each)) for each in ("::ffff:169.254.1.1", "127.0.0.1", "10.0.0.1", "0.0.0.0")] == [
        True,
        False,
        False,
        True,
    ]
