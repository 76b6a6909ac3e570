"""Whatever an archive holds: it is refused by its own code, nothing is written outside, and nothing is left."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.snapshot_store import WORKLOAD
from tests.unit.engine.archive.conftest import KEY, MakePlace, Place

from holdfast.domain.errors import HoldfastError, Refused
from holdfast.domain.snapshot import Content, SnapshotManifest
from holdfast.engine.archive import format as archive_format
from holdfast.engine.archive import names
from holdfast.engine.archive.source import recognise
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.tree_writer import TreeWriter, WritePolicy
from holdfast.testing.counted_work import WorkExceeded, counted_work
from holdfast.testing.hostile_archives import SMALL_LIMITS, HostileArchive, hostile_archives
from holdfast.testing.raw_tar import (
    FILE,
    archive,
    directory,
    hardlink,
    member,
    sparse,
    symlink,
    volumes,
    zstandard_frame,
)
from holdfast.testing.strange_archives import StrangeArchive, strange_archives
from holdfast.testing.trees import describe_tree

KINDS = tuple(hostile_archives())
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What an archive would like to write to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("untouched")
    return tmp_path / "outside"


def test_there_are_many_kinds_with_names_of_their_own() -> None:
    assert len(KINDS) >= 300
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def violations(kind: HostileArchive, place: Place, outside: Path) -> list[str]:
    """What an import of it does that it must not: the check that the tests below show to be able to fail."""
    found = []
    before = describe_tree(outside)
    for allow_links in (False, True):
        try:
            with counted_work(lines=400_000, peak_bytes=24 << 20):
                place.import_bytes(kind.content, allow_links=allow_links)
            found.append("it was taken")
        except WorkExceeded as exceeded:
            found.append(str(exceeded))
        except HoldfastError as error:
            if error.code != kind.code:
                found.append(f"it was refused as {error.code}")
            if not (error.next_step and error.message.isprintable() and len(error.message) < 1000):
                found.append("its refusal is not fit to be shown")
            if place.leftovers():
                found.append("something is left of it")
    if describe_tree(outside) != before:
        found.append("something was written outside")
    return found


@each_kind
def test_an_import_refuses_it_by_its_code_within_bounds_and_leaves_nothing(
    kind: HostileArchive, make_place: MakePlace, outside: Path, figure: Callable[[str, int], None]
) -> None:
    assert violations(kind, make_place(limits=SMALL_LIMITS), outside) == []
    figure("hostile archives tried", 1)


BOMBS = [kind for kind in KINDS if kind.code == "archive_ratio_too_high"]


@pytest.mark.parametrize("kind", BOMBS, ids=lambda kind: kind.name)
def test_without_the_bound_of_the_ratio_the_check_reports_each_bomb(
    kind: HostileArchive, make_place: MakePlace, outside: Path
) -> None:
    place = make_place(limits=replace(SMALL_LIMITS, ratio=2**63 - 1, total_bytes=2**63 - 1))
    assert violations(kind, place, outside)


CROWDS = [kind for kind in KINDS if kind.code == "archive_too_many_entries"]


@pytest.mark.parametrize("kind", CROWDS, ids=lambda kind: kind.name)
def test_without_the_bound_of_entries_the_check_reports_each_crowd(
    kind: HostileArchive, make_place: MakePlace, outside: Path
) -> None:
    assert violations(kind, make_place(limits=replace(SMALL_LIMITS, entries=2**63 - 1)), outside)


def without_end() -> None:
    while True:
        pass


def test_work_without_end_is_reported_and_not_waited_for() -> None:
    with pytest.raises(WorkExceeded, match="lines"), counted_work(lines=10_000, peak_bytes=1 << 20):
        without_end()


def test_memory_that_grows_with_the_input_is_reported() -> None:
    with pytest.raises(WorkExceeded, match="bytes"), counted_work(lines=10_000, peak_bytes=1 << 20):
        bytes(2 << 20)


@pytest.mark.parametrize(
    ("name", "lines"),
    [(b"./" * 500_000 + b"0/file", 1000), (b"0/" + b"d/" * 500_000 + b"x", 1000), (b"/" * 1_000_000, 1000)],
    ids=["dots", "directories", "slashes"],
)
def test_a_name_of_a_megabyte_takes_no_more_than_looking_at_it(name: bytes, lines: int) -> None:
    with suppress(HoldfastError), counted_work(lines=lines, peak_bytes=8 << 20):
        names.normalise(name, directory=False)


def test_a_sparse_map_of_one_number_without_end_is_not_read_to_its_end(place: Place) -> None:
    endless = archive(sparse(b"0/s", b"", size=4096, sparse_map=b"0" * (16 << 20)))
    with pytest.raises(Refused) as caught, counted_work(lines=20_000, peak_bytes=8 << 20):
        place.import_bytes(endless)
    assert caught.value.code == "archive_sparse_map_invalid"


STRANGE = tuple(strange_archives())


@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange.name)
def test_what_only_looks_like_an_attack_is_taken_exactly(
    strange: StrangeArchive, place: Place, outside: Path, figure: Callable[[str, int], None]
) -> None:
    before = describe_tree(outside)
    manifest = place.import_bytes(strange.content, allow_links=True)
    staged = place.bench.base / "staged" / "tree"
    staged.mkdir(mode=0o700)
    root = place.bench.fs.open_root(str(staged))
    try:
        writer = TreeWriter(place.bench.fs, root, WritePolicy(links=True, privileged=False, limits=Limits()))
        place.store.stage(manifest.id, {0: writer}, QuietJob())
        writer.finish()
    finally:
        os.close(root)
    assert contents(staged) == strange.tree
    assert not any(os.lstat(os.path.join(os.fsencode(staged), path)).st_mode & 0o6000 for path in strange.tree)
    assert describe_tree(outside) == before
    figure("strange archives taken exactly", 1)


def contents(root: Path) -> dict[bytes, object]:
    """What stands at each path below a directory, as strange archives describe it."""
    found: dict[bytes, object] = {}
    top = os.fsencode(root)
    for path, facts in describe_tree(root).items():
        at = os.path.join(top, path)
        if facts[0] == "file":
            with open(at, "rb") as file:
                found[path] = file.read()
        elif path:
            found[path] = None if facts[0] == "directory" else (facts[0], os.readlink(at))
    return found


def put_into_store(place: Place, content: bytes, *, own: bool) -> SnapshotManifest:
    """Store an archive as it is, past the import, with a manifest that says nothing bad of it."""
    manifest = replace(
        place.bench.draft("data0", "data1"),
        content=Content(bytes=1, blake3=""),
        stored_bytes=len(content),
        own=own,
        allow_links=True,
    )
    store = place.bench.store_root / WORKLOAD
    store.mkdir(parents=True)
    suffix = recognise(content)
    (store / f"{manifest.id}{suffix}").write_bytes(content)
    (store / f"{manifest.id}.json").write_bytes(archive_format.encode(manifest, KEY, archive_format.Use.STORE))
    return manifest


def all_but_staged(directory: Path) -> set[str]:
    """Every path below a directory, but for staged trees: no path leads to the bottom of a deep one."""
    found = set()
    for at, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name != "staged"]
        found |= {os.path.join(at, name) for name in (*directories, *files)}
    return found


@pytest.mark.parametrize("own", [False, True])
@each_kind
def test_staging_it_past_the_import_writes_nothing_outside_and_never_succeeds(
    kind: HostileArchive, own: bool, make_place: MakePlace, outside: Path
) -> None:
    if kind.code == "archive_not_recognised":
        return
    place = make_place(limits=SMALL_LIMITS)
    manifest = put_into_store(place, kind.content, own=own)
    everything = all_but_staged(outside.parent)
    before = describe_tree(outside)
    with pytest.raises(HoldfastError):
        place.bench.stage(manifest.id, 0, 1)
    assert all_but_staged(outside.parent) == everything
    assert describe_tree(outside) == before


def a_valid_archive(*, compress: bool) -> bytes:
    members = (
        FILE,
        directory(b"0/directory/"),
        member(b"0/directory/more", bytes(range(256)) * 20),
        symlink(b"0/link", b"file"),
        hardlink(b"0/name", b"0/file"),
        directory(b"1/"),
        member(b"1/file", b"x" * 3000),
    )
    if compress:
        return archive(*members, listed=volumes(2), compress=zstandard_frame)
    return archive(*members, listed=volumes(2))


@pytest.fixture
def unchanged(make_place: MakePlace) -> dict[int, object]:
    """What the valid archive is when nothing was changed in it."""
    place = make_place()
    manifest = place.import_bytes(a_valid_archive(compress=False), allow_links=True)
    paths, _ = place.bench.stage(manifest.id, 0, 1)
    return {index: describe_tree(path) for index, path in paths.items()}


def taken(place: Place, content: bytes) -> SnapshotManifest | None:
    """What an import makes of it; ``None`` if it was refused, which must be in words of its own."""
    code = "archive_"
    manifest = None
    try:
        manifest = place.import_bytes(content, allow_links=True)
    except HoldfastError as error:
        code = error.code
    assert code.startswith("archive_")
    assert list(place.uploads.iterdir()) == []
    return manifest


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    compress=st.booleans(),
    flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), max_size=3),
    cut=st.none() | st.integers(0, 2**20),
)
def test_a_changed_or_cut_archive_is_never_taken_for_something_else(
    compress: bool, flips: list[tuple[int, int]], cut: int | None, place: Place, unchanged: dict[int, object]
) -> None:
    content = bytearray(a_valid_archive(compress=compress))
    for offset, change in flips:
        content[offset % len(content)] ^= change
    if cut is not None:
        del content[cut % len(content) :]
    manifest = taken(place, bytes(content))
    if manifest is None:
        return
    paths, _ = place.bench.stage(manifest.id, 0, 1)
    assert {index: describe_tree(path) for index, path in paths.items()} == unchanged


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_changed_uncompressed_stream_never_breaks_the_reader(flips: list[tuple[int, int]], place: Place) -> None:
    streams: list[bytes] = []

    def keep(tar: bytes) -> bytes:
        streams.append(tar)
        return b""

    archive(FILE, symlink(b"0/link", b"file"), hardlink(b"0/name", b"0/file"), compress=keep)
    content = bytearray(streams[0])
    for offset, change in flips:
        content[offset % len(content)] ^= change
    manifest = taken(place, zstandard_frame(bytes(content)))
    if manifest is not None:
        place.bench.stage(manifest.id, 0)
