"""JSON documents that Holdfast knows for its own: canonical, with a MAC in the field ``mac``.

Invariants:

- JSON of any shape, size and depth leads to :class:`Malformed` or to what it says; no key occurs twice in an object.
- A MAC is keyed BLAKE3 of the document without it, as canonical JSON (keys sorted, no spaces, ASCII), compared in
  constant time. Each use has a key of its own, so that no document passes for one of another kind.
"""

from __future__ import annotations

import hmac
import json

from blake3 import blake3


class Malformed(Exception):
    """Why a document is not what it should be, for the end of a sentence. Its readers turn it into an error."""


def signed(document: dict[str, object], key: bytes) -> bytes:
    """The document as canonical JSON with its MAC.

    Args:
        key: 32 bytes, of this use only.
    """
    return canonical({**document, "mac": _mac(document, key)})


def is_authentic(document: dict[str, object], key: bytes) -> bool:
    """Whether the document has the MAC that it should have."""
    stated = document.get("mac")
    if not isinstance(stated, str) or not stated.isascii():
        return False
    try:
        return hmac.compare_digest(stated, _mac(document, key))
    except (ValueError, RecursionError):
        return False


def canonical(document: dict[str, object]) -> bytes:
    """The document as JSON in the one form that is hashed: keys sorted, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse(data: bytes, limit: int) -> object:
    """Read JSON of at most ``limit`` bytes. Raises :class:`Malformed`."""
    if len(data) > limit:
        raise Malformed("it is too large")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("it is not valid JSON") from error


def parse_object(data: bytes, limit: int) -> dict[str, object]:
    """Read a JSON object of at most ``limit`` bytes. Raises :class:`Malformed`."""
    document = parse(data, limit)
    if not isinstance(document, dict):
        raise Malformed("it is no object")
    return document


def _mac(document: dict[str, object], key: bytes) -> str:
    return blake3(canonical({k: v for k, v in document.items() if k != "mac"}), key=key).hexdigest()


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
