"""The index' file is a cache: whatever happened to it, the index opens, and knows what the packs say."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.engine.repository.packs import KEYS, PLAIN, chunk_id, pack_of

from holdfast.domain.errors import Busy, Failed, NoSpace
from holdfast.engine.fs import Fs
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.pack import FrameInfo
from holdfast.engine.repository.posix_blobs import PosixBlobs

CHUNKS = [b"%d" % number for number in range(3000)]
IDS = [chunk_id(chunk) for chunk in CHUNKS]


@pytest.fixture
def blobs(fs: Fs, tmp_path: Path) -> Iterator[PosixBlobs]:
    """A repository of one pack."""
    with PosixBlobs.made_at(fs, tmp_path / "repository") as blobs:
        pack = pack_of(CHUNKS)
        blobs.put(f"packs/{pack.name}", pack.buffers)
        yield blobs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


def files(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


def fill(blobs: PosixBlobs, path: Path, repository: str = "r1") -> list[str]:
    """Open the index and make it agree with the packs; the codes of the problems that were told."""
    with Index(Fs(), path, repository) as index:
        problems = index.sync(blobs, KEYS, PLAIN, condemned=())
        assert not index.missing(IDS)
        assert len(index.locate(IDS)) == len(IDS)
    return [problem.code for problem in problems]


def known(path: Path, repository: str = "r1") -> int:
    """How many packs the file knows, before anything is read."""
    with Index(Fs(), path, repository) as index:
        return len(index.packs())


def test_the_file_is_made_with_its_directory_and_keeps_what_it_learnt(blobs: PosixBlobs, path: Path) -> None:
    assert fill(blobs, path) == []
    assert known(path) == 1
    assert files(path) == {"index.sqlite"}


def test_a_deleted_file_is_made_anew(blobs: PosixBlobs, path: Path) -> None:
    fill(blobs, path)
    path.unlink()
    assert known(path) == 0
    assert fill(blobs, path) == []


def test_a_file_that_was_cut_off_is_made_anew(blobs: PosixBlobs, path: Path) -> None:
    fill(blobs, path)
    content = path.read_bytes()
    assert len(content) > 40 << 12
    for length in (0, 1, 50, 100, 4095, 4096, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert fill(blobs, path) == []
        assert files(path) == {"index.sqlite"}


@pytest.mark.parametrize("garbage", [b"x", b"garbage" * 10_000, bytes(100_000)], ids=["a byte", "text", "zeros"])
def test_garbage_is_replaced(blobs: PosixBlobs, path: Path, garbage: bytes) -> None:
    path.parent.mkdir()
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (path.parent / name).write_bytes(garbage)
    assert fill(blobs, path) == []
    assert known(path) == 1


def test_a_log_of_another_database_beside_the_file_does_no_harm(blobs: PosixBlobs, path: Path) -> None:
    fill(blobs, path)
    other = path.with_name("other")
    database = sqlite3.connect(other)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE chunks (x)")
    log = other.with_name("other-wal").read_bytes()
    database.close()
    assert log
    path.with_name("index.sqlite-wal").write_bytes(log)
    assert fill(blobs, path) == []


def test_a_log_that_outlived_its_file_does_no_harm(blobs: PosixBlobs, path: Path) -> None:
    log = path.with_name("index.sqlite-wal")
    with Index(Fs(), path, "r1") as index:
        index.sync(blobs, KEYS, PLAIN, condemned=())
        content = log.read_bytes()
    path.unlink()
    log.write_bytes(content)
    assert known(path) == 0
    assert fill(blobs, path) == []


def altered(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 2000000000",
        "DROP TABLE packs",
        "DROP TABLE meta",
        "DELETE FROM meta",
        "INSERT INTO meta VALUES ('another', 0)",
    ],
)
def test_a_file_of_another_schema_is_made_anew(blobs: PosixBlobs, path: Path, statement: str) -> None:
    fill(blobs, path)
    altered(path, statement)
    assert known(path) == 0
    assert fill(blobs, path) == []


def test_a_schema_whose_damage_is_no_text_is_made_anew(blobs: PosixBlobs, path: Path) -> None:
    """SQLite names what is malformed by its bytes, which its driver for Python then can't put into words."""
    fill(blobs, path)
    content = path.read_bytes().replace(b"tablemetameta", b"table\xa0etameta").replace(b"CREATE TABLE", b"CREATE TABEL")
    path.write_bytes(content)
    with pytest.raises(UnicodeDecodeError), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert fill(blobs, path) == []
    assert known(path) == 1


