"""What is wrong with live directories and their roots, in words for a person."""

from __future__ import annotations

import errno
from typing import Final

from holdfast.domain.errors import Problem
from holdfast.domain.restore import RootRef

PROBLEMS: Final[dict[int, tuple[str, str, str]]] = {
    errno.ENOENT: (
        "volume_missing",
        "is missing",
        "If its disk is not mounted, mount it. Nothing is created in its place unless you ask for it.",
    ),
    errno.ELOOP: (
        "volume_is_symlink",
        "is a symlink, or is reached through one",
        "Put a plain directory there. Holdfast never follows a symlink to data.",
    ),
    errno.ENOTDIR: (
        "volume_not_directory",
        "is not a directory, or lies below something that is none",
        "Put a directory there.",
    ),
}
"""Why a live directory can't be opened, by error number: the code, how the path is, and the next step."""


def unusable(root: str, why: str) -> Problem:
    """For a root that can't be held."""
    return Problem(
        code="root_unusable",
        message=f"The root {root} {why}.",
        next_step="Write its resolved path in the settings, make sure that it is mounted, and restart Holdfast.",
        details={"root": root},
    )


def unknown_root(ref: RootRef) -> Problem:
    """For a root that is none of the operator's."""
    return Problem(
        code="root_unknown",
        message=f"{ref.root} is neither the volumes base nor an allowed root.",
        next_step="Add it to the allowed roots in the settings file, and restart Holdfast.",
        details={"root": ref.root, "path": ref.path},
    )


def invalid_path(ref: RootRef) -> Problem:
    """For a path that could lead out of its root."""
    return Problem(
        code="volume_path_invalid",
        message=f"{ref.relative!r} is no path below {ref.root}.",
        next_step="Use a relative path without '.', '..' and empty parts.",
        details={"root": ref.root, "path": ref.relative},
    )
