"""Second repositories and copies, on the wire. A secret comes in and never goes out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from holdfast.api.parameters import PrintableText
from holdfast.domain.repository import (
    RepositoryFacts,
    RepositoryKind,
    RepositoryPlace,
    SecondRepository,
)
from holdfast.domain.units import MAX_SIZE

_Text = Annotated[PrintableText, Field(min_length=1, max_length=1024)]


class DirectoryBody(BaseModel, extra="forbid"):
    path: Annotated[_Text, Field(description="Absolute path; made if only its last part is missing.")]
    encrypt: Annotated[bool, Field(description="Whether a repository that is made there is encrypted.")] = True


class S3Body(BaseModel, extra="forbid"):
    """A bucket. What is kept there is encrypted always."""

    bucket: Annotated[_Text, Field(description="The bucket; it has to exist.")]
    prefix: Annotated[PrintableText, Field(description="Folders within the bucket.", max_length=512)] = ""
    endpoint: Annotated[PrintableText, Field(description="`https://host`; left out, Amazon's own.", max_length=512)] = (
        ""
    )
    region: Annotated[_Text, Field(description="The bucket's region.")] = "us-east-1"
    access_key_id: _Text
    secret_access_key: Annotated[
        SecretStr,
        Field(description="Never shown again.", min_length=1, max_length=1024, json_schema_extra={"writeOnly": True}),
    ]
    certificate: Annotated[
        str, Field(description="Certificates to trust beside the system's, in PEM.", max_length=65536)
    ] = ""


class RepositoryBody(BaseModel, extra="forbid"):
    name: Annotated[PrintableText, Field(description="What it is called here.", min_length=1, max_length=63)]
    directory: Annotated[DirectoryBody | None, Field(description="Either this …")] = None
    s3: Annotated[S3Body | None, Field(description="… or this.")] = None
    take_over: Annotated[
        bool,
        Field(
            description="Make this installation the owner of the repository that is there, whoever was before: for a "
            "Holdfast that is gone."
        ),
    ] = False

    @property
    def place(self) -> RepositoryPlace | None:
        """Where it is; ``None`` unless exactly one place is named."""
        if self.s3 is not None and self.directory is None:
            return RepositoryPlace(
                kind=RepositoryKind.S3,
                bucket=self.s3.bucket,
                prefix=self.s3.prefix,
                endpoint=self.s3.endpoint,
                region=self.s3.region,
                access_key_id=self.s3.access_key_id,
                certificate=self.s3.certificate,
            )
        if self.directory is not None and self.s3 is None:
            return RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=self.directory.path)
        return None


class RepositoryView(BaseModel):
    """A repository beside the primary one."""

    name: str
    kind: RepositoryKind
    place: Annotated[str, Field(description="Where it is, in words.")]
    repository_id: Annotated[str, Field(description="What it says that it is.")]
    encrypted: bool
    created_at: Annotated[str, Field(description="When it was added.")]
    access_key_id: Annotated[str, Field(description="Empty for a directory.")]
    region: Annotated[str, Field(description="Empty for a directory.")]

    @classmethod
    def of(cls, repository: SecondRepository) -> RepositoryView:
        """The view of ``repository``."""
        return cls(
            name=repository.name,
            kind=repository.place.kind,
            place=repository.place.words,
            repository_id=repository.repository_id,
            encrypted=repository.encrypted,
            created_at=repository.created_at,
            access_key_id=repository.place.access_key_id,
            region=repository.place.region,
        )


class RepositoriesView(BaseModel):
    items: list[RepositoryView]


class RepositoryFactsView(BaseModel):
    """A repository was opened, and answered."""

    snapshots: int
    packs: int
    bytes: Annotated[int, Field(description="Of all packs.")]
    seconds: Annotated[float, Field(description="How long it took.")]

    @classmethod
    def of(cls, facts: RepositoryFacts) -> RepositoryFactsView:
        """The view of ``facts``."""
        return cls(snapshots=facts.snapshots, packs=facts.packs, bytes=facts.bytes, seconds=facts.seconds)


class CopyBody(BaseModel, extra="forbid"):
    workload: Annotated[str, Field(description="Whose snapshots (id or name).", pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
    snapshot: Annotated[
        str | None,
        Field(description="Which one; null for all that are missing there.", pattern="^[0-7][0-9a-hjkmnp-tv-z]{25}$"),
    ] = None
    limit_rate: Annotated[
        int | None,
        Field(
            description="Bytes a second at most; 0 for no bound; null for the setting `copy_limit_rate`.",
            ge=0,
            le=MAX_SIZE,
        ),
    ] = None


class SecondPruneBody(BaseModel, extra="forbid"):
    dry_run: Annotated[bool, Field(description="Only tell what would go.")] = False
