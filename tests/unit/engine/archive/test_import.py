"""What an import takes, as whose it counts, and what it says of what it leaves out."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from tests.contract.snapshot_store import WORKLOAD, CountingJob, FailingFs
from tests.unit.engine.archive.conftest import MakePlace, Place

from holdfast.domain.errors import Cancelled, Damaged, HoldfastError, NoSpace
from holdfast.domain.snapshot import Consistency, SnapshotReason
from holdfast.domain.workload import Scope
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.testing.raw_tar import (
    END,
    FILE,
    ROOT,
    archive,
    directory,
    extended,
    gzipped,
    hardlink,
    manifest,
    member,
    old_sparse,
    pax,
    record,
    sparse,
    sparse_map,
    symlink,
    volumes,
    zstandard_frame,
)
from holdfast.testing.trees import build_sample_tree, describe_tree


def staged(place: Place, content: bytes, *, allow_links: bool = True) -> Path:
    """Volume 0 of an imported archive, staged with all that the manifest lets it have."""
    taken = place.import_bytes(content, allow_links=allow_links)
    paths, _ = place.bench.stage(taken.id, 0)
    return paths[0]


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_the_old_layout_with_capitalised_keys_and_the_manifest_first_is_taken(place: Place) -> None:
    old = [{"Index": 0, "Target": "/data", "Scope": "absolute", "Source": "/srv/notes"}]
    content = gzipped(manifest(old) + ROOT + FILE + END)
    taken = place.import_bytes(content)
    volume = taken.volumes[0]
    assert (volume.target, volume.scope, volume.source) == ("/data", Scope.ABSOLUTE, "/srv/notes")
    assert (volume.files, volume.bytes, taken.own) == (1, 7, False)
    assert place.store.archive_suffix(taken.id) == ".tar.gz"
    assert place.export_bytes(taken.id) == content


@pytest.mark.parametrize("compress", [gzipped, zstandard_frame])
def test_gzip_and_zstd_are_taken(place: Place, compress: object) -> None:
    assert callable(compress)
    assert (staged(place, archive(FILE, compress=compress)) / "file").read_bytes() == b"content"


def test_a_root_entry_and_names_that_begin_with_dot_slash_are_taken(place: Place) -> None:
    members = directory(b"./") + directory(b"./0/") + member(b"./0/file", b"x")
    listing = member(b"./manifest.json", json.dumps(volumes(1)).encode())
    tree = staged(place, gzipped(members + listing + END))
    assert (tree / "file").read_bytes() == b"x"


def test_missing_and_late_parents_are_taken(place: Place) -> None:
    taken = place.import_bytes(gzipped(member(b"0/a/b/c", b"x") + directory(b"0/a/b/") + manifest() + END))
    assert taken.volumes[0].directories == 2
    paths, written = place.bench.stage(taken.id, 0)
    assert (paths[0] / "a/b/c").read_bytes() == b"x"
    assert written[0].directories == 2


def test_padding_to_a_tape_block_and_after_gzip_is_taken(place: Place) -> None:
    place.import_bytes(gzipped(ROOT + manifest() + END + bytes(9216)) + bytes(512))


def test_a_harmless_global_header_is_taken(place: Place) -> None:
    place.import_bytes(archive(extended(record(b"comment", b"0123456789abcdef"), type=b"g"), FILE))


def test_an_old_file_name_of_a_directory_is_a_directory(place: Place) -> None:
    assert (staged(place, archive(member(b"0/d/", type=b"\0"))) / "d").is_dir()


def test_a_size_that_no_header_holds_comes_from_the_extended_header(place: Place) -> None:
    regions = [(0, 512)]
    tree = staged(place, archive(sparse(b"0/s", b"x" * 512, size=9 << 30, sparse_map=sparse_map(regions))))
    assert (tree / "s").stat().st_size == 9 << 30


def test_all_sparse_formats_come_back_with_their_holes(place: Place) -> None:
    data = os.urandom(8192)
    regions = [(4096, 4096), (65536, 4096)]
    offsets = [
        item for a, b in regions for item in ((b"GNU.sparse.offset", b"%d" % a), (b"GNU.sparse.numbytes", b"%d" % b))
    ]
    size = (b"GNU.sparse.size", b"100000")
    content = archive(
        sparse(b"0/1.0", data, size=100_000, sparse_map=sparse_map([*regions, (100_000, 0)])),
        pax(size, (b"GNU.sparse.name", b"0/0.1"), (b"GNU.sparse.map", b"4096,4096,65536,4096")) + member(b"x", data),
        pax(size, (b"GNU.sparse.numblocks", b"2"), *offsets) + member(b"0/0.0", data),
        old_sparse(b"0/old", data, size=100_000, regions=regions),
    )
    expected = bytes(4096) + data[:4096] + bytes(57344) + data[4096:] + bytes(100_000 - 69632)
    tree = staged(place, content)
    for name in ("1.0", "0.1", "0.0", "old"):
        assert (tree / name).read_bytes() == expected
        assert (tree / name).stat().st_blocks <= 24


# --- what other programs write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--format=v7",),
        ("--format=ustar",),
        ("--format=gnu",),
        ("--format=posix",),
        ("--format=gnu", "--sparse"),
        ("--format=posix", "--sparse"),
        ("--format=posix", "--sparse", "--sparse-version=0.1"),
        ("--format=posix", "--sparse", "--sparse-version=0.0"),
    ],
)
def test_archives_of_gnu_tar_are_taken(place: Place, tmp_path: Path, options: tuple[str, ...]) -> None:
    tree = tmp_path / "made"
    (tree / "0" / "deep" / ("d" * 60)).mkdir(parents=True)
    (tree / "0" / "deep" / ("d" * 60) / "file").write_bytes(os.urandom(5000))
    (tree / "0" / "link").symlink_to("deep")
    (tree / "0" / "file").write_text("x")
    os.link(tree / "0" / "file", tree / "0" / "name")
    with (tree / "0" / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    for path in [*tree.rglob("*"), tree / "0"]:
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    (tree / "manifest.json").write_text(json.dumps(volumes(1)))
    made = tmp_path / "made.tar.gz"
    subprocess.run(["tar", *options, "-C", tree, "-czf", made, "."], check=True)
    result = describe_tree(staged(place, made.read_bytes()))
    expected = describe_tree(tree / "0")
    if "--sparse" not in options:
        result, expected = ({p: f[:7] for p, f in tree.items()} for tree in (result, expected))
    assert result == expected


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_python_are_taken(place: Place, kind: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, data in (("0/ünïcode", b"x"), ("manifest.json", json.dumps(volumes(1)).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert (staged(place, gzip.compress(buffer.getvalue())) / "ünïcode").read_bytes() == b"x"


# --- links and the like ----------------------------------------------------------------------------------------------


def test_links_of_a_foreign_archive_are_left_out_and_named_unless_allowed(place: Place) -> None:
    content = archive(FILE, symlink(b"0/link", b"/etc/passwd"), hardlink(b"0/name", b"0/file"))
    without = place.import_bytes(content)
    assert not without.allow_links
    assert any("0/link" in str(warning) and "0/name" in str(warning) for warning in without.warnings)
    allowed = place.import_bytes(content, allow_links=True)
    assert allowed.allow_links
    assert allowed.warnings == ()


def test_devices_and_pipes_are_left_out_and_named(place: Place) -> None:
    content = archive(member(b"0/disk", type=b"4"), member(b"0/tty", type=b"3"), member(b"0/pipe", type=b"6"), FILE)
    taken = place.import_bytes(content)
    for name in ("0/disk (block device)", "0/tty (character device)", "0/pipe (FIFO)"):
        assert name in str(taken.warnings[0])
    paths, _ = place.bench.stage(taken.id, 0)
    assert [path.name for path in paths[0].iterdir()] == ["file"]


def test_privileges_of_a_foreign_archive_are_named_as_left_out(place: Place) -> None:
    content = archive(member(b"0/su", mode=0o4755), pax((b"SCHILY.xattr.security.capability", b"x")), FILE)
    warning = str(place.import_bytes(content).warnings[0])
    assert "0/su" in warning
    assert "0/file" in warning


def test_access_lists_in_text_form_are_named_as_left_out(place: Place) -> None:
    taken = place.import_bytes(archive(pax((b"SCHILY.acl.access", b"user::rwx")), FILE))
    assert "0/file" in str(taken.warnings[0])


def test_warnings_are_bounded_whatever_the_archive_holds(place: Place) -> None:
    pipes = b"".join(member(b"0/%d-" % number + b"\n" * 80, type=b"6") for number in range(2000))
    taken = place.import_bytes(archive(pipes))
    assert "2000 ×" in str(taken.warnings[0])
    assert len(str(taken.warnings[0])) < 1100
    assert all(str(warning).isprintable() for warning in taken.warnings)


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_an_export_of_our_own_is_known_as_ours(place: Place) -> None:
    build_sample_tree(place.bench.live("data"))
    captured = place.bench.capture("data", image="notes:1", image_id="sha256:1")
    taken = place.import_bytes(place.export_bytes(captured.id))
    assert taken.own
    assert (taken.reason, taken.workload_id, taken.actor) == (SnapshotReason.IMPORTED, WORKLOAD, "admin")
    assert taken.id != captured.id
    assert captured.id in taken.note
    assert (taken.image, taken.image_id, taken.consistency) == ("notes:1", "sha256:1", Consistency.STOPPED)
    assert taken.volumes == captured.volumes
    assert taken.content == captured.content
    paths, _ = place.bench.stage(taken.id, 0)
    assert describe_tree(paths[0]) == describe_tree(place.bench.live("data"))
    assert place.store.manifest(taken.id) == taken


def test_an_export_of_another_installation_is_foreign(make_place: MakePlace) -> None:
    first, second = make_place(), make_place(key=bytes(32))
    (first.bench.live("data") / "file").write_text("x")
    captured = first.bench.capture("data")
    taken = second.import_bytes(first.export_bytes(captured.id))
    assert not taken.own
    assert taken.consistency is Consistency.LIVE
    assert taken.volumes == captured.volumes
    assert second.store.verify(taken.id, QuietJob()) == []


def unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def test_our_manifest_on_other_content_is_refused(place: Place) -> None:
    (place.bench.live("data") / "file").write_bytes(b"genuine")
    captured = place.bench.capture("data")
    tar = unpacked(place.export_bytes(captured.id))
    for forged in (
        tar.replace(b"genuine", b"swapped"),
        tar[: -len(END)] + member(b"0/added", b"x") + END,
        member(b"0/added", b"x") + tar,
    ):
        assert forged != tar
        with pytest.raises(Damaged) as caught:
            place.import_bytes(zstandard_frame(forged))
        assert caught.value.code == "archive_content_mismatch"


def test_a_stored_manifest_does_not_pass_for_one_of_an_archive(place: Place) -> None:
    taken = place.import_bytes(archive(FILE))
    beside = next(path for path in place.bench.stored() if path.suffix == ".json").read_bytes()
    assert taken.content is not None
    again = place.import_bytes(gzipped(ROOT + FILE + member(b"manifest.json", beside) + END))
    assert not again.own


def test_an_edited_manifest_of_ours_makes_the_archive_foreign(place: Place) -> None:
    (place.bench.live("data") / "file").write_text("x")
    captured = place.bench.capture("data")
    tar = unpacked(place.export_bytes(captured.id)).replace(b'"note":"before', b'"note":"beFore')
    taken = place.import_bytes(zstandard_frame(tar))
    assert not taken.own


# --- the upload ------------------------------------------------------------------------------------------------------


def test_the_upload_is_moved_not_copied(place: Place) -> None:
    upload = place.uploads / "upload"
    upload.write_bytes(archive(FILE))
    inode = upload.stat().st_ino
    place.import_file(upload)
    stored = max(place.bench.stored(), key=lambda path: path.suffix == ".gz")
    assert stored.stat().st_ino == inode
    assert stored.stat().st_mode & 0o777 == 0o600
    assert list(place.uploads.iterdir()) == []


class OtherFilesystem(Fs):
    """As if uploads and store lay on different filesystems."""

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        if os.fstat(from_dirfd).st_ino != os.fstat(to_dirfd).st_ino:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().rename_noreplace(from_dirfd, from_name, to_dirfd, to_name)


def test_an_upload_on_another_filesystem_is_copied(make_place: MakePlace) -> None:
    place = make_place(fs=OtherFilesystem())
    content = archive(FILE)
    taken = place.import_bytes(content)
    assert place.export_bytes(taken.id) == content
    assert list(place.uploads.iterdir()) == []
    assert place.store.verify(taken.id, QuietJob()) == []


def test_an_upload_that_is_copied_leaves_the_reserve_of_the_disk_alone(make_place: MakePlace) -> None:
    place = make_place(fs=OtherFilesystem(), reserve_bytes=1 << 62)
    with pytest.raises(NoSpace) as caught:
        place.import_bytes(archive(FILE))
    assert caught.value.code == "disk_reserve_reached"
    assert place.bench.stored() == []
    assert list(place.uploads.iterdir()) == []


@pytest.mark.parametrize("something", ["directory", "pipe", "symlink", "nothing"])
def test_an_upload_that_is_no_file_is_refused(place: Place, something: str, tmp_path: Path) -> None:
    upload = place.uploads / "upload"
    (tmp_path / "elsewhere").write_bytes(archive(FILE))
    if something == "directory":
        upload.mkdir()
    elif something == "pipe":
        os.mkfifo(upload)
    elif something == "symlink":
        upload.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HoldfastError) as caught:
        place.import_file(upload)
    assert (caught.value.code == "archive_not_recognised") is (something in ("directory", "pipe"))
    assert place.bench.stored() == []


def test_a_cancelled_import_leaves_nothing(place: Place) -> None:
    counted = CountingJob()
    place.store.delete(place.import_bytes(archive(FILE), job=counted).id)
    for cancel_at in range(1, counted.checks + 1):
        with pytest.raises(Cancelled):
            place.import_bytes(archive(FILE), job=CountingJob(cancel_at))
        assert [path for path in place.leftovers() if path.is_file()] == []


def test_whichever_call_fails_an_import_leaves_nothing(make_place: MakePlace) -> None:
    fail_at = 0
    while True:
        fail_at += 1
        place = make_place(fs=FailingFs(fail_at=fail_at, error=OSError(errno.ENOSPC, "full")))
        error: HoldfastError | None = None
        try:
            place.import_bytes(archive(FILE))
        except HoldfastError as raised:
            error = raised
        if error is None:
            break
        assert isinstance(error, NoSpace)
        assert [path for path in place.leftovers() if path.is_file()] == []
    assert fail_at > 5


def test_an_imported_snapshot_that_was_changed_on_disk_is_damaged(place: Place) -> None:
    taken = place.import_bytes(archive(FILE))
    stored = max(place.bench.stored(), key=lambda path: path.suffix == ".gz")
    stored.write_bytes(archive(member(b"0/file", b"CONTENT")))
    assert place.store.verify(taken.id, QuietJob())
    with pytest.raises(Damaged) as caught:
        place.bench.stage(taken.id, 0)
    assert caught.value.code == "snapshot_damaged"


def test_a_draft_that_could_not_be_read_again_is_refused_before_anything_is_written(place: Place) -> None:
    draft = place.bench.draft("data")
    place.bench.live("data")
    for wrong in (
        replace(draft, id="../x"),
        replace(draft, workload_id="x"),
        replace(draft, volumes=(replace(draft.volumes[0], index=1),)),
        replace(draft, volumes=(replace(draft.volumes[0], target="data"),)),
    ):
        with pytest.raises(HoldfastError) as caught:
            place.store.capture(
                wrong, [place.bench.source(volume.index, "data") for volume in wrong.volumes], QuietJob()
            )
        assert caught.value.code == "manifest_out_of_bounds"
    assert place.leftovers() == []
