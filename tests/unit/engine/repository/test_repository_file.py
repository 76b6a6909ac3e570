"""What a repository says of itself is believed only if it is ours, whole, understood and opened with the right key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import Conflict, Damaged, HoldfastError, NotFound, Refused
from holdfast.domain.ids import new_id
from holdfast.engine.fs import Fs
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.repository_file import (
    create_repository,
    read_repository,
    require_owner,
    take_over,
)
from holdfast.engine.repository.seal import RepositoryKeys
from holdfast.engine.signed_json import signed

KEYS = RepositoryKeys.derive(bytes(range(32)))
OTHER_KEYS = RepositoryKeys.derive(bytes(32))
OWNER = new_id()
ANOTHER = "01hzzzzzzzzzzzzzzzzzzzzzzz"  # fixed: it is part of the tests' names


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[BlobStore]:
    with PosixBlobs.made_at(Fs(), tmp_path / "repository") as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "repository" / "repository.json"


def stored(blobs: BlobStore) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(blobs.get("repository.json", limit=10_000))
    return document


def code_of_reading(blobs: BlobStore, kind: type[HoldfastError], keys: RepositoryKeys = KEYS) -> str:
    before = blobs.get("repository.json", limit=1_000_000)
    with pytest.raises(kind) as caught:
        read_repository(blobs, keys)
    assert caught.value.next_step
    assert blobs.get("repository.json", limit=1_000_000) == before
    return caught.value.code


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_repository_is_found_again_as_it_was_made(blobs: BlobStore, encrypted: bool) -> None:
    made = create_repository(blobs, KEYS, owner=OWNER, encrypted=encrypted)
    assert read_repository(blobs, KEYS) == made
    assert (made.encrypted, made.owner, made.format) == (encrypted, OWNER, 1)
    require_owner(made, OWNER)


def test_where_there_is_none_that_is_said(blobs: BlobStore) -> None:
    with pytest.raises(NotFound) as caught:
        read_repository(blobs, KEYS)
    assert caught.value.code == "repository_missing"


def test_a_repository_is_not_made_twice(blobs: BlobStore) -> None:
    made = create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    blobs.put("packs/a", [b"x"])
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            create_repository(blobs, OTHER_KEYS, owner=new_id(), encrypted=False)
        assert caught.value.code == "repository_exists"
        blobs.delete(["packs/a"])
    assert read_repository(blobs, KEYS) == made


@pytest.mark.parametrize("left", ["packs/a", "manifests/a"])
def test_no_repository_is_made_over_the_remains_of_another(blobs: BlobStore, left: str) -> None:
    blobs.put(left, [b"x"])
    with pytest.raises(Refused) as caught:
        create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    assert caught.value.code == "repository_file_missing"
    assert blobs.list_blobs("") == []


def test_a_newer_format_is_refused_whatever_else_it_says(blobs: BlobStore) -> None:
    blobs.put("repository.json", [b'{"format": 2, "anything": [1]}'])
    assert code_of_reading(blobs, Refused) == "repository_format_newer"


def test_a_wrong_key_is_recognised(blobs: BlobStore) -> None:
    create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    assert code_of_reading(blobs, Refused, OTHER_KEYS) == "repository_key_wrong"


@pytest.mark.parametrize(("field", "value"), [("encrypted", False), ("owner", ANOTHER), ("id", ANOTHER), ("mac", 1)])
def test_what_somebody_without_the_key_changed_is_not_believed(blobs: BlobStore, field: str, value: object) -> None:
    create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    blobs.put("repository.json", [json.dumps({**stored(blobs), field: value}).encode()])
    assert code_of_reading(blobs, Damaged) == "repository_file_damaged"


def test_every_flipped_bit_is_noticed(blobs: BlobStore, file: Path) -> None:
    create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    whole = blobs.get("repository.json", limit=10_000)
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        file.write_bytes(flipped)
        with pytest.raises((Damaged, Refused)):
            read_repository(blobs, KEYS)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 60_000, b"{}", b'{"format": "1"}'])
def test_what_is_no_description_is_damage(blobs: BlobStore, content: bytes) -> None:
    blobs.put("repository.json", [content])
    assert code_of_reading(blobs, Damaged) == "repository_file_damaged"


def test_a_description_of_impossible_size_is_not_read(blobs: BlobStore) -> None:
    blobs.put("repository.json", [b" " * 70_000])
    assert code_of_reading(blobs, Damaged) == "blob_too_large"


@pytest.mark.parametrize(
    "change", [{"id": "../etc"}, {"owner": ""}, {"format": 0}, {"encrypted": "yes"}, {"created_at": None}]
)
def test_nonsense_is_damage_even_if_it_is_authentic(blobs: BlobStore, change: dict[str, object]) -> None:
    create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    document = {name: value for name, value in stored(blobs).items() if name != "mac"}
    blobs.put("repository.json", [signed({**document, **change}, KEYS.description)])
    assert code_of_reading(blobs, Damaged) == "repository_file_damaged"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["format", "id", "x"]), inner),
        max_leaves=10,
    )
)
def test_no_json_does_worse_than_being_refused(blobs: BlobStore, file: Path, document: object) -> None:
    file.write_text(json.dumps(document))
    with pytest.raises((Damaged, Refused)):
        read_repository(blobs, KEYS)


def test_the_repository_of_another_holdfast_is_left_alone_until_it_is_taken_over(blobs: BlobStore) -> None:
    made = create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    newcomer = new_id()
    with pytest.raises(Conflict) as caught:
        require_owner(read_repository(blobs, KEYS), newcomer)
    assert caught.value.code == "repository_of_another"
    assert OWNER in caught.value.message
    taken = take_over(blobs, KEYS, owner=newcomer)
    assert (taken.id, taken.owner, taken.created_at) == (made.id, newcomer, made.created_at)
    require_owner(read_repository(blobs, KEYS), newcomer)
    with pytest.raises(Conflict):
        require_owner(read_repository(blobs, KEYS), OWNER)


def test_a_repository_is_not_taken_over_without_its_key(blobs: BlobStore) -> None:
    made = create_repository(blobs, KEYS, owner=OWNER, encrypted=True)
    with pytest.raises(Refused):
        take_over(blobs, OTHER_KEYS, owner=new_id())
    assert read_repository(blobs, KEYS) == made
