#!/usr/bin/env python3
"""Install the distribution's packages that Holdfast's tests and demonstrations need, and that are not there yet.

Says what it will install before it does. Where it can't install (no root, no apt-get), it says what is missing and how
to get it, and ends with 1. With ``--bench``, also what ``make bench`` compares with. Standard library only; the Python
packages come afterwards, from ``requirements-dev.lock``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = (20, 19)


@dataclass(frozen=True)
class Need:
    """A package, what it is for, and how to tell that it (or something that does its work) is there."""

    package: str
    why: str
    there: Callable[[], bool]


def program(name: str) -> Callable[[], bool]:
    """There if the program is, whichever package it came from."""
    return lambda: shutil.which(name, path=f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}") is not None


def static_busybox() -> bool:
    """Whether busybox runs in an image that holds nothing else: a static program names no interpreter."""
    path = Path("/bin/busybox")
    return (
        path.exists() and b"/ld-linux" not in path.read_bytes()[:4096] and b"/ld-musl" not in path.read_bytes()[:4096]
    )


def node() -> bool:
    """Whether the oldest Node that the web interface is built with is there, or a later one."""
    path = shutil.which("node", path=f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}")
    if path is None:
        return False
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, told.strip().removeprefix("v").split(".")[:2])) >= OLDEST_NODE if told else False


def virtual_environments() -> bool:
    """Whether ``python3 -m venv`` works; Debian ships it apart."""
    return all(importlib.util.find_spec(module) is not None for module in ("venv", "ensurepip"))


NEEDS = (
    Need("python3-venv", "the virtual environment", virtual_environments),
    Need("nodejs", "the web interface; 20.19 or later", node),
    Need("npm", "the web interface", program("npm")),
    Need("chromium", "tests of the web interface", program("chromium")),
    Need("docker.io", "the Docker Engine", program("dockerd")),
    Need("iptables", "published ports", program("iptables")),
    Need("busybox-static", "test images", static_busybox),
    Need("docker-registry", "tests that pull images", program("docker-registry")),
    Need("sqlite3", "the test of a bad migration", program("sqlite3")),
    Need("caddy", "tests of the edge", program("caddy")),
    Need("acl", "tests of access control lists", program("setfacl")),
    Need("attr", "tests of extended attributes", program("setfattr")),
    Need("systemd", "the test of the systemd unit", program("systemd-analyze")),
    Need("e2fsprogs", "tests on ext4", program("mkfs.ext4")),
    Need("xfsprogs", "tests on XFS", program("mkfs.xfs")),
    Need("btrfs-progs", "tests on btrfs", program("mkfs.btrfs")),
)

PEERS = (
    Need("restic", "to compare with", program("restic")),
    Need("borgbackup", "to compare with", program("borg")),
    Need("zstd", "to compare with", program("zstd")),
)


def main() -> int:
    """Look, say, install. Returns the exit code."""
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"setup: Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later is needed, this is {sys.version.split()[0]}."
        )
        return 1
    needs = (*NEEDS, *PEERS) if "--bench" in sys.argv[1:] else NEEDS
    missing = [need for need in needs if not need.there()]
    if not missing:
        return 0
    print("setup: these packages of the distribution are missing:")
    for need in missing:
        print(f"  {need.package:<18}{need.why}")
    packages = [need.package for need in missing]
    apt = shutil.which("apt-get", path=SYSTEM_PATH)
    if apt is None:
        print("setup: there is no apt-get here. Install what does the work of these packages, then try again.")
        return 1
    if os.geteuid() != 0:
        print("setup: installing them needs root. Run this, then try again:")
        print(f"  sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(packages)}")
        return 1
    print(f"setup: installing {', '.join(packages)} with apt-get", flush=True)
    install(apt, packages)
    still = [need.package for need in missing if not find_again(need)]
    if still:
        print(f"setup: {', '.join(still)} could not be installed; what apt-get said is above.")
        return 1
    return 0


def install(apt: str, packages: list[str]) -> None:
    """Install, after refreshing the lists of packages where they don't know them. Failures show by what is missing."""
    environment: Mapping[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [apt, "install", "-y", "-q", "--no-install-recommends", *packages]
    if subprocess.run([*command, "-s"], env=environment, capture_output=True, check=False).returncode != 0:
        print("setup: refreshing the lists of packages", flush=True)
        subprocess.run([apt, "update", "-q"], env=environment, check=False)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


def find_again(need: Need) -> bool:
    """Look anew; modules that were just installed are not in the import system's memory."""
    importlib.invalidate_caches()
    return need.there()


if __name__ == "__main__":
    sys.exit(main())
