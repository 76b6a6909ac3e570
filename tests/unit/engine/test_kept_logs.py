"""The files in which the logs of removed instances are kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.domain.errors import Damaged, Failed, NoSpace
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.engine.fs import Fs
from holdfast.engine.kept_logs import KeptLogFiles, Printed

W = "01j00000000000000000000000"
ONE, TWO, THREE = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def files(base: Path) -> KeptLogFiles:
    return KeptLogFiles(Fs(), base, 1 << 20)


def at(second: int) -> str:
    return f"2026-11-23T09:00:{second:02d}.000000001Z"


def lines(*seconds: int, text: str = "x") -> list[Printed]:
    return [(at(second), "stdout", f"{text} {second}") for second in seconds]


def incompressible(number: int) -> str:
    """A text of some 4 KiB that does not become much smaller."""
    value = number
    words = []
    for _ in range(512):
        value = (value * 6364136223846793005 + 1442695040888963407) % 2**64
        words.append(f"{value:016x}")
    return "".join(words)


def read(files: KeptLogFiles, query: LogQuery | None = None) -> list[LogLine]:
    return [line for kept in files.of(W) for line in files.read(W, kept, query or LogQuery())]


def test_what_is_kept_is_read_as_it_was(files: KeptLogFiles) -> None:
    odd = 'tab\t quote" \x1b[2J \x85 ☃ \N{REPLACEMENT CHARACTER}'
    files.write(W, ONE, "notes-1", [(at(1), "stdout", odd), (at(2), "stderr", "")])
    assert read(files) == [
        LogLine(at=at(1), instance="notes-1", stream="stdout", text=odd),
        LogLine(at=at(2), instance="notes-1", stream="stderr", text=""),
    ]
    (kept,) = files.of(W)
    assert (kept.first, kept.last, kept.container) == (at(1), at(2), ONE)


def test_only_lines_that_are_asked_for_are_read(files: KeptLogFiles) -> None:
    files.write(W, ONE, "notes-1", [*lines(1, 2, 3), (at(4), "stdout", "Y")])
    assert [line.at for line in read(files, LogQuery(since=at(2), until=at(3)))] == [at(2), at(3)]
    assert [line.at for line in read(files, LogQuery(search="y"))] == [at(4)]


def test_a_container_is_kept_once(files: KeptLogFiles) -> None:
    files.write(W, ONE, "notes-1", lines(1))
    files.write(W, ONE, "notes-1", lines(1, 2))
    assert [line.at for line in read(files)] == [at(1), at(2)]


def test_nothing_is_kept_of_nothing(files: KeptLogFiles, base: Path) -> None:
    files.write(W, ONE, "notes-1", [])
    files.write(W, ONE, "notes-1", [("../../etc", "stdout", "a time that is none")])
    assert (files.of(W), list(base.iterdir())) == ([], [])


def test_the_oldest_logs_of_a_workload_go_first(base: Path) -> None:
    files = KeptLogFiles(Fs(), base, 10_000)
    for number, container in enumerate((TWO, ONE, THREE)):
        files.write(W, container, f"notes-{number}", [(at(number), "stdout", incompressible(number))])
    assert [line.instance for line in read(files)] == ["notes-1", "notes-2"]
    assert sum(kept.size for kept in files.of(W)) <= 10_000


def test_of_one_log_that_is_too_large_the_newest_lines_are_kept(base: Path) -> None:
    files = KeptLogFiles(Fs(), base, 10_000)
    files.write(W, ONE, "notes-1", [(at(second), "stdout", incompressible(second)) for second in range(9)])
    kept = [line.at for line in read(files)]
    assert kept
    assert kept == [at(second) for second in range(9)][-len(kept) :]


def test_a_damaged_log_is_told_and_never_read_as_another(files: KeptLogFiles, base: Path) -> None:
    files.write(W, ONE, "notes-1", lines(*range(50)))
    (path,) = (base / W).iterdir()
    content = path.read_bytes()
    for damaged in (content[:-1], content[:20], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(Damaged) as caught:
            read(files)
        assert caught.value.code == "kept_log_damaged"


def test_no_changed_bit_makes_other_lines_of_a_log(files: KeptLogFiles, base: Path) -> None:
    files.write(W, ONE, "notes-1", lines(1, text=incompressible(1)[:16]))
    (path,) = (base / W).iterdir()
    before, content = read(files), path.read_bytes()
    changed = 0
    for bit in range(0, len(content) * 8, 3):
        path.write_bytes((int.from_bytes(content, "little") ^ 1 << bit).to_bytes(len(content), "little"))
        try:
            assert read(files) == before  # the format has bits that mean nothing
        except Damaged:
            changed += 1
    assert changed > 0.9 * len(content) * 8 / 3


class FullDisk(Fs):
    """A disk that takes nothing any more."""

    def write_all(self, fd: int, data: bytes | memoryview) -> None:
        super().write_all(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_can_not_be_written_leaves_nothing(files: KeptLogFiles, base: Path) -> None:
    files.write(W, ONE, "notes-1", lines(1))
    with pytest.raises(NoSpace):
        KeptLogFiles(FullDisk(), base, 1 << 20).write(W, ONE, "notes-1", lines(1, 2))
    assert len(list((base / W).iterdir())) == 1
    assert [line.at for line in read(files)] == [at(1)]


def test_a_start_tidies_up(files: KeptLogFiles, base: Path) -> None:
    other = "01j00000000000000000000001"
    files.write(W, ONE, "notes-1", lines(1))
    files.write(other, ONE, "gone-1", lines(1))
    (base / W / ".holdfast-tmp-0123456789abcdef").write_bytes(b"half a log")
    assert [line.at for line in read(files)] == [at(1)]
    files.clean({W})
    assert sorted(path.name for path in base.iterdir()) == [W, other]  # a month, should a backup know nothing of it
    long_since = (base / other).stat().st_mtime - 31 * 86400
    os.utime(base / other, (long_since, long_since))
    files.clean({W})
    assert [path.name for path in base.iterdir()] == [W]
    assert len(list((base / W).iterdir())) == 1
    KeptLogFiles(Fs(), base, 10).clean({W})  # it may take less from now on
    assert files.of(W) == []


def test_the_logs_of_a_workload_go_together(files: KeptLogFiles, base: Path) -> None:
    files.forget(W)
    files.write(W, ONE, "notes-1", lines(1))
    (gone,) = files.of(W)
    files.forget(W)
    assert (list(base.iterdir()), files.of(W), files.read(W, gone, LogQuery())) == ([], [], [])


def test_a_link_in_the_place_of_the_directory_is_not_followed(files: KeptLogFiles, base: Path) -> None:
    (base / "elsewhere").mkdir()
    (base / W).symlink_to(base / "elsewhere")
    with pytest.raises(Failed):
        files.write(W, ONE, "notes-1", lines(1))
    assert list((base / "elsewhere").iterdir()) == []
