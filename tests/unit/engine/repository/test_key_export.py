"""An exported key opens with its passphrase, and says what is wrong where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import Damaged, HoldfastError, InvalidInput, Refused
from holdfast.engine.repository.key_export import export_key, import_key
from holdfast.engine.repository.seal import RepositoryKeys

KEY = bytes(range(32))
PASSPHRASE = "correct horse – Wörter"


@pytest.fixture(scope="module")
def exported() -> bytes:
    return export_key(KEY, PASSPHRASE, scrypt_n=1 << 10)


def code_of(kind: type[HoldfastError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.next_step
    return caught.value.code


def changed(exported: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(exported), **changes}).encode()


def test_an_exported_key_opens_with_its_passphrase_however_it_is_composed(exported: bytes) -> None:
    assert import_key(exported, PASSPHRASE) == KEY
    assert import_key(exported, PASSPHRASE.replace("ö", "o\u0308")) == KEY
    assert import_key(changed(exported), PASSPHRASE) == KEY


def test_nothing_of_the_key_shows_and_no_two_exports_are_alike(exported: bytes) -> None:
    keys = RepositoryKeys.derive(KEY)
    for secret in (KEY, keys.seal, keys.manifest):
        assert secret.hex().encode() not in exported
        assert secret not in exported
    assert json.loads(exported)["key_check"] == keys.check
    again = json.loads(export_key(KEY, PASSPHRASE, scrypt_n=1 << 10))
    assert {again[name] == json.loads(exported)[name] for name in ("salt", "nonce", "sealed")} == {False}


def test_a_passphrase_is_made_slow_to_guess() -> None:
    exported = export_key(KEY, PASSPHRASE)
    assert json.loads(exported)["scrypt_n"] * json.loads(exported)["scrypt_r"] >= 1 << 20
    assert import_key(exported, PASSPHRASE) == KEY


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE.upper(), PASSPHRASE + " ", "correct horse"])
def test_a_wrong_passphrase_is_told_from_damage(exported: bytes, passphrase: str) -> None:
    assert code_of(Refused, lambda: import_key(exported, passphrase)) == "passphrase_wrong"


@pytest.mark.parametrize("passphrase", ["", "x" * 11, "o\u0308" * 6])
def test_a_short_passphrase_is_refused_when_it_is_chosen(passphrase: str) -> None:
    assert code_of(InvalidInput, lambda: export_key(KEY, passphrase)) == "passphrase_too_short"


def test_every_flipped_bit_is_recognised(exported: bytes) -> None:
    for position in range(len(exported) - 1):
        flipped = bytearray(exported)
        flipped[position] ^= 1 << position % 8
        with pytest.raises((Damaged, InvalidInput, Refused)) as caught:
            import_key(bytes(flipped), PASSPHRASE)
        assert caught.value.code in ("key_file_damaged", "key_file_malformed", "key_file_newer")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", KEY, b'{"what": "x", "format": 1}', b"[" * 60_000])
def test_another_file_is_not_taken_for_a_key(content: bytes) -> None:
    assert code_of(InvalidInput, lambda: import_key(content, PASSPHRASE)) == "key_file_malformed"


def test_a_file_of_impossible_size_is_not_parsed(exported: bytes) -> None:
    assert code_of(InvalidInput, lambda: import_key(exported + b" " * 70_000, PASSPHRASE)) == "key_file_malformed"


def test_a_newer_file_is_refused_whatever_else_it_says() -> None:
    newer = b'{"what": "holdfast repository key", "format": 2, "argon": true}'
    assert code_of(Refused, lambda: import_key(newer, PASSPHRASE)) == "key_file_newer"


def resealed(exported: bytes, **changes: Any) -> bytes:
    """With a checksum that fits, as somebody who means harm would make it."""
    from blake3 import blake3

    document = {name: value for name, value in {**json.loads(exported), **changes}.items() if name != "checksum"}
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps({**document, "checksum": blake3(text).hexdigest(16)}).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"scrypt_n": 1 << 22, "scrypt_r": 64},
        {"scrypt_n": 1 << 60},
        {"scrypt_n": 131_071},
        {"scrypt_n": 0},
        {"scrypt_r": 0},
        {"scrypt_p": 1 << 20},
        {"salt": ""},
        {"nonce": "00"},
        {"sealed": "00" * 16},
        {"sealed": "zz"},
        {"format": 0},
        {"more": 1},
    ],
)
def test_a_hostile_file_costs_nothing(exported: bytes, change: dict[str, object]) -> None:
    assert code_of(Damaged, lambda: import_key(resealed(exported, **change), PASSPHRASE)) == "key_file_damaged"


def test_what_the_file_says_beside_the_key_is_sealed_with_it(exported: bytes) -> None:
    other = resealed(exported, key_check="00" * 16)
    assert code_of(Refused, lambda: import_key(other, PASSPHRASE)) == "passphrase_wrong"
    assert import_key(resealed(exported), PASSPHRASE) == KEY


@given(st.dictionaries(st.sampled_from(["what", "format", "salt", "scrypt_n"]), st.none() | st.integers() | st.text()))
def test_no_json_does_worse_than_being_refused(document: dict[str, object]) -> None:
    with pytest.raises((Damaged, InvalidInput, Refused)):
        import_key(json.dumps({"what": "holdfast repository key", "format": 1, **document}).encode(), PASSPHRASE)
