"""Settings: frozen, with safe defaults; from a TOML file, then ``HOLDFAST_*`` variables, which win.

``docs/reference/settings.md`` lists them for people. A key that is not known is an error that names the nearest known
one: a setting with a slip in its name must not be ignored in silence.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from holdfast.cron import Cron
from holdfast.domain import edge as edge_kinds
from holdfast.domain.edge import Tls
from holdfast.domain.errors import InvalidInput
from holdfast.domain.repository import MIN_RATE
from holdfast.domain.units import MAX_DURATION, MAX_SIZE, parse_duration, parse_size
from holdfast.engine.limits import Limits

MIB: Final = 1024 * 1024
DEFAULT_DOCKER_HOST: Final = "unix:///var/run/docker.sock"
MIN_INTERVAL: Final = 10.0
MAX_INTERVAL: Final = 900.0
"""Seconds between two looks at what workloads use, at least and at most; the coarser values begin with the longest."""

CLIENT_VARIABLES: Final = frozenset({"HOLDFAST_URL", "HOLDFAST_TOKEN", "HOLDFAST_CONFIG", "HOLDFAST_S3_SECRET"})
"""Variables that are not settings of the server: the command line's own."""

_PREFIX: Final = "HOLDFAST_"
_SIZES: Final = frozenset(
    {"disk_reserve_bytes", "max_upload_bytes", "copy_limit_rate", "container_log_bytes", "kept_log_bytes"}
)
_DURATIONS: Final = frozenset(
    {"engine_timeout", "drain_deadline", "steady_seconds", "source_timeout", "metrics_interval"}
)
_NEVER_ROOTS: Final = ("/etc", "/proc", "/sys", "/var/lib/docker", "/var/lib/containerd")
"""Not a volume's place, nor is anything below or above them (``/`` is above)."""

_LONGEST_EDGE_DIR: Final = 90
"""Bytes; what the kernel takes for a socket's path, less the name of the socket in it."""
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:]+):[0-9]{1,5}")

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
        if self.time_zone == "UTC":  # known also where the host has no list of zones
            return UTC
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"this host knows no time zone {self.time_zone!r}, such as Europe/Berlin") from error

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


_LISTS: Final = {"allowed_roots": ":", "proxy_addresses": ","}
"""Settings of several values, and what stands between them in a variable."""


def load_settings(config_file: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the settings.

    Args:
        config_file: a TOML file, or ``None`` for none.
        env: the environment. ``HOLDFAST_LISTEN`` sets ``listen``, ``HOLDFAST_LIMITS_ENTRIES`` sets
            ``limits.entries``; with ``_FILE`` appended the value is read from the named file. ``DOCKER_HOST`` is heeded
            where nothing else names the engine.

    Raises:
        InvalidInput: ``settings_unreadable``, ``setting_unknown`` or ``setting_invalid``.
    """
    given: dict[str, object] = {}
    if "DOCKER_HOST" in env:
        given["docker_host"] = env["DOCKER_HOST"]
    if config_file is not None:
        given |= _from_file(config_file)
    given |= _from_environment(env)
    return _checked(_convert(given))


def _from_file(path: Path) -> dict[str, object]:
    """The file's settings by dotted name."""
    try:
        table: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(
            "settings_unreadable",
            f"The settings file {path} can't be read: {error}.",
            next_step="Mend the file, or start without it.",
        ) from error
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict) and (value or key == "limits"):
            flat |= {f"{key}.{inner}": setting for inner, setting in value.items()}
        else:
            flat[key] = value
    for name in flat:
        if name not in _names():
            _unknown(name, sorted(_names()), str(path))
    return flat


def _from_environment(env: Mapping[str, str]) -> dict[str, object]:
    """The environment's settings by dotted name."""
    by_variable = {_PREFIX + name.upper().replace(".", "_"): name for name in _names()}
    given: dict[str, object] = {}
    for variable, value in sorted(env.items()):
        if not variable.startswith(_PREFIX) or variable.removesuffix("_FILE") in CLIENT_VARIABLES:
            continue
        name, text = by_variable.get(variable), value
        if name is None and variable.endswith("_FILE"):
            name = by_variable.get(variable.removesuffix("_FILE"))
            text = _secret_file(variable, value) if name is not None else value
        if name is None:
            _unknown(variable, sorted(by_variable), "the environment")
        if name in given:
            raise _invalid(name, f"both {variable.removesuffix('_FILE')} and its _FILE variant are set")
        separator = _LISTS.get(name)
        given[name] = text if separator is None else [part.strip() for part in text.split(separator) if part.strip()]
    return given


def _secret_file(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "settings_unreadable",
            f"The file {path} that {variable} names can't be read: {error}.",
            next_step="Mend the file, or unset the variable.",
        ) from error


def _names() -> frozenset[str]:
    """All settings by dotted name."""
    flat = {setting.name for setting in dataclasses.fields(Settings)} - {"limits"}
    return frozenset(flat | {f"limits.{limit.name}" for limit in dataclasses.fields(Limits)})


