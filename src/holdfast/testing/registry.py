"""A registry on this host for tests of pulling: the distribution's ``docker-registry``, all of it in one directory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

from aiodocker import Docker

from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.registry import RegistryLogin

_PATIENCE: Final = 20.0
"""Seconds until it has to listen."""
_LISTENING: Final = re.compile(r"listening on ([0-9.]+:[0-9]+)")


@contextlib.contextmanager
def registry(
    directory: Path, *, users: Mapping[str, str] | None = None, tells: str = "", secret: str = ""
) -> Iterator[str]:
    """Run a registry and yield its address (``127.0.0.1:port``), which engines take without TLS.

    Args:
        users: who may use it, and the bcrypt of each one's password; everybody unless given.
        tells: where its notifications are posted to, with ``secret`` as bearer token.

    Raises:
        RuntimeError: it is not installed or did not start; with its own words.
    """
    program = shutil.which("docker-registry", path=f"/usr/bin:/usr/local/bin:{os.environ.get('PATH', '')}")
    if program is None:
        raise RuntimeError("docker-registry is not installed; `make setup` installs it.")
    configuration = directory / "registry.json"  # JSON is YAML
    guarded = {}
    if users is not None:
        htpasswd = directory / "htpasswd"
        htpasswd.write_text("".join(f"{name}:{hashed}\n" for name, hashed in users.items()))
        guarded = {"auth": {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}}
    listener = {
        "name": "holdfast",
        "url": tells,
        "headers": {"Authorization": [f"Bearer {secret}"]},
        "timeout": "10s",
        "threshold": 5,
        "backoff": "100ms",
    }
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "info"},
                "storage": {"filesystem": {"rootdirectory": str(directory / "registry")}},
                "http": {"addr": "127.0.0.1:0"},
                **guarded,
                **({"notifications": {"endpoints": [listener]}} if tells else {}),
            }
        )
    )
    log = directory / "registry.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - the distribution's program
            [program, "serve", str(configuration)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if found := _LISTENING.search(log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"docker-registry does not listen. What it said:\n{log.read_text(errors='replace')}")


async def push(docker_host: str, image_id: str, reference: str, *, login: RegistryLogin | None = None) -> str:
    """Put an image into the registry that its reference names. Returns its digest (``name@sha256:…``)."""
    wanted = parse_image_ref(reference)
    async with Docker(docker_host) as docker:
        await docker.images.tag(image_id, wanted.name, tag=wanted.effective_tag)
        said = [message async for message in _messages(docker, wanted.name, wanted.effective_tag, login)]
        await docker.images.delete(wanted.with_tag)
    digest = next(message["aux"]["Digest"] for message in said if "Digest" in message.get("aux", {}))
    return f"{wanted.name}@{digest}"


def _messages(
    docker: Docker, name: str, tag: str | None, login: RegistryLogin | None
) -> AsyncIterator[dict[str, dict[str, str]]]:
    auth = None if login is None else {"username": login.username, "password": login.password}
    return docker.images.push(name, tag=tag, auth=auth, stream=True)
