"""What goes wrong with an object store, made out from what the library says, and put into words.

The library tells most of it in text only: the status and the ``<Code>`` of an S3 answer, or how the connection failed.
Texts of the store are shown shortened and without control characters; neither they nor the library's hold secrets.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from holdfast.domain.errors import Failed, HoldfastError, NoSpace, Unavailable
from holdfast.engine.entries import display_path

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,100})</Code>")
_BUSY: Final = frozenset({"408", "425", "429", "500", "502", "503", "504"})
_CUT_OFF: Final = (
    "body error",
    "response body",
    "Got invalid",
    "Unable to extract metadata",
    "Content-Range header not",
)
_SHOWN: Final = 300


class Kind(Enum):
    """What went wrong."""

    MISSING = "missing"
    NO_SUCH_RANGE = "no such range"
    ACCESS_DENIED = "access denied"
    CERTIFICATE = "certificate"
    CLOCK = "clock"
    BUCKET_MISSING = "bucket missing"
    FULL = "full"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    CUT_OFF = "cut off"


_PASSING: Final = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT, Kind.BUSY, Kind.CUT_OFF})


class Trouble(NamedTuple):
    """One failed request; ``reason`` is the store's or the library's word for it."""

    kind: Kind
    reason: str

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self.kind in _PASSING


class TroubleError(Exception):
    """A trouble that was noticed here, and not by the library."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.trouble = Trouble(kind, reason)


def trouble_of(error: Exception) -> Trouble:
    """What ``error``, which the library raised, is about."""
    if isinstance(error, TroubleError):
        return error.trouble
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is not None:
        return _answered(status[1], code[1] if code else "")
    if isinstance(error, FileNotFoundError):
        return Trouble(Kind.MISSING, "not found")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return Trouble(Kind.ACCESS_DENIED, _first_line(text))
    if "kind: Timeout" in text or "TimedOut" in text:
        return Trouble(Kind.TIMEOUT, "no answer in time")
    if "InvalidCertificate" in text:
        return Trouble(Kind.CERTIFICATE, "its certificate is not trusted")
    if "Wanted range starting at" in text:
        return Trouble(Kind.NO_SUCH_RANGE, "no such range")
    if "error sending request" in text:
        return Trouble(Kind.UNREACHABLE, _why_unreachable(text))
    if "non-partial response" in text:
        return Trouble(Kind.CUT_OFF, "something else than the part of a blob that was asked for")
    if any(word in text for word in _CUT_OFF):
        return Trouble(Kind.CUT_OFF, "an answer that ends early or can't be read")
    return Trouble(Kind.REFUSED, _first_line(text))


def error_of(trouble: Trouble, where: str, doing: str, attempts: int) -> HoldfastError:
    """The Holdfast error for a trouble that does not pass. Raise it ``from`` the original.

    Args:
        where: the store, in words.
        doing: what was being done, for the middle of a sentence: ``writing packs/00ff…``.
        attempts: how often it was tried.
    """
    details: dict[str, object] = {"store": where, "doing": doing, "reason": trouble.reason, "attempts": attempts}
    tried = f"after {attempts} attempts" if attempts > 1 else "at once"
    match trouble.kind:
        case Kind.UNREACHABLE:
            return Unavailable(
                "blob_store_unreachable",
                f"{where} can't be reached ({doing}): {trouble.reason}.",
                next_step="Check the address, the network and that the storage runs; then try again. What is stored "
                "there is as it was.",
                details=details,
            )
        case Kind.TIMEOUT:
            return Unavailable(
                "blob_store_slow",
                f"{where} did not answer in time ({doing}; gave up {tried}).",
                next_step="Check the storage and the network between, then try again. What was begun goes on from "
                "what is stored.",
                details=details,
            )
        case Kind.BUSY:
            return Unavailable(
                "blob_store_busy",
                f"{where} is overloaded or in trouble ({doing}; gave up {tried}): {trouble.reason}.",
                next_step="Try again later. What was begun goes on from what is stored.",
                details=details,
            )
        case Kind.CUT_OFF:
            return Unavailable(
                "blob_store_answer_broken",
                f"{where} sent {trouble.reason} ({doing}; gave up {tried}).",
                next_step="Check for a proxy or a bad network between; then try again. Nothing of it was used.",
                details=details,
            )
        case Kind.ACCESS_DENIED:
            return Failed(
                "blob_store_access_denied",
                f"{where} does not allow it ({doing}): {trouble.reason}.",
                next_step="Check the access key, and that it may list, read, write and delete in this bucket.",
                details=details,
            )
        case Kind.CERTIFICATE:
            return Failed(
                "blob_store_certificate_untrusted",
                f"{where} has a certificate that is not trusted ({doing}); nothing was sent.",
                next_step="Give the certificate of its authority in the repository's settings, or renew it there.",
                details=details,
            )
        case Kind.CLOCK:
            return Failed(
                "blob_store_clock_differs",
                f"{where} refuses requests, since its clock and this machine's are too far apart ({doing}).",
                next_step="Set this machine's clock (timedatectl), then try again.",
                details=details,
            )
        case Kind.BUCKET_MISSING:
            return Failed(
                "blob_store_bucket_missing",
                f"{where} does not exist ({doing}).",
                next_step="Make the bucket, or correct its name or address.",
                details=details,
            )
        case Kind.FULL:
            return NoSpace(
                "no_space",
                f"{where} is full or over its quota ({doing}): {trouble.reason}.",
                next_step="Make room there, then try again.",
                details=details,
            )
        case Kind.REFUSED | Kind.MISSING | Kind.NO_SUCH_RANGE:
            return Failed(
                "blob_store_refused",
                f"{where} refused ({doing}): {trouble.reason}.",
                next_step="Check the repository's settings (address, region, bucket) against the storage's own.",
                details=details,
            )


def _answered(status: str, code: str) -> Trouble:
    reason = f"{status} {code}".strip()
    if code == "NoSuchBucket":
        kind = Kind.BUCKET_MISSING
    elif code in ("RequestTimeTooSkewed", "RequestExpired"):
        kind = Kind.CLOCK
    elif status == "507" or "StorageFull" in code or "QuotaExceeded" in code:
        kind = Kind.FULL
    elif status in ("401", "403"):
        kind = Kind.ACCESS_DENIED
    elif status == "404":
        kind = Kind.MISSING
    elif status == "416":
        kind = Kind.NO_SUCH_RANGE
    elif status in _BUSY or code in ("SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted"):
        kind = Kind.BUSY
    else:
        kind = Kind.REFUSED
    return Trouble(kind, reason)


def _why_unreachable(text: str) -> str:
    if "dns error" in text:
        return "its name is not known"
    if "ConnectionRefused" in text:
        return "the connection was refused"
    return "the connection failed, or was closed without an answer"


def _first_line(text: str) -> str:
    line = " ".join(text.partition("\n")[0].split())
    return display_path(line.encode("utf-8", "replace"))[:_SHOWN]
