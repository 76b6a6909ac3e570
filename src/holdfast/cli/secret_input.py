"""Secrets that a command is given: from a file, from standard input, or asked for on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from holdfast.cli.session import Session
from holdfast.domain.accounts import MAX_PASSWORD
from holdfast.domain.errors import InvalidInput


def ask_password(session: Session, what: str, file: str | None, *, new: bool = False) -> str:
    """A password, asked for on a terminal, else read.

    Args:
        file: its first line is the password; ``-``, or ``None`` where nobody can be asked, is standard input.
        new: whether it is asked for twice.

    Raises:
        InvalidInput: ``file_unreadable``.
    """
    if file is None and session.output.is_terminal:
        return str(typer.prompt(what, hide_input=True, confirmation_prompt=new, err=True))
    return read_secret(file or "-", MAX_PASSWORD + 2)


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
