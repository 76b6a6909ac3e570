"""How much things take on disk. Nothing is followed, nothing is changed.

Trees that containers write are walked as a capture walks them; Holdfast's own directories by name alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import Progress
from holdfast.domain.restore import RootRef
from holdfast.engine.archive.census import Census
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.journal import journals, read_journal
from holdfast.engine.live import LiveRoots
from holdfast.engine.os_errors import translate
from holdfast.engine.walk import WalkReport, walk

_CHECK_EVERY: Final = 256
_SECTOR: Final = 512


def tree_use(fs: Fs, roots: LiveRoots, live: RootRef, job: Job) -> int:
    """Bytes that a live tree takes, counted as a snapshot of it counts them. Raises as :meth:`LiveRoots.open`."""
    census = Census()
    fd = roots.open(live)
    try:
        for number, walked in enumerate(walk(fs, fd, WalkReport(), leave_out=roots.not_of_volume(live))):
            census.add(walked.entry)
            if number % _CHECK_EVERY == 0:
                job.check()
                job.progress(Progress(done_files=number, note="looking how large it is"))
    finally:
        fs.close(fd)
    return census.disk_bytes


def directory_use(fs: Fs, path: Path, *, leave_out: Collection[str] = ()) -> dict[str, int]:
    """Bytes that each name in one of Holdfast's own directories takes with all below it; nothing if it is not there.

    Args:
        leave_out: names that are not looked into.

    Raises:
        Failed: it can't be looked at.
    """
    try:
        root = fs.open_root(str(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise translate(error, f"looking how large {path} is") from error
    try:
        names = {os.fsdecode(name): name for name in fs.listdir(root)}
        return {shown: _below(fs, root, name) for shown, name in names.items() if shown not in leave_out}
    except OSError as error:
        raise translate(error, f"looking how large {path} is") from error
    finally:
        fs.close(root)


def _below(fs: Fs, parent: int, name: bytes) -> int:
    try:
        facts = fs.statat(parent, name)
        if not stat.S_ISDIR(facts.st_mode):
            return facts.st_blocks * _SECTOR
        directory = fs.openat(parent, name, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return 0  # it went away meanwhile
    try:
        return facts.st_blocks * _SECTOR + sum(_below(fs, directory, inside) for inside in fs.listdir(directory))
    finally:
        fs.close(directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """Where a restore that is not over keeps trees of one volume: staged, displaced, or kept for a decision."""

    restore_id: str
    workload_name: str
    target: str
    ref: RootRef


def wrappers(fs: Fs, journal_dir: Path) -> list[Wrapper]:
    """Those of all restores that are not over, as their journals tell. One that can't be read tells nothing."""
    found = []
    for path in journals(fs, str(journal_dir)):
        try:
            facts = read_journal(fs, path).facts
        except HoldfastError:
            continue
        if facts is None:
            continue
        for volume in facts.volumes:
            live = volume.live
            parent = live.relative if volume.way.inside else live.parent_relative
            found.append(
                Wrapper(
                    restore_id=facts.restore_id,
                    workload_name=facts.workload_name,
                    target=volume.target,
                    ref=RootRef(root=live.root, relative=f"{parent}/{volume.wrapper}".lstrip("/")),
                )
            )
    return found
