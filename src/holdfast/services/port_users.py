"""Who has a host port that a workload is to publish: asked before anything is stopped for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from holdfast.domain.errors import Problem
from holdfast.domain.workload import Port
from holdfast.edge.sockets import who_listens
from holdfast.runtime.port import Container


def ports_in_use(
    ports: Sequence[Port],
    own: Iterable[Container],
    others: Iterable[Container],
    listener: Callable[[int, str], str | None] = who_listens,
) -> list[Problem]:
    """Ports that somebody else has.

    Args:
        own: the workload's containers; what they have is free once they have stopped.
        others: all other containers on this host.
        listener: the program that listens on a TCP port at an address, if one is found.
    """
    mine = [published for container in own for published in container.ports]
    rest = list(others)
    problems = []
    for port in ports:
        by = next((f"the container {c.name}" for c in rest if any(port.collides_with(p) for p in c.ports)), None)
        if by is None and port.host_port and port.protocol == "tcp" and not any(map(port.collides_with, mine)):
            by = listener(port.host_port, port.host_ip)
        if by is not None:
            problems.append(_taken(port, by))
    return problems


def _taken(port: Port, by: str) -> Problem:
    host = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
    return Problem(
        code="port_in_use",
        message=f"The host port {host}:{port.host_port} is taken by {by}.",
        next_step="Stop that, or publish another port.",
        details={"address": f"{host}:{port.host_port}", "by": by},
    )
