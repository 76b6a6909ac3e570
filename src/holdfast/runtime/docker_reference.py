"""Image references: what a name leaves unsaid.

The engine's pull endpoint takes a name without a tag to mean *all* tags; people mean ``latest``. A colon before the
last slash is a registry's port, not a tag.
"""

from __future__ import annotations

from typing import Final

DEFAULT_TAG: Final = "latest"


def complete(reference: str) -> str:
    """``reference`` with ``:latest`` where it names neither a tag, nor a digest, nor an image id."""
    if reference.startswith("sha256:") or "@" in reference or ":" in reference.rsplit("/", 1)[-1]:
        return reference
    return f"{reference}:{DEFAULT_TAG}"


def split(reference: str) -> tuple[str, str]:
    """The name, and the tag or digest (``sha256:…``) that the pull endpoint wants apart."""
    name, at, digest = reference.partition("@")
    if at:
        return _without_tag(name), digest
    whole = complete(reference)
    name, _, tag = whole.rpartition(":")
    return name, tag


def _without_tag(name: str) -> str:
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.split(':', 1)[0]}"
