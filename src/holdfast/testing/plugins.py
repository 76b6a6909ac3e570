"""Distributions of plugins as they are when installed: modules and metadata in a directory that is on the path."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path


def install(project: Path, directory: Path) -> None:
    """Put a project of plain modules where it is found, as ``pip install --target`` would.

    Args:
        project: has a ``pyproject.toml`` and the modules.
        directory: to be put on ``sys.path``.
    """
    facts = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for module in project.glob("*.py"):
        shutil.copy(module, directory)
    groups = facts["entry-points"]
    provide(directory, facts["name"], facts["version"], groups)


def provide(directory: Path, name: str, version: str, groups: dict[str, dict[str, str]]) -> None:
    """Write the metadata of an installed distribution: its entry points, by group and name."""
    metadata = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in of.items()) for group, of in groups.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
