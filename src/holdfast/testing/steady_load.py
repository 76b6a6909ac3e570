"""Steady load on one domain through an edge, from people who don't forgive: every request that fails is kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

PACE: Final = 0.01
"""Seconds between an answer and the next request of the same client."""


@dataclass(slots=True, kw_only=True)
class Load:
    """What became of the requests.

    Attributes:
        answers: how often each body was answered with 200.
        failed: what went wrong, in words; empty if nothing did.
        resent: requests on a connection that the edge had closed while it was idle, sent again on a new one, as
            RFC 9110 (9.2.2) has clients do and browsers do.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    resent: int = 0

    @property
    def requests(self) -> int:
        return sum(self.answers.values()) + len(self.failed)


@asynccontextmanager
async def steady_load(
    address: str, port: int, domain: str, *, paths: tuple[str, ...] = ("/",), clients: int = 4
) -> AsyncIterator[Load]:
    """Load for as long as the block takes: each client asks for the paths one after the other, again and again.

    Every other client keeps its connection; the others make a new one for each request. At the end each gets the answer
    that it waits for.
    """
    load, over = Load(), asyncio.Event()
    people = [
        asyncio.create_task(_Client(address, port, domain, load, keeps=bool(number % 2)).ask_until(over, paths))
        for number in range(clients)
    ]
    try:
        yield load
    finally:
        over.set()
        await asyncio.gather(*people)


class _ClosedIdleError(Exception):
    """The connection ended before a single byte of the answer."""


class _Client:
    def __init__(self, address: str, port: int, domain: str, load: Load, *, keeps: bool) -> None:
        self._address, self._port, self._domain = address, port, domain
        self._load = load
        self._keeps = keeps
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask_until(self, over: asyncio.Event, paths: tuple[str, ...]) -> None:
        while not over.is_set():
            for path in paths:
                await self._ask(path)
                await asyncio.sleep(PACE)
        self._hang_up()

    async def _ask(self, path: str) -> None:
        kept = self._connection is not None
        try:
            try:
                status, body = await self._answer(path)
            except _ClosedIdleError:
                if not kept:
                    raise
                self._load.resent += 1
                status, body = await self._answer(path)
        except (OSError, asyncio.IncompleteReadError, _ClosedIdleError) as error:
            self._hang_up()
            self._load.failed.append(f"{path}: {type(error).__name__} {error}")
            return
        if status == 200:
            self._load.answers[body] += 1
        else:
            self._load.failed.append(f"{path}: {status}")

    async def _answer(self, path: str) -> tuple[int, str]:
        if self._connection is None:
            self._connection = await asyncio.open_connection(self._address, self._port)
        reader, writer = self._connection
        close = "" if self._keeps else "Connection: close\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._domain}\r\n{close}\r\n".encode())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self._hang_up()
            if getattr(error, "partial", b""):
                raise
            raise _ClosedIdleError("closed before the answer") from error
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        body = await self._body(reader, headers)
        if headers.get("connection") == "close":
            self._hang_up()
        return int(head.split()[1]), body.decode().strip()

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None
