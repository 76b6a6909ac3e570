"""Where a second repository is, as commands are told: a directory, or a bucket of object storage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli.session import Session
from holdfast.domain.errors import InvalidInput
from holdfast.domain.repository import RepositoryKind, RepositoryPlace

SECRET_VARIABLE: Final = "HOLDFAST_S3_SECRET"  # noqa: S105 - the name of a variable
REGION: Final = "us-east-1"
_MAX_SECRET: Final = 1024
_MAX_CERTIFICATE: Final = 65536

Directory = Annotated[str | None, typer.Option("--directory", help="A directory, by its absolute path.")]
S3 = Annotated[
    str | None, typer.Option("--s3", metavar="BUCKET[/PREFIX]", help="A bucket that exists, and folders in it.")
]
Endpoint = Annotated[str, typer.Option("--endpoint", help="Address of the object storage; Amazon's own by default.")]
Region = Annotated[str, typer.Option("--region", help="The bucket's region.")]
AccessKeyId = Annotated[str, typer.Option("--access-key-id", help="The access key's id.")]
SecretFile = Annotated[
    str | None,
    typer.Option(
        "--secret-file",
        help=f"A file whose first line is the access key's secret; - for stdin. Without it {SECRET_VARIABLE} is taken "
        "from the environment, or asked for.",
    ),
]
Certificate = Annotated[
    Path | None, typer.Option("--certificate", help="Certificates to trust, in PEM.", exists=True, dir_okay=False)
]


def place_of(
    directory: str | None, s3: str | None, endpoint: str, region: str, access_key_id: str, certificate: Path | None
) -> RepositoryPlace:
    """The place that is meant.

    Raises:
        InvalidInput: ``repository_place_missing``, ``access_key_missing``.
    """
    if (directory is None) == (s3 is None):
        raise InvalidInput(
            "repository_place_missing",
            "A repository is either in a directory or in a bucket.",
            next_step="Say --directory PATH, or --s3 BUCKET/PREFIX.",
        )
    if s3 is None:
        return RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(directory))
    if not access_key_id:
        raise InvalidInput(
            "access_key_missing",
            "The id of the access key is missing.",
            next_step="Say --access-key-id ID; the secret that belongs to it is asked for.",
        )
    bucket, _, prefix = s3.partition("/")
    return RepositoryPlace(
        kind=RepositoryKind.S3,
        bucket=bucket,
        prefix=prefix.strip("/"),
        endpoint=endpoint,
        region=region,
        access_key_id=access_key_id,
        certificate=_certificate(certificate),
    )


def secret_of(session: Session, file: str | None) -> str:
    """The secret, from anywhere but the command line, which others on the machine can read."""
    if file == "-":
        return _first_line(sys.stdin.buffer.readline(_MAX_SECRET))
    if file is not None:
        try:
            with Path(file).open("rb") as opened:
                return _first_line(opened.readline(_MAX_SECRET))
        except OSError as error:
            raise InvalidInput(
                "file_unreadable", f"{file} can't be read: {error.strerror}.", next_step="Check the path."
            ) from error
    if given := session.env.get(SECRET_VARIABLE):
        return given
    if not session.output.is_terminal:
        raise InvalidInput(
            "secret_missing",
            "The secret of the access key is missing, and nobody can be asked here.",
            next_step=f"Name a file with --secret-file, or set {SECRET_VARIABLE}.",
        )
    return str(typer.prompt("Secret access key", hide_input=True, err=True))


def _first_line(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _certificate(file: Path | None) -> str:
    if file is None:
        return ""
    with file.open("rb") as opened:
        return opened.read(_MAX_CERTIFICATE + 1).decode("utf-8", "replace")
