"""What the edge serves: made from what is deployed, and from nothing else.

Pure: the same deployed workloads always give the same routes, in the same order, so that the edge is told only of what
is new. A domain belongs to one workload.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.errors import Problem
from holdfast.domain.workload import Domain

OFF: Final = "off"
"""The setting ``edge``: there is none."""
OWN: Final = "caddy"
"""The setting ``edge``: a Caddy that Holdfast starts and watches."""


class Tls(StrEnum):
    """Where the edge that Holdfast starts has its certificates from."""

    AUTO = "auto"
    INTERNAL = "internal"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One workload as it is reached.

    Attributes:
        addresses: of its instances that answer, without a port; none while nobody does.
    """

    domains: tuple[Domain, ...]
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where requests go.

    Attributes:
        domains: sorted.
        upstreams: ``address:port`` of each that may answer; empty: whoever asks is told to come back.
    """

    domains: tuple[str, ...]
    upstreams: tuple[str, ...]


def routes(served: Iterable[Served]) -> tuple[Route, ...]:
    """The routes that serve these workloads, in an order that depends on nothing but them."""
    found: list[Route] = []
    for workload in served:
        for port in sorted({domain.port for domain in workload.domains}):
            found.append(
                Route(
                    domains=tuple(sorted(domain.name for domain in workload.domains if domain.port == port)),
                    upstreams=tuple(sorted(f"{_bracketed(address)}:{port}" for address in workload.addresses)),
                )
            )
    return tuple(sorted(found, key=lambda route: route.domains))


def conflicts(domains: Sequence[Domain], others: Iterable[tuple[str, Iterable[Domain]]]) -> list[Problem]:
    """Which of these domains belong to another workload.

    Args:
        others: the names and domains of the other workloads.
    """
    asked = {domain.name for domain in domains}
    return [
        Problem(
            code="domain_conflict",
            message=f"The domain {domain} belongs to the workload {name}.",
            next_step=f"Choose another domain, or take it out of {name} and deploy {name} first.",
            details={"domain": domain, "other_workload": name},
        )
        for name, taken in others
        for domain in sorted(asked & {each.name for each in taken})
    ]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
