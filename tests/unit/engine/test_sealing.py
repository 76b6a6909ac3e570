"""Sealing: nobody without the key reads a value, and none opens as something else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from holdfast.domain.errors import Damaged, Failed
from holdfast.engine.fs import Fs
from holdfast.engine.sealing import KEY_NAME, OVERHEAD, Sealing

WHAT = "secret w NOTES_KEY v1"


@pytest.fixture
def sealing(tmp_path: Path) -> Sealing:
    return Sealing(Fs(), tmp_path / "keys")


def test_what_was_sealed_opens_and_can_t_be_read_without(sealing: Sealing) -> None:
    sealed = sealing.seal(WHAT, b"swordfish")
    assert b"swordfish" not in sealed
    assert len(sealed) == len(b"swordfish") + OVERHEAD
    assert sealing.open(WHAT, sealed) == b"swordfish"
    assert sealing.seal(WHAT, b"swordfish") != sealed


def test_the_key_is_for_its_owner_only(sealing: Sealing) -> None:
    sealing.seal(WHAT, b"swordfish")
    assert stat.S_IMODE(sealing.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(sealing.key_file.parent.stat().st_mode) == 0o700
    sealing.key_file.chmod(0o640)
    with pytest.raises(Failed, match="Others than its owner"):
        sealing.seal(WHAT, b"swordfish")


@pytest.mark.parametrize("what", ["secret w NOTES_KEY v2", "secret w OTHER v1", "secret x NOTES_KEY v1"])
def test_a_value_opens_only_as_what_it_was_sealed_as(sealing: Sealing, what: str) -> None:
    sealed = sealing.seal(WHAT, b"swordfish")
    with pytest.raises(Damaged) as caught:
        sealing.open(what, sealed)
    assert caught.value.code == "sealed_value_broken"


def test_a_changed_value_does_not_open(sealing: Sealing) -> None:
    sealed = sealing.seal(WHAT, b"swordfish")
    for broken in (sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:12]):
        with pytest.raises(Damaged):
            sealing.open(WHAT, broken)


def test_a_lost_key_is_told_and_serves_again_once_it_is_back(sealing: Sealing) -> None:
    sealed = sealing.seal(WHAT, b"swordfish")
    kept = sealing.key_file.rename(sealing.key_file.parent / "elsewhere")
    with pytest.raises(Failed) as caught:
        sealing.open(WHAT, sealed)
    assert caught.value.code == "sealing_key_missing"
    newer = sealing.seal(WHAT, b"trout")  # with a key that is made for it
    kept.rename(sealing.key_file.parent / f"{KEY_NAME}.old")
    assert [sealing.open(WHAT, each) for each in (sealed, newer)] == [b"swordfish", b"trout"]


def test_nothing_is_made_by_opening(tmp_path: Path, sealing: Sealing) -> None:
    with pytest.raises(Failed):
        sealing.open(WHAT, b"x" * 100)
    assert not (tmp_path / "keys").exists()
