"""A backup's file: what was put in comes out, with the passphrase, or nothing does."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import Damaged, HoldfastError, InvalidInput, Refused
from holdfast.engine.backup_file import BackupFacts, read_backup, read_facts, write_backup

PASSPHRASE = "correct horse battery"
FACTS = BackupFacts(
    id="01jzzzzzzzzzzzzzzzzzzzzzz0",
    created_at="2026-11-26T09:00:00.000000Z",
    holdfast="1",
    schema="0015",
    installation="01jzzzzzzzzzzzzzzzzzzzzzz1",
    audit_head=f"7:{'a' * 64}",
    scrypt_n=2,
)
LARGE = bytes(range(256)) * 12_000  # of several frames, since the random part below does not compress


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("files")
    content = {
        "state.db": LARGE + random.Random(1).randbytes(2_500_000),
        "installation": b"x\n",
        "keys/sealing.key": b"k" * 32,
        "admin-token": b"",
    }
    found = {}
    for number, (name, data) in enumerate(content.items()):
        found[name] = place / str(number)
        found[name].write_bytes(data)
    return found


@pytest.fixture(scope="module")
def backup(files: dict[str, Path]) -> bytes:
    out = io.BytesIO()
    write_backup(out, FACTS, files, PASSPHRASE)
    return out.getvalue()


def read(data: bytes, passphrase: str = PASSPHRASE) -> dict[str, bytes]:
    taken: dict[str, bytes] = {}

    def put(name: str, pieces: Iterator[bytes]) -> None:
        taken[name] = b"".join(pieces)

    read_backup(io.BytesIO(data), passphrase, put)
    return taken


def refusal(data: bytes, passphrase: str = PASSPHRASE) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        read(data, passphrase)
    return caught.value


def test_what_was_put_in_comes_out(backup: bytes, files: dict[str, Path]) -> None:
    assert read(backup) == {name: path.read_bytes() for name, path in files.items()}
    facts, entries = read_backup(io.BytesIO(backup), PASSPHRASE)
    assert [entry.name for entry in entries] == list(files)
    assert (facts.id, facts.audit_head) == (FACTS.id, FACTS.audit_head)
    assert read_facts(io.BytesIO(backup)) == facts


def test_nothing_of_the_content_is_in_the_file(backup: bytes) -> None:
    for known in (b"k" * 32, bytes(range(256)), b"sealing.key", b"state.db"):
        assert known not in backup


def test_another_passphrase_opens_nothing(backup: bytes) -> None:
    error = refusal(backup, "another passphrase")
    assert (type(error), error.code) == (Refused, "backup_not_opened")


def test_a_short_passphrase_is_refused(files: dict[str, Path]) -> None:
    out = io.BytesIO()
    with pytest.raises(InvalidInput) as caught:
        write_backup(out, FACTS, files, "short")
    assert caught.value.code == "passphrase_too_short"
    assert not out.getvalue()


def test_a_changed_byte_is_found_wherever_it_is(backup: bytes) -> None:
    begins = backup.index(b"\n") + 1
    for place in (begins, begins + 3, begins + 500, len(backup) // 2, len(backup) - 1):
        changed = bytearray(backup)
        changed[place] ^= 1
        assert refusal(bytes(changed)).code in {"backup_not_opened", "backup_damaged"}, place


def test_the_first_line_cant_be_exchanged(backup: bytes) -> None:
    assert refusal(backup.replace(b'"7:aaaa', b'"8:aaaa', 1)).code == "backup_not_opened"


def test_what_is_cut_off_or_added_is_found(backup: bytes) -> None:
    ends = [refusal(backup[:size]) for size in (len(backup) - 1, len(backup) // 2)]
    first_frame = backup.index(b"\n") + 1 + 4 + int.from_bytes(backup[backup.index(b"\n") + 1 :][:4], "big")
    ends += [refusal(backup[:first_frame]), refusal(backup + b"x")]
    assert [(type(error), error.code) for error in ends] == [(Damaged, "backup_damaged")] * 4


def test_frames_cant_change_places(backup: bytes) -> None:
    begins = backup.index(b"\n") + 1
    frame = 4 + int.from_bytes(backup[begins : begins + 4], "big")
    first, second = backup[begins : begins + frame], backup[begins + frame : begins + 2 * frame]
    assert refusal(backup[:begins] + second + first + backup[begins + 2 * frame :]).code == "backup_not_opened"


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]\n", b"PK\x03\x04", b'{"what": "holdfast repository key", "format": 1}\n']
)
def test_what_is_no_backup_is_refused(data: bytes) -> None:
    error = refusal(data)
    assert (type(error), error.code) == (InvalidInput, "backup_malformed")


def altered(backup: bytes, **fields: object) -> bytes:
    line, _, rest = backup.partition(b"\n")
    return json.dumps({**json.loads(line), **fields}).encode() + b"\n" + rest


def test_a_newer_format_is_refused_as_such(backup: bytes) -> None:
    error = refusal(altered(backup, format=2))
    assert (type(error), error.code) == (Refused, "backup_newer")


@pytest.mark.parametrize(
    "fields", [{"scrypt_n": 1 << 40}, {"scrypt_n": 3}, {"scrypt_n": 1 << 22, "scrypt_r": 64}, {"salt": "00"}, {"x": 1}]
)
def test_a_first_line_that_makes_no_sense_costs_nothing(backup: bytes, fields: dict[str, object]) -> None:
    error = refusal(altered(backup, **fields))
    assert (type(error), error.code) == (Damaged, "backup_damaged")


@pytest.mark.parametrize("name", ["../state.db", "keys/../lock", "keys/.hidden", "/etc/passwd", "volumes/x"])
def test_only_files_of_holdfasts_own_are_put_in(name: str, files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="no name"):
        write_backup(io.BytesIO(), FACTS, {name: files["installation"]}, PASSPHRASE)
