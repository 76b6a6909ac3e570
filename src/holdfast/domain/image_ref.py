"""Image references: ``[domain[:port]/]path[:tag][@digest]``.

The grammar is that of the distribution project (``reference.go`` and ``normalize.go`` of
https://github.com/distribution/reference), including its one unobvious rule: the part before the first slash is a
registry only if it contains a dot or a colon, is ``localhost``, or has an upper-case letter; anything else belongs to
the default registry, where a name of one component stands for ``library/<name>``. Of digests, only the algorithms that
registries use are taken (https://github.com/opencontainers/go-digest: sha256, sha384, sha512).

What the user wrote is kept for display; :attr:`ImageRef.canonical` spells it out, for comparisons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import InvalidInput

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

MAX_REFERENCE: Final = 1024
"""Characters of a whole reference; the grammar bounds name (255) and tag (128), but not a digest."""

_MAX_NAME: Final = 255
_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_DOMAIN: Final = re.compile(rf"{_HOST}(?::[0-9]+)?", re.ASCII)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}", re.ASCII)
_IMAGE_ID: Final = re.compile(r"(?:sha256:)?[a-f0-9]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """A parsed reference.

    Attributes:
        registry: host and port as written; ``None`` where the user left the default registry out.
        path: the repository's path as written, without the registry.
        tag: as written; ``None`` if left out.
        digest: ``sha256:…``; ``None`` if left out. With a digest, the tag is only a remark.
    """

    registry: str | None
    path: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """As it was written."""
        return f"{self.name}{f':{self.tag}' if self.tag else ''}{f'@{self.digest}' if self.digest else ''}"

    @property
    def name(self) -> str:
        """Registry and path as written, without tag and digest."""
        return f"{self.registry}/{self.path}" if self.registry else self.path

    @property
    def effective_tag(self) -> str | None:
        """The tag that is meant: ``latest`` where neither tag nor digest was given, ``None`` for a bare digest."""
        return self.tag or (None if self.digest else DEFAULT_TAG)

    @property
    def with_tag(self) -> str:
        """As written, with the tag that is meant spelled out: what is asked of the engine."""
        return str(self) if self.tag or self.digest else f"{self.name}:{DEFAULT_TAG}"

    @property
    def canonical(self) -> str:
        """Everything spelled out (``docker.io/library/nginx:latest``), so that equal texts mean the same image."""
        registry = self.registry or DEFAULT_REGISTRY
        if registry == "index.docker.io":  # the default registry's old name
            registry = DEFAULT_REGISTRY
        path = self.path
        if registry == DEFAULT_REGISTRY and "/" not in path:
            path = f"{DEFAULT_NAMESPACE}/{path}"
        tag = self.effective_tag
        return f"{registry}/{path}{f':{tag}' if tag else ''}{f'@{self.digest}' if self.digest else ''}"


def parse_image_ref(text: str) -> ImageRef:
    """Read a reference.

    Raises:
        InvalidInput: ``image_reference_malformed``, saying which part is wrong.
    """
    if not text:
        raise _malformed(text, "it is empty")
    if len(text) > MAX_REFERENCE:
        raise _malformed(text, f"it is longer than {MAX_REFERENCE} characters")
    if _IMAGE_ID.fullmatch(text):
        raise _malformed(text, "it is the id of an image; give the image a name with a tag and use that")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _malformed(text, "its digest is not one (sha256: and 64 lower-case hexadecimal digits)")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _malformed(text, f"{tag!r} is not a tag (letters, digits, '_', '.', '-', at most 128)")
    registry, path = _split_registry(f"{head}{slash}{last}")
    if registry is not None and not _DOMAIN.fullmatch(registry):
        raise _malformed(text, f"{registry!r} is not a registry's host and port")
    if not _PATH.fullmatch(path):
        hint = " (image names are lower case)" if path.lower() != path else ""
        raise _malformed(text, f"{path!r} is not an image name{hint}")
    if len(path) + len(registry or "") > _MAX_NAME:
        raise _malformed(text, f"its name is longer than {_MAX_NAME} characters")
    return ImageRef(registry=registry, path=path, tag=tag or None, digest=digest or None)


def _split_registry(name: str) -> tuple[str | None, str]:
    first, slash, rest = name.partition("/")
    if slash and (any(c in first for c in ".:") or first == "localhost" or first.lower() != first):
        return first, rest
    return None, name


def _malformed(text: str, why: str) -> InvalidInput:
    shown = text if len(text) <= 100 else text[:100] + "…"
    return InvalidInput(
        "image_reference_malformed",
        f"The image reference {shown!r} can't be read: {why}.",
        next_step="Write it as registry/name:tag or registry/name@sha256:…, for example registry.example/notes:1.4.",
        details={"reference": shown},
    )
