"""The secret of an access key to object storage: sealed, in a file of its own, named after the repository's entry.

Versions before sealed ones kept it in plain; :func:`seal_plain` seals what they left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast.domain.errors import Damaged, Failed
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_secret, remove_secret, write_secret
from holdfast.engine.sealing import OVERHEAD, Sealing

MAX_BYTES: Final = 1024
SUFFIX: Final = ".sealed"
PLAIN_SUFFIX: Final = ".secret"


def keep_access_secret(fs: Fs, path: Path, secret: bytes) -> None:
    """Keep a secret, durably.

    Args:
        path: the entry's id and :data:`SUFFIX`, in the directory of the keys, which must exist.

    Raises:
        Failed, NoSpace: see :meth:`Sealing.seal`.
    """
    write_secret(fs, path, Sealing(fs, path.parent).seal(_what(path), secret))


def access_secret(fs: Fs, path: Path, name: str) -> str:
    """The secret.

    Args:
        name: of the repository, for people.

    Raises:
        Failed: ``repository_secret_missing``, ``repository_secret_unreadable``, or as :meth:`Sealing.seal`.
    """
    sealed = load_secret(fs, path, MAX_BYTES + OVERHEAD)
    again = f"Forget the repository and add it again: holdfast repository remove {name}. What is stored there stays."
    if sealed is None:
        raise Failed(
            "repository_secret_missing",
            f"The secret of the access key of the repository {name} is gone ({path}).",
            next_step=again,
        )
    try:
        return Sealing(fs, path.parent).open(_what(path), sealed).decode("utf-8", "replace")
    except (Failed, Damaged) as error:
        raise Failed(
            "repository_secret_unreadable",
            f"The secret of the access key of the repository {name} can't be opened. {error.message}",
            next_step=f"Put the key back from its copy (docs/how-to/secrets.md). If it is lost: {again}",
        ) from error


def seal_plain(fs: Fs, plain: Path) -> None:
    """Seal the secret in a file of an earlier version. Idempotent: whenever it is cut off, one of both files is whole.

    Raises:
        Failed, NoSpace: see :meth:`Sealing.seal`; the file stays as it is.
    """
    secret = load_secret(fs, plain, MAX_BYTES)
    if secret is not None:
        keep_access_secret(fs, plain.with_suffix(SUFFIX), secret)
        remove_secret(fs, plain)


def _what(path: Path) -> str:
    return f"access key {path.stem}"
