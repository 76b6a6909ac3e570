"""Snapshots exist with their manifests, which are believed only if they are ours, whole, and under their own name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import Conflict, Damaged, HoldfastError, NotFound, Refused, Unavailable
from holdfast.domain.ids import new_id
from holdfast.domain.restore import Identity
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.told import told
from holdfast.domain.workload import Scope
from holdfast.engine.fs import Fs
from holdfast.engine.repository.manifests import Listing, Manifests, StoredSnapshot, VolumeTree
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.seal import RepositoryKeys, sealer_of
from holdfast.engine.signed_json import signed

KEYS = RepositoryKeys.derive(bytes(range(32)))
OTHER_KEYS = RepositoryKeys.derive(bytes(32))


class CountingBlobs(PosixBlobs):
    """Counts what is read, and may be made to fail as a store that does not answer."""

    reads = 0
    away = False

    def _get(self, name: str, limit: int) -> bytes:
        self.reads += 1
        if self.away:
            raise Unavailable("blob_store_unreachable", "away")
        return super()._get(name, limit)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def blobs(root: Path) -> Iterator[CountingBlobs]:
    root.mkdir()
    with CountingBlobs(Fs(), root) as opened:
        yield opened


@pytest.fixture(params=["sealed", "plain"])
def encrypted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "sealed")


@pytest.fixture
def manifests(blobs: CountingBlobs, encrypted: bool) -> Manifests:
    return Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=encrypted))


def snapshot(*targets: str, **changes: Any) -> StoredSnapshot:
    manifest = SnapshotManifest(
        id=new_id(),
        workload_id=new_id(),
        workload_name="notes",
        created_at="2026-11-25T10:00:00.000000Z",
        reason=SnapshotReason.MANUAL,
        consistency=Consistency.PAUSED,
        volumes=tuple(
            CapturedVolume(index=index, target=target, scope=Scope.STAGE, source=target, files=3, bytes=100)
            for index, target in enumerate(targets)
        ),
        warnings=("of an earlier version: a socket", told("left_out", "{count}: {names}", count=1, names=["a"])),
        note="ä – “note”",
    )
    trees = tuple(
        VolumeTree(
            index=index,
            chunks=(bytes([index]) * 32, bytes(range(32))),
            root=Identity(handle_type=1, handle="00ff"),
            scan_started_ns=1_764_000_000_123_456_789,
        )
        for index in range(len(targets))
    )
    return replace(StoredSnapshot(manifest=manifest, trees=trees), **changes)


def code_of(kind: type[HoldfastError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.next_step
    return caught.value.code


# --- written and read -------------------------------------------------------------------------------------------------


def test_a_snapshot_comes_back_as_it_was_stored(manifests: Manifests) -> None:
    one = snapshot("/data", "/uploads")
    manifests.write(one)
    assert manifests.read(one.id) == one
    assert manifests.ids() == [one.id]


def test_a_snapshot_that_was_not_captured_here_has_no_root(manifests: Manifests) -> None:
    one = snapshot("/data")
    one = replace(one, trees=(replace(one.trees[0], root=None, chunks=(), scan_started_ns=0),))
    manifests.write(one)
    assert manifests.read(one.id) == one


def test_an_encrypted_repository_shows_nothing_of_its_snapshots(blobs: CountingBlobs) -> None:
    one = snapshot("/data")
    Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=True)).write(one)
    stored = blobs.get(f"manifests/{one.id}", limit=100_000)
    assert not [word for word in (b"notes", b"/data", b"mac", one.manifest.workload_id.encode()) if word in stored]


def test_a_snapshot_is_stored_once(manifests: Manifests) -> None:
    one = snapshot("/data")
    manifests.write(one)
    again = replace(one, manifest=replace(one.manifest, note="changed"))
    assert code_of(Conflict, lambda: manifests.write(again)) == "snapshot_exists"
    assert manifests.read(one.id) == one


def test_unknown_snapshots_are_unknown_whatever_they_are_called(manifests: Manifests) -> None:
    for snapshot_id in (new_id(), "", "../repository.json", "x" * 500, "ü"):
        for call in (partial(manifests.read, snapshot_id), partial(manifests.delete, [snapshot_id])):
            assert code_of(NotFound, call) == "snapshot_unknown"


def misfits() -> Sequence[StoredSnapshot]:
    one = snapshot("/data")
    (tree,) = one.trees
    return [
        replace(one, trees=()),
        replace(one, trees=(tree, replace(tree, index=1))),
        replace(one, trees=(replace(tree, index=1),)),
        replace(one, trees=(replace(tree, chunks=(b"short",)),)),
        replace(one, trees=(replace(tree, chunks=(bytes(32),) * 4097),)),
        replace(one, trees=(replace(tree, scan_started_ns=-1),)),
        replace(one, manifest=replace(one.manifest, workload_id="../x")),
        replace(one, manifest=replace(one.manifest, format=2)),
        replace(one, manifest=replace(one.manifest, note="x" * 5_000_000)),
        snapshot("relative"),
    ]


@pytest.mark.parametrize("misfit", misfits())
def test_what_could_not_be_read_again_is_not_written(manifests: Manifests, misfit: StoredSnapshot) -> None:
    assert code_of(Refused, lambda: manifests.write(misfit)) == "manifest_out_of_bounds"
    assert manifests.ids() == []


# --- distrusted -------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed(manifests: Manifests, root: Path) -> None:
    one = snapshot("/data")
    manifests.write(one)
    path = root / "manifests" / one.id
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(Damaged):
            manifests.read(one.id)


@pytest.mark.parametrize("length", [0, 1, 31, 47, 48, 200])
def test_a_cut_off_manifest_is_damage(manifests: Manifests, root: Path, length: int) -> None:
    one = snapshot("/data")
    manifests.write(one)
    path = root / "manifests" / one.id
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Damaged):
        manifests.read(one.id)


def test_a_manifest_under_another_name_is_not_that_snapshot(manifests: Manifests, root: Path) -> None:
    one, other = snapshot("/data"), new_id()
    manifests.write(one)
    (root / "manifests" / one.id).rename(root / "manifests" / other)
    assert code_of(Damaged, lambda: manifests.read(other)) == "manifest_not_authentic"


def test_a_manifest_of_another_key_is_not_ours(blobs: CountingBlobs, manifests: Manifests, encrypted: bool) -> None:
    one = snapshot("/data")
    Manifests(blobs, OTHER_KEYS, sealer_of(OTHER_KEYS, encrypted=encrypted)).write(one)
    assert code_of(Damaged, lambda: manifests.read(one.id)) == "manifest_not_authentic"


def test_a_plain_manifest_is_not_taken_by_an_encrypted_repository(blobs: CountingBlobs) -> None:
    one = snapshot("/data")
    Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=False)).write(one)
    sealed = Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=True))
    assert code_of(Damaged, lambda: sealed.read(one.id)) == "manifest_not_authentic"


def test_a_manifest_of_impossible_size_is_not_read(manifests: Manifests, root: Path) -> None:
    one = snapshot("/data")
    manifests.write(one)
    with (root / "manifests" / one.id).open("ab") as file:
        file.truncate(5_000_000)
    assert code_of(Damaged, lambda: manifests.read(one.id)) == "blob_too_large"


def authentic(blobs: CountingBlobs, snapshot_id: str, document: dict[str, object]) -> Manifests:
    blobs.put(f"manifests/{snapshot_id}", [signed(document, KEYS.manifest)])
    return Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=False))


def document_of(blobs: CountingBlobs, one: StoredSnapshot) -> dict[str, Any]:
    Manifests(blobs, KEYS, sealer_of(KEYS, encrypted=False)).write(one)
    document: dict[str, Any] = json.loads(blobs.get(f"manifests/{one.id}", limit=100_000))
    return document


def test_a_newer_format_is_refused(blobs: CountingBlobs) -> None:
    one = snapshot("/data")
    document = document_of(blobs, one)
    for newer in ({**document, "format": 2}, {**document, "snapshot": {**document["snapshot"], "format": 9}}):
        manifests = authentic(blobs, one.id, newer)
        with pytest.raises(Refused) as caught:
            manifests.read(one.id)
        assert caught.value.code == "snapshot_format_newer"
        (problem,) = manifests.load().damaged
        assert (problem.code, problem.details["snapshot"]) == ("snapshot_format_newer", one.id)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"format": "1"},
        {"snapshot": None},
        {"snapshot": []},
        {"trees": None},
        {"trees": {}},
        {"trees": []},
        {"trees": [{}]},
        {"trees": [{"index": 0, "chunks": ["00"], "root": None, "scan_started_ns": 0}]},
        {"trees": [{"index": 0, "chunks": ["0" * 64 + "\n"], "root": None, "scan_started_ns": 0}]},
        {"trees": [{"index": 0, "chunks": [], "root": {"handle": 1}, "scan_started_ns": 0}]},
        {"trees": [{"index": 0, "chunks": [], "root": None, "scan_started_ns": -1}]},
    ],
)
def test_nonsense_is_damage_even_if_it_is_authentic(blobs: CountingBlobs, change: dict[str, object]) -> None:
    one = snapshot("/data")
    manifests = authentic(blobs, one.id, {**document_of(blobs, one), **change})
    assert code_of(Damaged, lambda: manifests.read(one.id)) == "manifest_malformed"


def test_members_that_a_later_version_adds_are_ignored(blobs: CountingBlobs) -> None:
    one = snapshot("/data")
    document = document_of(blobs, one)
    document["trees"][0]["later"] = document["snapshot"]["later"] = document["later"] = [1]
    assert authentic(blobs, one.id, document).read(one.id) == one


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_do_worse_than_being_refused(manifests: Manifests, root: Path, content: bytes) -> None:
    snapshot_id = new_id()
    (root / "manifests").mkdir(exist_ok=True)
    (root / "manifests" / snapshot_id).write_bytes(content)
    with pytest.raises(Damaged):
        manifests.read(snapshot_id)


# --- listed -----------------------------------------------------------------------------------------------------------


def test_all_are_listed_oldest_first_and_the_damaged_ones_by_name(manifests: Manifests, root: Path) -> None:
    first, second, third = (snapshot("/data") for _ in range(3))
    for each in sorted([first, second, third], key=lambda each: each.id, reverse=True):
        manifests.write(each)
    expected = sorted([first, second, third], key=lambda each: each.id)
    (root / "manifests" / "no-snapshot").write_bytes(b"x")
    (root / "manifests" / expected[1].id).write_bytes(b"x" * 100)
    listing = manifests.load()
    assert listing.snapshots == (expected[0], expected[2])
    assert [problem.details["snapshot"] for problem in listing.damaged] == [expected[1].id]
    assert manifests.ids() == [each.id for each in expected]


def test_nothing_is_listed_where_nothing_is(manifests: Manifests) -> None:
    assert manifests.load() == Listing(snapshots=(), damaged=())


def test_what_was_listed_is_not_read_again(manifests: Manifests, blobs: CountingBlobs) -> None:
    for _ in range(3):
        manifests.write(snapshot("/data"))
    first = manifests.load()
    reads = blobs.reads
    assert manifests.load() == first
    assert blobs.reads == reads
    manifests.write(snapshot("/data"))
    assert len(manifests.load().snapshots) == 4
    assert blobs.reads == reads + 1


def test_a_manifest_that_changed_its_size_is_read_again(manifests: Manifests, root: Path) -> None:
    one = snapshot("/data")
    manifests.write(one)
    assert manifests.load().snapshots == (one,)
    with (root / "manifests" / one.id).open("ab") as file:
        file.write(b"x")
    assert [problem.details["snapshot"] for problem in manifests.load().damaged] == [one.id]


def test_one_snapshot_is_always_read_anew(manifests: Manifests, root: Path) -> None:
    one = snapshot("/data")
    manifests.write(one)
    manifests.load()
    path = root / "manifests" / one.id
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(Damaged):
        manifests.read(one.id)


def test_what_the_disk_loses_later_is_listed_as_damaged_once_somebody_meets_it_or_asks(
    manifests: Manifests, root: Path
) -> None:
    one, two = snapshot("/data"), snapshot("/data")
    for each in (one, two):
        manifests.write(each)
    manifests.load()
    for each in (one, two):
        path = root / "manifests" / each.id
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(Damaged):
        manifests.read(one.id)
    assert [problem.details["snapshot"] for problem in manifests.load().damaged] == [one.id]
    assert {problem.details["snapshot"] for problem in manifests.load(anew=True).damaged} == {one.id, two.id}


def test_a_store_that_does_not_answer_makes_no_snapshot_damaged(manifests: Manifests, blobs: CountingBlobs) -> None:
    manifests.write(snapshot("/data"))
    blobs.away = True
    with pytest.raises(Unavailable):
        manifests.load()


# --- deleted ----------------------------------------------------------------------------------------------------------


def test_deleted_snapshots_are_gone_readable_or_not(manifests: Manifests, root: Path) -> None:
    kept, whole, broken = (snapshot("/data") for _ in range(3))
    for each in (kept, whole, broken):
        manifests.write(each)
    manifests.load()
    (root / "manifests" / broken.id).write_bytes(b"")
    manifests.delete([whole.id, broken.id])
    assert manifests.load().snapshots == (kept,)
    assert manifests.ids() == [kept.id]


def test_nothing_is_deleted_if_one_of_them_is_unknown(manifests: Manifests) -> None:
    one = snapshot("/data")
    manifests.write(one)
    with pytest.raises(NotFound):
        manifests.delete([one.id, new_id()])
    assert manifests.ids() == [one.id]
