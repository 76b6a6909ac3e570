"""What the kernel knows of this host's TCP sockets: who has a port, and what is connected where."""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_MIGRATE: Final = _PROC / "sys/net/ipv4/tcp_migrate_req"
_ANYWHERE: Final = ("0.0.0.0", "[::]")  # noqa: S104 - compared with, not bound to
_LISTENING: Final = "0A"
_ESTABLISHED: Final = "01"


def who_listens(port: int, address: str = "", proc: Path = _PROC) -> str | None:
    """The process that keeps others from listening on a TCP port; ``None`` if it isn't found.

    Args:
        address: where the others want to listen; empty for all addresses.

    Returns:
        Its name and number: ``nginx (process 812)``.
    """
    places = {_as_listed(f"{each}:{port}") for each in (address, *_ANYWHERE) if each}
    sockets = {
        f"socket:[{row[9]}]"
        for row in _rows(proc)
        if row[3] == _LISTENING
        and (row[1] in places or (address in ("", *_ANYWHERE) and row[1].endswith(f":{port:04X}")))
    }
    if not sockets:
        return None
    for process in sorted((p for p in proc.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)):
        try:
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # it has ended, or a descriptor was closed
            continue
    return None


def connected_to(remotes: Collection[str], proc: Path = _PROC) -> bool:
    """Whether a connection of this host leads to one of these.

    Args:
        remotes: each as ``address:port``, ``[address]:port`` for IPv6.
    """
    wanted = {_as_listed(remote) for remote in remotes}
    return any(row[3] == _ESTABLISHED and row[2] in wanted for row in _rows(proc))


def hand_over_waiting_connections(setting: Path = _MIGRATE) -> None:
    """Have the kernel give connections that wait at a listener which closes to the next one of the same port.

    Caddy listens anew with each configuration, beside the old listener (SO_REUSEPORT); who waits at that one when it
    closes would be reset. Where the kernel can't (before Linux 5.14) or nobody may tell it, all stays as it is.
    """
    with suppress(OSError):
        if setting.read_text().strip() == "0":
            setting.write_text("1\n")


def _rows(proc: Path) -> Iterator[list[str]]:
    """The rows of the kernel's tables: number, local and remote address, state, and so on."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()
        except OSError:  # a host without IPv6
            continue
        yield from (line.split() for line in lines[1:])


def _as_listed(remote: str) -> str:
    """An address as the tables have it: each four bytes as one number of this machine, in hexadecimal digits."""
    host, _, port = remote.rpartition(":")
    packed = ipaddress.ip_address(host.strip("[]")).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{int(port):04X}"
