"""A real server, killed in the middle of a restore of a real container, and started again."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION, Container
from holdfast.testing.images import build_image
from holdfast.testing.server_process import SERVE, ServerProcess, crashing_at, server, until
from holdfast.testing.trees import TreeDescription, build_sample_tree, describe_tree
from tests.integration.engine_bench import DockerPlace

POINTS = (
    ("after journal PREPARED #1", False),
    ("after exchange data #1", True),
    ("after journal SAFE #1", False),
    ("after journal COMMIT #1", True),
)
"""Where the server is killed, and whether the restore has to be finished then."""
HELD = "holdfast-test/held:1"
SCRIPT = "trap 'exit 0' TERM\nwhile :; do sleep 60 & wait $!; done\n"
WORKLOAD = {
    "name": "held",
    "project": "house",
    "source": {"type": "image", "image": HELD},
    "volumes": [
        {"target": "/data", "scope": "stage", "source": "data"},
        {"target": "/media", "scope": "project", "source": "media"},
    ],
    "health": {
        "type": "command",
        "command": ["test", "!", "-e", "/data/hold"],
        "interval": "500ms",
        "deadline": "40s",
    },
    "stop_grace": "3s",
    "restart": "always",
}


class Story:
    """A workload with a snapshot and damage since, and the servers that come and go over it."""

    def __init__(self, place: DockerPlace) -> None:
        self.place = place
        self.data = place.volumes / "held/data"
        self.media = place.volumes / "@house/media"
        self.snapshot = ""
        self.good: tuple[TreeDescription, TreeDescription] | None = None
        self.damaged: tuple[TreeDescription, TreeDescription] | None = None

    @contextmanager
    def server(self, command: tuple[str, ...] = SERVE) -> Iterator[ServerProcess]:
        with server(self.place.settings, self.place.directory / "server.log", command) as running:
            yield running

    def trees(self) -> tuple[TreeDescription, TreeDescription]:
        return describe_tree(self.data), describe_tree(self.media)

    def prepare(self, running: ServerProcess, *, hold: bool = False) -> None:
        """Deploy, snapshot, damage; ``hold``: on the snapshot's data the health check says neither yes nor no."""
        assert running.http.post("/api/workloads", json=WORKLOAD).is_success
        running.succeeded(running.start("POST", "/api/workloads/held/deploy", json={}))
        build_sample_tree(self.data)
        build_sample_tree(self.media)
        if hold:
            (self.data / "hold").touch()
        taken = running.succeeded(running.start("POST", "/api/workloads/held/snapshots", json={}))
        self.snapshot = taken["snapshot_id"]
        self.good = self.trees()
        self.damage()

    def damage(self) -> None:
        """Have the volumes differ from the snapshot."""
        (self.data / "hold").unlink(missing_ok=True)
        for tree in (self.data, self.media):
            (tree / "damage").write_text("damage")
            (tree / "notes.txt").unlink(missing_ok=True)
        self.damaged = self.trees()

    def restore(self, running: ServerProcess) -> str:
        return running.start(
            "POST",
            f"/api/workloads/held/snapshots/{self.snapshot}/restore",
            json={"on_unhealthy": "revert"},
            headers={"X-Confirm-Restore": self.snapshot},
        )

    def containers(self) -> list[Container]:
        """Its containers, newest first."""
        installation = self.place.settings.installation_file.read_text().strip()

        async def look() -> list[Container]:
            runtime = DockerRuntime(self.place.docker_host)
            try:
                return list(await runtime.containers({LABEL_INSTALLATION: installation}))
            finally:
                await runtime.close()

        return asyncio.run(look())

    def the_one_running(self) -> Container:
        (container,) = self.containers()
        assert container.running
        assert container.restart is RestartPolicy.ALWAYS
        return container

    def ended_as(self, end: dict[str, Any], *, restored: bool) -> None:
        """The interrupted restore ended on one side, the workload runs, and nothing is left over."""
        if restored:
            assert end["state"] == "succeeded", json.dumps(end["error"])
        else:
            assert end["error"]["code"] == "restore_interrupted"
        assert self.trees() == (self.good if restored else self.damaged)
        self.the_one_running()
        self.settled()

    def settled(self) -> None:
        until(lambda: self.place.leftovers() == [])


@pytest.fixture
def story(tmp_path: Path, docker_host: str) -> Iterator[Story]:
    asyncio.run(build_image(docker_host, HELD, script=SCRIPT))
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield Story(place)
    asyncio.run(place.clean())


