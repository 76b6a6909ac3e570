"""Whether the engine finds the same directories at the same paths, which a container around Holdfast could change.

What Holdfast tells the engine to mount are paths. In a container that has another directory there, or none of the
host's, workloads would run on other data than Holdfast keeps.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from holdfast.config import Settings
from holdfast.domain.errors import Problem, Refused

_SCHEME: Final = "unix://"
_PATIENCE: Final = 2.0
_NEXT: Final = "See docs/how-to/run-in-a-container.md."


def require_same_paths(settings: Settings) -> None:
    """Compare our directories with what the engine's process has there. Without an engine that answers nothing is said.

    Raises:
        Refused: ``engine_not_visible``, ``path_differs_for_engine``.
    """
    pid = _engine_of(settings.docker_host)
    if pid is None:
        return
    if pid == 0:
        raise Refused(
            [
                Problem(
                    code="engine_not_visible",
                    message="Holdfast runs in a container that does not see the processes of the host: it could not "
                    "find out who else uses a volume.",
                    next_step=f"Run the container with --pid=host. {_NEXT}",
                )
            ]
        )
    if problems := list(_differing(settings, pid)):
        raise Refused(problems)


def _engine_of(address: str) -> int | None:
    """The process that listens there: 0 if it is none that we can see, ``None`` if nobody does, or it is far away."""
    if not address.startswith(_SCHEME):
        return None
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        line.settimeout(_PATIENCE)
        line.connect(address.removeprefix(_SCHEME))
        pid, _, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return int(pid)
    return None


def _differing(settings: Settings, pid: int) -> Iterator[Problem]:
    for path in dict.fromkeys((settings.data_dir, settings.volumes_base, *settings.allowed_roots)):
        there = next(each for each in (path, *path.parents) if each.is_dir())
        try:
            same = os.path.samefile(there, f"/proc/{pid}/root{there}")
        except FileNotFoundError:
            same = False
        except PermissionError as error:
            yield Problem(
                code="engine_not_visible",
                message=f"It can't be seen what the engine has at {there}: {error.strerror}.",
                next_step=f"Run Holdfast as root, in a container with --cap-add=SYS_PTRACE. {_NEXT}",
            )
            return
        if not same:
            yield Problem(
                code="path_differs_for_engine",
                message=f"{path} is another directory for Holdfast than for the Docker Engine.",
                next_step=f"Mount it at the same path in Holdfast's container: -v {path}:{path}. {_NEXT}",
                details={"path": str(path)},
            )
