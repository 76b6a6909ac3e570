"""The demo: a real container loses its data and gets it back, told in a few lines.

Starts a server on a data directory of its own, builds a small image, deploys a workload that never stops writing to two
volumes, wrecks both, restores them, proves every byte, takes the restore back and redoes it. On a terminal the server
stays up to be looked at, in a browser or by commands, until Enter, Ctrl-C or the end of its input; elsewhere everything
is cleaned up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import io
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import httpx
import zstandard

from holdfast.domain.units import format_size
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.testing.docker_engine import DEFAULT_HOST
from holdfast.testing.first_admin import become_admin
from holdfast.testing.images import build_image

HOME = Path(__file__).resolve().parent.parent / ".demo"
DATA = HOME / "data"
VOLUMES = DATA / "volumes" / "notes"
DOCKER = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
IMAGE = "holdfast-demo/notes:1"
USER = "demo"
TOKEN = DATA / "demo-token"
"""For commands, while somebody looks around."""

WRITER = """
trap 'exit 0' TERM
mkdir -p /data/entries /uploads/files
n=$(ls /data/entries | sort -n | tail -n 1); n=${n%.txt}
echo ok > /data/health
httpd -p 8080 -h /data
while :; do
  n=$((n + 1))
  echo "entry $n, written at $(date)" > /data/entries/$n.txt
  head -c 20000 /dev/urandom > /uploads/files/$n.bin
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

_PARTS = {"safety": "safety snapshot", "recheck": "last checks", "gate": "health check"}
"""Parts of the downtime whose names say little to somebody who is new here."""


class Demo:
    """The story, a method a chapter."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60.0, trust_env=False
        )
        self._number = 0

    def say(self, text: str, *more: str) -> None:
        """One step of the story, and what there is to say of it beside."""
        self._number += 1
        print(f"{self._number:2}. {text}", *(f"    {line}" for line in more), sep="\n", flush=True)

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
        self.run("POST", "/api/workloads/notes/deploy", json={})
        wait_until(lambda: count("data/entries") >= 12, "the workload writes")
        self.say(
            "Deployed notes: a container that is healthy, and never stops writing to its volumes /data and /uploads."
        )

    def snapshot(self) -> tuple[str, Tree]:
        outcome = self.run("POST", "/api/workloads/notes/snapshots", json={"quiesce": "pause"})
        snapshot_id = str(outcome["snapshot_id"])
        self.say(
            f"Took a snapshot of both volumes: {outcome['files']} files, {format_size(int(str(outcome['bytes'])))}; "
            f"the container was {outcome['consistency']} for {float(str(outcome['duration_seconds'])):.2f} s."
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

    def wreck(self) -> Tree:
        wait_until(lambda: count("data/entries") >= 20, "more entries")
        for entry in list((VOLUMES / "data/entries").iterdir())[::2]:
            entry.unlink(missing_ok=True)
        for upload in list((VOLUMES / "uploads/files").iterdir())[::2]:
            upload.write_bytes(b"overwritten by a bad migration")
        (VOLUMES / "data/WRECKED").write_text("half of the entries are gone, half of the uploads are garbage\n")
        self.say("A bad migration: half of the entries are deleted, half of the uploads are overwritten with garbage.")
        # What is older than the newest names is not being written to any more.
        wrecked = sorted(
            (path for path in VOLUMES.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns
        )
        return {str(path.relative_to(VOLUMES)): digest(path) for path in wrecked[:-4]}

    def dry_run(self, snapshot_id: str) -> None:
        outcome = self.run("POST", f"/api/workloads/notes/snapshots/{snapshot_id}/restore", json={"dry_run": True})
        volumes = outcome["volumes"]
        assert isinstance(volumes, list)
        self.say(
            "Dry run of the restore: what it would do, with nothing touched.",
            *(f"{volume['target']}: {differences(volume)}" for volume in volumes),
        )

    def restore(self, snapshot_id: str, expected: Tree) -> None:
        outcome = self.run(
            "POST",
            f"/api/workloads/notes/snapshots/{snapshot_id}/restore",
            json={},
            headers={"X-Confirm-Restore": snapshot_id},
        )
        self.say(
            "Restored.",
            downtime(outcome),
            "What was there before is kept in a safety snapshot, until somebody releases it.",
        )
        compare(expected)
        if (VOLUMES / "data/WRECKED").exists():
            raise SystemExit("data/WRECKED is still there")
        self.say(f"Checked: all {len(expected)} files are back, byte for byte, and the container is healthy on them.")

    def _undo(self) -> dict[str, object]:
        safety = self._http.get("/api/workloads/notes/undo").json()["snapshot"]["id"]
        return self.run("POST", "/api/workloads/notes/undo", json={}, headers={"X-Confirm-Restore": safety})

    def undo(self, wrecked: Tree) -> None:
        outcome = self._undo()
        compare(wrecked)
        self.say("Undone: the wrecked data is live again, byte for byte.", downtime(outcome))

    def redo(self, expected: Tree) -> None:
        outcome = self._undo()
        compare(expected)
        self.say("Undo of undo is redo: the good data is live again.", downtime(outcome))


def downtime(outcome: dict[str, object]) -> str:
    """The measured downtime, with its parts."""
    seconds = outcome["seconds"]
    assert isinstance(seconds, dict)
    parts = ", ".join(f"{_PARTS.get(name, name)} {value:.2f}" for name, value in seconds.items())
    return f"Down for {float(str(outcome['downtime_seconds'])):.2f} s: {parts}."


def differences(volume: dict[str, int]) -> str:
    """What a restore does to the files of one volume."""
    said = {
        "added": "{} files come back",
        "changed": "{} files get their content back",
        "removed": "{} files that were written since go",
    }
    return ", ".join(words.format(volume[kind]) for kind, words in said.items() if volume[kind]) or "nothing differs"


def compare(expected: Tree) -> None:
    """End the demo unless every expected file has the expected content."""
    wrong = [path for path, content in expected.items() if digest(VOLUMES / path) != content]
    if wrong:
        raise SystemExit(f"{len(wrong)} of {len(expected)} files are not what they must be: {', '.join(wrong[:5])}")


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


def token() -> str:
    """The admin's, or the end of the demo: there is none because the server did not get that far."""
    file = DATA / "admin-token"
    if not file.exists():
        raise SystemExit("The server did not start.")
    return file.read_text().strip()


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


