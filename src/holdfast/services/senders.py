"""Sending one notice: to a webhook, or by mail.

A webhook is posted to over an address that was looked at first: never one that is link-local (where clouds keep their
credentials), multicast or unspecified; over plain HTTP only within this machine or a private network. No redirect is
followed, no proxy of the environment is used, and of the answer only the status counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast import __version__
from holdfast.domain.errors import Failed
from holdfast.domain.notice import ChannelSecrets, Delivery, Level, Mail, MailTls, Notice
from holdfast.domain.printable import printable
from holdfast.domain.times import parse
from holdfast.services.addresses import never_told

if TYPE_CHECKING:
    import httpx  # loaded only where there is something to post: it takes two MiB

TIMEOUT: Final = 15.0
"""Seconds that a delivery may take at each of its steps."""

_TOGETHER: Final = 30.0
SIGNATURE: Final = "X-Holdfast-Signature"


def body_of(delivery: Delivery) -> bytes:
    """What a webhook gets. ``id`` is the same for each attempt."""
    notice = delivery.notice
    return msgspec.json.encode(
        {
            "id": delivery.id,
            "kind": notice.kind,
            "level": notice.level,
            "title": notice.line,
            "text": text_of(notice),
            "message": notice.message,
            "next_step": notice.next_step,
            "workload": notice.workload or None,
            "operation_id": notice.operation_id or None,
            "at": notice.at,
        }
    )


def text_of(notice: Notice) -> str:
    """A notice for people. What others said in it can't put signs into a terminal or a mail that nobody sees."""
    lines = "\n".join(part for part in (notice.line, notice.message, notice.next_step) if part).splitlines()
    return "\n".join(printable(line) for line in lines)


def signature(secret: bytes, body: bytes) -> str:
    """What :data:`SIGNATURE` says: the HMAC of the body as it is."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


async def post(secrets: ChannelSecrets, delivery: Delivery) -> None:
    """Post a notice.

    Raises:
        Failed: ``webhook_failed``, ``webhook_address_refused``.
    """
    import httpx

    body = body_of(delivery)
    headers = {"Content-Type": "application/json", "User-Agent": f"holdfast/{__version__}"}
    if secrets.secret:
        headers[SIGNATURE] = signature(secrets.secret.encode(), body)
    try:
        async with asyncio.timeout(_TOGETHER):
            url = httpx.URL(secrets.url)
            address = await _address(url)
            headers["Host"] = url.netloc.decode()
            async with (
                httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, follow_redirects=False) as client,
                client.stream(
                    "POST",
                    url.copy_with(host=address),
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": url.host},
                ) as answer,
            ):
                status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
        raise _failed(f"The webhook can't be reached: {str(error) or 'no answer in time'}.") from error
    if not 200 <= status < 300:
        raise _failed(f"The webhook answered with status {status}.")


async def _address(url: httpx.URL) -> str:
    """The address that is posted to, once all that the name has were looked at."""
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    for address in addresses:
        real = getattr(address, "ipv4_mapped", None) or address
        if never_told(address):
            raise _refused(f"{url.host} is {real}, where nothing is posted to.")
        if url.scheme != "https" and not real.is_private:
            raise _refused(f"{url.host} is {real}: beyond this machine and private networks it has to be https.")
    return str(addresses[0])


async def mail(to: Mail, secrets: ChannelSecrets, delivery: Delivery) -> None:
    """Mail a notice.

    Raises:
        Failed: ``mail_failed``.
    """
    try:
        async with asyncio.timeout(4 * _TOGETHER):
            await asyncio.to_thread(_mail, to, secrets.secret, message_of(to, delivery))
    except (smtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
        raise Failed(
            "mail_failed",
            f"The mail server {to.host} did not take the mail: {str(error) or 'no answer in time'}.",
            next_step="Check the server's address, its login, and whether it takes mail from this sender.",
        ) from error


def message_of(to: Mail, delivery: Delivery) -> EmailMessage:
    """A notice as a mail. Its id is the delivery's: who gets it twice sees that."""
    notice = delivery.notice
    mark = {Level.PROBLEM: "problem", Level.OVER: "over", Level.INFO: "note"}[notice.level]
    message = EmailMessage()
    message["From"] = to.sender
    message["To"] = ", ".join(to.recipients)
    message["Subject"] = f"[Holdfast] {mark}: {notice.line}"[:200]
    message["Date"] = format_datetime(parse(notice.at))
    message["Message-ID"] = make_msgid(delivery.id, to.sender.rpartition("@")[2] or "holdfast")
    message["Auto-Submitted"] = "auto-generated"
    operation = f"\n\nholdfast operation show {notice.operation_id}" if notice.operation_id else ""
    message.set_content(text_of(notice) + operation + "\n")
    return message


def _mail(to: Mail, password: str, message: EmailMessage) -> None:
    context = ssl.create_default_context()
    opened = (
        smtplib.SMTP_SSL(to.host, to.port, timeout=TIMEOUT, context=context)
        if to.tls is MailTls.TLS
        else smtplib.SMTP(to.host, to.port, timeout=TIMEOUT)
    )
    with opened as server:
        if to.tls is MailTls.STARTTLS:
            server.starttls(context=context)
        if to.username:
            server.login(to.username, password)
        server.send_message(message)


def _failed(message: str) -> Failed:
    return Failed("webhook_failed", message, next_step="Check its address, and that it answers with a status of 2xx.")


def _refused(message: str) -> Failed:
    return Failed("webhook_address_refused", message, next_step="Remove the channel, and add it with another address.")
