"""Files that commands write: whole or not at all, and never over another unless that is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from holdfast.domain.errors import Conflict, Failed
from holdfast.domain.ids import new_id


@contextmanager
def new_file(target: str, *, private: bool = False, replace: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is whole and durable, and that replaces nothing by itself.

    Args:
        target: its path; ``-`` for stdout.
        private: whether nobody but its owner may read it.
        replace: whether it takes the place of another one.

    Raises:
        Conflict: ``file_exists``.
        Failed: ``file_not_written``.
    """
    if target == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    if path.exists() and not replace:
        raise Conflict("file_exists", f"{target} is there already.", next_step="Name another file with --output.")
    temporary = path.with_name(f".{path.name}.{new_id()}")
    try:
        with open(temporary, "xb", opener=_opener(0o600 if private else 0o666)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)  # unlike a rename, this never replaces a file that came in the meantime
    except OSError as error:
        raise Failed(
            "file_not_written", f"{target} can't be written: {error.strerror}.", next_step="Check the path and space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _opener(mode: int) -> Callable[[str, int], int]:
    return lambda path, flags: os.open(path, flags, mode)
