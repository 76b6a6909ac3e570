"""Live directories on a real file system, with the facts that a restore's journal would hold of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from holdfast.domain.restore import Identity, RootRef, VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.swap import make_wrapper


def identity_of(path: Path) -> Identity:
    """The identity of a directory."""
    fs = Fs()
    fd = fs.open_root(str(path))
    try:
        return fs.identity(fd)
    finally:
        fs.close(fd)


def live_volume(root: Path, relative: str = "notes/data", *, index: int = 0, restore_id: str = "r1") -> VolumeFacts:
    """Make a live directory with the file ``which`` saying ``old``, and look at it as a restore does before staging."""
    ref = RootRef(root=str(root), relative=relative)
    live = Path(ref.path)
    live.mkdir(parents=True, exist_ok=True)
    (live / "which").write_text("old")
    return VolumeFacts(
        index=index,
        target=f"/{relative}",
        live=ref,
        wrapper=f".holdfast-{restore_id}-{index}",
        live_identity=identity_of(live),
        parent_identity=identity_of(live.parent),
    )


def staged_volume(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> VolumeFacts:
    """Make the wrapper, with ``which`` in the staged tree saying ``new``. Returns the facts with its identity."""
    fd = make_wrapper(fs, roots, facts)
    try:
        (staged_tree(facts) / "which").write_text("new")
        return replace(facts, staged_identity=fs.identity(fd))
    finally:
        os.close(fd)


def live_tree(facts: VolumeFacts) -> Path:
    """The live directory."""
    return Path(facts.live.path)


def staged_tree(facts: VolumeFacts) -> Path:
    """What is in the wrapper: the staged tree, or the displaced one."""
    return live_tree(facts).parent / facts.wrapper / "staged"
