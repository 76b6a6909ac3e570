"""Whatever stands where a journal or a hold should: it is refused within bounds, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from tests.unit.engine.test_journal import AT, FACTS, PREPARED, STAGED, lines

from holdfast.domain.errors import Damaged, Failed, HoldfastError
from holdfast.domain.restore_records import CommitRecord, StagingRecord, SwappedRecord
from holdfast.domain.workload import Quiesce
from holdfast.engine import journal_codec
from holdfast.engine.fs import Fs
from holdfast.engine.holds import Hold, HoldFiles
from holdfast.engine.journal import MAX_BYTES, Journal, read_journal
from holdfast.engine.journal_codec import FORMAT, encode, parse
from holdfast.testing.counted_work import counted_work

BEGUN = lines(())[0]


def line(text: bytes) -> bytes:
    """A line with its right checksum, whatever it says: who can write journals can make one."""
    return blake3(text).hexdigest()[:16].encode() + b" " + text + b"\n"


def told(**fields: object) -> bytes:
    """The first line with other fields in its envelope."""
    document = msgspec.json.decode(BEGUN[17:]) | fields
    return line(msgspec.json.encode(document))


def facts(**fields: object) -> bytes:
    """The first line with other facts."""
    document = msgspec.json.decode(BEGUN[17:])
    document["fields"]["facts"] |= fields
    return line(msgspec.json.encode(document))


def of(*records: object) -> bytes:
    return b"".join(encode(each, seq=number, at=AT) for number, each in enumerate(records, start=1))  # type: ignore[arg-type]


DEEP = b"[" * 200_000 + b"]" * 200_000
HOSTILE = {
    "no record": line(b""),
    "no JSON": line(b"{"),
    "a list": line(b"[]"),
    "nesting without end": line(b'{"format":1,"seq":1,"at":"","type":"STAGING","fields":' + DEEP + b"}"),
    "nesting in the facts": line(b'{"format":1,"seq":1,"at":"","type":"STAGING","fields":{"facts":' + DEEP + b"}}"),
    "nesting in an unknown field": line(b'{"x":' + DEEP + b',"format":1,"seq":1,"at":"","type":"STAGING","fields":{}}'),
    "no UTF-8": line(b'{"format":1,"seq":1,"at":"\xff","type":"STAGING","fields":{}}'),
    "half a character": line(b'{"format":1,"seq":1,"at":"\\ud800","type":"STAGING","fields":{}}'),
    "a NUL in the text": line(b'{"format":1,"seq":1,\0"at":"","type":"STAGING","fields":{}}'),
    "unknown type": told(type="FORGED"),
    "number zero": told(seq=0),
    "negative number": told(seq=-1),
    "number beyond all": line(BEGUN[17:-1].replace(b'"seq":1', b'"seq":' + b"9" * 5000)),
    "number with a fraction": told(seq=1.5),
    "truth for a number": told(seq=True),
    "format that is a text": told(format="1"),
    "no fields": told(fields=None),
    "facts that are none": facts(volumes=0),
    "volume with a negative number": facts(volumes=[{"index": "x"}]),
    "lock ids that are no list": facts(lock_ids="w1"),
    "desired state of no kind": facts(desired="burning"),
    "first record twice": of(StagingRecord(facts=FACTS), StagingRecord(facts=FACTS)),
    "commit before all": of(StagingRecord(facts=FACTS), CommitRecord()),
    "swapped before commit": of(StagingRecord(facts=FACTS), STAGED, PREPARED, SwappedRecord()),
    "no beginning": of(STAGED, PREPARED),
    "second line of another journal": BEGUN + lines((STAGED,))[0],
    "line left out": BEGUN + lines((STAGED, PREPARED))[2],
    "checksum in capitals": line(b"{}")[:16].upper().replace(b"0", b"O") + line(b"{}")[16:] + BEGUN,
    "checksum without a blank": BEGUN[:16] + b"\t" + BEGUN[17:] + BEGUN,
    "damaged before the last": BEGUN[:40] + b"!" + BEGUN[41:] + lines((STAGED,))[1],
    "text after a record": BEGUN + BEGUN[:-1] + b" more",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_journal_is_damaged_within_bounds(content: bytes, figure: Callable[[str, int], None]) -> None:
    with pytest.raises(Damaged) as caught, counted_work(lines=20_000, peak_bytes=16 << 20):
        parse("/data/journal/r1.journal", content)
    assert caught.value.code == "journal_damaged"
    assert caught.value.details["journal"] == "/data/journal/r1.journal"
    figure("hostile journals tried", 1)


@pytest.mark.parametrize("format", [FORMAT + 1, 2**40])
def test_a_journal_of_a_later_format_says_so(format: int) -> None:  # noqa: A002 - the field's name
    with pytest.raises(Damaged) as caught:
        parse("j", told(format=format))
    assert caught.value.code == "journal_too_new"


def test_a_torn_line_of_any_text_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = 0

    class Counting:
        def __init__(self, text: bytes = b"") -> None:
            self.inner = blake3()
            self.update(text)

        def update(self, text: bytes) -> None:
            nonlocal hashed
            hashed += len(text)
            self.inner.update(text)

        def hexdigest(self) -> str:
            return self.inner.hexdigest()

    monkeypatch.setattr(journal_codec, "blake3", Counting)
    torn = b"0123456789abcdef " + b"}" * 20_000
    assert parse("j", BEGUN + torn).torn
    assert hashed < len(BEGUN) + 2 * len(torn)


def test_a_journal_larger_than_any_is_not_read(tmp_path: Path, figure: Callable[[str, int], None]) -> None:
    path = tmp_path / "r1.journal"
    path.touch()
    os.truncate(path, MAX_BYTES + 1)
    for read in (read_journal, Journal.reopen):
        with pytest.raises(Damaged, match="no restore writes"), counted_work(lines=1000, peak_bytes=1 << 20):
            read(Fs(), str(path))
    figure("hostile journals tried", 1)


def put_nothing(path: Path) -> None:
    path.mkdir()


def put_socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        put_nothing,
        put_socket,
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to(path),
    ],
    ids=["FIFO", "directory", "socket", "symlink", "ring"],
)
def test_what_is_no_file_in_place_of_a_journal_or_a_hold_is_an_error_and_never_waited_for(
    put: Callable[[Path], object], tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    put(tmp_path / "r1.journal")
    put(tmp_path / "o1.json")
    for read in (read_journal, Journal.reopen):
        with pytest.raises(HoldfastError) as caught:
            read(Fs(), str(tmp_path / "r1.journal"))
        assert isinstance(caught.value, Damaged | Failed)
    holds, damaged = HoldFiles(Fs(), tmp_path).all()
    assert (holds, [error.code for error in damaged]) == ([], ["hold_damaged"])
    figure("hostile journals tried", 1)


HOLD = Hold(operation_id="o1", quiesce=Quiesce.PAUSE, containers=())
HOLDS = {
    "empty": b"",
    "nesting without end": b'{"x":' + DEEP + b"}",
    "no UTF-8": b'{"operation_id":"\xff","quiesce":"pause","containers":[]}',
    "another operation": msgspec.json.encode(HOLD).replace(b"o1", b"o2"),
    "a name that leads elsewhere": msgspec.json.encode(HOLD).replace(b"o1", b"../../o1"),
    "containers that are none": b'{"operation_id":"o1","quiesce":"pause","containers":[7]}',
}


@pytest.mark.parametrize("content", HOLDS.values(), ids=HOLDS)
def test_a_hostile_hold_is_damaged_and_names_nothing(
    content: bytes, tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    (tmp_path / "o1.json").write_bytes(content)
    holds, damaged = HoldFiles(Fs(), tmp_path).all()
    assert (holds, [error.code for error in damaged]) == ([], ["hold_damaged"])
    figure("hostile journals tried", 1)


def test_a_hold_is_read_back_alike(tmp_path: Path) -> None:
    files = HoldFiles(Fs(), tmp_path)
    files.write(HOLD)
    assert files.all() == ([HOLD], [])


def test_without_the_check_of_its_checksum_a_forged_line_would_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = (BEGUN + lines((STAGED,))[1]).replace(b'"snapshot_id":"s1"', b'"snapshot_id":"s9"')
    with pytest.raises(Damaged):
        parse("j", forged)
    monkeypatch.setattr(journal_codec, "_matches", lambda _line: True)
    found = parse("j", forged).facts
    assert found is not None
    assert found.snapshot_id == "s9"
