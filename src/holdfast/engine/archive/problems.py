"""How the archive code words its refusals.

Every problem with an archive's content has a code that starts with ``archive_``. It is ``Damaged`` (bytes are missing
or changed), ``TooLarge`` (a bound was exceeded) or ``Refused`` (whole, but not acceptable); the tree writer says
``InvalidInput`` for the last, with the same codes where it finds the same. Names from an archive are shown through
:func:`printable`, so that no name can forge a line of a log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.domain.errors import Damaged, HoldfastError, InvalidInput, Problem, Refused, TooLarge
from holdfast.domain.told import TextOrTold, told
from holdfast.engine.entries import display_path

MAKE_ANOTHER: Final = "Nothing was changed. Make the archive again with a current tool, then import that one."
FETCH_AGAIN: Final = "Nothing was changed. Copy or download the archive again, compare its size, then import it again."
RAISE_LIMIT: Final = (
    "Nothing was changed. If you trust where the archive comes from, raise this limit in the settings, then try again."
)
UNTRUSTED: Final = (
    "Nothing was changed. No ordinary tool makes such an archive: find out where it comes from before trying again."
)

_SHOWN: Final = 200
_WARNINGS: Final = 50
_WARNING_LENGTH: Final = 1000


def printable(name: bytes) -> str:
    """A name from outside as one line of readable text, cut to a bounded length."""
    return display_path(name) if len(name) <= _SHOWN else display_path(name[:_SHOWN]) + "…"


def refused(code: str, message: str, *, next_step: str = MAKE_ANOTHER, **details: object) -> Refused:
    """A refusal for one reason."""
    return Refused([Problem(code=code, message=message, next_step=next_step, details=details)])


def too_large(code: str, message: str, *, limit: int, next_step: str = RAISE_LIMIT) -> TooLarge:
    """A bound of an archive was exceeded; ``limit`` is that bound."""
    return TooLarge(code, message, next_step=next_step, details={"limit": limit})


def truncated(message: str) -> Damaged:
    """The archive ends before it should."""
    return Damaged("archive_truncated", message, next_step=FETCH_AGAIN)


def corrupt(message: str) -> Damaged:
    """The archive's bytes contradict their own checksums or format."""
    return Damaged("archive_corrupt", message, next_step=FETCH_AGAIN)


def is_archive_problem(error: HoldfastError) -> bool:
    """Whether the error speaks about an archive's content (and not, say, about a full disk)."""
    return isinstance(error, Damaged | InvalidInput | Refused | TooLarge) and error.code.startswith("archive_")


def bounded_warnings(sentences: Sequence[TextOrTold]) -> tuple[TextOrTold, ...]:
    """Warnings for a manifest, whose size is bounded: fifty of them, cut to a thousand characters."""
    kept = tuple(map(_bounded, sentences[:_WARNINGS]))
    more = len(sentences) - len(kept)
    return (*kept, told("more_warnings", "and {count} more warnings", count=more)) if more else kept


def _bounded(sentence: TextOrTold) -> TextOrTold:
    text = str(sentence)
    return sentence if len(text) <= _WARNING_LENGTH else text[:_WARNING_LENGTH] + "…"
