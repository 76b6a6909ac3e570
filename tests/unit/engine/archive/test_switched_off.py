"""With one protection of the archive reader taken out, the checks report what then gets through."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.engine.archive.conftest import Place

from holdfast.domain.errors import HoldfastError
from holdfast.engine import tree_writer
from holdfast.engine.archive import format as archive_format
from holdfast.engine.archive import importer, names
from holdfast.engine.entries import Entry
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.tree_writer import TreeWriter, WritePolicy
from holdfast.engine.written_tree import Directory
from holdfast.testing.raw_tar import archive, member
from holdfast.testing.trees import describe_tree

ESCAPES = archive(member(b"0/../../caught", b"outside of the volume"))


def written_outside(place: Place, sandbox: Path) -> list[str]:
    """What importing and staging a name with parents leaves beside the staged tree. The tree is two levels down."""
    staged = sandbox / "wrapper" / "tree"
    staged.mkdir(parents=True)
    before = set(describe_tree(sandbox))
    root = Fs().open_root(str(staged))
    try:
        with suppress(HoldfastError):
            manifest = place.import_bytes(ESCAPES)
            writer = TreeWriter(Fs(), root, WritePolicy(links=True, privileged=False, limits=Limits()))
            place.store.stage(manifest.id, {0: writer}, QuietJob())
            writer.close()
    finally:
        Fs().close(root)
    return [name.decode() for name in set(describe_tree(sandbox)) - before if not name.startswith(b"wrapper/tree")]


def test_a_name_with_parents_writes_nothing_outside(place: Place, tmp_path: Path) -> None:
    assert written_outside(place, tmp_path / "sandbox") == []


@pytest.fixture
def no_reading_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive's own check of names; the tree writer has one too."""
    monkeypatch.setattr(names, "normalise", lambda raw, *, directory: raw.rstrip(b"/") if directory else raw)


@pytest.mark.usefixtures("no_reading_of_names")
def test_without_the_archives_check_of_names_the_tree_writers_still_holds(place: Place, tmp_path: Path) -> None:
    assert written_outside(place, tmp_path / "sandbox") == []


@pytest.fixture
def no_check_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(entry: Entry) -> None:
        pass

    monkeypatch.setattr(importer, "check_entry", unchecked)
    monkeypatch.setattr(tree_writer, "check_entry", unchecked)


@pytest.mark.usefixtures("no_reading_of_names", "no_check_of_entries")
def test_without_both_the_tree_writer_still_enters_no_directory_that_it_did_not_make(
    place: Place, tmp_path: Path
) -> None:
    with pytest.raises(KeyError, match=r"\.\."):
        written_outside(place, tmp_path / "sandbox")
    assert not list(tmp_path.rglob("caught"))


@pytest.mark.usefixtures("no_reading_of_names", "no_check_of_entries")
def test_without_any_of_the_three_the_check_reports_what_is_outside(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trusting(dict[bytes, Directory]):
        def __missing__(self, name: bytes) -> Directory:
            return Directory(None, name)

    made = Directory.__init__

    def init(self: Directory, parent: Directory | None, name: bytes) -> None:
        made(self, parent, name)
        self.children = Trusting()

    monkeypatch.setattr(Directory, "__init__", init)
    assert written_outside(place, tmp_path / "sandbox") == ["caught"]


def taken_for_our_own(place: Place) -> bool:
    """Whether somebody who has not the key can change what a stored manifest says."""
    place.bench.live("data0").joinpath("file").write_bytes(b"x")
    manifest = place.bench.capture("data0")
    stored = next(place.bench.store_root.rglob(f"{manifest.id}.json"))
    forged = archive_format.encode(
        replace(manifest, note="forged"), b"another key, of 32 bytes exactly"[:32], archive_format.Use.STORE
    )
    stored.write_bytes(forged)
    with suppress(HoldfastError):
        return place.store.manifest(manifest.id).note == "forged"
    return False


def test_a_manifest_with_another_keys_mac_is_not_taken(place: Place) -> None:
    assert not taken_for_our_own(place)


@pytest.fixture
def no_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_format, "is_authentic", lambda document, key: True)


@pytest.mark.usefixtures("no_mac")
def test_without_the_mac_the_check_reports_the_forged_manifest(place: Place) -> None:
    assert taken_for_our_own(place)
