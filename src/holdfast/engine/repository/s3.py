"""Opening a bucket: Amazon's S3, or one that speaks it (MinIO, Ceph, Backblaze, R2 …).

Everything is said here; the ``AWS_*`` variables of the environment, which the library would also read, change nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from obstore.store import S3Store

from holdfast.domain.errors import InvalidInput
from holdfast.engine.repository.blobs import is_component
from holdfast.engine.repository.object_blobs import ObjectBlobs, Patience

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """Where a repository is in object storage, and what opens it.

    Attributes:
        prefix: folders within the bucket, with ``/`` between; empty for none.
        endpoint: ``https://host`` or ``http://host:port``; empty for Amazon's own.
        certificate: certificates, in PEM, to trust beside the system's; empty for none.
    """

    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    endpoint: str = ""
    access_key_id: str
    secret_access_key: str = field(repr=False)
    certificate: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """In words, for messages."""
        path = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"The storage {path} at {self.endpoint}" if self.endpoint else f"The storage {path}"


def s3_blobs(
    location: S3Location,
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
    pace: Callable[[int], object] | None = None,
) -> ObjectBlobs:
    """The blobs in a bucket. Says nothing about whether it can be reached.

    Args:
        sleep: pauses between attempts, in seconds.
        pace: as of :class:`ObjectBlobs`.

    Raises:
        InvalidInput: ``s3_location_malformed``.
    """
    _check(location)
    patience = patience or Patience()
    return ObjectBlobs(
        reading=_store(location, patience, silence=patience.silence),
        # The library counts the time of sending as silence.
        writing=_store(location, patience, silence=patience.request),
        where=location.where,
        patience=patience,
        sleep=sleep,
        pace=pace,
    )


def _store(location: S3Location, patience: Patience, *, silence: float) -> S3Store:
    options: dict[str, Any] = {
        "allow_http": location.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect),
        "read_timeout": timedelta(seconds=silence),
        "timeout": timedelta(seconds=patience.request),
    }
    if location.certificate:
        options["root_certificate"] = location.certificate
    endpoint = location.endpoint or f"https://s3.{location.region}.amazonaws.com"
    try:
        return S3Store(
            location.bucket,
            prefix=location.prefix or None,
            region=location.region,
            endpoint=endpoint,
            aws_endpoint_url_s3=endpoint,
            virtual_hosted_style_request=False,
            skip_signature=False,
            conditional_put="etag",
            credential_provider=_Credentials(location),
            client_options=options,  # type: ignore[arg-type]  # a plain dict of what is set
            retry_config={"max_retries": 0},
        )
    except Exception as error:  # the library documents no class for what it does not like
        raise _malformed("the endpoint or the certificate can't be used") from error


class _Credentials:
    """Gives the library the key that was given, and never what the environment says."""

    def __init__(self, location: S3Location) -> None:
        self._location = location

    def __call__(self) -> Any:
        return {
            "access_key_id": self._location.access_key_id,
            "secret_access_key": self._location.secret_access_key,
            "expires_at": None,
        }


def _check(location: S3Location) -> None:
    if not _BUCKET.fullmatch(location.bucket):
        raise _malformed("the bucket's name is none")
    if not _REGION.fullmatch(location.region):
        raise _malformed("the region is none")
    if location.prefix and not all(map(is_component, location.prefix.split("/"))):
        raise _malformed("the prefix may have lower-case letters, digits, '.', '_' and '-', and '/' between folders")
    if location.endpoint:
        parts = urlsplit(location.endpoint)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise _malformed("the endpoint must be https://host or http://host:port")
    if not location.access_key_id or not location.secret_access_key:
        raise _malformed("the access key or its secret is missing")


def _malformed(why: str) -> InvalidInput:
    return InvalidInput(
        "s3_location_malformed",
        f"The storage can't be opened: {why}.",
        next_step="Correct the repository's settings.",
    )
