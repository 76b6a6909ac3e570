"""A real container attacks its own volume while Holdfast captures and restores it, and gets nothing from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import Quiesce, Scope, Volume
from holdfast.testing.attacker import Attacker, Canary, leaked, tight_loop
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, restore
from tests.integration.engine_bench import DockerPlace, keeper

IMAGE = "holdfast-test/attacker:1"
ATTACKER = """
trap 'exit 0' TERM
mkdir -p /data/c0/deep /data/c1/deep
echo own > /data/c0/passwd; echo own > /data/c1/passwd; echo own > /data/c0/deep/file
touch /scratch/alive
CANARY=$(cat /data/where)
while :; do
  for n in 0 1; do
    mv /data/c$n /data/.c$n && ln -s "$CANARY" /data/c$n
    mkfifo /data/pipe; ln -s "$CANARY/passwd" /data/link
    rm /data/c$n && mv /data/.c$n /data/c$n
    mv -f /data/pipe /data/entry; mv -f /data/link /data/entry
    echo x >> /data/log
  done
done
"""
"""What a program that was taken over would do: directories become symlinks to the host's files, and back."""

ONE_VOLUME = (Volume(target="/data", scope=Scope.STAGE, source="data"),)


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_image(docker_host, IMAGE, script=ATTACKER)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


@pytest.mark.timeout(300)
async def test_nothing_from_outside_gets_into_a_snapshot_and_nothing_outside_changes(
    place: DockerPlace, tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    canary = Canary(tmp_path / "canary")
    data = place.volumes / "keeper/data"
    with ExitStack() as undo:
        async with place.running() as holdfast:
            data.mkdir(parents=True)
            (data / "where").write_text(str(canary.path))
            attacker = Attacker(data, canary.path, seed=1)
            undo.callback(attacker.close)
            workload = await deployed(holdfast, keeper(image=IMAGE, volumes=ONE_VOLUME))
            snapshots: list[str] = []
            restored = 0
            for quiesce in (Quiesce.NONE, Quiesce.NONE, Quiesce.PAUSE):
                with tight_loop(attacker, most=20_000):
                    started = await holdfast.api.snapshots.create(workload.id, quiesce=quiesce, note="", actor="test")
                    end = await ended(holdfast, started)
                clear(end)
                if end.state is OperationState.SUCCEEDED:
                    snapshots.append(str(end.outcome["snapshot_id"]))
            assert snapshots
            folder = await holdfast.api.snapshot_files.folder(
                workload.id, snapshots[0], target=None, path=b"", after=b"", limit=100
            )
            captured = {entry.path for entry in folder.entries}  # whichever of two names was there just then
            for names in (set(), {b"d0", b".d0"}, {b"c0", b".c0", b"passwd"}):
                paths = tuple(b"/data/" + name for name in sorted(names & captured))
                with tight_loop(attacker, most=20_000):
                    end = await ended(holdfast, await restore(holdfast, workload, snapshots[0], paths=paths))
                clear(end)
                restored += end.state is OperationState.SUCCEEDED
            await holdfast.reaper.idle()
        assert canary.harm() == []
        assert leaked(place.settings.data_dir / "repository" / "packs") == []
        assert place.leftovers() == []
        assert (data / "log").stat().st_size > 0
        figure("flips under attack", attacker.flips)
        figure("snapshots and restores of a container that attacks: succeeded", len(snapshots) + restored)


def clear(operation: Operation) -> None:
    """It succeeded, or says what hindered it and what to do."""
    if operation.state is not OperationState.SUCCEEDED:
        assert operation.error is not None
        assert operation.error["code"] != "internal_error"
        assert operation.error["next_step"]
