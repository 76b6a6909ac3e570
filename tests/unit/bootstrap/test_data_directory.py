"""The data directory is nobody else's: made so, or closed to others, or refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.bootstrap.data_directory import make_directories
from holdfast.config import Settings
from holdfast.domain.errors import HoldfastError, Refused
from holdfast.engine.fs import Fs

PRIVATE = ("journal", "holds", "take-overs", "snapshots", "repository", "uploads", "keys", "backups", "logs")


def modes(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)): stat.S_IMODE(path.stat().st_mode)
        for path in (directory, *directory.rglob("*"))
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def test_a_new_one_is_made_for_nobody_else_but_the_volumes_can_be_passed_through(settings: Settings) -> None:
    make_directories(settings, Fs())
    assert modes(settings.data_dir) == {".": 0o700, "volumes": 0o755} | dict.fromkeys(PRIVATE, 0o700)


def test_one_that_is_open_to_others_is_closed_with_what_is_in_it(settings: Settings) -> None:
    make_directories(settings, Fs())
    settings.installation_file.write_text("01hzzzzzzzzzzzzzzzzzzzzzzz")
    key = settings.archive_key_file
    key.write_bytes(b"k")
    for path in (settings.data_dir, settings.keys_dir, settings.snapshots_dir):
        path.chmod(0o755)
    for path in (settings.installation_file, key):
        path.chmod(0o644)
    make_directories(settings, Fs())
    found = modes(settings.data_dir)
    assert found["."] == found["keys"] == found["snapshots"] == 0o700
    assert found["installation"] == found["keys/archive.key"] == 0o600
    assert found["volumes"] == 0o755


@pytest.mark.parametrize("inside", [None, "lost+found", "keys", "volumes"])
def test_one_that_somebody_made_and_that_holds_nothing_else_is_taken_and_closed(
    settings: Settings, inside: str | None
) -> None:
    settings.data_dir.mkdir(mode=0o755)
    if inside:
        (settings.data_dir / inside).mkdir()
    make_directories(settings, Fs())
    assert modes(settings.data_dir)["."] == 0o700


def test_one_that_holds_other_things_is_not_closed_to_those_who_use_them(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o755)
    (settings.data_dir / "somebody's").touch()
    with pytest.raises(Refused) as refusal:
        make_directories(settings, Fs())
    assert refusal.value.code == "data_dir_shared"
    assert f"chmod 700 {settings.data_dir}" in refusal.value.next_step
    assert list(settings.data_dir.iterdir()) == [settings.data_dir / "somebody's"]
    assert modes(settings.data_dir)["."] == 0o755
    settings.data_dir.chmod(0o700)
    make_directories(settings, Fs())


def test_one_of_somebody_else_is_refused(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o700)
    os.chown(settings.data_dir, 1000, 1000)
    with pytest.raises(Refused) as refusal:
        make_directories(settings, Fs())
    assert refusal.value.code == "data_dir_foreign"
    assert list(settings.data_dir.iterdir()) == []


def test_a_place_where_none_can_be_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HoldfastError) as error:
        make_directories(Settings(data_dir=tmp_path / "file" / "data"), Fs())
    assert str(tmp_path / "file") in error.value.message


class FlushedFs(Fs):
    """Notes what is flushed."""

    def __init__(self) -> None:
        self.flushed: list[str] = []

    def fsync(self, fd: int) -> None:
        self.flushed.append(self.path_of(fd))
        super().fsync(fd)


def test_the_names_of_directories_that_are_made_are_flushed_and_only_then(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "srv/holdfast/data")
    fs = FlushedFs()
    make_directories(settings, fs)
    places = (tmp_path, tmp_path / "srv", tmp_path / "srv/holdfast", settings.data_dir)
    assert fs.flushed == [str(place) for place in places]
    make_directories(settings, fs)
    assert len(fs.flushed) == len(places)
