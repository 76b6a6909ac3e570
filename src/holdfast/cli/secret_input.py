"""Secrets that a command is given: from a file or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.domain.errors import InvalidInput


def read_secret(file: str | None, limit: int) -> str:
    """The secret, from anywhere but the command line, which others on the machine can read.

    Args:
        file: its first line is the secret; ``-`` is standard input, ``None``: there is no secret.
        limit: bytes that are read at most.

    Raises:
        InvalidInput: ``file_unreadable``.
    """
    if file is None:
        return ""
    try:
        if file == "-":
            line = sys.stdin.buffer.readline(limit)
        else:
            with Path(file).open("rb") as opened:
                line = opened.readline(limit)
        return line.rstrip(b"\r\n").decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("file_unreadable", f"{file} can't be read: {error}.", next_step="Check the path.") from error