def _convert(given: Mapping[str, object]) -> Settings:
    """Typed settings from what was given, by dotted name."""
    values: dict[str, object] = {}
    limits: dict[str, object] = {}
    for name, value in given.items():
        converted = _measure(name, value)
        if name.startswith("limits."):
            limits[name.removeprefix("limits.")] = converted
        else:
            values[name] = converted
    try:
        return msgspec.convert(values | {"limits": limits}, Settings, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at ")
        name = where.strip("`").removeprefix("$.").partition("[")[0]
        raise _invalid(name, reason) from error


def _measure(name: str, value: object) -> object:
    """Numbers from sizes and durations that carry a unit."""
    if not isinstance(value, str):
        return value
    try:
        if name in _SIZES or (name.startswith("limits.") and name.endswith("bytes")):
            return parse_size(value)
        if name in _DURATIONS:
            return parse_duration(value)
    except ValueError as error:
        raise _invalid(name, str(error)) from error
    return value


def _decode_path(kind: type, value: object) -> object:
    if kind is not Path:
        raise NotImplementedError(f"{kind} from {type(value)}")
    if not isinstance(value, str):
        raise ValueError("a path is text, in quotes")  # noqa: TRY004 - what msgspec turns into its own error
    if not os.path.isabs(value) or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path")
    try:
        return Path(os.path.realpath(value))
    except OSError as error:
        raise ValueError(f"{value!r} can't be resolved: {error.strerror}") from error


def _checked(settings: Settings) -> Settings:
    """Refuse what would put the host or Holdfast itself at a volume's mercy, and limits that allow nothing."""
    for limit in dataclasses.fields(Limits):
        if not 1 <= getattr(settings.limits, limit.name) <= MAX_SIZE:
            raise _invalid(f"limits.{limit.name}", f"a limit lies between 1 and {MAX_SIZE}")
    try:
        settings.zone  # noqa: B018 - looked up once, so that no prune fails by it
    except ValueError as error:
        raise _invalid("time_zone", str(error)) from error
    for name in ("prune_schedule", "verify_schedule", "copy_schedule", "backup_schedule"):
        if schedule := getattr(settings, name):
            try:
                Cron(schedule)
            except ValueError as error:
                raise _invalid(name, f"it {error}") from error
    if 0 < settings.metrics_interval < MIN_INTERVAL:
        raise _invalid("metrics_interval", f"it is 0, for never, or {MIN_INTERVAL:g} s and more")
    if 0 < settings.copy_limit_rate < MIN_RATE:
        raise _invalid("copy_limit_rate", f"it is 0, for no bound, or {MIN_RATE} bytes a second and more")
    if _ADDRESS.fullmatch(settings.listen) is None or settings.listen_port > 65535:
        raise _invalid("listen", f"{settings.listen!r} is not an address and a port, such as 127.0.0.1:8484")
    for name in ("tls_certificate", "tls_key"):
        if (file := getattr(settings, name)) and (not os.path.isabs(file) or "\0" in file):
            raise _invalid(name, f"{file!r} is not an absolute path")
    if settings.tls_key and not settings.tls_certificate:
        raise _invalid("tls_key", "it is the key of tls_certificate, which is not set")
    for address in settings.proxy_addresses:
        try:
            ip_network(address)
        except ValueError as error:
            raise _invalid(
                "proxy_addresses", f"{address!r} is no address and no network, such as 10.0.0.7 or 172.16.0.0/12"
            ) from error
    if not settings.trusted_proxy and not settings.tls_certificate and not _loopback(settings.listen_host):
        raise _invalid(
            "listen",
            f"{settings.listen_host} is not this machine only, and tokens would travel in the open; name a "
            "certificate (tls_certificate), or put a proxy that ends TLS before Holdfast and set trusted_proxy",
        )
    _check_edge(settings)
    for name, roots in (("allowed_roots", settings.allowed_roots), ("volumes_base", (settings.volumes_base,))):
        for root in roots:
            for never in (*map(Path, _NEVER_ROOTS), *_own_places(settings)):
                if _nested(root, never):
                    raise _invalid(name, f"{root} is not a place for volumes: {never} is or must stay apart from it")
    for place in (settings.data_dir, settings.volumes_base, *settings.allowed_roots):
        if _nested(settings.docker_volumes, place):
            raise _invalid("docker_volumes", f"{settings.docker_volumes} must stay apart from {place}")
    if any(settings.data_dir == root or settings.data_dir in root.parents for root in settings.allowed_roots):
        raise _invalid("allowed_roots", f"{settings.data_dir} is Holdfast's own")
    return settings


def _check_edge(settings: Settings) -> None:
    if settings.edge == edge_kinds.OWN:
        if len(os.fsencode(settings.edge_dir)) > _LONGEST_EDGE_DIR:
            raise _invalid(
                "edge", f"{settings.edge_dir} is too long a path for a socket in it; choose another data_dir"
            )
        if settings.edge_listen:
            try:
                ipaddress.ip_address(settings.edge_listen)
            except ValueError as error:
                raise _invalid("edge_listen", f"{settings.edge_listen!r} is no address of this host") from error
        return
    for setting in dataclasses.fields(settings):
        if setting.name.startswith("edge_") and getattr(settings, setting.name) != setting.default:
            raise _invalid(setting.name, f"it is for the Caddy that Holdfast starts, and edge is {settings.edge!r}")
    if settings.edge == edge_kinds.OFF:
        return
    host, _, port = settings.edge.removeprefix("http://").rpartition(":")
    if not settings.edge.startswith("http://") or not port.isdigit() or not _loopback(host.strip("[]")):
        raise _invalid(
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
        settings.second_dir,
        settings.edge_dir,
    )


def _invalid(name: str, reason: str) -> InvalidInput:
    return InvalidInput(
        "setting_invalid",
        f"The setting {name} is not valid: {reason}.",
        next_step="Mend the setting, then start again.",
        details={"setting": name},
    )


def _unknown(name: str, known: list[str], where: str) -> NoReturn:
    nearest = difflib.get_close_matches(name, known, 1, cutoff=0.0)
    raise InvalidInput(
        "setting_unknown",
        f"There is no setting {name} (in {where}).",
        next_step=f"Did you mean {nearest[0]}?",
        details={"setting": name, "nearest": nearest[0]},
    )
