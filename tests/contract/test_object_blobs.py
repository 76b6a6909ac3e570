"""Blobs in object storage pass the suite of their port: in memory, and in S3 over HTTP.

The S3 server is moto's: it stands in for a real one in what requests and answers look like, conditions, ranges and
paging. What it can't show is how a real one behaves under load and over a real network; ``test_object_store_faults``
puts that between by hand.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import obstore
import pytest
from obstore.store import MemoryStore

from holdfast.domain.errors import InvalidInput
from holdfast.domain.ids import new_id
from holdfast.engine.repository.blobs import BlobInfo, BlobStore
from holdfast.engine.repository.object_blobs import ObjectBlobs, Patience
from holdfast.engine.repository.s3 import S3Location, s3_blobs
from holdfast.testing.faulty_http import FaultyProxy
from holdfast.testing.s3_server import S3Server
from tests.contract.blob_store import BlobStoreContract, Plant


class TestBlobsInMemory(BlobStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def blobs(self, store: MemoryStore) -> BlobStore:
        return ObjectBlobs(reading=store, writing=store, where="The store in memory")

    @pytest.fixture
    def plant(self, store: MemoryStore) -> Plant:
        def plant(name: str, content: bytes) -> None:
            obstore.put(store, name, content)

        return plant


@pytest.fixture
def server(s3: S3Server) -> S3Server:
    return s3


def location(server: S3Server, bucket: str, **changes: str) -> S3Location:
    given = {"prefix": "some/where", "access_key_id": "key", "secret_access_key": "secret"} | changes
    return S3Location(bucket=bucket, endpoint=server.endpoint, **given)


class TestBlobsInS3(BlobStoreContract):
    @pytest.fixture
    def bucket(self, server: S3Server) -> str:
        name = f"bucket-{new_id()}"
        server.make_bucket(name)
        return name

    @pytest.fixture
    def blobs(self, server: S3Server, bucket: str) -> BlobStore:
        return s3_blobs(location(server, bucket), Patience(pause=0.01))

    @pytest.fixture
    def plant(self, server: S3Server, bucket: str) -> Plant:
        def plant(name: str, content: bytes) -> None:
            server.put(bucket, f"some/where/{quote(name)}", content)

        return plant

    def test_a_repository_sees_nothing_outside_of_its_prefix(
        self, server: S3Server, bucket: str, blobs: BlobStore
    ) -> None:
        other = s3_blobs(location(server, bucket, prefix="some/where2"))
        whole = s3_blobs(location(server, bucket, prefix=""))
        other.put("packs/a", [b"theirs"])
        whole.put("packs/a", [b"all"])
        assert blobs.list_blobs("packs") == []
        blobs.put("packs/a", [b"mine"])
        blobs.delete(["packs/a"])
        assert other.get("packs/a", limit=10) == b"theirs"
        assert whole.list_blobs("packs") == [BlobInfo("packs/a", 3)]

    def test_a_blob_larger_than_any_pack_is_sent_in_parts(self, blobs: BlobStore) -> None:
        part = bytes(range(256)) * 65_536
        blobs.put("packs/a", [part] * 5)
        assert blobs.list_blobs("packs") == [BlobInfo("packs/a", 5 * len(part))]
        assert blobs.get_range("packs/a", 3 * len(part) - 5, 10) == part[-5:] + part[:5]

    def test_the_environment_changes_nothing(
        self, server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
            "AWS_BUCKET": "another",
            "AWS_SESSION_TOKEN": "token",
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        }.items():
            monkeypatch.setenv(name, value)
        with FaultyProxy(server.port) as proxy:
            place = replace(location(server, bucket), endpoint=f"http://127.0.0.1:{proxy.port}")
            blobs = s3_blobs(place, Patience(attempts=1))
            blobs.put("packs/a", [b"x"])
            assert blobs.get("packs/a", limit=1) == b"x"
        for request in proxy.requests:
            assert "Credential=key/" in request.headers["authorization"]
            assert "x-amz-security-token" not in request.headers


def test_a_location_shows_no_secret() -> None:
    place = S3Location(bucket="bucket", access_key_id="key", secret_access_key="hush", endpoint="https://s3.example")
    assert "hush" not in repr(place) + place.where
    assert place.where == "The storage s3://bucket at https://s3.example"


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "../up"},
        {"bucket": ""},
        {"region": "a b"},
        {"prefix": "/x"},
        {"prefix": "x/../y"},
        {"prefix": "X"},
        {"endpoint": "ftp://host"},
        {"endpoint": "host:9000"},
        {"endpoint": "https://user:pass@host"},
        {"endpoint": "https://host/?x=1"},
        {"access_key_id": ""},
        {"secret_access_key": ""},
        {"certificate": "no certificate"},
    ],
)
def test_a_location_that_makes_no_sense_is_refused(change: dict[str, str]) -> None:
    given = {"bucket": "bucket", "access_key_id": "key", "secret_access_key": "secret"} | change
    with pytest.raises(InvalidInput) as caught:
        s3_blobs(S3Location(**given))
    assert caught.value.code == "s3_location_malformed"
    assert "secret" not in str(caught.value) or "missing" in str(caught.value)
