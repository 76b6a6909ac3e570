"""What server and worker say to each other: JSON lines, one message a line.

The server writes the settings first, then requests, one at a time, and cancels. The worker answers ``hello`` when it is
ready, progress while it works, and a result or an error for each request. Errors keep their class, code, message, next
step, details and problems.
"""

from __future__ import annotations

import msgspec

from holdfast.domain import errors
from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.domain.operation import Progress
from holdfast.engine.requests import AnyRequest, WorkerSettings


class Setup(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    settings: WorkerSettings


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """``number`` tells requests of one worker apart."""

    number: int
    request: AnyRequest


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Cancel the request with that number, if it is still being worked on."""

    number: int


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    pid: int


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    progress: Progress


class Result(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """``value`` as the request's ``result`` type says."""

    value: msgspec.Raw


class Problematic(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """An error of Holdfast's own tree. ``kind`` is the name of its class there."""

    kind: str
    code: str
    message: str
    next_step: str
    details: dict[str, object]
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, error: HoldfastError) -> Problematic:
        """The message for an error; a class outside of the tree's own module passes as its nearest base in it."""
        kind = next(base for base in type(error).__mro__ if base.__module__ == errors.__name__)
        return cls(
            kind=kind.__name__,
            code=error.code,
            message=error.message,
            next_step=error.next_step,
            details=error.details,
            problems=error.problems if isinstance(error, Refused) else (),
        )

    def error(self) -> HoldfastError:
        """The error again."""
        kind = getattr(errors, self.kind, HoldfastError)
        if kind is Refused and self.problems:
            error: HoldfastError = Refused(self.problems, summary=self.message)
        else:
            error = HoldfastError.__new__(kind)
            HoldfastError.__init__(error, self.code, self.message, next_step=self.next_step)
        error.code, error.next_step, error.details = self.code, self.next_step, dict(self.details)
        return error


ToWorker = Setup | Run | Cancel
FromWorker = Hello | Report | Result | Problematic


def line(message: ToWorker | FromWorker) -> bytes:
    """A message as it is sent. What a detail holds that JSON can't becomes its text."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"
