"""Registries that images are pulled from, and how Holdfast logs in to them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import DEFAULT_REGISTRY, parse_image_ref

MAX_USERNAME: Final = 256
MAX_PASSWORD: Final = 4096
HOST_PATTERN: Final = r"[a-zA-Z0-9.:\[\]-]{1,255}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLogin:
    """What is sent to a registry, so that it gives what is private."""

    host: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryFacts:
    """What may be known of a login.

    Attributes:
        readable: whether its password can be opened.
    """

    host: str
    username: str
    set_at: str
    readable: bool


def registry_of(reference: str) -> str:
    """The registry that an image is pulled from. Raises ``InvalidInput`` (``image_reference_malformed``)."""
    return _canonical(parse_image_ref(reference).registry or DEFAULT_REGISTRY)


def registry_host(text: str) -> str:
    """A registry's host and port, as images name it.

    Raises:
        InvalidInput: ``registry_host_malformed``.
    """
    host = text.strip().rstrip("/")
    try:
        if not re.fullmatch(HOST_PATTERN, host) or parse_image_ref(f"{host}/x").registry != host:
            raise _malformed()
    except InvalidInput as error:
        raise _malformed() from error
    return _canonical(host)


def _canonical(host: str) -> str:
    lower = host.lower()
    return DEFAULT_REGISTRY if lower == "index.docker.io" else lower


def _malformed() -> InvalidInput:
    return InvalidInput(
        "registry_host_malformed",
        "A registry is named by its host and port, as images name it, without https:// and without a path.",
        next_step="Write it like registry.example, registry.example:5000, ghcr.io or docker.io.",
    )
