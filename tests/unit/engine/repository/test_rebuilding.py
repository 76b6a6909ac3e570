"""A repository whose description is lost is known again by its snapshots, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import NotFound, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.engine.fs import Fs
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.manifests import Manifests, StoredSnapshot
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.rebuilding import take_over_or_rebuild
from holdfast.engine.repository.repository_file import create_repository, read_repository
from holdfast.engine.repository.seal import RepositoryKeys, sealer_of

KEYS = RepositoryKeys.derive(bytes(range(32)))
OTHER_KEYS = RepositoryKeys.derive(bytes(32))
OWNER = new_id()


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[BlobStore]:
    with PosixBlobs.made_at(Fs(), tmp_path / "repository") as opened:
        yield opened


def fill(blobs: BlobStore, *, encrypted: bool) -> None:
    create_repository(blobs, KEYS, owner=new_id(), encrypted=encrypted)
    manifest = SnapshotManifest(
        id=new_id(),
        workload_id=new_id(),
        workload_name="notes",
        created_at="2026-11-25T10:00:00.000000Z",
        reason=SnapshotReason.MANUAL,
        consistency=Consistency.PAUSED,
        volumes=(),
    )
    Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=encrypted)).write(StoredSnapshot(manifest=manifest, trees=()))


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("lost", ["missing", "damaged"])
def test_a_lost_description_is_written_anew(blobs: BlobStore, encrypted: bool, lost: str) -> None:
    fill(blobs, encrypted=encrypted)
    if lost == "missing":
        blobs.delete(["repository.json"])
    else:
        blobs.put("repository.json", [b"{"])
    taken, rebuilt = take_over_or_rebuild(blobs, KEYS, owner=OWNER)
    assert (taken.owner, taken.encrypted, rebuilt) == (OWNER, encrypted, True)
    assert read_repository(blobs, KEYS) == taken


def test_a_whole_description_stays_but_for_its_owner(blobs: BlobStore) -> None:
    fill(blobs, encrypted=True)
    before = read_repository(blobs, KEYS)
    taken, rebuilt = take_over_or_rebuild(blobs, KEYS, owner=OWNER)
    assert (taken.id, taken.owner, rebuilt) == (before.id, OWNER, False)


def test_with_another_key_nothing_is_written(blobs: BlobStore) -> None:
    fill(blobs, encrypted=True)
    blobs.delete(["repository.json"])
    with pytest.raises(Refused) as caught:
        take_over_or_rebuild(blobs, OTHER_KEYS, owner=OWNER)
    assert caught.value.code == "repository_not_recognised"
    assert blobs.list_blobs("") == []


def test_where_there_is_nothing_nothing_is_taken_over(blobs: BlobStore) -> None:
    with pytest.raises(NotFound) as caught:
        take_over_or_rebuild(blobs, KEYS, owner=OWNER)
    assert caught.value.code == "repository_missing"
    assert blobs.list_blobs("") == []
