"""A proxy on this host that misbehaves on order, between a client and a real HTTP server.

Faults are queued; each request that one applies to takes it, others pass. Nothing here waits for a time: what stalls
stalls until the proxy ends.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeAlias

_POLL: Final = 0.02
"""Seconds until the end of the proxy is noticed."""
_PATIENCE: Final = 30
"""Seconds that the proxy itself waits for anybody."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers by itself; the server behind sees nothing."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Closes the connection without an answer; the server behind sees nothing."""


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Lets the server behind do it, and closes the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Never answers; the server behind sees nothing."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Answers as the server behind does, but not before the event is set."""

    until: threading.Event


@dataclass(frozen=True, slots=True)
class CutOff:
    """Announces all of the real answer's body, sends the first ``after`` bytes of it, and closes the connection."""

    after: int


@dataclass(frozen=True, slots=True)
class StallBody:
    """Sends the first ``after`` bytes of the real answer's body, and never the rest."""

    after: int


@dataclass(frozen=True, slots=True)
class Shorten:
    """Sends the first ``to`` bytes of the real answer's body as if they were all."""

    to: int


@dataclass(frozen=True, slots=True)
class Strip:
    """Passes the request on without one of its headers, as if the server behind did not heed it."""

    header: str


Fault: TypeAlias = Strip | Answer | Refuse | LoseAnswer | Stall | Hold | CutOff | StallBody | Shorten


@dataclass(slots=True)
class _Ordered:
    fault: Fault
    times: int
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    announced: str | None = field(default=None)
    """A ``Content-Length`` that came without a body (``HEAD``)."""


class Request(NamedTuple):
    """A request as it came; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class FaultyProxy:
    """Forwards to ``127.0.0.1:upstream``; a context manager.

    Args:
        tls: what it speaks to its clients; plain HTTP without.

    Attributes:
        requests: those that came, in order.
    """

    def __init__(self, upstream: int, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self._upstream = upstream
        self._ordered: list[_Ordered] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self._handle))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL,), name="faulty-proxy")

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def order(self, fault: Fault, *, times: int = 1, method: str = "", path: str = "") -> None:
        """Have the next ``times`` requests of this method whose path contains ``path`` meet a fault."""
        with self._lock:
            self._ordered.append(_Ordered(fault, times, method, path))

    def forget(self) -> None:
        """Order no more trouble."""
        with self._lock:
            self._ordered.clear()

    @property
    def left(self) -> int:
        """How many ordered faults were not met yet."""
        with self._lock:
            return sum(ordered.times for ordered in self._ordered)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for ordered in self._ordered:
                if ordered.times and ordered.method in ("", request.method) and ordered.path in request.path:
                    ordered.times -= 1
                    return ordered.fault
        return None

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        fault = self._take(Request(handler.command, handler.path, headers))
        if isinstance(fault, Refuse):
            _hang_up(handler)
        elif isinstance(fault, Stall):
            self._over.wait(_PATIENCE)
            _hang_up(handler)
        elif isinstance(fault, Answer):
            _send(handler, _Response(fault.status, [], fault.body))
        else:
            if isinstance(fault, Strip):
                del handler.headers[fault.header]
            if isinstance(fault, Hold):
                fault.until.wait(_PATIENCE)
            response = self._forward(handler, body)
            if isinstance(fault, LoseAnswer):
                _hang_up(handler)
            elif isinstance(fault, CutOff | StallBody):
                _send(handler, response, cut=fault.after)
                if isinstance(fault, StallBody):
                    self._over.wait(_PATIENCE)
                _hang_up(handler)
            elif isinstance(fault, Shorten):
                _send(handler, _Response(response.status, response.headers, response.body[: fault.to]))
            else:
                _send(handler, response)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> _Response:
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=_PATIENCE)
        try:
            upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
            passed = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
            announced = answer.getheader("Content-Length") if handler.command == "HEAD" else None
            return _Response(answer.status, passed, content, announced)
        finally:
            upstream.close()


_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "date", "server"})


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what many tests are about."""


def _handler(handle: Callable[[BaseHTTPRequestHandler], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _PATIENCE

        def do_GET(self) -> None:
            """Whatever the method."""
            handle(self)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names that the library looks for

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Tests are quiet."""

    return Handler


def _send(handler: BaseHTTPRequestHandler, response: _Response, cut: int | None = None) -> None:
    handler.send_response(response.status)
    for name, value in response.headers:
        handler.send_header(name, value)
    handler.send_header("Content-Length", response.announced or str(len(response.body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(response.body if cut is None else response.body[:cut])
    handler.wfile.flush()


def _hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
