"""The demo: a real container loses its data and gets it back, told in a few lines.

Starts a server on a data directory of its own, builds a small image, deploys a workload that never stops writing to two
volumes, wrecks both, restores them, proves every byte, takes the restore back and redoes it. On a terminal the server
stays up to be looked at; elsewhere everything is cleaned up again.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import zstandard

from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.testing.docker_engine import DEFAULT_HOST
from holdfast.testing.images import build_image

HOME = Path(__file__).resolve().parent.parent / ".demo"
DATA = HOME / "data"
VOLUMES = DATA / "volumes" / "notes"
DOCKER = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
IMAGE = "holdfast-demo/notes:1"

WRITER = """
trap 'exit 0' TERM
mkdir -p /data/entries /uploads/files
n=$(ls /data/entries | wc -l)
httpd -p 8080 -h /data
while :; do
  n=$((n + 1))
  echo "entry $n, written at $(date)" > /data/entries/$n.txt
  head -c 20000 /dev/urandom > /uploads/files/$n.bin
  echo ok > /data/health
  sleep 0.2 & wait $!
done
"""

WORKLOAD = {
    "name": "notes",
    "source": {"type": "image", "image": IMAGE},
    "volumes": [
        {"target": "/data", "scope": "stage", "source": "data"},
        {"target": "/uploads", "scope": "stage", "source": "uploads"},
    ],
    "health": {"type": "http", "port": 8080, "path": "/health", "interval": "100ms", "deadline": "20s"},
    "stop_grace": "5s",
    "restart": "always",
}

Tree = dict[str, str]


class Demo:
    """The story, a method a chapter."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60.0, trust_env=False
        )
        self._number = 0

    def say(self, text: str) -> None:
        """One line of the story."""
        self._number += 1
        print(f"{self._number:2}. {text}", flush=True)

    def run(self, method: str, path: str, **request: object) -> dict[str, object]:
        """Start an operation, wait for its end, and give its outcome."""
        answer = self._http.request(method, path, **request)  # type: ignore[arg-type] # httpx takes what JSON takes
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.text}")
        operation = answer.json()
        while operation["state"] in ("queued", "running"):
            time.sleep(0.1)
            operation = self._http.get(f"/api/operations/{operation['id']}").json()
        if operation["state"] != "succeeded":
            raise SystemExit(f"{operation['kind']} {operation['state']}: {json.dumps(operation['error'], indent=2)}")
        outcome: dict[str, object] = operation["outcome"]
        return outcome

    def deploy(self) -> None:
        self._http.post("/api/workloads", json=WORKLOAD).raise_for_status()
        outcome = self.run("POST", "/api/workloads/notes/deploy", json={})
        wait_until(lambda: count("data/entries") >= 12, "the workload writes")
        self.say(f"Deployed notes (image {str(outcome['image_id'])[7:19]}): it runs, is healthy, and keeps writing.")

    def snapshot(self) -> tuple[str, Tree]:
        outcome = self.run("POST", "/api/workloads/notes/snapshots", json={"quiesce": "pause"})
        snapshot_id = str(outcome["snapshot_id"])
        self.say(
            f"Took snapshot {snapshot_id}: {outcome['files']} files, {outcome['bytes']} bytes in both volumes, "
            f"{outcome['consistency']}, in {float(str(outcome['duration_seconds'])):.2f} s."
        )
        return snapshot_id, self.captured(snapshot_id)

    def captured(self, snapshot_id: str) -> Tree:
        """What the snapshot holds, from its export: path → hash of the content."""
        export = self._http.get(f"/api/workloads/notes/snapshots/{snapshot_id}/archive").content
        names = {"0": "data", "1": "uploads"}
        tree: Tree = {}
        plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(export)).read()
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                index, _, rest = member.name.partition("/")
                if content is not None and index in names:
                    tree[f"{names[index]}/{rest}"] = hashlib.sha256(content.read()).hexdigest()
        return tree

    def wreck(self) -> None:
        wait_until(lambda: count("data/entries") >= 20, "more entries")
        for entry in list((VOLUMES / "data/entries").iterdir())[::2]:
            entry.unlink(missing_ok=True)
        for upload in list((VOLUMES / "uploads/files").iterdir())[::2]:
            upload.write_bytes(b"overwritten by a bad migration")
        (VOLUMES / "data/WRECKED").write_text("half of the entries are gone, half of the uploads are garbage\n")
        self.say("Wrecked both volumes while it runs: half of the entries deleted, half of the uploads overwritten.")

    def dry_run(self, snapshot_id: str) -> None:
        outcome = self.run("POST", f"/api/workloads/notes/snapshots/{snapshot_id}/restore", json={"dry_run": True})
        volumes = outcome["volumes"]
        assert isinstance(volumes, list)
        told = "; ".join(f"{v['target']} +{v['added']} ~{v['changed']} -{v['removed']}" for v in volumes)
        self.say(f"Dry run, nothing touched. It would add (+), change (~), remove (-) files: {told}.")

    def restore(self, snapshot_id: str, expected: Tree) -> str:
        outcome = self.run(
            "POST",
            f"/api/workloads/notes/snapshots/{snapshot_id}/restore",
            json={},
            headers={"X-Confirm-Restore": snapshot_id},
        )
        safety = str(outcome["safety_snapshot_id"])
        self.say(f"Restored. Downtime {downtime(outcome)}. What was there is kept as safety snapshot {safety}.")
        found = {path: digest(VOLUMES / path) for path in expected if path != "data/health"}
        wrong = [path for path, content in found.items() if content != expected[path]]
        if wrong or (VOLUMES / "data/WRECKED").exists():
            raise SystemExit(f"NOT restored: {wrong[:5]}")
        self.say(
            f"Checked: all {len(found)} files of both volumes are back, byte for byte, and the service is healthy."
        )
        return safety

    def _undo(self) -> dict[str, object]:
        safety = self._http.get("/api/workloads/notes/undo").json()["snapshot"]["id"]
        return self.run("POST", "/api/workloads/notes/undo", json={}, headers={"X-Confirm-Restore": safety})

    def undo(self) -> None:
        outcome = self._undo()
        if not (VOLUMES / "data/WRECKED").exists():
            raise SystemExit("the undo did not bring the wrecked data back")
        self.say(f"Undone: the wrecked data is live again, exactly as it was. Downtime {downtime(outcome)}.")

    def redo(self, expected: Tree) -> None:
        outcome = self._undo()
        if any(digest(VOLUMES / path) != content for path, content in expected.items() if path != "data/health"):
            raise SystemExit("the redo did not bring the restored data back")
        self.say(f"And undo of undo is redo: the good data is live again. Downtime {downtime(outcome)}.")


