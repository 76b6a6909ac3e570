"""Who connects and says nothing, or too little, takes nothing away from others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from holdfast.bootstrap import connections
from holdfast.bootstrap.connections import BoundedConnection

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """A server with this kind of connection. Gives its port."""
    config = uvicorn.Config(PlainTextResponse("here"), http=BoundedConnection, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as address:
        task = asyncio.create_task(server.serve(sockets=[address]))
        try:
            async with asyncio.timeout(10):
                yield address.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def test_a_head_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    async with serving() as port:
        reader, silent = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        silent.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        writer.write(ASK[:10])
        assert await reader.read() == b""
        writer.close()


async def test_there_are_never_more_connections_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    async with serving() as port, AsyncExitStack() as opened:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.callback(writer.close)
            writer.write(ASK)
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
