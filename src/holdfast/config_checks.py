"""What settings may not say: nothing that puts the host, or Holdfast itself, at a volume's mercy."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from holdfast.config import MIN_INTERVAL, Settings
from holdfast.cron import Cron
from holdfast.domain import edge as edge_kinds
from holdfast.domain.errors import InvalidInput
from holdfast.domain.repository import MIN_RATE
from holdfast.domain.units import MAX_SIZE
from holdfast.engine.limits import Limits

_NEVER_ROOTS: Final = ("/etc", "/proc", "/sys", "/var/lib/docker", "/var/lib/containerd")
"""Not a volume's place, nor is anything below or above them (``/`` is above)."""

_LONGEST_EDGE_DIR: Final = 90
"""Bytes; what the kernel takes for a socket's path, less the name of the socket in it."""
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:]+):[0-9]{1,5}")


def checked(settings: Settings) -> Settings:
    """Refuse what would put the host or Holdfast itself at a volume's mercy, and limits that allow nothing."""
    for limit in dataclasses.fields(Limits):
        if not 1 <= getattr(settings.limits, limit.name) <= MAX_SIZE:
            raise invalid(f"limits.{limit.name}", f"a limit lies between 1 and {MAX_SIZE}")
    try:
        settings.zone  # noqa: B018 - looked up once, so that no prune fails by it
    except ValueError as error:
        raise invalid("time_zone", str(error)) from error
    for name in ("prune_schedule", "verify_schedule", "copy_schedule", "backup_schedule"):
        if schedule := getattr(settings, name):
            try:
                Cron(schedule)
            except ValueError as error:
                raise invalid(name, f"it {error}") from error
    if 0 < settings.metrics_interval < MIN_INTERVAL:
        raise invalid("metrics_interval", f"it is 0, for never, or {MIN_INTERVAL:g} s and more")
    if 0 < settings.copy_limit_rate < MIN_RATE:
        raise invalid("copy_limit_rate", f"it is 0, for no bound, or {MIN_RATE} bytes a second and more")
    if _ADDRESS.fullmatch(settings.listen) is None or settings.listen_port > 65535:
        raise invalid("listen", f"{settings.listen!r} is not an address and a port, such as 127.0.0.1:8484")
    for name in ("tls_certificate", "tls_key"):
        if (file := getattr(settings, name)) and (not os.path.isabs(file) or "\0" in file):
            raise invalid(name, f"{file!r} is not an absolute path")
    if settings.tls_key and not settings.tls_certificate:
        raise invalid("tls_key", "it is the key of tls_certificate, which is not set")
    for address in settings.proxy_addresses:
        try:
            ip_network(address)
        except ValueError as error:
            raise invalid(
                "proxy_addresses", f"{address!r} is no address and no network, such as 10.0.0.7 or 172.16.0.0/12"
            ) from error
    if not settings.trusted_proxy and not settings.tls_certificate and not _loopback(settings.listen_host):
        raise invalid(
            "listen",
            f"{settings.listen_host} is not this machine only, and tokens would travel in the open; name a "
            "certificate (tls_certificate), or put a proxy that ends TLS before Holdfast and set trusted_proxy",
        )
    _check_edge(settings)
    for name, roots in (("allowed_roots", settings.allowed_roots), ("volumes_base", (settings.volumes_base,))):
        for root in roots:
            for never in (*map(Path, _NEVER_ROOTS), *_own_places(settings)):
                if _nested(root, never):
                    raise invalid(name, f"{root} is not a place for volumes: {never} is or must stay apart from it")
    for place in (settings.data_dir, settings.volumes_base, *settings.allowed_roots):
        if _nested(settings.docker_volumes, place):
            raise invalid("docker_volumes", f"{settings.docker_volumes} must stay apart from {place}")
    if any(settings.data_dir == root or settings.data_dir in root.parents for root in settings.allowed_roots):
        raise invalid("allowed_roots", f"{settings.data_dir} is Holdfast's own")
    return settings


def _check_edge(settings: Settings) -> None:
    if settings.edge == edge_kinds.OWN:
        if len(os.fsencode(settings.edge_dir)) > _LONGEST_EDGE_DIR:
            raise invalid("edge", f"{settings.edge_dir} is too long a path for a socket in it; choose another data_dir")
        if settings.edge_listen:
            try:
                ipaddress.ip_address(settings.edge_listen)
            except ValueError as error:
                raise invalid("edge_listen", f"{settings.edge_listen!r} is no address of this host") from error
        return
    for setting in dataclasses.fields(settings):
        if setting.name.startswith("edge_") and getattr(settings, setting.name) != setting.default:
            raise invalid(setting.name, f"it is for the Caddy that Holdfast starts, and edge is {settings.edge!r}")
    if settings.edge == edge_kinds.OFF:
        return
    host, _, port = settings.edge.removeprefix("http://").rpartition(":")
    if not settings.edge.startswith("http://") or not port.isdigit() or not _loopback(host.strip("[]")):
        raise invalid(
            "edge",
            f"{settings.edge!r} is neither off, nor caddy, nor the admin API of a Caddy on this host, such as "
            "http://127.0.0.1:2019",
        )


def never_roots(settings: Settings) -> tuple[Path, ...]:
    """Where no second repository may be, nor below, nor above."""
    return (
        *map(Path, _NEVER_ROOTS),
        settings.data_dir,
        settings.volumes_base,
        settings.docker_volumes,
        *settings.allowed_roots,
    )


def _nested(one: Path, other: Path) -> bool:
    """Whether two places are the same, or one is in the other."""
    return one == other or one in other.parents or other in one.parents


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_places(settings: Settings) -> tuple[Path, ...]:
    return (
        settings.database_file,
        settings.journal_dir,
        settings.snapshots_dir,
        settings.repository_dir,
        settings.uploads_dir,
        settings.keys_dir,
        settings.backups_dir,
        settings.state_restore_dir,
        settings.second_dir,
        settings.edge_dir,
    )


def invalid(name: str, reason: str) -> InvalidInput:
    """The error for a setting that can't be taken: ``setting_invalid``."""
    return InvalidInput(
        "setting_invalid",
        f"The setting {name} is not valid: {reason}.",
        next_step="Mend the setting, then start again.",
        details={"setting": name},
    )