def test_a_database_that_is_none_of_ours_is_made_anew(blobs: PosixBlobs, path: Path) -> None:
    path.parent.mkdir()
    altered(path, "CREATE TABLE packs (name TEXT)", "CREATE VIEW chunks AS SELECT * FROM packs")
    assert fill(blobs, path) == []


def test_the_file_of_another_repository_is_made_anew(blobs: PosixBlobs, path: Path) -> None:
    fill(blobs, path)
    assert known(path, "r2") == 0
    assert known(path, "r1") == 0
    assert fill(blobs, path) == []


def test_damage_that_is_met_in_use_is_mended_when_the_index_is_opened_next(blobs: PosixBlobs, path: Path) -> None:
    fill(blobs, path)
    content = bytearray(path.read_bytes())
    for page in range(10, len(content) >> 12):  # not those that are looked at when it is opened
        content[page << 12 : (page + 1) << 12] = b"\x55" * 4096
    path.write_bytes(content)
    with Index(Fs(), path, "r1") as index, pytest.raises(Failed) as caught:
        index.missing(IDS)
    assert caught.value.code == "repository_index_unusable"
    assert caught.value.next_step
    assert known(path) == 0
    assert fill(blobs, path) == []
    assert files(path) == {"index.sqlite"}


def test_a_damaged_file_that_is_open_elsewhere_is_left_and_a_temporary_one_serves(
    blobs: PosixBlobs, path: Path
) -> None:
    fill(blobs, path)
    with Index(Fs(), path, "r1"):
        path.write_bytes(b"garbage" * 1000)
        assert fill(blobs, path) == ["repository_index_not_kept"]
        assert path.read_bytes() == b"garbage" * 1000
    assert fill(blobs, path) == []
    assert known(path) == 1


def test_several_have_the_file_open_and_learn_from_each_other(blobs: PosixBlobs, path: Path) -> None:
    with Index(Fs(), path, "r1") as one, Index(Fs(), path, "r1") as other:
        assert one.sync(blobs, KEYS, PLAIN, condemned=()) == []
        assert not other.missing(IDS)
        with Index(Fs(), path, "r1") as third:
            assert not third.missing(IDS)


def test_a_temporary_index_serves_on_a_read_only_filesystem(
    blobs: PosixBlobs, path: Path, tmpfs: Callable[..., Path]
) -> None:
    tmpfs(at=path.parent)
    fill(blobs, path)
    subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
    assert fill(blobs, path) == ["repository_index_not_kept"]
    subprocess.run(["mount", "-o", "remount,rw", str(path.parent)], check=True)
    assert fill(blobs, path) == []


def test_a_temporary_index_serves_where_its_directory_can_t_be_made(blobs: PosixBlobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert fill(blobs, tmp_path / "file" / "index.sqlite") == ["repository_index_not_kept"]
    assert fill(blobs, tmp_path / "nowhere" / "cache" / "index.sqlite") == ["repository_index_not_kept"]


class NoWriting(Fs):
    """May not remove anything."""

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        raise PermissionError(1, "Operation not permitted")


def test_a_temporary_index_serves_where_a_useless_file_can_t_be_removed(blobs: PosixBlobs, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1000)
    with Index(NoWriting(), path, "r1") as index:
        problems = index.sync(blobs, KEYS, PLAIN, condemned=())
        assert [problem.code for problem in problems] == ["repository_index_not_kept"]
        assert "not permitted" in problems[0].message
        assert not index.missing(IDS)


def test_a_full_disk_is_told_and_what_was_known_stays(path: Path, tmpfs: Callable[..., Path]) -> None:
    tmpfs("size=1m", at=path.parent)
    first = chunk_id(b"first")
    with Index(Fs(), path, "r1") as index:
        index.add_pack("a" * 64, 100, [FrameInfo(48, 100, b"", ((first, 1),))])
        index.flush()
        many = tuple((chunk_id(b"%d" % number), 1) for number in range(30_000))
        index.add_pack("b" * 64, 100, [FrameInfo(48, 100, b"", many)])
        with pytest.raises(NoSpace) as caught:
            index.flush()
        assert caught.value.code == "no_space"
        assert index.missing([first]) == set()
    assert known(path) == 1


def test_a_writer_that_never_ends_is_told(path: Path) -> None:
    with Index(Fs(), path, "r1", patience=0.01) as index:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy) as caught:
            index.set_whole("tree", since=0)
        assert caught.value.code == "repository_index_busy"
        database.execute("ROLLBACK")
        database.close()
        index.set_whole("tree", since=0)
        assert index.is_whole("tree")


def test_no_descriptor_is_left_open(blobs: PosixBlobs, path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for content in (b"", b"garbage" * 1000):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        fill(blobs, path)
        fill(blobs, path / "not a directory")
    assert len(os.listdir("/proc/self/fd")) == before
