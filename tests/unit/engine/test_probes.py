"""Removing what is left beside volumes if the server dies while it tries an exchange or makes a volume."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.probes import remove_left_directories

PROBE = ".holdfast-probe-0123456789abcdef"


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("made", [(), ("live",), ("live", "wrapper"), ("live", "wrapper/staged"), ("a",), ("a", "b")])
def test_a_probe_is_removed_however_far_it_had_got(tmp_path: Path, beside: int, made: tuple[str, ...]) -> None:
    (tmp_path / PROBE).mkdir()
    for name in made:
        (tmp_path / PROBE / name).mkdir(parents=True)
    assert remove_left_directories(Fs(), beside) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("inside", ["live/precious", "wrapper/staged/precious", "other"])
def test_a_probe_with_anything_of_somebody_else_in_it_stays_and_is_named(
    tmp_path: Path, beside: int, inside: str
) -> None:
    (tmp_path / PROBE / inside).parent.mkdir(parents=True)
    (tmp_path / PROBE / inside).write_text("precious")
    assert remove_left_directories(Fs(), beside) == [PROBE]
    assert (tmp_path / PROBE / inside).read_text() == "precious"


@pytest.mark.parametrize(
    "name", [".holdfast-01abc-0", ".holdfast-probe-", ".holdfast-probe-0123", "holdfast-probe-0123456789abcdef", "data"]
)
def test_what_is_not_named_like_a_probe_is_not_touched(tmp_path: Path, beside: int, name: str) -> None:
    (tmp_path / name / "live").mkdir(parents=True)
    assert remove_left_directories(Fs(), beside) == []
    assert (tmp_path / name / "live").is_dir()


def test_a_symlink_named_like_a_probe_leads_nowhere(tmp_path: Path, beside: int) -> None:
    (tmp_path / "elsewhere/live").mkdir(parents=True)
    (tmp_path / PROBE).symlink_to("elsewhere")
    assert remove_left_directories(Fs(), beside) == [PROBE]
    assert (tmp_path / "elsewhere/live").is_dir()


def test_a_symlink_inside_a_probe_leads_nowhere(tmp_path: Path, beside: int) -> None:
    (tmp_path / "elsewhere/staged").mkdir(parents=True)
    (tmp_path / PROBE).mkdir()
    (tmp_path / PROBE / "wrapper").symlink_to("../elsewhere")
    assert remove_left_directories(Fs(), beside) == [PROBE]
    assert (tmp_path / "elsewhere/staged").is_dir()


def test_a_probe_of_another_user_stays(tmp_path: Path, beside: int) -> None:
    (tmp_path / PROBE / "live").mkdir(parents=True)
    os.chown(tmp_path / PROBE, 1234, 1234)
    assert remove_left_directories(Fs(), beside) == [PROBE]
    assert (tmp_path / PROBE / "live").is_dir()


UNFINISHED = ".holdfast-tmp-0123456789abcdef"


def test_a_volume_that_was_being_made_is_removed(tmp_path: Path, beside: int) -> None:
    (tmp_path / UNFINISHED).mkdir()
    os.chown(tmp_path / UNFINISHED, 1000, 1000)
    assert remove_left_directories(Fs(), beside) == []
    assert os.listdir(tmp_path) == []


def test_a_directory_named_like_an_unfinished_volume_with_content_stays_and_is_named(
    tmp_path: Path, beside: int
) -> None:
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "precious").write_text("precious")
    assert remove_left_directories(Fs(), beside) == [UNFINISHED]
    assert (tmp_path / UNFINISHED / "precious").read_text() == "precious"
