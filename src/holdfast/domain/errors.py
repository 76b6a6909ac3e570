"""The one error tree.

::

    HoldfastError                      code, message, next_step, details, http-agnostic
    ├── InvalidInput                   what was sent is malformed; nothing was done
    ├── NotFound                       the named thing does not exist
    ├── Unauthorized / Forbidden       who is asking is unknown / may not do this
    ├── Conflict                       the state of things forbids it right now
    │   └── Busy                       something else is at work on the same object
    ├── Refused                        understood, checked, and declined; carries every problem found
    ├── PreconditionFailed             what the request was made from is not there any more
    ├── ConfirmationMissing            a destructive request came without its confirmation
    ├── NoSpace                        bytes or inodes are missing on a named filesystem
    ├── TooLarge                       a bounded input exceeded its bound
    ├── TooMany                        more of it comes than is taken; later it is
    ├── Unavailable                    the engine, or another part outside of Holdfast, does not answer
    ├── Cancelled                      a person cancelled the operation
    ├── Damaged                        stored data failed verification
    └── Failed                         an operation failed; says what state things were left in

Every error carries a stable ``code`` (lower_snake_case, documented in ``docs/reference/errors.md``, unique to
one cause), a message in plain words, and a ``next_step``. HTTP status and exit codes are mapped in ``api/``
and ``cli/`` only, by class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.domain.told import Told, Value, told


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises on purpose.

    Args:
        code: stable identifier of the cause, e.g. ``workload_unknown``.
        message: one sentence for a person.
        next_step: what the reader should do now.
        details: JSON-serialisable facts (paths, sizes in bytes, names).
        values: what stands at the ``{places}`` of message and next step, where these have some: then each language
            tells all of it, as of a :class:`~holdfast.domain.told.Told`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        next_step: str = "",
        details: Mapping[str, object] | None = None,
        values: Mapping[str, Value] | None = None,
    ) -> None:
        sentence = Told(message, code, next_step) if values is None else told(code, message, next_step, **values)
        super().__init__(sentence.message)
        self.code = code
        self.message = sentence.message
        self.next_step = sentence.next_step
        self.details: dict[str, object] = dict(details or {})
        self.values = sentence.values

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.message, self.next_step, self.details, self.values))


def _rebuild(
    kind: type[HoldfastError],
    code: str,
    message: str,
    next_step: str,
    details: dict[str, object],
    values: Mapping[str, object] | None,
) -> HoldfastError:
    error = kind.__new__(kind)
    HoldfastError.__init__(error, code, message, next_step=next_step, details=details)
    error.values = values
    return error


class InvalidInput(HoldfastError):
    """What was sent is malformed. Nothing was done."""


class NotFound(HoldfastError):
    """The named thing does not exist."""


class Unauthorized(HoldfastError):
    """The caller did not prove who they are."""


class Forbidden(HoldfastError):
    """The caller is known, but may not do this."""


class Conflict(HoldfastError):
    """The present state of things forbids the request."""


class Busy(Conflict):
    """Something else is at work on the same object; try again when it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why something was refused. Several are reported at once."""

    code: str
    message: str
    next_step: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


class Refused(HoldfastError):
    """Understood, checked, and declined; ``details["problems"]`` lists every reason found.

    With one problem the error takes that problem's code; with several, the code ``several_problems``.
    """

    def __init__(self, problems: Sequence[Problem], *, summary: str | None = None) -> None:
        if not problems:
            raise ValueError("a refusal needs at least one problem")
        first = problems[0]
        one = len(problems) == 1
        super().__init__(
            first.code if one else "several_problems",
            summary
            or (first.message if one else f"{len(problems)} problems: {'; '.join(p.message for p in problems)}"),
            next_step=first.next_step if one else "Mend each listed problem, then try again. Nothing was changed.",
            details={
                "problems": [
                    {"code": p.code, "message": p.message, "next_step": p.next_step, "details": dict(p.details)}
                    for p in problems
                ]
            },
        )
        self.problems = tuple(problems)


class PreconditionFailed(HoldfastError):
    """What the request was made from was changed since. Nothing was done."""


class ConfirmationMissing(HoldfastError):
    """A destructive request came without the confirmation that it needs."""


class NoSpace(HoldfastError):
    """Bytes or inodes are missing on a named filesystem."""


class TooLarge(HoldfastError):
    """A bounded input exceeded its bound."""


class TooMany(HoldfastError):
    """More comes in than is taken; trying again later helps."""


class Unavailable(HoldfastError):
    """The container engine, or another part outside of Holdfast, does not answer."""


class Cancelled(HoldfastError):
    """A person cancelled the operation before its point of no return."""

    def __init__(self, message: str = "The operation was cancelled; nothing was changed.") -> None:
        super().__init__("cancelled", message, next_step="Start it again when you are ready.")


class Damaged(HoldfastError):
    """Stored data failed verification."""


class Failed(HoldfastError):
    """An operation failed; the message says what state things were left in."""
