"""Second repositories: where copies of snapshots go, beside the primary one in the data directory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PRIMARY: Final = "primary"
"""What the repository in the data directory is called; no other has this name."""

MIN_RATE: Final = 64 * 1024
"""The slowest that a copy can be limited to, bytes a second: slower, one request would take longer than any may."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


def is_repository_name(text: str) -> bool:
    """Whether a second repository may be called so."""
    return _NAME.fullmatch(text) is not None and text != PRIMARY


class RepositoryKind(StrEnum):
    """What a repository is kept in."""

    DIRECTORY = "directory"
    S3 = "s3"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPlace:
    """Where a second repository is. Holds no secret.

    Attributes:
        path: of a directory: absolute, resolved.
        bucket, prefix, region, endpoint, access_key_id: of a bucket; an empty endpoint is Amazon's own.
        certificate: of a bucket: certificates, in PEM, to trust beside the system's; empty for none.
    """

    kind: RepositoryKind
    path: str = ""
    bucket: str = ""
    prefix: str = ""
    region: str = ""
    endpoint: str = ""
    access_key_id: str = ""
    certificate: str = field(default="", repr=False)

    @property
    def words(self) -> str:
        """For people."""
        if self.kind is RepositoryKind.DIRECTORY:
            return self.path
        bucket = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"{bucket} at {self.endpoint}" if self.endpoint else bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRepository:
    """A repository beside the primary, under a name.

    Attributes:
        id: of this entry; files that belong to it are called so.
        repository_id: what the repository itself says that it is: another one in its place is refused.
        encrypted: whether it is sealed. In object storage it always is.
    """

    id: str
    name: str
    place: RepositoryPlace
    repository_id: str
    encrypted: bool
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFacts:
    """What was found when a second repository was tried. Sizes in bytes."""

    snapshots: int
    packs: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """What copying one snapshot did.

    Attributes:
        existed: whether the snapshot was there already.
        chunks, plain_bytes: what was missing there, and travelled.
        sent_bytes: of the packs that were sent.
    """

    existed: bool
    chunks: int
    plain_bytes: int
    sent_bytes: int
