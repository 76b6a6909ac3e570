"""TLS by the server itself: a certificate from files, taken anew when they change.

What replaces it may replace the files one after the other, and whenever it likes: a pair that doesn't fit, or a file
that is gone, changes nothing until the next look.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Final

import structlog

from holdfast.bootstrap.connections import MAX_CONNECTIONS
from holdfast.config import Settings
from holdfast.domain.errors import InvalidInput

LOOK_SECONDS: Final = 10.0
"""Between two looks at the files."""

_Seen = tuple[tuple[int, int, int], ...]


class Certificate:
    """The certificate that the settings name.

    Attributes:
        context: what new connections use.

    Raises:
        InvalidInput: ``tls_certificate_unusable``.
    """

    def __init__(self, settings: Settings) -> None:
        self._files = (settings.tls_certificate, settings.tls_key or settings.tls_certificate)
        self._log = structlog.get_logger("tls")
        try:
            self._seen = self._stamps()
            self.context = _context(*self._files)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidInput(
                "tls_certificate_unusable",
                f"{settings.tls_certificate} can't be used for TLS: {_reason(error)}.",
                next_step="Check tls_certificate and tls_key: the chain and its key, unencrypted, in PEM.",
            ) from error

    async def keep_up(self) -> None:
        """Take what the files hold when they change, for as long as the server runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take what the files hold now, if it is another certificate and one that can be used."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            _context(*self._files)  # fails where the pair doesn't fit, and leaves the one in use as it is
            self.context.load_cert_chain(*self._files)
        except (OSError, ValueError) as error:
            self._log.warning("the new certificate can't be used yet", reason=_reason(error))
        else:
            self._seen = stamps
            self._log.info("a new certificate is used from now on", file=self._files[0])

    def _stamps(self) -> _Seen:
        return tuple((found.st_ino, found.st_size, found.st_mtime_ns) for found in map(os.stat, self._files))


class BoundedSocket(socket.socket):
    """A listening socket that hangs up where there are too many connections, those that do not speak TLS yet included.

    :class:`holdfast.bootstrap.connections.BoundedConnection` hears of a connection only once it does.
    """

    def accept(self) -> tuple[socket.socket, object]:
        """Take the next connection.

        Raises:
            ConnectionAbortedError: there were too many, and it was closed.
        """
        taken, address = super().accept()
        if len(os.listdir("/proc/self/fd")) > _MOST_DESCRIPTORS:
            taken.close()
            raise ConnectionAbortedError
        return taken, address


_MOST_DESCRIPTORS: Final = MAX_CONNECTIONS + 200
"""Below 1024, with room for what else a server has open."""


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password=_none)
    return context


def _none() -> str:
    """Instead of asking for a password at the terminal."""
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate with the key that fits"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
