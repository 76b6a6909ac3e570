"""TLS by the server itself: a certificate that is renewed while it runs, and connections that say nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.bootstrap import tls
from holdfast.bootstrap.tls import BoundedSocket, Certificate
from holdfast.config import Settings
from holdfast.domain.errors import InvalidInput
from holdfast.testing.certificates import server_tls


def renew(directory: Path) -> str:
    """Put another certificate in place, as a renewal does. Gives its authority's."""
    fresh = directory / "fresh"
    fresh.mkdir(exist_ok=True)
    _, authority = server_tls(fresh)
    os.replace(fresh / "server.pem", directory / "server.pem")
    return authority


@asynccontextmanager
async def greeting(certificate: Certificate) -> AsyncIterator[int]:
    """A server that says hello by TLS. Gives its port."""

    async def hello(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    address = BoundedSocket()
    address.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(hello, sock=address, ssl=certificate.context):
        yield address.getsockname()[1]


async def greeted(port: int, authority: str) -> bytes:
    """What a client hears that trusts this authority only."""
    trusting = ssl.create_default_context(cadata=authority)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_renewed_certificate_is_used_for_new_connections_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    first = renew(tmp_path)
    certificate = Certificate(Settings(data_dir=tmp_path, tls_certificate=str(tmp_path / "server.pem")))
    async with greeting(certificate) as port:
        assert await greeted(port, first) == b"hello"
        (tmp_path / "server.pem").write_text("half of a cert")
        certificate.look()
        assert await greeted(port, first) == b"hello"
        (tmp_path / "server.pem").unlink()
        certificate.look()
        assert await greeted(port, first) == b"hello"
        second = renew(tmp_path)
        certificate.look()
        assert await greeted(port, second) == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await greeted(port, first)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"])
def test_one_that_can_not_be_used_is_refused_with_what_to_check(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "server.pem").write_text(content)
    with pytest.raises(InvalidInput) as caught:
        Certificate(Settings(data_dir=tmp_path, tls_certificate=str(tmp_path / "server.pem")))
    assert caught.value.code == "tls_certificate_unusable"


async def test_those_that_say_nothing_leave_descriptors_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = renew(tmp_path)
    certificate = Certificate(Settings(data_dir=tmp_path, tls_certificate=str(tmp_path / "server.pem")))
    async with greeting(certificate) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        monkeypatch.setattr(tls, "_MOST_DESCRIPTORS", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        monkeypatch.undo()
        assert await greeted(port, authority) == b"hello"
        for _, silent in opened:
            silent.close()
