"""The audit log's chain: whatever is done to its lines is found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from holdfast.domain.audit import (
    EMPTY,
    MAX_FINDINGS,
    AuditEntry,
    AuditLine,
    AuditReport,
    Head,
    Verifier,
    next_line,
    parse_head,
    parse_line,
)
from holdfast.domain.errors import InvalidInput

ENTRY = AuditEntry(
    at="2026-11-26T09:00:00.000000Z",
    actor="ann",
    address="192.0.2.7",
    action="set_secret",
    subject={"workload": "notes", "secret": "KEY"},
    status=200,
    outcome="done",
)


def log(length: int = 5) -> list[AuditLine]:
    lines: list[AuditLine] = []
    for number in range(length):
        before = head(lines) if lines else EMPTY
        lines.append(next_line(before, dataclasses.replace(ENTRY, actor=f"ann{number}")))
    return lines


def head(lines: list[AuditLine]) -> Head:
    return Head(lines[-1].number, lines[-1].hash)


def check(lines: Iterable[AuditLine], *heads: Head) -> AuditReport:
    verifier = Verifier(heads)
    for line in lines:
        verifier.look(line)
    return verifier.report()


def found(lines: Iterable[AuditLine], *heads: Head) -> list[int]:
    return [finding.number for finding in check(lines, *heads).findings]


def test_a_log_as_it_was_written_is_whole() -> None:
    lines = log()
    assert check(lines, head(lines[:2]), head(lines)) == AuditReport(head=head(lines), findings=())
    assert check([]) == AuditReport(head=EMPTY, findings=())


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AuditEntry)])
def test_a_changed_line_is_found_whatever_of_it_was_changed(field: str) -> None:
    lines = log()
    other: dict[str, Any] = {field: {"subject": {"workload": "other"}, "status": 201}.get(field, "other")}
    lines[2] = dataclasses.replace(lines[2], entry=dataclasses.replace(lines[2].entry, **other))
    assert found(lines) == [3]


def test_a_line_that_was_changed_and_sealed_anew_is_found_by_the_next() -> None:
    lines = log()
    lines[2] = next_line(head(lines[:2]), dataclasses.replace(lines[2].entry, actor="eve"))
    assert found(lines) == [4]


def test_a_removed_line_is_found_wherever_it_was() -> None:
    for index in range(5):
        lines = log()
        whole = head(lines)
        del lines[index]
        assert found(lines, whole) == [index + 1]


def test_an_inserted_line_is_found() -> None:
    lines = log()
    assert found([*lines[:3], lines[1], *lines[3:]]) == [2]
    assert found([*lines[:3], next_line(head(lines[:2]), ENTRY), *lines[3:]]) == [3]


def test_a_log_that_was_written_anew_is_found_by_a_head_that_is_known_from_elsewhere() -> None:
    noted = head(log(3))
    lines = [next_line(EMPTY, ENTRY)]
    while len(lines) < 5:
        lines.append(next_line(head(lines), ENTRY))
    assert found(lines) == []
    assert found(lines, noted) == [3]


def test_a_log_that_ends_too_early_is_found_by_a_head() -> None:
    lines = log()
    report = check(lines[:2], head(lines))
    assert [finding.message for finding in report.findings] == ["lines 3 to 5 are missing at the end"]
    assert report.head == head(lines[:2])


def test_no_more_is_told_than_somebody_reads() -> None:
    lines = [dataclasses.replace(line, hash="0" * 64) for line in log(40)]
    assert len(found(lines)) == MAX_FINDINGS


def test_a_line_is_exported_as_what_was_hashed_and_read_back_the_same() -> None:
    line = log(2)[1]
    document = json.loads(line.exported())
    document.pop("hash")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == line.hash
    assert parse_line(line.exported()) == line


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"subject": 1}', "[" * 9000])
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_line(text)
    assert caught.value.code == "audit_line_malformed"


def test_a_head_is_noted_as_a_number_and_a_hash() -> None:
    noted = head(log())
    assert parse_head(str(noted)) == noted
    for text in ("", "7", "7:", f"x:{noted.hash}", f"7:{noted.hash}0", f"²:{noted.hash}"):
        with pytest.raises(InvalidInput) as caught:
            parse_head(text)
        assert caught.value.code == "audit_head_malformed"
