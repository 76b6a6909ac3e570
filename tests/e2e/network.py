"""A network of its own for the browser, as if it ran on another machine.

Containers of other tests come and go meanwhile, and with each the interfaces of this machine change; Chromium then
breaks off what it is connecting (``ERR_NETWORK_CHANGED``). Where the browser runs nothing changes; and there is
nothing but the server, so that a page which needs anything else does not work.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_INSIDE: Final = """
import fcntl, socket, struct, sys
channel = socket.socket(fileno=0)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
while port := channel.recv(8):
    listening = socket.create_server(("127.0.0.1", int(port)))
    socket.send_fds(channel, [b"!"], [listening.fileno()])
    listening.close()
"""
"""Keeps the namespace, and opens the ports in it that it is asked for: a socket stays where it was made."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network namespace whose loopback leads to this machine's, port by port."""

    holder: int
    channel: socket.socket
    opened: AsyncExitStack

    async def open(self, port: int) -> None:
        """Have the port of the other side lead to the same port here, whether or not anybody listens there now."""
        self.channel.send(str(port).encode())
        _, (listening,), _, _ = socket.recv_fds(self.channel, 1, 1)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, here = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.transport.abort()
                return
            await asyncio.gather(_copy(reader, here), _copy(there, writer))

        await self.opened.enter_async_context(await asyncio.start_server(relay, sock=socket.socket(fileno=listening)))

    def wrap(self, program: str, directory: Path) -> Path:
        """A program that is this one, within the network."""
        script = directory / Path(program).name
        script.write_text(f'#!/bin/sh\nexec nsenter --target {self.holder} --net "{program}" "$@"\n')
        script.chmod(0o755)
        return script


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side ends: a server that is gone is gone for the browser, too."""
    try:
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """A new one, which is gone afterwards."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            holder = await asyncio.create_subprocess_exec(
                "unshare", "--net", sys.executable, "-c", _INSIDE, stdin=theirs.fileno()
            )
        async with AsyncExitStack() as opened:
            yield Network(holder.pid, ours, opened)
    await holder.wait()  # it ends with the channel
