"""Idempotency keys: the same key with the same request is the same operation, and with another request a mistake."""

from __future__ import annotations

from holdfast.domain.errors import Conflict


class RequestKey(str):
    """A caller's key, and the fingerprint of what was asked for with it.

    To whoever passes it on it is the key. What Holdfast asks of itself comes with a plain ``str``: such a key is made
    for one thing, and is compared with nothing.
    """

    __slots__ = ("fingerprint",)

    fingerprint: str

    def __new__(cls, key: str, fingerprint: str) -> RequestKey:
        """The key, with what was asked for."""
        made = super().__new__(cls, key)
        made.fingerprint = fingerprint
        return made


def as_stored(key: str | None) -> str | None:
    """A key with its fingerprint behind a space, which no key holds."""
    return f"{key} {key.fingerprint}" if isinstance(key, RequestKey) else key


def require_same_request(key: str, stored: str, operation_id: str) -> None:
    """Refuse a key that another request was sent with before; one of which no fingerprint was kept passes.

    Raises:
        Conflict: ``idempotency_key_reused``.
    """
    fingerprint = stored.removeprefix(key).strip()
    if isinstance(key, RequestKey) and fingerprint not in ("", key.fingerprint):
        raise key_reused(operation_id)


def key_reused(operation_id: str) -> Conflict:
    """Of a key that belongs to an operation that something else was asked with."""
    return Conflict(
        "idempotency_key_reused",
        "This idempotency key belongs to another request.",
        next_step="Use a new key for each request, and the same one only to repeat it.",
        details={"operation_id": operation_id},
    )
