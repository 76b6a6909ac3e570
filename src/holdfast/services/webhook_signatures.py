"""Whether a request proves that it knows its binding's secret, by the scheme of each provider.

Signatures are made of the raw body and compared in constant time. Providers that send the secret itself are compared
likewise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from holdfast.domain.errors import Unauthorized
from holdfast.domain.webhook import Provider
from holdfast.services.senders import SIGNATURE

TOLERANCE: Final = 300.0
"""Seconds that the time in a signature may differ from the server's."""

_PREFIX: Final = "sha256="
_STANDARD: Final = "webhook-signature"
_STANDARD_KEY: Final = "whsec_"
_SIGNED: Final = {
    Provider.GITHUB: ("x-hub-signature-256",),
    Provider.GITEA: ("x-forgejo-signature", "x-gitea-signature", "x-hub-signature-256"),
    Provider.GENERIC: (SIGNATURE.lower(),),
}
"""Headers that hold the HMAC of the body, in hexadecimal digits."""
_SENT: Final = {Provider.GITLAB: "x-gitlab-token", Provider.REGISTRY: "authorization"}
"""Headers that hold the secret itself."""
_IDS: Final = {
    Provider.GITHUB: ("x-github-delivery",),
    Provider.GITEA: ("x-forgejo-delivery", "x-gitea-delivery", "x-github-delivery"),
    Provider.GITLAB: ("webhook-id", "idempotency-key"),
    Provider.GENERIC: ("webhook-id",),
    Provider.REGISTRY: (),
}
_EVENTS: Final = {
    Provider.GITHUB: ("x-github-event",),
    Provider.GITEA: ("x-forgejo-event", "x-gitea-event", "x-github-event"),
    Provider.GITLAB: ("x-gitlab-event",),
}
_MAX_ID: Final = 128

Headers = Mapping[str, str]
"""By name, in lower case."""


def verify(provider: Provider, secret: bytes, headers: Headers, body: bytes, *, at: float) -> None:
    """Make sure that who sends this knows the secret.

    Args:
        at: the time, in seconds since 1970.

    Raises:
        Unauthorized: ``webhook_signature_missing``, ``webhook_signature_wrong``.
    """
    looked_at = (*_SIGNED.get(provider, ()), *([_SENT[provider]] if provider in _SENT else []))
    names = (*looked_at, _STANDARD) if _takes_standard(provider) else looked_at
    if not any(name in headers for name in names):
        raise Unauthorized(
            "webhook_signature_missing",
            f"This webhook has a secret, and the request has none of the headers {', '.join(names)}.",
            next_step="Set the secret where the requests come from, too. Nothing was done.",
        )
    if _proves(provider, secret, headers, body, at):
        return
    raise Unauthorized(
        "webhook_signature_wrong",
        "The request was not signed with this webhook's secret, or it was changed on its way.",
        next_step="Set the same secret on both sides; what passes requests on must leave their bodies as they are. "
        "Nothing was done.",
    )


def delivery_id(provider: Provider, headers: Headers) -> str | None:
    """The provider's own id of a delivery, where it sends one."""
    found = next((headers[name] for name in _IDS[provider] if headers.get(name)), None)
    return found if found is not None and len(found) <= _MAX_ID and found.isprintable() else None


def id_is_signed(provider: Provider, headers: Headers) -> bool:
    """Whether who repeats a signed body can't give it another id."""
    return provider in _SENT or _STANDARD in headers


def event_name(provider: Provider, headers: Headers) -> str:
    """The provider's own word for what a delivery tells, where it sends one."""
    return next((headers[name] for name in _EVENTS.get(provider, ()) if name in headers), "")


def _takes_standard(provider: Provider) -> bool:
    """Who may sign as https://www.standardwebhooks.com says: id and time together with the body."""
    return provider in (Provider.GITLAB, Provider.GENERIC)


def _proves(provider: Provider, secret: bytes, headers: Headers, body: bytes, at: float) -> bool:
    if _takes_standard(provider) and _STANDARD in headers:
        return _proves_standard(secret, headers, body, at)
    if provider in _SENT:
        return _same(headers[_SENT[provider]], _sent(provider, secret))
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    given = [headers[name].removeprefix(_PREFIX) for name in _SIGNED[provider] if name in headers]
    return all(_same(signature, expected) for signature in given)


def _sent(provider: Provider, secret: bytes) -> str:
    return f"Bearer {secret.decode()}" if provider is Provider.REGISTRY else secret.decode()


def _proves_standard(secret: bytes, headers: Headers, body: bytes, at: float) -> bool:
    name, when = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (when.isascii() and when.isdigit() and len(when) <= 12) or abs(int(when) - at) > TOLERANCE:
        return False
    signed = f"{name}.{when}.".encode() + body
    expected = base64.b64encode(hmac.new(_standard_key(secret), signed, hashlib.sha256).digest()).decode()
    # several, while a secret is being replaced
    return any(_same(given, f"v1,{expected}") for given in headers[_STANDARD].split(" ")[:8])


def _standard_key(secret: bytes) -> bytes:
    text = secret.decode()
    if text.startswith(_STANDARD_KEY):
        try:
            return base64.b64decode(text.removeprefix(_STANDARD_KEY), validate=True)
        except binascii.Error:
            return secret
    return secret


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
