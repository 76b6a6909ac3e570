"""What is Holdfast's own in a volume's root is no part of the volume; whatever else is called like it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.domain.restore import OnUnhealthy, RestoreFacts, VolumeFacts
from holdfast.domain.restore_records import Record, StagedRecord
from holdfast.domain.workload import DesiredState
from holdfast.engine.diff import measure
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.journal import Journal
from holdfast.engine.live import LiveRoots
from holdfast.engine.walk import WalkReport, walk
from holdfast.testing.live_volumes import identity_of, live_tree
from holdfast.testing.mounted_volumes import mounted_volume, with_wrapper


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[LiveRoots]:
    (tmp_path / "journals").mkdir()
    with LiveRoots(Fs(), [str(tmp_path)], str(tmp_path / "journals")) as held:
        yield held


@pytest.fixture
def volume(tmp_path: Path, roots: LiveRoots, tmpfs: Callable[..., Path]) -> VolumeFacts:
    tmpfs(at=tmp_path / "notes")
    return with_wrapper(Fs(), roots, mounted_volume(tmp_path, "notes"))


def written(tmp_path: Path, facts: VolumeFacts, *records: Record) -> None:
    """A journal that names the volume, and what was staged, if it got that far."""
    unstaged = mounted_volume(tmp_path, "notes")
    restore = RestoreFacts(
        restore_id="r1",
        operation_id="o1",
        workload_id="w1",
        workload_name="notes",
        lock_ids=("w1",),
        snapshot_id="s1",
        volumes=(unstaged,),
        desired=DesiredState.RUNNING,
        on_unhealthy=OnUnhealthy.REVERT,
        actor="ada",
    )
    journal = Journal.create(Fs(), str(tmp_path / "journals"), restore)
    for record in records:
        journal.append(record)
    journal.close()


def staged_record(facts: VolumeFacts) -> StagedRecord:
    assert facts.staged_identity is not None
    assert facts.wrapper_identity is not None
    return StagedRecord(staged={0: facts.staged_identity}, wrappers={0: facts.wrapper_identity})


def seen(roots: LiveRoots, facts: VolumeFacts) -> set[bytes]:
    fd = roots.open(facts.live)
    try:
        return {w.entry.path for w in walk(Fs(), fd, WalkReport(), leave_out=roots.not_of_volume(facts.live))} - {b""}
    finally:
        os.close(fd)


@pytest.mark.parametrize("staged", [False, True])
def test_a_wrapper_that_a_journal_names_is_no_data(
    roots: LiveRoots, volume: VolumeFacts, tmp_path: Path, staged: bool
) -> None:
    written(tmp_path, volume, *([staged_record(volume)] if staged else []))
    (live_tree(volume) / volume.wrapper / "staged" / "file").touch()
    assert seen(roots, volume) == set()
    assert roots.is_empty(volume.live)
    assert measure(Fs(), roots, volume.live, QuietJob()) == 1024
    (live_tree(volume) / "file").touch()
    assert seen(roots, volume) == {b"file"}
    assert not roots.is_empty(volume.live)


def test_what_is_called_like_a_wrapper_and_is_none_is_data(
    roots: LiveRoots, volume: VolumeFacts, tmp_path: Path
) -> None:
    written(tmp_path, volume, staged_record(volume))
    planted = live_tree(volume) / ".holdfast-r2-0"
    planted.mkdir(mode=0o700)
    (planted / "file").write_text("data")
    below = live_tree(volume) / "below"
    (below / volume.wrapper).mkdir(parents=True)
    name = volume.wrapper.encode()
    assert seen(roots, volume) == {b".holdfast-r2-0", b".holdfast-r2-0/file", b"below", b"below/" + name}
    assert not roots.is_empty(volume.live)


def test_another_directory_in_a_wrappers_place_is_data(roots: LiveRoots, volume: VolumeFacts, tmp_path: Path) -> None:
    written(tmp_path, volume, staged_record(volume))
    wrapper = live_tree(volume) / volume.wrapper
    wrapper.rename(live_tree(volume) / "moved")
    wrapper.mkdir(mode=0o700)
    (wrapper / "file").touch()
    name = volume.wrapper.encode()
    assert seen(roots, volume) == {name, name + b"/file", b"moved", b"moved/staged"}


def test_without_a_journal_every_name_is_data(roots: LiveRoots, volume: VolumeFacts, tmp_path: Path) -> None:
    name = volume.wrapper.encode()
    assert seen(roots, volume) == {name, name + b"/staged"}
    written(tmp_path, volume, staged_record(volume))
    (tmp_path / "journals" / "r1.journal").write_bytes(b"0123456789abcdef damaged\n")
    assert seen(roots, volume) == {name, name + b"/staged"}


def test_a_wrapper_that_is_not_known_yet_has_to_be_private(
    roots: LiveRoots, volume: VolumeFacts, tmp_path: Path
) -> None:
    written(tmp_path, volume)
    os.chown(live_tree(volume) / volume.wrapper, 1000, 1000)
    assert seen(roots, volume) != set()


def test_a_probe_is_no_data_and_one_with_anything_in_it_is(
    roots: LiveRoots, volume: VolumeFacts, tmp_path: Path
) -> None:
    written(tmp_path, volume, staged_record(volume))
    probe = live_tree(volume) / ".holdfast-probe-0123456789abcdef"
    (probe / "wrapper" / "staged").mkdir(parents=True)
    assert seen(roots, volume) == set()
    (probe / "wrapper" / "staged" / "file").touch()
    name = probe.name.encode()
    inside = (b"", b"/wrapper", b"/wrapper/staged", b"/wrapper/staged/file")
    assert seen(roots, volume) == {name + path for path in inside}
    (probe / "wrapper" / "staged" / "file").unlink()
    os.chown(probe, 1000, 1000)
    assert seen(roots, volume) != set()


def test_the_lost_and_found_of_a_filesystem_is_no_data_and_any_other_is(
    roots: LiveRoots, tmp_path: Path, mount: Callable[..., Path]
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    live = mount("-o", "loop", str(image), at=tmp_path / "notes")
    facts = mounted_volume(tmp_path, "notes")
    assert (live / "lost+found").is_dir()
    assert seen(roots, facts) == set()
    assert roots.is_empty(facts.live)
    (live / "lost+found" / "#12").touch()
    fd = roots.open(facts.live)
    report = WalkReport()
    assert len(list(walk(Fs(), fd, report, leave_out=roots.not_of_volume(facts.live)))) == 1
    os.close(fd)
    assert "lost+found (what a check of the filesystem found)" in str(report.skipped)
    (live / "lost+found").rename(live / "kept")
    (live / "lost+found").mkdir()
    assert seen(roots, facts) == {b"lost+found", b"kept", b"kept/#12"}
    assert identity_of(live / "lost+found") != identity_of(live / "kept")