def downtime(outcome: dict[str, object]) -> str:
    """The measured downtime, with its parts."""
    seconds = outcome["seconds"]
    assert isinstance(seconds, dict)
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in seconds.items())
    return f"{float(str(outcome['downtime_seconds'])):.2f} s ({parts})"


def digest(path: Path) -> str:
    """The content's hash; what is missing has none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def count(relative: str) -> int:
    """How many names a directory of the workload's has."""
    try:
        return len(list((VOLUMES / relative).iterdir()))
    except FileNotFoundError:
        return 0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition, or end the demo."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.05)


def free_port() -> int:
    """The documented port if it is free, or any other."""
    for port in (8484, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no port is free on 127.0.0.1")


def answers(url: str) -> bool:
    """Whether the server is ready."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


async def clean() -> None:
    """Remove what an earlier demo left: its containers, networks, image tags and data. Nothing else."""
    known = DATA / "installation"
    if known.exists():
        runtime = DockerRuntime(DOCKER)
        try:
            labels = {LABEL_INSTALLATION: known.read_text().strip()}
            for container in await runtime.containers(labels):
                await runtime.remove(container.id, force=True)
            await runtime.remove_network(f"holdfast-{labels[LABEL_INSTALLATION][-6:]}-notes")
            image = await runtime.image(IMAGE)
            for tag in image.tags if image is not None else ():
                await runtime.untag(tag)
        finally:
            await runtime.close()
    shutil.rmtree(HOME, ignore_errors=True)


def start_server(port: int) -> subprocess.Popen[bytes]:
    """`holdfast serve` on the demo's own data directory."""
    HOME.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "HOLDFAST_DATA_DIR": str(DATA), "HOLDFAST_DOCKER_HOST": DOCKER}
    holdfast = Path(sys.executable).with_name("holdfast")
    with (HOME / "server.log").open("wb") as log:
        return subprocess.Popen(
            [str(holdfast), "serve", "--listen", f"127.0.0.1:{port}"], env=env, stdout=log, stderr=subprocess.STDOUT
        )


def main() -> None:
    """Tell the story."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    asyncio.run(clean())
    asyncio.run(build_image(DOCKER, IMAGE, script=WRITER))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = start_server(port)
    try:
        wait_until(lambda: server.poll() is not None or answers(url), "the server starts")
        demo = Demo(url, (DATA / "admin-token").read_text().strip())
        print("Holdfast: a real container loses its data and gets it back.\n", flush=True)
        demo.deploy()
        snapshot_id, content = demo.snapshot()
        demo.wreck()
        demo.dry_run(snapshot_id)
        demo.restore(snapshot_id, content)
        demo.undo()
        demo.redo(content)
        print(f"\nDone in {time.monotonic() - began:.0f} s.", flush=True)
        if sys.stdout.isatty():
            stay(url, server)
    except SystemExit:
        print(f"\nThe server's log:\n{(HOME / 'server.log').read_text()[-4000:]}", file=sys.stderr)
        raise
    finally:
        server.terminate()
        server.wait(timeout=90)
        asyncio.run(clean())


def stay(url: str, server: subprocess.Popen[bytes]) -> None:
    """Leave the server up until Ctrl-C, and say how to look at it."""
    print(
        f"\nThe server stays up at {url} until you press Ctrl-C. In another terminal:\n"
        f"  export HOLDFAST_URL={url} HOLDFAST_TOKEN_FILE={DATA / 'admin-token'}\n"
        "  .venv/bin/holdfast status\n"
        "  .venv/bin/holdfast snapshot list notes\n"
        "  .venv/bin/holdfast operation list\n",
        flush=True,
    )
    try:
        server.wait()
    except KeyboardInterrupt:
        print("\nStopping, and cleaning up.")


if __name__ == "__main__":
    main()
