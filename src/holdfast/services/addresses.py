"""Addresses to which Holdfast says nothing by itself, whoever names them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address


def never_told(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is link-local (where clouds keep their credentials), multicast, unspecified or reserved."""
    real = getattr(address, "ipv4_mapped", None) or address
    return bool(
        real.is_link_local or real.is_multicast or real.is_unspecified or (real.is_reserved and not real.is_loopback)
    )
