"""Holdfast as others get it: the wheel, built from the source distribution, in an environment of its own.

The environment gets exactly what ``requirements.lock`` names, by links to what this environment has of it: so that it
needs no network, and what only development needs is missing there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

_NAMED: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ]+)", re.MULTILINE)
_TREE: Final = ("src", "pyproject.toml", "README.md", "LICENSE", ".gitignore", "requirements.lock")
"""What of a clone a source distribution can be built of; the rest of it makes none of what is installed."""


def build(repository: Path, directory: Path, files: dict[str, str]) -> Path:
    """Build a source distribution, and from it the wheel, as pip does with the former.

    Args:
        repository: a clone; nothing is written there.
        directory: an empty one, for what is built.
        files: put into the tree before, as other tools would: path → text.

    Returns:
        The wheel.
    """
    tree = directory / "tree"
    for name in _TREE:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "interface_files"))
        else:
            tree.mkdir(exist_ok=True)
            shutil.copy(source, tree / name)
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    _hatchling(tree, "sdist", directory)
    (sdist,) = directory.glob("*.tar.gz")
    shutil.unpack_archive(sdist, directory, filter="data")
    _hatchling(directory / sdist.name.removesuffix(".tar.gz"), "wheel", directory)
    (wheel,) = directory.glob("*.whl")
    return wheel


def install(wheel: Path, lock: Path, environment: Path) -> Path:
    """Make an environment with the wheel and what the lock names.

    Returns:
        The directory of its programs.
    """
    _uv("venv", "--quiet", "--offline", "--python", sys.executable, str(environment))
    (packages,) = environment.glob("lib/python*/site-packages")
    for name, version in _NAMED.findall(lock.read_text(encoding="utf-8")):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # the lock is for all platforms; what this one needs, `check` below finds missing
        assert found.version == version, f"{name} is {found.version}, locked is {version}: make setup"
        _link(found, packages)
    programs = environment / "bin"
    _uv("pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(programs / "python"), str(wheel))
    _uv("pip", "check", "--quiet", "--python", str(programs / "python"))
    return programs


def _link(found: Distribution, packages: Path) -> None:
    """Link the files of a distribution into another environment's packages, compiled ones too."""
    for file in found.files or ():
        source = Path(str(found.locate_file(file)))
        if ".." in file.parts or not source.is_file():
            continue  # programs outside of the packages
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(source, target)
        compiled = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        if source.suffix == ".py" and compiled.is_file():
            (target.parent / "__pycache__").mkdir(exist_ok=True)
            link = target.parent / "__pycache__" / compiled.name
            if not link.exists():
                os.link(compiled, link)


def _hatchling(tree: Path, target: str, out: Path) -> None:
    _run(tree, sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out))


def _uv(*arguments: str) -> None:
    _run(Path("/"), str(Path(sys.executable).with_name("uv")), *arguments)


def _run(directory: Path, *command: str) -> None:
    done = subprocess.run(  # noqa: S603 - programs of our own
        command, cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
