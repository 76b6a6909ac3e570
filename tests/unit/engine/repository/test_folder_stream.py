"""Files and folders as they leave a snapshot."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.engine.repository.repository_bench import RepositoryBench, data

from holdfast.domain.snapshot import FolderFormat
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.store import RepositoryStore

FILES = {"empty": b"", "small": b"color: blue\n", "large": data(1, 3 << 20)}


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[tuple[RepositoryStore, str]]:
    """A repository, and a snapshot of the files in it."""
    bench = RepositoryBench(tmp_path)
    snapshot = bench.take(FILES)
    assert isinstance(bench.store, RepositoryStore)
    yield bench.store, snapshot
    bench.close()


def test_a_file_leaves_a_snapshot_as_it_was(taken: tuple[RepositoryStore, str]) -> None:
    store, snapshot = taken
    for name, content in FILES.items():
        out = io.BytesIO()
        store.send_file(snapshot, 0, name.encode(), out.write, QuietJob())
        assert out.getvalue() == content, name


def test_a_folder_leaves_a_snapshot_as_an_archive_of_all_of_it(taken: tuple[RepositoryStore, str]) -> None:
    store, snapshot = taken
    for kind in FolderFormat:
        out = io.BytesIO()
        store.send_folder(snapshot, 0, b"", kind, out.write, QuietJob())
        if kind is FolderFormat.TAR:
            with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
                found = {
                    member.name: content.read()
                    for member in tar.getmembers()
                    if (content := tar.extractfile(member)) is not None
                }
        else:
            with zipfile.ZipFile(out) as archive:
                found = {name: archive.read(name) for name in archive.namelist()}
        assert found == FILES
