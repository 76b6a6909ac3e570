"""A real server for measuring: `holdfast serve` as a process, driven over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx


@dataclass(slots=True)
class Server:
    """A running server, its process and a client with the admin token."""

    process: subprocess.Popen[bytes]
    http: httpx.Client
    data_dir: Path
    seconds_to_ready: float

    def run(self, path: str, *, document: object = None, confirm: str | None = None) -> dict[str, Any]:
        """Start an operation and wait for its end. Gives it as it ended."""
        headers = {"X-Confirm-Restore": confirm} if confirm else {}
        return self.ended(self.http.post(path, json=document or {}, headers=headers))

    def ended(self, started: httpx.Response) -> dict[str, Any]:
        """Wait for the end of the operation that a request started. Gives it as it ended."""
        operation: dict[str, Any] = started.raise_for_status().json()
        while operation["state"] in ("queued", "running"):
            time.sleep(0.02)
            operation = self.http.get(f"/api/operations/{operation['id']}").json()
        if operation["state"] != "succeeded":
            raise RuntimeError(f"{operation['kind']} {operation['state']}: {operation['error']}")
        return operation

    def resident_mib(self) -> float:
        """What the server process alone holds in memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The installed command, with its bytecode compiled once, as on any machine where it has run before.

    Attributes:
        bytecode: where the compiled modules are kept, apart from the source.
        settings: ``HOLDFAST_…`` variables, for what is not as usual.
    """

    bytecode: Path
    docker_host: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(sys.executable).with_name("holdfast")

    def environment(self, data_dir: Path) -> dict[str, str]:
        """This process's, but for what would keep the bytecode from being used."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            **kept,
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            "HOLDFAST_DATA_DIR": str(data_dir),
            "HOLDFAST_DOCKER_HOST": self.docker_host,
            **self.settings,
        }

    def help_seconds(self) -> float:
        """How long `holdfast --help` takes."""
        began = time.monotonic()
        subprocess.run([self.path, "--help"], env=self.environment(self.bytecode), check=True, capture_output=True)
        return time.monotonic() - began


@contextmanager
def serving(program: Program, data_dir: Path) -> Iterator[Server]:
    """Start a server, wait until it is ready, and stop it in the end."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with (data_dir.parent / "server.log").open("ab") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            [program.path, "serve", "--listen", f"127.0.0.1:{port}"],
            env=program.environment(data_dir),
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=url, timeout=120.0, trust_env=False) as http:
            while not _ready(http):
                if process.poll() is not None or time.monotonic() - began > 60:
                    raise RuntimeError(f"the server did not start; see {data_dir.parent / 'server.log'}")
                time.sleep(0.01)
            seconds = time.monotonic() - began
            http.headers["Authorization"] = f"Bearer {(data_dir / 'admin-token').read_text().strip()}"
            yield Server(process, http, data_dir, seconds)
    finally:
        process.terminate()
        process.wait(90)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").is_success
    except httpx.HTTPError:
        return False
