"""How many passwords may be tried: so many for a user from one network, and so many from one network in all.

A bound that is reached refuses at once, costs next to nothing, and is over after seconds, however much was tried: who
tries from elsewhere locks nobody out, and who tries from the same network does so no longer than while trying. It is
the same for users that do not exist, and whether the password would have been right is not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Final

from holdfast.domain.errors import TooMany
from holdfast.services.health_gate import Clock

OF_USER: Final = 5.0
OF_USER_PER_SECOND: Final = 0.2
"""Passwords that may be tried for a user from one network at once, and each second in the long run."""
OF_NETWORK: Final = 15.0
OF_NETWORK_PER_SECOND: Final = 1.0
"""Likewise for all users together; fewer than may wait for their turn, so that no network takes all turns."""
MOST_KEPT: Final = 10_000
"""Users and networks that are counted at a time."""


class SignInBounds:
    """Counts passwords that are tried."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of_users = Buckets(OF_USER, OF_USER_PER_SECOND)
        self._of_networks = Buckets(OF_NETWORK, OF_NETWORK_PER_SECOND)

    def take(self, name: str, address: str) -> None:
        """Count a password that is tried for ``name`` from ``address``.

        Raises:
            TooMany: ``sign_in_too_often``.
        """
        at, network = self._clock.monotonic(), _network(address)
        if not (self._of_users.has((name, network), at) and self._of_networks.has(network, at)):
            raise TooMany(
                "sign_in_too_often",
                "Too many passwords were tried.",
                next_step="Wait some seconds, then try again. Who is signed in, and every token, goes on.",
            )
        self._of_users.take((name, network), at)
        self._of_networks.take(network, at)

    def was_right(self, name: str, address: str) -> None:
        """Count no more what was tried for ``name`` from ``address``."""
        network = _network(address)
        self._of_users.forget((name, network))
        self._of_networks.give_back(network)


class Buckets:
    """For each key a bucket, which fills by itself.

    Args:
        full: what one holds at most, and at first.
        per_second: what comes into it.
        most: buckets that are kept at a time; those that were taken from last.
    """

    def __init__(self, full: float, per_second: float, *, most: int = MOST_KEPT) -> None:
        self._full = full
        self._per_second = per_second
        self._most = most
        self._kept: dict[Hashable, tuple[float, float]] = {}

    def has(self, key: Hashable, at: float) -> bool:
        """Whether there is something in it."""
        return self._left(key, at) >= 1

    def take(self, key: Hashable, at: float) -> None:
        """Take one out of it."""
        left = self._left(key, at) - 1
        self._kept.pop(key, None)  # so that those that were taken from last come last
        self._kept[key] = (at, left)
        if len(self._kept) > self._most:
            self._kept = {each: kept for each, kept in self._kept.items() if self._left(each, at) < self._full}
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def give_back(self, key: Hashable) -> None:
        """Put one back into it."""
        if key in self._kept:
            at, left = self._kept[key]
            self._kept[key] = (at, left + 1)

    def forget(self, key: Hashable) -> None:
        """Let it be full."""
        self._kept.pop(key, None)

    def counted(self) -> list[Hashable]:
        """Those that are kept."""
        return list(self._kept)

    def _left(self, key: Hashable, at: float) -> float:
        before, left = self._kept.get(key, (at, self._full))
        return min(self._full, left + (at - before) * self._per_second)


def _network(address: str) -> str:
    """Whose addresses count as one: an address of IPv4, the 64 bits of IPv6 that a site has to itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False).network_address)
