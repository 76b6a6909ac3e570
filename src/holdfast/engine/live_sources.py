"""Opens the live directories of a capture, all of them or none, and tells all that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from holdfast.domain.errors import Problem, Refused
from holdfast.domain.restore import Identity
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.volume_identity import volume_identity


def open_sources(fs: Fs, roots: LiveRoots, sources: Sequence[CaptureSource], stack: ExitStack) -> Sequence[int]:
    """Open all live directories below their trusted roots, through no symlink (I7).

    Args:
        stack: closes the descriptors when it unwinds.

    Raises:
        Refused: what :meth:`LiveRoots.open` refuses with, and ``volume_replaced``.
    """
    opened: list[int] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            fd = roots.open(source.live)
        except Refused as refusal:
            problems += refusal.problems
            continue
        stack.callback(fs.close, fd)
        opened.append(fd)
        if source.expected is not None and volume_identity(fs, fd) != source.expected:
            problems.append(_replaced(source.live.path, source.expected))
    if problems:
        raise Refused(problems)
    return opened


def _replaced(path: str, expected: Identity) -> Problem:
    return Problem(
        code="volume_replaced",
        message=f"{path} is not the directory that it was when it was last looked at.",
        next_step="Check that the right disk is mounted there. If the directory was replaced on purpose, deploy again.",
        details={"path": path, "expected": expected.handle},
    )
