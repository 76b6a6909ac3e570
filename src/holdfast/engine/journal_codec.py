"""The lines of a restore's journal: records to bytes and back. ``docs/reference/journal-format.md`` describes them.

Bytes that were never written are zeros: the journal sees to it that the space a line will lie in holds nothing else. So
a torn last line is cut short or shows zeros, and is ignored; anything else that does not match its checksum is damage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec
from blake3 import blake3

from holdfast.domain.errors import Damaged
from holdfast.domain.recovery import Direction, direction
from holdfast.domain.restore import RecordType, RestoreFacts, SwapWay, VolumeFacts
from holdfast.domain.restore_records import (
    AbortedRecord,
    BackwardRecord,
    CommitRecord,
    ConfirmedRecord,
    DoneRecord,
    MadeRecord,
    PreparedRecord,
    Record,
    RevertedRecord,
    SafeRecord,
    StagedRecord,
    StagingRecord,
    SwappedRecord,
    TrialRecord,
    out_of_order,
    volumes_of,
)

FORMAT: Final = 2
"""Version of the lines that this program reads. A higher one is refused."""
_PLAIN: Final = 1
"""Version of all lines but a STAGING of a restore that does not exchange all its directories at once, or that brings a
configuration back as well: a program that knows only this one would take such a restore for another."""

_CHECKSUM: Final = 16
_RECORDS: Final[Mapping[RecordType, type[Record]]] = {
    kind.type: kind
    for kind in (
        StagingRecord,
        StagedRecord,
        PreparedRecord,
        MadeRecord,
        SafeRecord,
        CommitRecord,
        SwappedRecord,
        TrialRecord,
        ConfirmedRecord,
        BackwardRecord,
        RevertedRecord,
        AbortedRecord,
        DoneRecord,
    )
}


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    seq: int
    at: str
    type: RecordType
    fields: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedJournal:
    """What a journal says.

    Attributes:
        facts: ``None`` if the file has no whole record: then its restore did nothing.
        torn: whether a last line was cut short and is ignored.
        whole_bytes: length of the part that ``records`` came from.
    """

    path: str
    facts: RestoreFacts | None
    records: tuple[Record, ...]
    torn: bool
    whole_bytes: int

    @property
    def direction(self) -> Direction:
        return direction(self.records)

    @property
    def volumes(self) -> tuple[VolumeFacts, ...]:
        return volumes_of(self.records)


def encode(record: Record, *, seq: int, at: str) -> bytes:
    """The line of ``record``.

    Args:
        seq: its number in the journal, from 1.
        at: RFC 3339 time of writing; for people, nothing is decided by it.
    """
    fields = msgspec.Raw(msgspec.json.encode(record))
    text = msgspec.json.encode(_Line(format=_format(record), seq=seq, at=at, type=record.type, fields=fields))
    return _checksum(text) + b" " + text + b"\n"


def unreadable(path: str, fault: str) -> Damaged:
    """The error of a journal of which not even the first line is read."""
    return _damaged(path, (), fault)


def parse(path: str, content: bytes) -> ParsedJournal:
    """What the file ``path`` with this ``content`` says.

    Raises:
        Damaged: ``journal_damaged`` or ``journal_too_new``; ``details`` name the file, and the workload if the first
            line could be read.
    """
    *ended, rest = content.rstrip(b"\0").split(b"\n")
    records: list[Record] = []
    whole = 0
    for number, line in enumerate(ended, start=1):
        if not _matches(line):
            last = number == len(ended) and not rest
            if last and b"\0" in line and not _begins_with_record(line):
                rest = line
                break
            _raise_damaged(path, records, f"line {number} does not match its checksum")
        records.append(_decode(path, records, line))
        whole += len(line) + 1
    if _begins_with_record(rest):
        _raise_damaged(path, records, f"line {len(records) + 1} goes on after its record")
    fault = out_of_order(records)
    if fault:
        _raise_damaged(path, records, fault)
    return ParsedJournal(path=path, facts=_facts(records), records=tuple(records), torn=bool(rest), whole_bytes=whole)


def _format(record: Record) -> int:
    if not isinstance(record, StagingRecord):
        return _PLAIN
    stepwise = any(volume.way is not SwapWay.EXCHANGE for volume in record.facts.volumes)
    configures = any(redeploy.as_deployed for redeploy in record.facts.redeploys)
    return FORMAT if stepwise or configures else _PLAIN


def _checksum(text: bytes) -> bytes:
    return blake3(text).hexdigest()[:_CHECKSUM].encode()


def _matches(line: bytes) -> bool:
    return line[_CHECKSUM : _CHECKSUM + 1] == b" " and _checksum(line[_CHECKSUM + 1 :]) == line[:_CHECKSUM]


def _begins_with_record(text: bytes) -> bool:
    """Whether ``text`` is a whole record and then some. No torn line is: the line feed behind a record was changed."""
    if text[_CHECKSUM : _CHECKSUM + 1] != b" ":
        return False
    # One pass, whatever the text is made of: what was hashed up to one brace is not hashed again for the next.
    hasher, hashed = blake3(), _CHECKSUM + 1
    while end := text.find(b"}", hashed, -1) + 1:
        hasher.update(text[hashed:end])
        hashed = end
        if hasher.hexdigest()[:_CHECKSUM].encode() == text[:_CHECKSUM]:
            return True
    return False


def _decode(path: str, records: Sequence[Record], text: bytes) -> Record:
    number = len(records) + 1
    try:
        line = msgspec.json.decode(text[_CHECKSUM + 1 :], type=_Line)
        if line.format <= FORMAT:
            record: Record = msgspec.json.decode(line.fields, type=_RECORDS[line.type])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _raise_damaged(path, records, f"line {number} is no record: {error}")
    if line.format > FORMAT:
        raise Damaged(
            "journal_too_new",
            f"The restore journal {path} was written by a newer Holdfast. Nothing was changed.",
            next_step="Run the version that began the restore, or a newer one.",
            details=_named(path, records),
        )
    if line.seq != number:
        _raise_damaged(path, records, f"line {number} carries the number {line.seq}")
    return record


def _facts(records: Sequence[Record]) -> RestoreFacts | None:
    return records[0].facts if records and isinstance(records[0], StagingRecord) else None


def _named(path: str, records: Sequence[Record]) -> dict[str, object]:
    facts = _facts(records)
    named: dict[str, object] = {"journal": path}
    if facts is not None:
        named |= {"workload_id": facts.workload_id, "lock_ids": list(facts.lock_ids)}
    return named


def _raise_damaged(path: str, records: Sequence[Record], fault: str) -> NoReturn:
    raise _damaged(path, records, fault)


def _damaged(path: str, records: Sequence[Record], fault: str) -> Damaged:
    return Damaged(
        "journal_damaged",
        f"The restore journal {path} is damaged: {fault}. Nothing was changed and the workload stays stopped.",
        next_step="Keep the file. Look at the volume's directory and the .holdfast- directory beside it, put the right "
        "data in place by hand, move the journal away, and start the workload.",
        details=_named(path, records),
    )
