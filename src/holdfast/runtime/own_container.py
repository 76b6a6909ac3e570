"""The container that Holdfast itself runs in, if it does: it has all volumes mounted, and is nobody's workload."""

from __future__ import annotations

import os


def is_own(pid: int) -> bool:
    """Whether a container's first process is in our mount namespace, which no container shares with the host."""
    try:
        return pid != 0 and os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return False
