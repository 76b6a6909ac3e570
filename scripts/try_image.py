"""Build the container image, and restore a workload with it: for machines that reach no registry of images.

The base is made of this system's own files: its Python, the libraries that it needs, a shell, and how pip is set up
here. It takes half a minute of a processor and packages from where pip gets them, so it is no part of ``make test``;
the test that it runs is, with a container that borrows this system's files as they are.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE, IMAGE = "holdfast-test/base:1", "holdfast-test/image:1"
PROGRAMS = ("/usr/bin/python3", "/usr/bin/sh", "/usr/bin/env", "/usr/bin/nice", "/usr/bin/ls")
TREES = (
    "/usr/lib/python3",
    "/usr/lib/python3.11",
    "/usr/share/python-wheels",
    "/etc/ssl",
    "/root/.config/pip",
    "/root/.pip",
)
FILES = ("/bin", "/sbin", "/lib", "/lib64", "/etc/passwd", "/etc/pip.conf", "/etc/resolv.conf", "/etc/nsswitch.conf")
FOR_WHEELS = (
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "librt.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "libutil.so.1",
    "libresolv.so.2",
)
PASSED_ON = ("PIP_", "SSL_", "HTTPS_")


def main() -> int:
    """Make the base, build, try. Returns the exit code."""
    docker = ("docker", "--host", os.environ["DOCKER_HOST"]) if "DOCKER_HOST" in os.environ else ("docker",)
    with tempfile.TemporaryDirectory() as directory:
        layer = Path(directory, "base.tar")
        with tarfile.open(layer, "w") as tar:
            for name in filter(os.path.lexists, (*FILES, *TREES, *PROGRAMS, *_libraries())):
                there = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
                tar.add(there, recursive=name in TREES)
                if os.path.islink(there) and name not in FILES:
                    tar.add(os.path.realpath(there))
        changes = [f"ENV {name}={value}" for name, value in os.environ.items() if name.startswith(PASSED_ON)]
        options = [option for change in ["ENV PATH=/usr/bin:/bin", *changes] for option in ("--change", change)]
        subprocess.run([*docker, "import", *options, layer, BASE], check=True)
    try:
        build = ["build", "--network=host", f"--build-arg=BASE={BASE}", f"--tag={IMAGE}"]
        subprocess.run([*docker, *build, "--file", ROOT / "packaging/Dockerfile", ROOT / "dist"], check=True)
        tests = [sys.executable, "-m", "pytest", "-q", "tests/integration/test_as_a_service.py"]
        return subprocess.run(tests, cwd=ROOT, env=os.environ | {"TRIED_IMAGE": IMAGE}, check=False).returncode
    finally:
        subprocess.run([*docker, "rmi", "--force", IMAGE, BASE], check=False)


def _libraries() -> set[str]:
    """Those that the programs, the modules of Python and the wheels ask the loader for."""
    modules = map(str, Path("/usr/lib/python3.11/lib-dynload").glob("*.so"))
    listed = subprocess.run(["ldd", *PROGRAMS, *modules], capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"(/\S+) \(0x", listed))
    return found | {str(Path(library).with_name(name)) for library in found for name in FOR_WHEELS}


if __name__ == "__main__":
    sys.exit(main())
