"""Another disk at a volume's mount point is another volume, though the roots of both have the same handle."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.domain.recovery import Direction, decide
from holdfast.domain.restore import RootRef
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.swap import observe
from holdfast.testing.mounted_volumes import mounted_volume, with_wrapper


def made(image: Path, kind: str) -> Path:
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
    return image


def mounted(image: Path, at: Path) -> None:
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)


def unmounted(at: Path) -> None:
    subprocess.run(["umount", str(at)], check=True)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_another_disk_is_told_from_the_one_last_seen_and_the_same_one_is_not(
    tmp_path: Path, mount: Callable[..., Path], kind: str
) -> None:
    one, other = made(tmp_path / "one.img", kind), made(tmp_path / "other.img", kind)
    live = tmp_path / "data"
    mount("-o", "loop", str(one), at=live)
    ref = RootRef(root=str(tmp_path), relative="data")
    with LiveRoots(Fs(), [str(tmp_path)]) as roots:
        known = roots.identity(ref)
        facts = with_wrapper(Fs(), roots, mounted_volume(tmp_path, "data"))
        unmounted(live)
        mounted(other, live)
        assert roots.identity(ref) != known
        assert decide(Direction.ABORT, {0: observe(Fs(), roots, facts)}).problem is not None
        unmounted(live)
        # Its loop device goes to the other one: as after a restart that finds the disks in another order.
        mount("-o", "loop", str(other), at=tmp_path / "elsewhere")
        mounted(one, live)
        assert roots.identity(ref) == known
        assert decide(Direction.ABORT, {0: observe(Fs(), roots, facts)}).problem is None
