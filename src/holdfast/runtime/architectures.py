"""Whether this host runs programs that are made for another kind of processor.

Images are told apart by Go's names (``amd64``), processors by the kernel's (``x86_64``). A host may emulate others:
then the kernel has a handler for their programs, as QEMU's packages register it.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

_KERNEL_NAMES: Final = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_ALSO_RUN: Final = {"x86_64": {"i386"}, "aarch64": {"arm"}, "armv6l": {"arm"}, "armv7l": {"arm"}, "i686": {"i386"}}
"""What processors run besides programs of their own name."""
_HANDLERS: Final = Path("/proc/sys/fs/binfmt_misc")


def runs_here(architecture: str, *, machine: str | None = None, handlers: Path = _HANDLERS) -> bool:
    """Whether an image's programs run on this host. What isn't known is not ruled out.

    Args:
        architecture: the image's, as the engine tells it; empty if it doesn't.
        machine: the host's, by the kernel's name; asked for if not given.
    """
    wanted, machine = _KERNEL_NAMES.get(architecture), machine or platform.machine()
    known = machine in _KERNEL_NAMES.values() or machine in _ALSO_RUN
    if wanted is None or not known or wanted == machine or wanted in _ALSO_RUN.get(machine, ()):
        return True
    return (handlers / f"qemu-{wanted}").exists()
