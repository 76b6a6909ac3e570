"""Passphrases: from a file, or typed without being shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli.session import Session
from holdfast.domain.errors import InvalidInput

_MAX_BYTES: Final = 1024 * 1024

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="A file whose first line is the passphrase.", exists=True, dir_okay=False),
]


def read_passphrase(session: Session, file: Path | None, *, new: bool) -> str:
    """The passphrase, from a file or asked for.

    Args:
        new: whether it is chosen now, and has to be typed twice.

    Raises:
        InvalidInput: ``passphrase_missing``.
    """
    if file is not None:
        with file.open("rb") as opened:
            line = opened.readline(_MAX_BYTES)
        return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    if not session.output.is_terminal:
        raise InvalidInput(
            "passphrase_missing",
            "A passphrase is needed, and nobody can be asked here.",
            next_step="Run it on a terminal, or name a file with --passphrase-file.",
        )
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))