def test_killed_anywhere_the_workload_stands_still_until_the_next_server_ends_the_restore(story: Story) -> None:
    """Each server first ends what the one before it was killed in, and is killed in a restore of its own.

    With ``make test`` in the middle of the exchange; ``make torture`` kills at more. (The slice of it in ``make test``
    kills on both sides of the decision.)
    """
    with story.server() as running:
        story.prepare(running)
        before = story.the_one_running()
    points = POINTS if os.environ.get("HOLDFAST_TORTURE") == "1" else (POINTS[1],)
    operation, restored = "", False
    for number, (point, finished) in enumerate(points):
        with story.server(crashing_at(story.place.directory / f"points{number}", point)) as running:
            if operation:
                story.ended_as(running.ended(operation), restored=restored)
                story.damage()
            operation, restored = story.restore(running), finished
            running.died()
        (container,) = story.containers()
        if point == "after journal PREPARED #1":
            assert container.id == before.id
            assert story.trees() == story.damaged
        else:
            assert (container.running, container.restart) == (False, RestartPolicy.NO)
    with story.server() as running:
        story.ended_as(running.ended(operation), restored=restored)
        assert story.the_one_running().id != before.id


def test_killed_during_the_trial_what_is_on_trial_is_judged_by_the_next_server(story: Story) -> None:
    with story.server() as running:
        story.prepare(running, hold=True)
        old = story.the_one_running()
        operation = story.restore(running)
        until(lambda: on_trial(story, old))
        running.kill()
    trial = on_trial(story, old)
    assert trial is not None
    assert trial.restart is RestartPolicy.NO
    (story.data / "hold").unlink()
    with story.server() as running:
        end = running.ended(operation)
        assert end["state"] == "succeeded", json.dumps(end["error"])
        assert story.the_one_running().id == trial.id, "what is on trial is judged, not made again"
        story.settled()
        undo = running.http.get("/api/workloads/held/undo").json()["snapshot"]["id"]
        confirmed = {"X-Confirm-Restore": undo}
        running.succeeded(running.start("POST", "/api/workloads/held/undo", json={}, headers=confirmed))
        assert story.trees() == story.damaged


def test_killed_while_a_hook_hangs_the_next_server_ends_it_and_undoes_what_it_did(story: Story) -> None:
    hangs = "touch /data/locked; sleep 4711 & (sleep 4712 &); wait"
    hooks = {"pre_snapshot": ["sh", "-c", hangs], "post_snapshot": ["rm", "/data/locked"], "timeout": "10m"}
    asked = {"quiesce": "hooks"}
    with story.server() as running:
        assert running.http.post("/api/workloads", json={**WORKLOAD, "hooks": hooks}).is_success
        running.succeeded(running.start("POST", "/api/workloads/held/deploy", json={}))
        before = story.the_one_running()
        operation = running.start("POST", "/api/workloads/held/snapshots", json=asked)
        until((story.data / "locked").exists)
        until(lambda: len(processes("sleep", "471")) == 2)
        running.kill()
    assert len(processes("sleep", "471")) == 2, "the engine lets a command outlive who asked for it"
    with story.server() as running:
        error = running.ended(operation)["error"]
        assert error["code"] == "snapshot_interrupted", error
        assert not (story.data / "locked").exists()
        assert processes("sleep", "471") == []
        assert story.the_one_running().id == before.id

        hooks["pre_snapshot"] = ["sh", "-c", "touch /data/locked; echo locked; id -u"]
        assert running.http.put("/api/workloads/held", json={**WORKLOAD, "hooks": hooks}).is_success
        taken = running.succeeded(running.start("POST", "/api/workloads/held/snapshots", json=asked))
        snapshot = running.http.get(f"/api/workloads/held/snapshots/{taken['snapshot_id']}").json()
        assert (snapshot["consistency"], snapshot["files"]) == ("hooked", 1), "locked while it was captured"
        assert not (story.data / "locked").exists()


def processes(*words: str) -> list[int]:
    """The processes of this host whose command line begins with these words, the last one's beginning at least."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                line = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if line[: len(words) - 1] == list(words[:-1]) and line[len(words) - 1].startswith(words[-1]):
                    found.append(int(directory.name))
    return found


def on_trial(story: Story, old: Container) -> Container | None:
    """The running container that the restore made."""
    return next((each for each in story.containers() if each.id != old.id and each.running), None)
