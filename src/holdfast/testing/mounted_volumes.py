"""Volumes that are swapped name by name, with the facts that a restore's journal would hold of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from holdfast.domain.restore import Identity, RootRef, SwapWay, TreeSide, VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.step_swap import list_children
from holdfast.engine.swap import make_wrapper
from holdfast.engine.volume_identity import volume_identity
from holdfast.testing.live_volumes import identity_of


def mounted_volume(root: Path, relative: str, *, way: SwapWay = SwapWay.CHILDREN, index: int = 0) -> VolumeFacts:
    """What is known of a mount point before anything is staged in it."""
    ref = RootRef(root=str(root), relative=relative)
    return VolumeFacts(
        index=index,
        target=f"/{relative}",
        live=ref,
        wrapper=f".holdfast-r1-{index}",
        live_identity=_identity_of_root(ref.path),
        parent_identity=identity_of(Path(ref.path).parent),
        way=way,
    )


def with_wrapper(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> VolumeFacts:
    """Make the wrapper in the volume, with nothing staged."""
    fd = make_wrapper(fs, roots, facts)
    try:
        return replace(
            facts, staged_identity=fs.identity(fd), wrapper_identity=identity_of(Path(facts.live.path, facts.wrapper))
        )
    finally:
        os.close(fd)


def listed(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> VolumeFacts:
    """As COMMIT has it, or BACKWARD if the volume went over."""
    return replace(facts, children=replace(list_children(fs, roots, facts), settled=None))


def settled(facts: VolumeFacts, side: TreeSide) -> VolumeFacts:
    """As SWAPPED or REVERTED have it."""
    assert facts.children is not None
    return replace(facts, children=replace(facts.children, settled=side))


def staged_in(facts: VolumeFacts) -> Path:
    """What waits in the volume: the staged tree, or the displaced one."""
    return Path(facts.live.path, facts.wrapper, "staged")


def _identity_of_root(path: str) -> Identity:
    fd = os.open(path, os.O_RDONLY)
    try:
        return volume_identity(Fs(), fd)
    finally:
        os.close(fd)
