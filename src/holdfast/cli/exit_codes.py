"""What a command's end tells scripts: the one table of exit codes.

=====  ===========  ==============================================================================================
code   name         meaning
=====  ===========  ==============================================================================================
0      ok           done
1      failed       tried, and it did not work out; the message says what state things were left in
2      usage        the command, or what it was given, is malformed
3      refused      understood and declined: not allowed, not confirmed, or the state of things forbids it
4      busy         something else is at work on the same object; trying again later helps
5      not_found    the named thing does not exist
6      unreachable  the server, or the container engine behind it, does not answer
130    stopped      stopped watching at Ctrl-C; the operation goes on
=====  ===========  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from holdfast.domain import errors
from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import OperationState
from holdfast.domain.restore import RestoreResult


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    BUSY = 4
    NOT_FOUND = 5
    UNREACHABLE = 6
    STOPPED = 130


BY_CLASS: Final[tuple[tuple[type[HoldfastError], ExitCode], ...]] = (
    (errors.InvalidInput, ExitCode.USAGE),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Unauthorized, ExitCode.REFUSED),
    (errors.Forbidden, ExitCode.REFUSED),
    (errors.Busy, ExitCode.BUSY),
    (errors.Conflict, ExitCode.REFUSED),
    (errors.Refused, ExitCode.REFUSED),
    (errors.PreconditionFailed, ExitCode.REFUSED),
    (errors.ConfirmationMissing, ExitCode.REFUSED),
    (errors.TooLarge, ExitCode.REFUSED),
    (errors.TooMany, ExitCode.BUSY),
    (errors.Unavailable, ExitCode.UNREACHABLE),
)
"""The first class that fits; all other errors are ``failed``."""

_GOOD_RESULTS: Final = frozenset({RestoreResult.RESTORED, RestoreResult.RESTORED_STOPPED})
_BAD_RESULTS: Final = frozenset(RestoreResult) - _GOOD_RESULTS


def of_error(error: HoldfastError) -> ExitCode:
    """The exit code of an error, by its class."""
    return next((code for kind, code in BY_CLASS if isinstance(error, kind)), ExitCode.FAILED)


def of_operation(operation: Mapping[str, Any]) -> ExitCode:
    """The exit code of an operation that has ended, as the API shows it.

    A restore that ended in one piece but not as it was meant (reverted, unhealthy, undecided) is ``failed``.
    """
    if operation["state"] == OperationState.SUCCEEDED:
        return ExitCode.FAILED if operation["outcome"].get("result") in _BAD_RESULTS else ExitCode.OK
    details = (operation.get("error") or {}).get("details") or {}
    return ExitCode.REFUSED if details.get("problems") else ExitCode.FAILED
