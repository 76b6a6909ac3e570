"""Receiving an archive: streamed into the uploads directory, never held in memory, never left behind by a failure."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from anyio import to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from holdfast.domain.errors import InvalidInput
from holdfast.domain.ids import new_id
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.space import keep_reserve

ARCHIVE_TYPES: Final = ("application/x-tar", "application/zstd", "application/gzip", "application/octet-stream")
_BUFFER_BYTES: Final = 1 << 20
"""Gathered before a write, so that there is one hop to a thread for each MiB and not for each packet."""


class Upload:
    """A received file. It is removed at the end unless it was handed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handed_over = False

    def hand_over(self) -> None:
        """Someone else looks after the file from now on."""
        self.handed_over = True


@asynccontextmanager
async def receive_upload(request: Request, directory: Path, *, reserve_bytes: int) -> AsyncIterator[Upload]:
    """Write the request's body to a new file in ``directory``. Its size is bounded by the middleware.

    Args:
        reserve_bytes: what must stay free on the filesystem of ``directory``.

    Raises:
        InvalidInput: ``content_type_unsupported``, ``upload_empty`` or ``upload_incomplete``.
        NoSpace: ``disk_reserve_reached``, before anything is read where the length is declared; ``no_space``.
    """
    _check_type(request)
    upload = Upload(directory / f"{new_id()}.upload")
    try:
        await _receive(request, upload.path, reserve_bytes)
        yield upload
    finally:
        if not upload.handed_over:
            upload.path.unlink(missing_ok=True)


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ARCHIVE_TYPES:
        raise InvalidInput(
            "content_type_unsupported",
            "An archive is sent as one of: " + ", ".join(ARCHIVE_TYPES) + ".",
            next_step="Send the archive itself as the body, with one of these as Content-Type.",
        )


async def _receive(request: Request, path: Path, reserve_bytes: int) -> None:
    total = 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            file = _File(descriptor, reserve_bytes)
            # the middleware has made sure that it is a number where it is given
            await to_thread.run_sync(file.require, int(request.headers.get("content-length", 0)))
            gathered = bytearray()
            async for chunk in request.stream():
                total += len(chunk)
                gathered += chunk
                if len(gathered) >= _BUFFER_BYTES:
                    await to_thread.run_sync(file.write, bytes(gathered))
                    gathered.clear()
            await to_thread.run_sync(file.write, bytes(gathered))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise translate(error, "receiving the upload") from error
    except ClientDisconnect as error:
        raise InvalidInput(
            "upload_incomplete",
            "The connection ended before all of it had arrived.",
            next_step="Send it again.",
        ) from error
    if total == 0:
        raise InvalidInput("upload_empty", "The body is empty.", next_step="Send the archive itself as the body.")


class _File:
    """The file that is being written."""

    def __init__(self, descriptor: int, reserve_bytes: int) -> None:
        self._fs = Fs()
        self._descriptor = descriptor
        self._reserve_bytes = reserve_bytes

    def require(self, count: int) -> None:
        """Refuse unless ``count`` bytes leave the reserve untouched."""
        keep_reserve(self._fs, self._descriptor, count, self._reserve_bytes, "the upload")

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        self.require(len(data))
        self._fs.write_all(self._descriptor, data)
