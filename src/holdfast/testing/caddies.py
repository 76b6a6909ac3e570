"""Real Caddies for tests, each on a loopback address of its own, so that ports never collide."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from holdfast.edge.caddy import end_own

PATIENCE: Final = 60.0


def own_address() -> str:
    """A loopback address that nobody else uses."""
    return "127." + ".".join(str(2 + secrets.randbelow(250)) for _ in range(3))


@dataclass(slots=True, kw_only=True)
class HeldBackend:
    """Something that answers once it is let.

    Attributes:
        asked: somebody waits for an answer.
        release: they may have it.
    """

    address: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def backend(text: str) -> AsyncIterator[str]:
    """Something that answers every request with ``text`` and the path that was asked for. Gives ``address:port``.

    Asked to upgrade, it does, and sends back what it gets.
    """
    released = HeldBackend()
    released.release.set()
    async with _answering(text, released) as address:
        yield address


@asynccontextmanager
async def held_backend(text: str) -> AsyncIterator[HeldBackend]:
    """As :func:`backend`, but it holds its answers back."""
    held = HeldBackend()
    async with _answering(text, held) as held.address:
        yield held


@asynccontextmanager
async def _answering(text: str, held: HeldBackend) -> AsyncIterator[str]:
    open_ones: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if "upgrade: websocket" in head.lower():
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                    )
                    while data := await reader.read(1000):
                        writer.write(data)
                    break
                held.asked.set()
                await held.release.wait()
                body = f"{text} {head.split()[1]}".encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        open_ones.discard(writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in [*open_ones]:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def own_directory() -> AsyncIterator[Path]:
    """A short path below which a Caddy of Holdfast's own may be started; at the end it is stopped."""
    with tempfile.TemporaryDirectory(prefix="hf-edge-", ignore_cleanup_errors=True) as directory:
        try:
            yield Path(directory)
        finally:
            for started in _below(directory):
                await end_own(started)
                await until_gone(started)


def _below(directory: str) -> list[Path]:
    return [socket.parent for socket in Path(directory).rglob("admin.sock")]


async def until_gone(directory: Path) -> None:
    """Wait until the Caddy of this directory has ended."""
    await until(lambda: not processes(str(directory)))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that comes to be true outside of the test's own doing."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def processes(directory: str) -> list[int]:
    """The Caddies that run in a directory."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            caddy = process.name.isdigit() and (process / "comm").read_text() == "caddy\n"
            if caddy and str((process / "cwd").readlink()) == directory:
                found.append(int(process.name))
    return found


class StrangersCaddy:
    """A Caddy that somebody else runs, with a site of its own.

    Attributes:
        address: where it serves, on port 443, without TLS.
        admin: the address of its admin API.
    """

    def __init__(self, directory: Path, *, site: str = "theirs.test") -> None:
        self.address = own_address()
        self.admin = f"http://{self.address}:2019"
        self._directory = directory
        self._site = site
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """What its owner wrote."""
        site = {"match": [{"host": [self._site]}], "handle": [{"handler": "static_response", "body": "their site"}]}
        everything = {"handle": [{"handler": "static_response", "status_code": 404, "body": "not known here"}]}
        server = {
            "listen": [f"{self.address}:443"],
            "automatic_https": {"disable": True},
            "routes": [{**site, "terminal": True}, everything],
        }
        return {
            "admin": {"listen": f"{self.address}:2019", "config": {"persist": False}},
            "apps": {"http": {"servers": {"srv0": server}}},
        }

    async def start(self) -> None:
        """Run it as its owner configured it, whatever was changed since."""
        await asyncio.to_thread(self._launch)
        async with asyncio.timeout(PATIENCE):
            while not await self._answers():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    def _launch(self) -> None:
        program = shutil.which("caddy")
        assert program is not None, "make setup installs it"
        self._process = subprocess.Popen(  # noqa: S603 - the distribution's
            [program, "run", "--config", "-"],
            cwd=self._directory,
            env={"HOME": str(self._directory)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(json.dumps(self.config).encode())

    async def _answers(self) -> bool:
        try:
            return (await self.ask(self._site)).is_success
        except httpx.TransportError:
            return False

    async def ask(self, domain: str, path: str = "/") -> httpx.Response:
        """A request for a domain."""
        return await ask(self.address, 443, domain, path)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def ask(address: str, port: int, domain: str, path: str = "/") -> httpx.Response:
    """A request for a domain, on a connection of its own."""
    return await request("GET", f"http://{address}:{port}{path}", headers={"Host": domain})


async def request(method: str, url: str, **more: Any) -> httpx.Response:
    """One request, on a connection of its own."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return await client.request(method, url, **more)
