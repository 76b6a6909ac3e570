"""Settings: frozen, with safe defaults. ``docs/reference/settings.md`` lists them for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

import msgspec

from holdfast.domain import edge as edge_kinds
from holdfast.domain.edge import Tls
from holdfast.domain.units import MAX_DURATION, MAX_SIZE
from holdfast.engine.limits import Limits
from holdfast.zones import zone_named

MIB: Final = 1024 * 1024
DEFAULT_DOCKER_HOST: Final = "unix:///var/run/docker.sock"
MIN_INTERVAL: Final = 10.0
MAX_INTERVAL: Final = 900.0
"""Seconds between two looks at what workloads use, at least and at most; the coarser values begin with the longest."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=MAX_DURATION)]
TcpPort = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Interval = Annotated[float, msgspec.Meta(ge=0, le=MAX_INTERVAL)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decides. Times in seconds, sizes in bytes.

    Attributes:
        data_dir: everything that Holdfast itself keeps; one server at a time.
        listen: address and port of the API; port 0 lets the system choose.
        trusted_proxy: whether a proxy that ends TLS stands before the server; without it, and without
            TLS, only loopback is listened on.
        proxy_addresses: addresses and networks of such proxies; what others tell of where they come from is not heeded.
        tls_certificate, tls_key: absolute paths of a chain and its key, in PEM; looked up by these names each time,
            since what renews them changes links. No key: it is in the same file. No certificate: plain HTTP.
        volumes_base: where the volumes of scope ``stage`` and ``project`` live; ``data_dir/volumes`` unless given.
        allowed_roots: volumes of scope ``absolute`` may only be below these.
        docker_host: address of the Docker Engine.
        docker_volumes: where that engine keeps its volumes; those of scope ``named`` and ``project_named`` are there.
        workers: how many engine jobs (capture, staging, verification) may run side by side.
        disk_reserve_bytes, disk_reserve_inodes: what must stay free on a filesystem that Holdfast writes to.
        engine_timeout: how long one call to the Docker Engine may take.
        drain_deadline: how long a shutdown waits for running operations.
        steady_seconds: how long an instance without a health check must run steadily to count as healthy.
        source_timeout: how long a workload's source may take to name the image; one that builds it needs longest.
        warm_passes_max: how many captures of the running workload a restore makes at most before it stops it.
        encrypt_repository: whether a snapshot repository that is made now is sealed; one that is there stays as it is.
        limits: bounds of what an imported archive may hold.
        max_upload_bytes: largest archive that may be uploaded.
        prune_unused_percent: a pack of which at least so much is needed by no snapshot is written anew by a prune.
        container_log_bytes: how much the engine keeps of an instance's log; 0: as much as it is itself configured to.
        kept_log_bytes: how much is kept of what a workload's removed instances printed, compressed; 0: nothing.
        metrics_interval: how often it is looked what workloads use of the machine; 0: never.
        copy_limit_rate: bytes a second that a copy to a second repository sends at most, unless it says otherwise;
            0 for no bound.
        max_previews: so many previews may be there at a time, of all workloads together.
        edge: what stands before workloads with domains: ``off``, ``caddy`` for one that Holdfast starts and watches, or
            ``http://address:port``, the admin API of one that is there.
        edge_listen, edge_http_port, edge_https_port: where the Caddy that Holdfast starts listens.
        edge_tls: whether it gets certificates from the public authorities, makes its own, or serves plain HTTP.
        time_zone: where days, weeks, months and years begin, for what is kept of snapshots; and that of schedules.
        prune_schedule, verify_schedule, copy_schedule: when a prune, a verification of ``verify_share`` percent, a copy
            to each second repository happens by itself, as cron writes it; empty: never.
        backup_schedule: when a backup of Holdfast's own state is made by itself, likewise.
        backup_keep: so many of those are kept.
    """

    data_dir: Path = Path("/var/lib/holdfast")
    listen: str = "127.0.0.1:8484"
    trusted_proxy: bool = False
    proxy_addresses: tuple[str, ...] = ("127.0.0.0/8", "::1")
    tls_certificate: str = ""
    tls_key: str = ""
    volumes_base: Path = Path()
    allowed_roots: tuple[Path, ...] = ()
    docker_host: str = DEFAULT_DOCKER_HOST
    docker_volumes: Path = Path("/var/lib/docker/volumes")
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    disk_reserve_bytes: Count = 256 * MIB
    disk_reserve_inodes: Count = 1000
    engine_timeout: Seconds = 30.0
    drain_deadline: Seconds = 60.0
    steady_seconds: Seconds = 10.0
    source_timeout: Seconds = 900.0
    warm_passes_max: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    encrypt_repository: bool = False
    limits: Limits = field(default_factory=Limits)
    max_upload_bytes: Count = 100 * 1024 * MIB
    log_format: LogFormat = LogFormat.TEXT
    time_zone: str = "UTC"
    prune_schedule: str = ""
    verify_schedule: str = ""
    verify_share: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    copy_schedule: str = ""
    backup_schedule: str = ""
    backup_keep: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 14
    prune_unused_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    max_previews: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 20
    edge: str = edge_kinds.OFF
    edge_listen: str = ""
    edge_http_port: TcpPort = 80
    edge_https_port: TcpPort = 443
    edge_tls: Tls = Tls.AUTO
    container_log_bytes: Count = 30 * MIB
    kept_log_bytes: Count = 10 * MIB
    metrics_interval: Interval = 60.0
    copy_limit_rate: Count = 0

    def __post_init__(self) -> None:
        if self.volumes_base == Path():
            object.__setattr__(self, "volumes_base", self.data_dir / "volumes")

    @property
    def listen_host(self) -> str:
        """The address to listen on, without the brackets that one of IPv6 is written in."""
        return self.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def listen_port(self) -> int:
        """The port to listen on; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """From where a proxy is believed what it tells of where requests come from; nowhere without ``trusted_proxy``.

        Raises:
            ValueError: one is no network.
        """
        return tuple(map(ip_network, self.proxy_addresses)) if self.trusted_proxy else ()

    @property
    def zone(self) -> tzinfo:
        """The time zone that ``time_zone`` names.

        Raises:
            ValueError: this host knows none of that name.
        """
        return zone_named(self.time_zone)

    @property
    def database_file(self) -> Path:
        return self.data_dir / "state.db"

    @property
    def journal_dir(self) -> Path:
        return self.data_dir / "journal"

    @property
    def take_overs_dir(self) -> Path:
        return self.data_dir / "take-overs"

    @property
    def holds_dir(self) -> Path:
        return self.data_dir / "holds"

    @property
    def snapshots_dir(self) -> Path:
        return self.data_dir / "snapshots"

    @property
    def repository_dir(self) -> Path:
        return self.data_dir / "repository"

    @property
    def backups_dir(self) -> Path:
        """Backups of Holdfast's own state."""
        return self.data_dir / "backups"

    @property
    def state_restore_dir(self) -> Path:
        """A backup that is to take the place of the state."""
        return self.data_dir / "state-restore"

    @property
    def second_dir(self) -> Path:
        """Locks and caches of second repositories."""
        return self.data_dir / "second"

    @property
    def logs_dir(self) -> Path:
        """What removed instances printed."""
        return self.data_dir / "logs"

    @property
    def edge_dir(self) -> Path:
        """What the Caddy that Holdfast starts keeps: certificates, its log, its admin API's socket."""
        return self.data_dir / "edge"

    @property
    def uploads_dir(self) -> Path:
        return self.data_dir / "uploads"

    @property
    def keys_dir(self) -> Path:
        return self.data_dir / "keys"

    @property
    def archive_key_file(self) -> Path:
        return self.keys_dir / "archive.key"

    @property
    def repository_key_file(self) -> Path:
        return self.keys_dir / "repository.key"

    @property
    def admin_token_file(self) -> Path:
        return self.data_dir / "admin-token"

    @property
    def lock_file(self) -> Path:
        return self.data_dir / "lock"

    @property
    def installation_file(self) -> Path:
        return self.data_dir / "installation"
