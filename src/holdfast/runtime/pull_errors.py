"""Why an image could not be pulled: the registry's words, as the engine passes them on, told apart by cause.

The engine gives text only. Its words are those of the distribution project's error codes (``unauthorized``,
``manifest unknown``, ``toomanyrequests`` …) and of Go's network and TLS libraries; what none of them explains is
told as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import Failed
from holdfast.domain.image_ref import DEFAULT_REGISTRY, parse_image_ref
from holdfast.domain.printable import printable

_ADDRESS: Final = re.compile(r"https?://\S+")
_REFUSED: Final = re.compile(r"unauthorized|incorrect username|denied|forbidden|\b40[13]\b", re.IGNORECASE)
_LONGEST: Final = 500
"""Characters of what was said."""


@dataclass(frozen=True, slots=True)
class _Cause:
    words: re.Pattern[str]
    error: Callable[[str, str, str], Failed]
    """Made of the registry, the reference and what was said."""


def _cause(code: str, words: str, *, message: str, next_step: str) -> _Cause:
    """What it means if ``words`` are said. ‹registry› and ‹reference› in the message are filled in."""

    def error(registry: str, reference: str, said: str) -> Failed:
        filled = message.replace("‹registry›", registry).replace("‹reference›", reference)
        details = {"registry": registry, "reference": reference, "said": said}
        return Failed(code, f"{filled} ({said}).", next_step=next_step, details=details)

    return _Cause(re.compile(words, re.IGNORECASE), error)


_CAUSES: Final = (
    # The first that fits: a refusal for want of credentials may be about a limit, and name an image that is not found.
    _cause(
        "registry_rate_limited",
        r"toomanyrequests|too many requests|rate limit",
        message="The registry ‹registry› gives no more images to this host for now, ‹reference› neither",
        next_step="Wait until its limit lets this host in again, then try again. Who logs in has wider ones.",
    ),
    _cause(
        "registry_denied",
        r"unauthorized|authentication required|no basic auth|(?<!permission )\bdenied\b|forbidden",
        message="The registry ‹registry› does not give ‹reference› to this host: it is private, or not there",
        next_step="Check the name. If it is private, give Holdfast a login that may read it (holdfast registry add), "
        "or pull it on this host by hand: the one on this host is used.",
    ),
    _cause(
        "image_not_in_registry",
        r"manifest unknown|name unknown|unknown blob|blob unknown|\bnot found\b",
        message="The registry ‹registry› has no ‹reference›",
        next_step="Check name and tag; or push the image, then deploy again.",
    ),
    _cause(
        "image_for_other_platform",
        r"no matching manifest|does not match the specified platform|cannot be used on this platform",
        message="‹reference› is not made for this host's processor and system",
        next_step="Build and push it for this host's platform, too; or name an image that is.",
    ),
    _cause(
        "registry_untrusted",
        r"x509:|tls: |HTTP response to HTTPS client",
        message="The registry ‹registry› can't be trusted by the engine, which did not ask it for ‹reference›",
        next_step="Give it a certificate that this host trusts, or name it in the engine's insecure-registries.",
    ),
    _cause(
        "image_no_space",
        r"no space left on device|disk quota exceeded",
        message="The engine's disk is full, and has no room for ‹reference›",
        next_step="Make room: holdfast image prune, holdfast snapshot prune. Then try again.",
    ),
    _cause(
        "registry_broken",
        r"unexpected (?:HTTP )?status(?: code)?[: ].*\b5\d\d\b|\b50[0234] (?:Internal|Bad|Service|Gateway)",
        message="The registry ‹registry› has a fault of its own, and did not give ‹reference›",
        next_step="Try again later; its own log says more.",
    ),
    _cause(
        "registry_unreachable",
        r"connection refused|no such host|timeout|deadline exceeded|no route to host|unreachable|connection reset|"
        r"\bEOF\b|server misbehaving|request canceled",
        message="The registry ‹registry› can't be reached from this host, so that ‹reference› could not be pulled",
        next_step="Check the registry's name, that it runs, and this host's network and DNS.",
    ),
)


def pull_failed(reference: str, said: str) -> Failed:
    """The error for a pull that failed.

    Args:
        said: by the engine, in its own words.
    """
    said = " ".join(printable(said).split())[:_LONGEST].rstrip(".")
    registry = parse_image_ref(reference).registry or DEFAULT_REGISTRY
    about = _ADDRESS.sub("", said.replace(reference, ""))  # names may be any of the words
    for cause in _CAUSES:
        if cause.words.search(about):
            return cause.error(registry, reference, said)
    return Failed(
        "image_pull_failed",
        f"The image {reference} could not be pulled: {said}.",
        next_step="Check the image's name and tag, and that this host reaches its registry.",
        details={"registry": registry, "reference": reference, "said": said},
    )


def login_failed(registry: str, said: str) -> Failed:
    """The error for a login that was tried.

    Args:
        said: by the engine, in its own words.
    """
    said = " ".join(printable(said).split())[:_LONGEST].rstrip(".")
    details = {"registry": registry, "said": said}
    if _REFUSED.search(_ADDRESS.sub("", said)):
        return Failed(
            "registry_login_refused",
            f"The registry {registry} does not take this name and password ({said}).",
            next_step="Nothing was changed. Check both; many registries want an access token in place of the password.",
            details=details,
        )
    return Failed(
        "registry_not_asked",
        f"The registry {registry} could not be asked whether it takes the login ({said}).",
        next_step="Nothing was changed. Check the registry's name, that it runs, and this host's network and DNS.",
        details=details,
    )


def registry_silent(reference: str, seconds: float) -> Failed:
    """The error for a registry that took the question and never answered."""
    registry = parse_image_ref(reference).registry or DEFAULT_REGISTRY
    return Failed(
        "registry_silent",
        f"The registry {registry} does not answer: no word of {reference} for {seconds:g} seconds.",
        next_step="See whether the registry is overloaded or stuck, and what lies between it and this host.",
        details={"reference": reference, "registry": registry},
    )
