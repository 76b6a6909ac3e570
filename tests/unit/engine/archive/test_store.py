"""What the store of archives does beyond its port: files, modes, orphans, manifests that are not believed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from tests.contract.snapshot_store import WORKLOAD, run_tar
from tests.unit.engine.archive.conftest import KEY, MakePlace, Place

from holdfast.domain.errors import Damaged, HoldfastError, NoSpace, NotFound, Refused
from holdfast.domain.ids import new_id
from holdfast.engine.archive.format import Use, encode
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.testing.raw_tar import archive, member
from holdfast.testing.trees import build_sample_tree, describe_tree


def beside(place: Place, snapshot_id: str) -> Path:
    return place.bench.store_root / WORKLOAD / f"{snapshot_id}.json"


def archive_of(place: Place, snapshot_id: str) -> Path:
    return place.bench.store_root / WORKLOAD / f"{snapshot_id}.tar.zst"


# --- space -----------------------------------------------------------------------------------------------------------


def test_a_snapshot_leaves_the_reserve_of_its_disk_alone_and_nothing_behind(
    make_place: MakePlace, tmpfs: Callable[..., Path]
) -> None:
    place = make_place(reserve_bytes=4 << 20)
    room = tmpfs("size=8m", at=place.bench.store_root.parent)
    (place.bench.live("data") / "file").write_bytes(os.urandom(6 << 20))
    with pytest.raises(NoSpace) as caught:
        place.bench.capture("data")
    assert caught.value.code == "disk_reserve_reached"
    assert list(room.rglob("*")) == [place.bench.store_root]
    (place.bench.live("data") / "file").write_bytes(os.urandom(2 << 20))
    place.bench.capture("data")


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_an_archive_and_a_manifest_that_only_the_owner_reads(place: Place) -> None:
    (place.bench.live("data") / "file").write_text("x")
    before = os.umask(0)
    try:
        manifest = place.bench.capture("data")
    finally:
        os.umask(before)
    assert place.bench.stored() == [beside(place, manifest.id), archive_of(place, manifest.id)]
    for path in (place.bench.store_root, place.bench.store_root / WORKLOAD):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in place.bench.stored():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert place.store.archive_suffix(manifest.id) == ".tar.zst"
    assert manifest.stored_bytes == archive_of(place, manifest.id).stat().st_size


def test_an_archive_is_whole_for_zstd_and_tar_also_with_its_privileged_parts(place: Place, tmp_path: Path) -> None:
    build_sample_tree(place.bench.live("data"))
    manifest = place.bench.capture("data")
    stored = archive_of(place, manifest.id)
    subprocess.run(["zstd", "-q", "--test", stored], check=True)
    opened = tmp_path / "opened"
    opened.mkdir()
    run_tar(stored, opened, "--xattrs-include=*")
    assert describe_tree(opened / "0") == describe_tree(place.bench.live("data"))
    listed = json.loads((opened / "manifest.json").read_text())
    assert [(v["index"], v["target"], v["scope"], v["source"]) for v in listed["volumes"]] == [
        (0, "/data", "stage", "data")
    ]


@pytest.mark.parametrize(
    ("where", "context"),
    [
        ("beside", "holdfast 2026-11 manifest beside an archive"),
        ("inside", "holdfast 2026-11 manifest inside of an archive"),
    ],
)
def test_the_mac_is_what_the_reference_says(place: Place, captured: str, where: str, context: str) -> None:
    text = beside(place, captured).read_text()
    if where == "inside":
        command = ["tar", "--zstd", "-xOf", str(archive_of(place, captured)), "manifest.json"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    document = json.loads(text)
    mac = document.pop("mac")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert mac == blake3(canonical.encode(), key=blake3(KEY, derive_key_context=context).digest()).hexdigest()


def test_the_content_is_what_the_reference_says(place: Place, captured: str) -> None:
    content = place.store.manifest(captured).content
    assert content is not None
    stream = subprocess.run(["zstd", "-dc", archive_of(place, captured)], check=True, capture_output=True).stdout
    assert blake3(stream[: content.bytes]).hexdigest() == content.blake3
    assert stream[content.bytes :].startswith(b"manifest.json")


# --- orphans ---------------------------------------------------------------------------------------------------------


class Dying(Fs):
    """Dies at the ``die_at``-th change, and can't clean up after itself, as when the machine loses power."""

    def __init__(self, die_at: int) -> None:
        self._left = die_at
        self.dead = False

    def _change(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.dead = True
        if self.dead:
            raise OSError(errno.EIO, "the power is gone")

    def write_all(self, fd: int, data: bytes | memoryview) -> None:
        self._change()
        super().write_all(fd, data)

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        self._change()
        super().rename(from_dirfd, from_name, to_dirfd, to_name)

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        self._change()
        super().rename_noreplace(from_dirfd, from_name, to_dirfd, to_name)

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        self._change()
        super().unlinkat(dirfd, name)


def test_a_capture_that_died_anywhere_leaves_only_orphans_and_cleaning_removes_them(make_place: MakePlace) -> None:
    left_something = 0
    for die_at in range(1, 100):
        fs = Dying(die_at)
        dying = make_place(fs=fs)
        (dying.bench.live("data") / "file").write_bytes(os.urandom(100))
        with contextlib.suppress(HoldfastError):
            dying.bench.capture("data")
        if not fs.dead:
            break
        files = dying.bench.stored()
        assert list(dying.store.manifests()) == []
        fs.dead, fs._left = False, 1000
        cleaned = dying.store.clean_orphans()
        assert len(cleaned) == len(files)
        assert dying.bench.stored() == []
        left_something += bool(files)
    assert left_something >= 3


def test_cleaning_names_what_it_removes_and_touches_nothing_else(place: Place) -> None:
    (place.bench.live("data") / "file").write_text("x")
    kept = place.bench.capture("data")
    directory = place.bench.store_root / WORKLOAD
    orphan, unfinished = f"{new_id()}.tar.zst", f"{TEMPORARY_PREFIX.decode()}abc"
    imported = f"{new_id()}.tar.gz"
    for name in (
        orphan,
        unfinished,
        imported,
        "notes.tar.zst",
        "README",
        f"{new_id()}.tar.zst.bak",
        f"{new_id()}.json",
    ):
        (directory / name).write_text("x")
    (place.bench.store_root / "elsewhere").mkdir()
    (place.bench.store_root / "elsewhere" / orphan).write_text("x")
    before = set(place.bench.stored())
    assert set(place.store.clean_orphans()) == {f"{WORKLOAD}/{name}" for name in (orphan, unfinished, imported)}
    assert before - set(place.bench.stored()) == {directory / name for name in (orphan, unfinished, imported)}
    assert place.store.verify(kept.id, QuietJob()) == []


def test_an_archive_whose_manifest_is_damaged_is_no_orphan(place: Place) -> None:
    place.bench.live("data")
    manifest = place.bench.capture("data")
    beside(place, manifest.id).write_text("{")
    assert place.store.clean_orphans() == []
    assert archive_of(place, manifest.id).exists()


# --- manifests that are not believed ---------------------------------------------------------------------------------


@pytest.fixture
def captured(place: Place) -> str:
    (place.bench.live("data") / "file").write_text("x")
    return place.bench.capture("data").id


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"[" * 100_000, b"x" * (2 << 20), b"\xff", b'{"format":1,"mac":"0"}'],
    ids=["empty", "cut", "list", "null", "deep", "large", "binary", "little"],
)
def test_a_manifest_that_is_none_is_damaged_and_named(place: Place, captured: str, content: bytes) -> None:
    beside(place, captured).write_bytes(content)
    with pytest.raises(Damaged) as caught:
        place.store.manifest(captured)
    assert caught.value.code in ("manifest_malformed", "manifest_not_authentic")
    assert [problem.code for problem in place.store.damaged_manifests()] == [caught.value.code]
    assert place.store.damaged_manifests()[0].details["snapshot"] == captured
    assert place.store.delete(captured) > 0


