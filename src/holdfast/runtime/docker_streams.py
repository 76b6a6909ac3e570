"""The three kinds of stream that the Docker Engine answers with: JSON lines, multiplexed output, log lines."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from holdfast.domain.errors import Failed
from holdfast.runtime.port import ContainerLog

_HEADER: Final = struct.Struct(">BxxxL")
"""Stream number and length in front of every frame."""
_STREAMS: Final = {0: "stdout", 1: "stdout", 2: "stderr"}
_LONGEST_LINE: Final = 1 << 20
"""Bytes after which a line is handed on in pieces."""
_LONGEST_FRAME: Final = 64 << 20
"""Bytes of a frame that are believed; more is a stream that was not multiplexed."""


async def json_lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """One object per line."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)


async def frames(pieces: AsyncIterator[bytes]) -> AsyncGenerator[tuple[str, bytes], None]:
    """(``stdout`` or ``stderr``, what was written): output as the engine multiplexes it where there is no TTY."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        while len(buffer) >= _HEADER.size:
            number, length = _HEADER.unpack_from(buffer)
            if number not in _STREAMS or length > _LONGEST_FRAME:
                raise Failed(
                    "engine_error",
                    "The container engine's output could not be read: it is not multiplexed.",
                    next_step="Containers with a terminal are not supported.",
                )
            end = _HEADER.size + length
            if len(buffer) < end:
                break
            yield _STREAMS[number], bytes(buffer[_HEADER.size : end])
            del buffer[:end]


async def log_lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[ContainerLog, None]:
    """Log lines of a stream with timestamps. Lines that the engine stored in parts are put together again."""
    open_lines: dict[str, tuple[str, bytes]] = {}
    async with aclosing(frames(pieces)) as multiplexed:
        async for stream, payload in multiplexed:
            stamp, _, text = payload.partition(b" ")
            at, begun = open_lines.pop(stream, (stamp.decode(errors="replace"), b""))
            line = begun + text
            if line.endswith(b"\n") or len(line) >= _LONGEST_LINE:
                yield _line(at, stream, line)
            else:
                open_lines[stream] = (at, line)
    for stream, (at, line) in open_lines.items():
        yield _line(at, stream, line)


def _line(at: str, stream: str, line: bytes) -> ContainerLog:
    return ContainerLog(
        at=at, stream=stream, text=line.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")
    )
