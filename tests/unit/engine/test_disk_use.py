"""How much things take, found without following anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.engine.test_journal import FACTS

from holdfast.domain.errors import Cancelled, Failed
from holdfast.domain.restore import RootRef
from holdfast.engine.disk_use import Wrapper, directory_use, tree_use, wrappers
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.journal import Journal
from holdfast.engine.live import LiveRoots


class CancelledJob(QuietJob):
    def check(self) -> None:
        raise Cancelled


def test_a_tree_is_counted_as_its_snapshot_would_be(tmp_path: Path) -> None:
    live = tmp_path / "data"
    (live / "folder").mkdir(parents=True)
    (live / "folder" / "file").write_bytes(bytes(5000))
    (live / "again").hardlink_to(live / "folder" / "file")
    (live / "link").symlink_to("/etc/passwd")
    with (live / "sparse").open("wb") as file:
        file.truncate(50_000_000)
    ref = RootRef(root=str(tmp_path), relative="data")
    with LiveRoots(Fs(), [str(tmp_path)]) as roots:
        assert tree_use(Fs(), roots, ref, QuietJob()) == 4096 + 8192
        with pytest.raises(Cancelled):
            tree_use(Fs(), roots, ref, CancelledJob())


def test_a_directory_of_its_own_is_counted_by_name_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(bytes(1 << 20))
    own = tmp_path / "own"
    (own / "a" / "b").mkdir(parents=True)
    (own / "a" / "b" / "file").write_bytes(bytes(100_000))
    (own / "left out").write_bytes(bytes(100_000))
    (own / "link").symlink_to(outside)
    found = directory_use(Fs(), own, leave_out=["left out"])
    assert found.keys() == {"a", "link"}
    assert 100_000 < found["a"] < 200_000
    assert found["link"] < 10_000


def test_a_directory_that_is_not_there_takes_nothing_and_one_that_is_none_is_an_error(tmp_path: Path) -> None:
    assert directory_use(Fs(), tmp_path / "none") == {}
    (tmp_path / "file").touch()
    with pytest.raises(Failed):
        directory_use(Fs(), tmp_path / "file")


def test_what_restores_keep_is_where_their_journals_say(tmp_path: Path) -> None:
    Journal.create(Fs(), str(tmp_path), FACTS).close()
    (tmp_path / "damaged.journal").write_text("no record\n\n{}\n")
    ref = RootRef(root="/srv", relative="notes/.holdfast-r1-0")
    assert wrappers(Fs(), tmp_path) == [Wrapper(restore_id="r1", workload_name="notes", target="/data", ref=ref)]