def main() -> int:
    """Tell the story. Returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    here = os.open(HOME.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(here, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another demo runs in this directory already.", file=sys.stderr)
        return 1
    try:
        tell()
    except KeyboardInterrupt:
        print("\nStopped, and cleaned up.", flush=True)
        return 130
    return 0


def tell() -> None:
    """The story, between a clean start and a clean end."""
    began = time.monotonic()
    print("Holdfast: a real container loses its data and gets it back.", flush=True)
    print("All of it happens in .demo/ and in a container of its own; nothing else is touched.\n", flush=True)
    asyncio.run(clean())
    asyncio.run(build_image(DOCKER, IMAGE, script=WRITER))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = start_server(port)
    try:
        wait_until(lambda: server.poll() is not None or answers(url), "the server starts")
        demo = Demo(url, token())
        demo.say(f"Started Holdfast at {url}.")
        demo.deploy()
        snapshot_id, content = demo.snapshot()
        wrecked = demo.wreck()
        demo.dry_run(snapshot_id)
        demo.restore(snapshot_id, content)
        demo.undo(wrecked)
        demo.redo(content)
        print(f"\nDone in {time.monotonic() - began:.0f} s.", flush=True)
        if sys.stdin.isatty() and sys.stdout.isatty():
            stay(url, server)
    except (SystemExit, httpx.HTTPError) as error:
        if not isinstance(error, _Left):
            print(f"\nThe server's log:\n{(HOME / 'server.log').read_text()[-4000:]}", file=sys.stderr, flush=True)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        server.terminate()
        server.wait(timeout=90)
        asyncio.run(clean())


def stay(url: str, server: subprocess.Popen[bytes]) -> None:
    """Leave the server up until somebody has seen enough, and say how to look at it."""
    password = let_somebody_in(url)
    print(
        "\nThe server stays up for you to look around. In a browser:\n"
        f"  {url}/workloads/notes/timeline\n"
        f"  sign in as {USER} with the password {password}\n"
        "Or in another terminal, in this directory:\n"
        f"  export HOLDFAST_URL={url} HOLDFAST_TOKEN_FILE={TOKEN}\n"
        "  .venv/bin/holdfast status notes\n"
        "  .venv/bin/holdfast restore notes            # offers a list, shows the dry run, asks\n"
        "  .venv/bin/holdfast operation list\n"
        "\nPress Enter or Ctrl-C here to stop it and clean up.",
        flush=True,
    )
    ended = os.pidfd_open(server.pid)
    with contextlib.suppress(KeyboardInterrupt):
        select.select([sys.stdin, ended], [], [])
    os.close(ended)
    print("\nStopping, and cleaning up.", flush=True)


def let_somebody_in(url: str) -> str:
    """Make the first admin, and a token for commands: the server's first token ends with that. Gives the password."""
    password = secrets.token_urlsafe(9)
    first = {"Authorization": f"Bearer {token()}"}
    with httpx.Client(base_url=url, headers=first, timeout=60.0, trust_env=False) as http:
        become_admin(http, USER, password)
        made = http.post("/api/tokens", json={"name": "commands"}).raise_for_status().json()
    TOKEN.touch(mode=0o600)
    TOKEN.write_text(made["token"])
    return password


class _Left(SystemExit):
    """Somebody told the demo to end."""


def _leave(number: int, _frame: FrameType | None) -> None:
    raise _Left(128 + number)


if __name__ == "__main__":
    sys.exit(main())
