"""The journal tells the truth after any crash, and says so when it can't."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import Conflict, Damaged, Failed, NoSpace
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import (
    ContainerFacts,
    Identity,
    ImageFacts,
    OnUnhealthy,
    Redeploy,
    RestoreFacts,
    RestoreResult,
    RootRef,
    VolumeFacts,
)
from holdfast.domain.restore_records import (
    AbortedRecord,
    BackwardRecord,
    CommitRecord,
    ConfirmedRecord,
    DoneRecord,
    PreparedRecord,
    Record,
    RevertedRecord,
    SafeRecord,
    StagedRecord,
    StagingRecord,
    SwappedRecord,
    TrialRecord,
)
from holdfast.domain.workload import DesiredState, RestartPolicy
from holdfast.engine.fs import Fs
from holdfast.engine.journal import TAIL_RESERVE, WHY_CHARACTERS, Journal, journals, read_journal
from holdfast.engine.journal_codec import encode, parse

AT = "2026-01-01T00:00:00.000000Z"
FACTS = RestoreFacts(
    restore_id="r1",
    operation_id="o1",
    workload_id="w1",
    workload_name="notes",
    lock_ids=("w1", "w2"),
    snapshot_id="s1",
    volumes=(
        VolumeFacts(
            index=0,
            target="/data",
            live=RootRef(root="/srv", relative="notes/données"),
            wrapper=".holdfast-r1-0",
            live_identity=Identity(handle_type=1, handle="aa"),
            parent_identity=Identity(handle_type=1, handle="ff"),
        ),
    ),
    desired=DesiredState.RUNNING,
    on_unhealthy=OnUnhealthy.REVERT,
    actor="ada",
)
STAGED = StagedRecord(staged={0: Identity(handle_type=1, handle="bb")})
PREPARED = PreparedRecord(
    containers=(
        ContainerFacts(id="c1", name="notes-1", workload_id="w1", restart_policy=RestartPolicy.ALWAYS, running=True),
    )
)
TO_COMMIT: tuple[Record, ...] = (STAGED, PREPARED, SafeRecord(snapshot_id="s2"), CommitRecord())
TRIAL = TrialRecord(deadline=AT, deployment_id="d1")
WAYS: tuple[tuple[Record, ...], ...] = (
    (*TO_COMMIT, SwappedRecord(), TRIAL, ConfirmedRecord(result=RestoreResult.RESTORED), DoneRecord()),
    (*TO_COMMIT, SwappedRecord(), TRIAL, BackwardRecord(why="never “healthy”"), RevertedRecord(), DoneRecord()),
    (STAGED, AbortedRecord(why="cancelled"), DoneRecord()),
)


def lines(records: tuple[Record, ...]) -> list[bytes]:
    whole = (StagingRecord(facts=FACTS), *records)
    return [encode(record, seq=number, at=AT) for number, record in enumerate(whole, start=1)]


CONTENTS = [b"".join(lines(way)) for way in WAYS]


class FaultyFs(Fs):
    """Notes what is flushed, and fails where told."""

    def __init__(self) -> None:
        self.fail: dict[str, OSError] = {}
        self.flushed: list[int] = []
        self.inodes: list[int] = []

    def fsync(self, fd: int) -> None:
        self._maybe("fsync_directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync_file")
        super().fsync(fd)
        self.inodes.append(os.fstat(fd).st_ino)

    def pwrite_all(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        if "pwrite" in self.fail:
            super().pwrite_all(fd, data[: len(data) // 2], offset)
        self._maybe("pwrite")
        super().pwrite_all(fd, data, offset)

    def fallocate(self, fd: int, size: int) -> None:
        self._maybe("fallocate")
        super().fallocate(fd, size)

    def _maybe(self, call: str) -> None:
        if call in self.fail:
            raise self.fail[call]


def create(directory: Path, *records: Record, fs: Fs | None = None) -> Journal:
    journal = Journal.create(fs or Fs(), str(directory), FACTS)
    for record in records:
        journal.append(record)
    return journal


@pytest.mark.parametrize("way", WAYS)
def test_what_was_appended_is_read_back_alike(tmp_path: Path, way: tuple[Record, ...]) -> None:
    journal = create(tmp_path, *way)
    parsed = read_journal(Fs(), journal.path)
    assert parsed.records == journal.records == (StagingRecord(facts=FACTS), *way)
    assert (parsed.facts, parsed.torn) == (FACTS, False)
    assert parsed.volumes == journal.volumes
    assert parsed.volumes[0].staged_identity == Identity(handle_type=1, handle="bb")
    journal.close()


@given(content=st.sampled_from(CONTENTS), data=st.data(), zeros=st.integers(min_value=0, max_value=9))
def test_a_journal_cut_off_anywhere_gives_its_first_records(content: bytes, data: st.DataObject, zeros: int) -> None:
    cut = data.draw(st.integers(min_value=0, max_value=len(content)))
    parsed = parse("j", content[:cut] + bytes(zeros))
    whole = content[:cut].count(b"\n")
    assert parsed.records == parse("j", content).records[:whole]
    assert parsed.torn == (cut != parsed.whole_bytes)


@given(content=st.sampled_from(CONTENTS), data=st.data())
def test_a_changed_byte_before_the_last_line_is_damage(content: bytes, data: st.DataObject) -> None:
    last = content.rindex(b"\n", 0, -1) + 1
    position = data.draw(st.integers(min_value=0, max_value=last - 1))
    changed = data.draw(st.integers(min_value=0, max_value=255).filter(lambda byte: byte != content[position]))
    with pytest.raises(Damaged) as caught:
        parse("/data/journal/r1.journal", content[:position] + bytes([changed]) + content[position + 1 :])
    assert caught.value.code == "journal_damaged"
    assert "/data/journal/r1.journal" in caught.value.message


@given(content=st.sampled_from(CONTENTS), data=st.data())
def test_a_changed_byte_in_the_last_line_never_adds_or_alters_a_record(content: bytes, data: st.DataObject) -> None:
    last = content.rindex(b"\n", 0, -1) + 1
    position = data.draw(st.integers(min_value=last, max_value=len(content) - 1))
    changed = data.draw(st.integers(min_value=0, max_value=255).filter(lambda byte: byte != content[position]))
    try:
        parsed = parse("j", content[:position] + bytes([changed]) + content[position + 1 :])
    except Damaged:
        return
    assert parsed.records == parse("j", content).records[:-1]


@given(content=st.sampled_from(CONTENTS), data=st.data())
def test_a_last_line_of_which_any_block_is_missing_is_torn(content: bytes, data: st.DataObject) -> None:
    last = content.rindex(b"\n", 0, -1) + 1
    start = data.draw(st.integers(min_value=last, max_value=len(content) - 1))
    end = data.draw(st.integers(min_value=start + 1, max_value=len(content)))
    parsed = parse("j", content[:start] + bytes(end - start) + content[end:])
    assert parsed.torn == (start > last or end < len(content))
    assert parsed.records == parse("j", content).records[:-1]


def test_damage_names_the_workload_when_the_first_line_is_whole(tmp_path: Path) -> None:
    journal = create(tmp_path, *TO_COMMIT)
    journal.close()
    content = Path(journal.path).read_bytes()
    Path(journal.path).write_bytes(content.replace(b"PREPARED", b"PREPARES"))
    with pytest.raises(Damaged) as caught:
        read_journal(Fs(), journal.path)
    assert caught.value.details == {"journal": journal.path, "workload_id": "w1", "lock_ids": ["w1", "w2"]}


def test_records_in_an_order_that_is_never_written_are_damage() -> None:
    content = encode(StagingRecord(facts=FACTS), seq=1, at=AT) + encode(CommitRecord(), seq=2, at=AT)
    with pytest.raises(Damaged, match="COMMIT, which can't follow STAGING"):
        parse("j", content)


def test_a_line_that_is_missing_or_doubled_is_damage() -> None:
    first, second, *_ = lines(WAYS[0])
    with pytest.raises(Damaged):
        parse("j", second)
    with pytest.raises(Damaged, match="carries the number"):
        parse("j", first + encode(STAGED, seq=3, at=AT))


def test_a_journal_of_a_newer_version_is_left_alone() -> None:
    text = b'{"format":3,"seq":1,"at":"","type":"STAGING","fields":{"unheard":"of"}}'
    with pytest.raises(Damaged) as caught:
        parse("j", blake3(text).hexdigest()[:16].encode() + b" " + text + b"\n")
    assert caught.value.code == "journal_too_new"


def test_a_restore_that_brings_a_configuration_back_is_of_a_version_that_older_programs_leave_alone() -> None:
    again = Redeploy(workload_id="w", image=ImageFacts(id="sha256:one"))
    then = replace(again, as_deployed="01j")
    for redeploy, written in ((again, b'"format":1'), (then, b'"format":2')):
        assert written in encode(StagingRecord(facts=replace(FACTS, redeploys=(redeploy,))), seq=1, at=AT)


def test_the_file_is_private_and_never_an_existing_one(tmp_path: Path) -> None:
    journal = create(tmp_path, STAGED)
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == 0o600
    with pytest.raises(Failed, match="File exists"):
        create(tmp_path)
    assert len(read_journal(Fs(), journal.path).records) == 2
    journal.close()


def test_each_record_is_flushed_with_its_directory_before_append_returns(tmp_path: Path) -> None:
    fs = FaultyFs()
    journal = create(tmp_path, fs=fs)
    both = [os.stat(journal.path).st_ino, tmp_path.stat().st_ino]
    assert fs.inodes == both
    for number, record in enumerate(WAYS[0], start=2):
        journal.append(record)
        assert fs.inodes == both * number
    journal.close()


@pytest.mark.parametrize("call", ["fsync_file", "fsync_directory"])
def test_after_a_failed_flush_nothing_is_appended_any_more(tmp_path: Path, call: str) -> None:
    fs = FaultyFs()
    journal = create(tmp_path, *TO_COMMIT[:3], fs=fs)
    fs.fail[call] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(Failed) as caught:
        journal.append(CommitRecord())
    assert caught.value.code == "journal_write_failed"
    assert caught.value.details["may_be_on_disk"] is True
    assert caught.value.details["record"] == "COMMIT"
    fs.fail.clear()
    flushed = list(fs.inodes)
    for record in (CommitRecord(), AbortedRecord(why="x")):
        with pytest.raises(Failed, match="writing COMMIT failed before"):
            journal.append(record)
    assert fs.inodes == flushed
    assert journal.direction is Direction.ABORT
    journal.close()


def test_a_failed_write_leaves_a_torn_line_that_reopening_clears_away(tmp_path: Path) -> None:
    fs = FaultyFs()
    journal = create(tmp_path, *TO_COMMIT[:3], fs=fs)
    fs.fail["pwrite"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(Failed) as caught:
        journal.append(CommitRecord())
    assert caught.value.details["may_be_on_disk"] is False
    journal.close()
    fs.fail.clear()
    assert read_journal(fs, journal.path).torn
    again = Journal.reopen(fs, journal.path)
    assert not read_journal(fs, journal.path).torn
    again.append(AbortedRecord(why="the disk failed"))
    again.close()
    parsed = read_journal(fs, journal.path)
    assert parsed.direction is Direction.ABORTED
    assert not parsed.torn


class CountingFs(FaultyFs):
    """Knows what was written since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def pwrite_all(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        super().pwrite_all(fd, data, offset)
        self.written[offset : offset + len(data)] = data


def test_reopening_writes_and_flushes_all_that_it_read_before_anything_is_decided_by_it(tmp_path: Path) -> None:
    journal = create(tmp_path, *TO_COMMIT)
    journal.close()
    fs = CountingFs()
    again = Journal.reopen(fs, journal.path)
    assert Path(journal.path).read_bytes().rstrip(b"\0") == bytes(fs.written)
    assert fs.inodes == [os.stat(journal.path).st_ino, tmp_path.stat().st_ino]
    assert again.direction is Direction.FORWARD
    again.close()
    fs.fail["fsync_file"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(Failed) as caught:
        Journal.reopen(fs, journal.path)
    assert caught.value.code == "journal_write_failed"


@given(content=st.sampled_from(CONTENTS), data=st.data())
def test_reopening_after_any_cut_gives_a_journal_that_can_go_on(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "r1.journal"
    path.write_bytes(content[: data.draw(st.integers(min_value=0, max_value=len(content)))])
    all_records = parse("j", content).records
    journal = Journal.reopen(Fs(), str(path))
    for record in all_records[len(journal.records) :]:
        journal.append(record)
    journal.close()
    assert read_journal(Fs(), str(path)).records == all_records


def test_a_record_that_can_not_come_next_is_refused_and_not_written(tmp_path: Path) -> None:
    journal = create(tmp_path, STAGED)
    before = Path(journal.path).read_bytes()
    with pytest.raises(Conflict) as caught:
        journal.append(CommitRecord())
    assert caught.value.code == "journal_order"
    assert Path(journal.path).read_bytes() == before
    journal.append(PREPARED)
    journal.close()


def test_a_long_reason_is_cut_off_so_that_it_fits_the_reserved_space(tmp_path: Path) -> None:
    journal = create(tmp_path, STAGED, AbortedRecord(why="x" * 1_000_000))
    last = read_journal(Fs(), journal.path).records[-1]
    assert isinstance(last, AbortedRecord)
    assert len(last.why) == WHY_CHARACTERS
    journal.close()


def test_without_space_there_is_no_journal(tmp_path: Path) -> None:
    fs = FaultyFs()
    fs.fail["fallocate"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(NoSpace):
        create(tmp_path, fs=fs)
    assert list(tmp_path.iterdir()) == []


def test_no_space_before_the_commit_leaves_the_journal_usable(tmp_path: Path) -> None:
    fs = FaultyFs()
    journal = create(tmp_path, STAGED, fs=fs)
    fs.fail["fallocate"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(NoSpace):
        journal.append(PREPARED)
    journal.append(AbortedRecord(why="no space"))
    assert read_journal(fs, journal.path).direction is Direction.ABORTED
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


def test_a_full_disk_does_not_stop_any_record_from_the_commit_on(small_disk: Path) -> None:
    journal = create(small_disk, *TO_COMMIT[:3])
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk / "filler")
    records: list[Record] = [CommitRecord(), SwappedRecord(), *[TRIAL] * 30]
    records += [BackwardRecord(why="x" * 9999), RevertedRecord(), DoneRecord()]
    for record in records:
        journal.append(record)
    assert read_journal(Fs(), journal.path).direction is Direction.DONE
    journal.remove()


def test_all_that_can_follow_a_commit_takes_a_fraction_of_the_reserve() -> None:
    longest: list[Record] = [
        CommitRecord(),
        SwappedRecord(),
        *[TRIAL] * 20,
        BackwardRecord(why="\x01" * WHY_CHARACTERS),
        RevertedRecord(),
        DoneRecord(),
    ]
    assert sum(len(encode(record, seq=99, at=AT)) for record in longest) < TAIL_RESERVE / 2


def test_only_the_journal_of_a_finished_restore_is_removed(tmp_path: Path) -> None:
    journal = create(tmp_path, *TO_COMMIT)
    with pytest.raises(Conflict) as caught:
        journal.remove()
    assert caught.value.code == "journal_needed"
    for record in (SwappedRecord(), ConfirmedRecord(result=RestoreResult.RESTORED), DoneRecord()):
        journal.append(record)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_without_a_whole_record_says_so_and_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "r1.journal"
    path.write_bytes(CONTENTS[0][:40])
    parsed = read_journal(Fs(), str(path))
    assert (parsed.facts, parsed.records, parsed.torn, parsed.volumes) == (None, (), True, ())
    Journal.reopen(Fs(), str(path)).remove()
    assert not path.exists()


def test_journals_are_listed_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("b.journal", "a.journal", ".holdfast-tmp-x", "notes.txt"):
        (tmp_path / name).touch()
    assert journals(Fs(), str(tmp_path)) == [f"{tmp_path}/a.journal", f"{tmp_path}/b.journal"]
    with pytest.raises(Failed):
        journals(Fs(), str(tmp_path / "missing"))


def test_a_journal_is_not_opened_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(CONTENTS[0])
    (tmp_path / "r1.journal").symlink_to("real")
    with pytest.raises(Failed):
        read_journal(Fs(), str(tmp_path / "r1.journal"))
