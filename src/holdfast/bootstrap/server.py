"""The server: the assembly, served over HTTP until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Final

import uvicorn

from holdfast.api.app import create_app
from holdfast.bootstrap.assembly import running
from holdfast.bootstrap.connections import BoundedConnection
from holdfast.bootstrap.engine_view import require_same_paths
from holdfast.bootstrap.seams import Seams
from holdfast.bootstrap.tls import BoundedSocket, Certificate
from holdfast.config import Settings
from holdfast.domain.errors import Conflict
from holdfast.log_setup import configure_logging

CLOSE_WAIT: Final = 3
"""Seconds that open connections get at shutdown, event streams among them."""


def serve(settings: Settings, seams: Seams | None = None) -> None:
    """Run the server until it is told to stop.

    Args:
        seams: what tests put in place of the real thing.

    Raises:
        Conflict: ``address_unavailable``; nothing was begun.
        InvalidInput: ``tls_certificate_unusable``; nothing was begun.
        Refused: ``engine_not_visible``, ``path_differs_for_engine``; nothing was begun.
        Busy: ``data_dir_in_use``.
    """
    certificate = Certificate(settings) if settings.tls_certificate else None
    require_same_paths(settings)
    again = True
    while again:  # anew, where a backup takes the place of the state: nothing of before knows anything of that
        with _bound(settings) as address:
            host, port = settings.listen.rpartition(":")[0], address.getsockname()[1]
            settings = replace(settings, listen=f"{host}:{port}")  # the same one each time
            configure_logging(settings.log_format)
            again = asyncio.run(_serve(settings, address, certificate, seams))


def _bound(settings: Settings) -> socket.socket:
    """The address, taken but not listened on yet: who connects before recovery is through is refused."""
    family = socket.AF_INET6 if ":" in settings.listen_host else socket.AF_INET
    # The protocol by its name: by it asyncio knows whose packets must not be held back (TCP_NODELAY).
    kind = BoundedSocket if settings.tls_certificate else socket.socket
    address = kind(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address.bind((settings.listen_host, settings.listen_port))
    except OSError as error:
        address.close()
        raise Conflict(
            "address_unavailable",
            f"{settings.listen_host} port {settings.listen_port} can't be listened on: {error.strerror}.",
            next_step="See whether another server runs there, or choose another address with --listen.",
        ) from error
    return address


async def _serve(
    settings: Settings, address: socket.socket, certificate: Certificate | None, seams: Seams | None
) -> bool:
    """Whether it is to start anew."""
    async with running(settings, seams) as holdfast, asyncio.TaskGroup() as beside:
        app = create_app(holdfast.api)
        config = uvicorn.Config(
            app,
            http=BoundedConnection,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # what a proxy says is read where it is needed, and only where one is trusted
            timeout_graceful_shutdown=CLOSE_WAIT,
            h11_max_incomplete_event_size=64 * 1024,
        )
        config.load()
        keeping_up = None
        if certificate is not None:
            config.ssl = certificate.context
            keeping_up = beside.create_task(certificate.keep_up(), name="certificate")
        _greet(settings, address.getsockname()[1], holdfast.first_token)
        server = _Server(config, app.state.closing)
        restarting = beside.create_task(server.end_for(holdfast.restart), name="restart")
        await server.serve(sockets=[address])
        restarting.cancel()
        if keeping_up is not None:
            keeping_up.cancel()
        return holdfast.restart.is_set() and not server.told_to_end


class _Server(uvicorn.Server):
    """Says to systemd when it listens, and when it stops, or will listen again soon; ends streams without end."""

    _restarts = False
    told_to_end = False

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As in the library, but that nothing raises the signal once more: it would end what is yet to end in order."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Somebody wants it to end."""
        self.told_to_end = True
        super().handle_exit(sig, frame)

    async def end_for(self, restart: asyncio.Event) -> None:
        """Stop in order, to start anew, once that is asked for."""
        await restart.wait()
        self._restarts = self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _tell_systemd("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _tell_systemd("RELOADING=1" if self._restarts else "STOPPING=1")
        self._closing.set()
        await super().shutdown(sockets)


def _tell_systemd(state: str) -> None:
    """What ``sd_notify`` does, where systemd started us. A systemd that hears nothing waits; that needs no error."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line, contextlib.suppress(OSError):
        line.connect(f"\0{name[1:]}" if name.startswith("@") else name)
        line.send(state.encode())


def _greet(settings: Settings, port: int, first_token: str | None) -> None:
    """The few lines that a person sees on the console; the token this once."""
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    scheme = "https" if settings.tls_certificate else "http"
    lines = [f"Holdfast listens on {scheme}://{host}:{port}, data in {settings.data_dir}"]
    if first_token is not None:
        lines.append(f"Admin token (shown once, kept in {settings.admin_token_file}): {first_token}")
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - for the person at the console
