"""Backups beside the snapshots of a second repository: sent, found and fetched without any key."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import NotFound
from holdfast.engine.fs import Fs
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.kept_backups import backups_in, fetch_backup, forget_backups, send_backup
from holdfast.engine.repository.object_blobs import ObjectBlobs
from holdfast.engine.repository.posix_blobs import PosixBlobs

OLD, NEW = "01jzzzzzzzzzzzzzzzzzzzzzz0", "01jzzzzzzzzzzzzzzzzzzzzzz1"


@pytest.fixture(params=["directory", "objects"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    in_memory = request.param == "objects"
    with ObjectBlobs.in_memory() if in_memory else PosixBlobs.made_at(Fs(), tmp_path / "far") as opened:
        yield opened


def test_what_is_sent_is_found_newest_first_and_fetched(blobs: BlobStore, tmp_path: Path) -> None:
    content = {OLD: b"old", NEW: bytes(range(256)) * 40_000}  # of several pieces
    for backup_id, data in content.items():
        (tmp_path / "backup").write_bytes(data)
        send_backup(blobs, backup_id, tmp_path / "backup")
    blobs.put("backups/readme.backup", [b"somebody else's"])
    assert backups_in(blobs) == {NEW: len(content[NEW]), OLD: 3}
    for wanted, backup_id in ((None, NEW), (OLD, OLD)):
        out = io.BytesIO()
        assert fetch_backup(blobs, wanted, out) == backup_id
        assert out.getvalue() == content[backup_id]
    assert forget_backups(blobs, 1) == (OLD,)
    assert list(backups_in(blobs)) == [NEW]


def test_where_there_is_none_that_is_told(blobs: BlobStore) -> None:
    with pytest.raises(NotFound) as none:
        fetch_backup(blobs, None, io.BytesIO())
    with pytest.raises(NotFound) as other:
        fetch_backup(blobs, OLD, io.BytesIO())
    assert [none.value.code, other.value.code] == ["backup_missing"] * 2
