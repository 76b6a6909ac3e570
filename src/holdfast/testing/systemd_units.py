"""What a systemd unit does to its service, done to a command where systemd does not run.

The mounts that it makes read-only, the capabilities that it leaves, and no new privileges. What filters of system calls
forbid is not tried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_READ_ONLY: Final = ("/usr", "/boot", "/efi", "/etc")
"""With ``ProtectSystem=full``, those that are there."""


def values_of(unit: str, name: str) -> list[str]:
    """The values of a setting, in their order."""
    lines = (line.partition("=") for line in unit.splitlines() if not line.startswith(("#", "[")))
    return [value for key, _, value in lines if key == name]


def confined(unit: str, command: Sequence[str]) -> list[str]:
    """The command, confined as the unit confines what it starts. Needs root."""
    assert values_of(unit, "ProtectSystem") == ["full"]
    assert values_of(unit, "NoNewPrivileges") == ["yes"]
    binds = [f"mount --rbind {path} {path} && mount -o remount,ro,bind {path}" for path in _READ_ONLY if _there(path)]
    names = " ".join(values_of(unit, "CapabilityBoundingSet")).split()
    left = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])
    run = f'exec setpriv --no-new-privs --bounding-set={left} "$@"'
    script = " && ".join([*binds, run])
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", *command]


def _there(path: str) -> bool:
    return Path(path).is_dir() and not Path(path).is_symlink()