def test_a_manifest_of_another_key_is_not_authentic(place: Place, captured: str) -> None:
    manifest = place.store.manifest(captured)
    beside(place, captured).write_bytes(encode(manifest, bytes(32), Use.STORE))
    with pytest.raises(Damaged) as caught:
        place.store.manifest(captured)
    assert caught.value.code == "manifest_not_authentic"


def test_the_manifest_inside_of_an_archive_does_not_pass_for_the_one_beside_it(place: Place, captured: str) -> None:
    manifest = place.store.manifest(captured)
    beside(place, captured).write_bytes(encode(manifest, KEY, Use.ARCHIVE))
    with pytest.raises(Damaged) as caught:
        place.store.manifest(captured)
    assert caught.value.code == "manifest_not_authentic"


def test_a_manifest_under_another_name_or_workload_is_not_believed(place: Place, captured: str) -> None:
    other_id, other_workload = new_id(), new_id()
    data = beside(place, captured).read_bytes()
    beside(place, other_id).write_bytes(data)
    (place.bench.store_root / other_workload).mkdir()
    (place.bench.store_root / other_workload / f"{captured}.json").write_bytes(data)
    beside(place, captured).unlink()
    for wrong in (other_id, captured):
        with pytest.raises(Damaged) as caught:
            place.store.manifest(wrong)
        assert caught.value.code == "manifest_not_authentic"


