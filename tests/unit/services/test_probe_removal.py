"""What trying an exchange left is removed at the next start, in volumes that are mount points, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.testing.installation import deployed, installation


async def test_an_empty_pair_in_a_mount_point_is_removed_and_anything_else_stays(
    tmp_path: Path, tmpfs: Callable[..., Path]
) -> None:
    place = installation(tmp_path)
    mounted = tmpfs(at=place.volumes / "notes/data")
    async with place.running() as holdfast:
        await deployed(holdfast)
    probe, kept = mounted / f".holdfast-probe-{'a' * 16}", mounted / f".holdfast-probe-{'b' * 16}"
    for path in (probe / "live", probe / "wrapper/staged", kept / "wrapper/staged"):
        path.mkdir(parents=True)
    (kept / "wrapper/staged/file").write_text("somebody's")
    async with place.running():
        assert sorted(mounted.iterdir()) == [kept]
    assert (kept / "wrapper/staged/file").read_text() == "somebody's"
