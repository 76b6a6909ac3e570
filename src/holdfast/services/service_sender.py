"""Telling by one of the services that Apprise knows: Telegram, ntfy, Slack, Matrix and a hundred more.

Apprise takes a while to load, and as much memory as the rest of a server at rest. So it is loaded by a process of its
own for each notice, which reads what to do from its standard input, says what came of it, and is gone:
``python -m holdfast.services.service_sender``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
import sys
from contextlib import AbstractContextManager
from io import StringIO
from typing import Final

import msgspec

from holdfast.domain.errors import Failed, InvalidInput
from holdfast.domain.notice import Level, Notice
from holdfast.services.addresses import never_told

TIMEOUT: Final = 60.0
"""Seconds that looking an address up, or telling somebody, may take."""

_ADDRESS: Final = re.compile(r"[a-zA-Z0-9]+://\S+")
_PROGRAM: Final = "holdfast.services.service_sender"
_OTHERWISE: Final = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})
"""Ways of posting to any address; Holdfast's own webhook channel looks at the address first, and signs."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to do.

    Attributes:
        url: Apprise's address of a service; secret.
        kind: how the service marks it; empty: tell nobody, only look what service it is.
    """

    url: str
    kind: str = ""
    title: str = ""
    body: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        service: its name; empty where the address leads to none.
        problem: why nobody was told.
    """

    service: str = ""
    problem: str = ""


async def service_of(url: str) -> str:
    """The name of the service that an address leads to (``Telegram``).

    Raises:
        InvalidInput: ``service_address_invalid``.
        Failed: ``service_failed``; it can't be looked up now.
    """
    written = _ADDRESS.fullmatch(url)
    found = await _done(Task(url=url)) if written else Result(problem="it has to begin with the service, as in ntfy://")
    if not found.service:
        raise InvalidInput(
            "service_address_invalid",
            f"That is no address of a service that can be told: {found.problem}.",
            next_step="Write it as Apprise does (https://appriseit.com), as in ntfy://ntfy.sh/my-topic; for an address "
            "of your own add a webhook.",
        )
    return found.service


async def tell(url: str, notice: Notice, body: str) -> None:
    """Tell by a service.

    Raises:
        Failed: ``service_failed``.
    """
    kind = {Level.PROBLEM: "failure", Level.OVER: "success", Level.INFO: "info"}[notice.level]
    found = await _done(Task(url=url, kind=kind, title=f"Holdfast: {notice.line}", body=body))
    if found.problem:
        raise _failed(f"{found.service or 'The service'} did not take the notice: {found.problem}.")


async def _done(task: Task) -> Result:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _PROGRAM), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            told, _ = await process.communicate(msgspec.json.encode(task))
        return msgspec.json.decode(told, type=Result)
    except (TimeoutError, msgspec.DecodeError) as error:
        raise _failed("The service gave no answer in time.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _failed(message: str) -> Failed:
    return Failed(
        "service_failed", message, next_step="Check the service, and the address with which the channel was added."
    )


def carry_out(task: Task) -> Result:
    """What the process does."""
    import apprise

    plugin = apprise.Apprise.instantiate(task.url) if task.url.partition("://")[0].lower() not in _OTHERWISE else None
    if plugin is None:
        return Result(problem="it is not one that Apprise knows, or lacks something")
    service, host = str(plugin.service_name), getattr(plugin, "host", None)
    try:
        refused = next(filter(never_told, _addresses(host)), None) if isinstance(host, str) and host else None
    except OSError as error:
        return Result(service=service, problem=f"{host}: {error.strerror}")
    if refused is not None:
        return Result(service=service if task.kind else "", problem=f"{host} is {refused}, where nobody is told")
    if not task.kind:
        return Result(service=service)
    teller = apprise.Apprise()
    teller.add(plugin)
    capture: AbstractContextManager[StringIO] = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
    with capture as said:
        # as text: what a registry or a container said in it is no link, whatever the service makes of markup
        as_text = apprise.NotifyFormat.TEXT
        done = bool(teller.notify(body=task.body, title=task.title, notify_type=task.kind, body_format=as_text))
        problem = "; ".join(said.getvalue().split("\n")).strip("; .") or "it gave no reason"
    return Result(service=service, problem="" if done else problem)


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


if __name__ == "__main__":
    result = carry_out(msgspec.json.decode(sys.stdin.buffer.read(), type=Task))
    sys.stdout.buffer.write(msgspec.json.encode(result))