def test_a_manifest_of_a_newer_format_is_refused_not_guessed(place: Place, captured: str) -> None:
    manifest = replace(place.store.manifest(captured), format=2)
    beside(place, captured).write_bytes(encode(manifest, KEY, Use.STORE))
    with pytest.raises(Refused) as caught:
        place.store.manifest(captured)
    assert caught.value.code == "archive_format_newer"
    assert beside(place, captured).exists()


def test_a_manifest_too_large_to_be_read_again_is_refused_and_nothing_is_left(place: Place) -> None:
    place.bench.live("data")
    with pytest.raises(Refused) as caught:
        place.bench.capture("data", note="x" * (1 << 20))
    assert caught.value.code == "manifest_out_of_bounds"
    assert place.bench.stored() == []


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_volume_that_the_snapshot_does_not_have_is_refused(place: Place, captured: str) -> None:
    with pytest.raises(Refused) as caught:
        place.bench.stage(captured, 3)
    assert caught.value.code == "snapshot_volume_unknown"
    with pytest.raises(Refused):
        list(place.store.entries(captured, 3, QuietJob()))


def test_damage_names_the_entry_that_was_met_last(place: Place) -> None:
    for number in range(30):
        (place.bench.live("data") / f"file-{number:02}").write_bytes(os.urandom(40_000))
    manifest = place.bench.capture("data")
    with archive_of(place, manifest.id).open("r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(bytes(500))
    with pytest.raises(Damaged) as caught:
        place.bench.stage(manifest.id, 0)
    assert caught.value.details["snapshot"] == manifest.id
    assert str(caught.value.details["last_entry"]).startswith("0/file-")


def test_a_full_disk_while_staging_is_no_damage(place: Place, captured: str) -> None:
    class Full(Fs):
        def write_all(self, fd: int, data: bytes | memoryview) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.bench.fs = Full()
    with pytest.raises(NoSpace):
        place.bench.stage(captured, 0)
    assert place.store.verify(captured, QuietJob()) == []


def test_what_we_captured_ourselves_comes_back_whatever_the_limits_for_others_are(make_place: MakePlace) -> None:
    place = make_place(
        limits=Limits(entries=1, total_bytes=1, ratio=1, ratio_floor_bytes=0, header_bytes=1, pax_bytes=1)
    )
    (place.bench.live("data") / "zeros").write_bytes(bytes(4 << 20))
    build_sample_tree(place.bench.live("data"))
    manifest = place.bench.capture("data")
    assert place.store.verify(manifest.id, QuietJob()) == []
    paths, _ = place.bench.stage(manifest.id, 0)
    assert describe_tree(paths[0]) == describe_tree(place.bench.live("data"))


def test_a_limit_met_while_staging_what_was_imported_is_not_called_damage(
    make_place: MakePlace, tmp_path: Path
) -> None:
    place = make_place()
    taken = place.import_bytes(archive(member(b"0/zeros", bytes(4 << 20))))
    strict = make_place(limits=Limits(ratio=2, ratio_floor_bytes=0))
    os.rename(place.bench.store_root, strict.bench.store_root)
    with pytest.raises(HoldfastError) as caught:
        strict.bench.stage(taken.id, 0)
    assert caught.value.code == "archive_ratio_too_high"


def test_an_export_of_an_incomplete_archive_fails_before_its_first_byte(place: Place, captured: str) -> None:
    path = archive_of(place, captured)
    path.write_bytes(path.read_bytes()[:-1])
    got: list[bytes] = []
    with pytest.raises(Damaged):
        place.store.export(captured, got.append, QuietJob())
    assert got == []


def test_a_deleted_snapshot_frees_what_its_files_took(place: Place, captured: str) -> None:
    size = sum(path.stat().st_size for path in place.bench.stored())
    assert place.store.delete(captured) == size
    with pytest.raises(NotFound):
        place.store.delete(captured)


def test_a_warm_pass_says_honestly_that_it_is_of_no_use(place: Place) -> None:
    assert not place.store.warm(WORKLOAD, [], QuietJob()).useful
