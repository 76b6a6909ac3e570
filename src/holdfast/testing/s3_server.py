"""An S3 server on this host for tests: moto's, over real HTTP. It keeps everything in memory."""

from __future__ import annotations

import http.client
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from werkzeug.serving import WSGIRequestHandler, make_server

PAGE: Final = 10
"""How many objects a page of a list has, where S3 itself has a thousand: lists of several pages are quickly made."""
_PATIENCE: Final = 30


class S3Server:
    """A running server.

    Attributes:
        port: on ``127.0.0.1``.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self._put(f"/{name}", b"")

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object, past whatever is tested."""
        self._put(f"/{bucket}/{key}", content)

    def _put(self, path: str, content: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request("PUT", path, content)
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != HTTPStatus.OK:
            raise RuntimeError(f"the server answered {status}")


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server until the context ends."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # most of a second

    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(PAGE)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1",
        0,
        _one_at_a_time(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=_Handler,
    )
    thread = threading.Thread(target=server.serve_forever, name="s3-server")
    thread.start()
    try:
        yield S3Server(int(server.server_address[1]))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        del os.environ["MOTO_S3_DEFAULT_MAX_KEYS"]


def _one_at_a_time(application: Any) -> Callable[[Any, Any], Iterable[bytes]]:
    """Moto checks a condition and acts on it in two steps, which a real S3 does not."""
    lock = threading.Lock()

    def serve(environ: Any, start_response: Any) -> Iterable[bytes]:
        with lock:
            return list(application(environ, start_response))

    return serve


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE
