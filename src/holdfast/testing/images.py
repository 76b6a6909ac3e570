"""Images made from nothing but the distribution's static busybox and a script, without a registry.

An image is written as the archive that ``docker save`` would make and is loaded into the engine, unless that has it;
that takes a moment, so that tests and the demonstration make the images they need when they need them.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp

from holdfast.domain.image_ref import parse_image_ref

SCRIPT: Final = "/app.sh"
"""Where the script is in the image."""
_BUSYBOX: Final = Path("/bin/busybox")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_NANOSECONDS: Final = 1_000_000_000


async def build_image(
    docker_host: str,
    reference: str,
    *,
    script: str,
    cmd: Sequence[str] = ("/bin/sh", SCRIPT),
    healthcheck: str | None = None,
    health_interval: float = 0.2,
    user: str | None = None,
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    programs: Sequence[str] = (),
) -> str:
    """Make an image and load it. The same arguments give the same image.

    Args:
        docker_host: ``unix://…`` or ``tcp://…``.
        script: text of ``/app.sh``, for busybox's shell. TERM ends it only if it traps TERM: it is process 1.
        healthcheck: shell command of the image's health check, run every ``health_interval`` seconds.
        files: more files, absolute path → text.
        programs: names of this host's programs that it gets as well, with the libraries that they need.

    Returns:
        The image's id as the engine gave it.
    """
    name = parse_image_ref(reference).with_tag
    config: dict[str, object] = {
        "Cmd": list(cmd),
        "Env": ["PATH=/bin", *(f"{key}={value}" for key, value in (env or {}).items())],
    }
    if user is not None:
        config["User"] = user
    if healthcheck is not None:
        config["Healthcheck"] = {
            "Test": ["CMD-SHELL", healthcheck],
            "Interval": round(health_interval * _NANOSECONDS),
            "Timeout": 5 * _NANOSECONDS,
            "Retries": 2,
        }
    layers = [_base_layer(), _tar({SCRIPT: script, **(files or {})})]
    if programs:
        layers.insert(1, _programs(programs))
    return await _load(docker_host, name, *_archive(name, config, layers))


@cache
def _base_layer() -> bytes:
    """Busybox under all its names, and the few things that programs expect."""
    listed = subprocess.run([_BUSYBOX, "--list"], check=True, capture_output=True, text=True)  # noqa: S603 - fixed words
    applets = listed.stdout.split()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "bin/busybox", _BUSYBOX.read_bytes(), 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n", 0o644)
        _add(tar, "etc/group", b"root:x:0:\napp:x:1000:\n", 0o644)
        for applet in sorted({*applets} - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return stream.getvalue()


def _programs(names: Sequence[str]) -> bytes:
    """Programs of this host and their libraries, each where the loader looks for it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in names:
            program = shutil.which(name)
            if program is None:
                raise RuntimeError(f"This host has no {name}; make setup installs it.")
            listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True)  # noqa: S603, S607 - a program of this host
            _add(tar, f"bin/{name}", Path(program).read_bytes(), 0o755)
            for library in sorted(set(re.findall(r"(/\S+) \(0x", listed.stdout))):
                _add(tar, library.lstrip("/"), Path(library).read_bytes(), 0o755)
    return stream.getvalue()


def _tar(files: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, text in files.items():
            _add(tar, path.lstrip("/"), text.encode(), 0o755)
    return stream.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _archive(name: str, config: Mapping[str, object], layers: Sequence[bytes]) -> tuple[str, bytes]:
    """What ``docker save`` writes: the image's configuration, its layers, and the manifest that names them.

    Returns:
        The id that engines give an image of this configuration, and the archive.
    """
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    image = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created_by": "holdfast.testing.images"} for _ in layers],
    }
    described = json.dumps(image, sort_keys=True).encode()
    image_id = hashlib.sha256(described).hexdigest()
    described_name = f"{image_id}.json"
    manifest = [{"Config": described_name, "RepoTags": [name], "Layers": [f"{d}/layer.tar" for d in digests]}]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        _add(tar, described_name, described, 0o644)
        for digest, layer in zip(digests, layers, strict=True):
            _add(tar, f"{digest}/layer.tar", layer, 0o644)
        _add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return f"sha256:{image_id}", stream.getvalue()


async def _load(docker_host: str, name: str, image_id: str, archive: bytes) -> str:
    scheme, _, place = docker_host.partition("://")
    connector = aiohttp.UnixConnector(place) if scheme == "unix" else aiohttp.TCPConnector()
    address = "http://localhost" if scheme == "unix" else f"http://{place}"
    found = f"/images/{quote(name, safe='/:@')}/json"
    async with aiohttp.ClientSession(address, connector=connector, raise_for_status=True) as session:
        async with session.get(found, raise_for_status=False) as answer:
            if answer.ok and (await answer.json())["Id"] == image_id:
                return image_id
        headers = {"Content-Type": "application/x-tar"}
        body = io.BytesIO(archive)
        async with session.post("/images/load", params={"quiet": "1"}, data=body, headers=headers) as answer:
            said = await answer.text()
        if "errorDetail" in said:
            raise RuntimeError(f"The engine could not load the image {name}: {said}")
        async with session.get(found) as answer:
            return str((await answer.json())["Id"])
