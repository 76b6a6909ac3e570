"""Keys that can't stand in for each other, and seals that open nowhere but where they were made."""

from __future__ import annotations

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import Damaged
from holdfast.engine.repository.aes_sealer import AesSealer
from holdfast.engine.repository.seal import (
    TAG_BYTES,
    PlainSealer,
    RepositoryKeys,
    open_object,
    seal_object,
    sealer_of,
)

KEY = bytes(range(32))
SALT = bytes(32)


@pytest.fixture(scope="module")
def sealer() -> AesSealer:
    return AesSealer(RepositoryKeys.derive(KEY).seal)


def code_of_opening(sealer: AesSealer, salt: bytes, number: int, what: bytes, data: bytes) -> str:
    with pytest.raises(Damaged) as caught:
        sealer.open(salt, number, what, data)
    return caught.value.code


def test_every_purpose_has_a_key_of_its_own_and_the_same_one_each_time() -> None:
    keys = RepositoryKeys.derive(KEY)
    assert keys == RepositoryKeys.derive(bytes(KEY))
    derived = {keys.chunk_id, keys.pack_name, keys.manifest, keys.description, keys.seal, KEY}
    assert len(derived) == 6
    assert not any(key.hex().startswith(keys.check) for key in derived)
    assert len(bytes.fromhex(keys.check)) == 16
    other = RepositoryKeys.derive(bytes(32))
    assert not {other.chunk_id, other.pack_name, other.manifest, other.description, other.seal} & derived


def test_no_key_is_shown() -> None:
    keys = RepositoryKeys.derive(KEY)
    for secret in (keys.chunk_id, keys.pack_name, keys.manifest, keys.description, keys.seal):
        assert repr(secret)[2:20] not in repr(keys)
        assert secret.hex() not in repr(keys)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_key_of_another_length_is_none(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RepositoryKeys.derive(key)


@given(data=st.binary(max_size=500), number=st.integers(0, 2**64), what=st.binary(min_size=1, max_size=20))
def test_what_is_sealed_opens(sealer: AesSealer, data: bytes, number: int, what: bytes) -> None:
    sealed = sealer.seal(SALT, number, what, data)
    assert len(sealed) == len(data) + TAG_BYTES
    assert sealer.open(SALT, number, what, memoryview(sealed)) == data


def test_a_seal_opens_nowhere_else(sealer: AesSealer) -> None:
    sealed = sealer.seal(SALT, 7, b"frame", b"content")
    assert b"content" not in sealed
    assert code_of_opening(sealer, bytes([1] * 32), 7, b"frame", sealed) == "seal_broken"
    assert code_of_opening(sealer, SALT, 8, b"frame", sealed) == "seal_broken"
    assert code_of_opening(sealer, SALT, 7, b"trailer", sealed) == "seal_broken"
    assert code_of_opening(AesSealer(RepositoryKeys.derive(SALT).seal), SALT, 7, b"frame", sealed) == "seal_broken"


def test_every_flipped_bit_breaks_a_seal(sealer: AesSealer) -> None:
    sealed = sealer.seal(SALT, 0, b"frame", b"some content")
    for position in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[position] ^= 1 << position % 8
        assert code_of_opening(sealer, SALT, 0, b"frame", bytes(flipped)) == "seal_broken"


@pytest.mark.parametrize("length", [0, 1, 15, 16, 20])
def test_a_cut_off_seal_is_broken(sealer: AesSealer, length: int) -> None:
    sealed = sealer.seal(SALT, 0, b"frame", b"some content")
    assert code_of_opening(sealer, SALT, 0, b"frame", sealed[:length]) == "seal_broken"


def test_the_construction_is_the_documented_one(sealer: AesSealer) -> None:
    seal_key = blake3(KEY, derive_key_context="holdfast repository 1 seal").digest()
    nonce = (5).to_bytes(12, "big")
    cipher = AESGCM(blake3(SALT, key=seal_key).digest())
    assert sealer.seal(SALT, 5, b"frame", b"x") == cipher.encrypt(nonce, b"x", b"frame\0" + nonce)


def test_a_small_object_carries_its_salt_and_never_the_same_one(sealer: AesSealer) -> None:
    first, second = (seal_object(sealer, b"manifest", b"content") for _ in range(2))
    assert first[:32] != second[:32]
    assert open_object(sealer, b"manifest", first) == open_object(sealer, b"manifest", second) == b"content"
    for broken in (b"", first[:47], first[:-1], second[:32] + first[32:]):
        with pytest.raises(Damaged):
            open_object(sealer, b"manifest", broken)


def test_an_unencrypted_repository_seals_nothing() -> None:
    plain = PlainSealer()
    assert not plain.sealed
    assert plain.open(SALT, 0, b"frame", plain.seal(SALT, 0, b"frame", b"x")) == b"x"
    assert open_object(plain, b"manifest", seal_object(plain, b"manifest", b"x")) == b"x"


def test_a_repository_has_the_sealer_that_it_says() -> None:
    keys = RepositoryKeys.derive(KEY)
    assert sealer_of(keys, encrypted=True).sealed
    assert not sealer_of(keys, encrypted=False).sealed
