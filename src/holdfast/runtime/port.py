"""The container runtime port.

Adapters translate; they decide nothing. Every call has a time limit of its own and raises only ``HoldfastError``
subclasses: ``Unavailable("engine_unavailable")`` where nothing answers, ``Unavailable("engine_timeout")`` where the
answer does not come in time, ``Unavailable("engine_lost_track")`` for a start that works only once the engine was
restarted, ``NotFound`` for unknown containers and images, ``Failed("engine_error")`` with the
engine's own words for the rest.
``tests/contract/runtime.py`` is the suite that every adapter passes, the fake included.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from holdfast.domain.metrics import Totals
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.workload import Port, RestartPolicy

LABEL_INSTALLATION: Final = "holdfast.installation"
"""Which Holdfast owns the container, network or image tag; others' are never touched."""
LABEL_WORKLOAD: Final = "holdfast.workload"
LABEL_DEPLOYMENT: Final = "holdfast.deployment"
LABEL_CONFIG: Final = "holdfast.config"
LABEL_VERSION: Final = "holdfast.version"


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class ImageHealth(StrEnum):
    """What the image's own health check says."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    version: str
    api_version: str
    root_dir: str
    """Where the engine keeps its own state, on the host."""
    os: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image on the host. ``digests`` are the registry's (``name@sha256:…``); locally built ones have none.

    Attributes:
        architecture: the processors that it is made for, by Go's name (``amd64``); empty if nobody says.
    """

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    user: str = ""
    size: int = 0
    has_healthcheck: bool = False
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """What a listing tells of an image on the host. ``size`` in bytes, layers that it shares with others included."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A host directory in a container. Its source must exist: the engine is asked in the form that never creates it."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineVolume:
    """A volume as the engine knows it; ``mountpoint`` is the directory of the host that a container gets."""

    name: str
    driver: str
    mountpoint: str
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    """The driver's; what a volume has that is really a disk, a network share or another directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """A volume of the engine's in a container. It must exist, and nothing of the image is copied into it.

    Mounted as a volume, and not as a bind of its directory, so that the engine knows that it is in use.
    """

    name: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    target: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What to create. ``image`` is an image id. Times in seconds, memory in bytes."""

    name: str
    image: str
    labels: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    user: str | None = None
    stop_signal: str | None = None
    stop_grace: float = 10.0
    ports: Sequence[Port] = ()
    binds: Sequence[Bind] = ()
    volumes: Sequence[VolumeMount] = ()
    tmpfs: Sequence[Tmpfs] = ()
    restart: RestartPolicy = RestartPolicy.NO
    network: str | None = None
    aliases: Sequence[str] = ()
    """Names by which others on its networks find it."""
    more_networks: Sequence[str] = ()
    """Further networks, which have to be there."""
    memory: int | None = None
    cpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount of an existing container; ``source`` is a host path, empty for tmpfs."""

    type: str
    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the engine knows it. Times are RFC 3339 as the engine gave them."""

    id: str
    name: str
    state: ContainerState
    image_id: str
    labels: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    restart: RestartPolicy = RestartPolicy.NO
    max_retries: int = 0
    created_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    restart_count: int = 0
    health: ImageHealth = ImageHealth.NONE
    pid: int = 0
    ip: str = ""
    """Address on its own network, reachable from the host; empty while it does not run."""
    ports: tuple[Port, ...] = ()
    """Published ports as they are, with the host port that the engine chose."""

    @property
    def running(self) -> bool:
        """Whether its processes may write: running, restarting or paused."""
        return self.state in (ContainerState.RUNNING, ContainerState.RESTARTING, ContainerState.PAUSED)

    @property
    def ran(self) -> bool:
        """Whether it runs or ever did; the engine's word for a time that has not come is in the year 1."""
        return self.started_at != "" and not self.started_at.startswith("0001-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedContainer:
    """What the engine tells of a container in a list.

    Attributes:
        health: of one that runs, what the image's own health check says.
    """

    id: str
    state: ContainerState
    health: ImageHealth = ImageHealth.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container stopped.

    Attributes:
        outlasted: it was still there when its grace was over, and was killed.
        out_of_memory: the kernel killed a process of it for want of memory.
    """

    code: int
    outlasted: bool = False
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerUsage:
    """What a running container has used since it was started."""

    container_id: str
    labels: Mapping[str, str]
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLog:
    at: str
    stream: str
    """``stdout`` or ``stderr``."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    code: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """Something that happened to a container: ``start``, ``die``, ``stop``, ``destroy``, ``health_status: …``."""

    action: str
    container_id: str
    labels: Mapping[str, str]
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that the engine says of a container, in the words of its API, for an import.

    Attributes:
        image: likewise of its image; empty if that is gone.
        changed: paths that were added to the image's files or are other than there, beside all mounts.
    """

    container: Mapping[str, Any]
    image: Mapping[str, Any]
    changed: tuple[str, ...]


OnMade: TypeAlias = Callable[[str], Awaitable[None]]
"""Awaited with a command's id before the command starts; what it raises keeps the command from starting."""


class ContainerRuntime(Protocol):
    """The container engine of one host."""

    async def info(self) -> EngineInfo:
        """Ask the engine who it is. The cheapest proof that it answers."""

    async def image(self, reference: str) -> Image | None:
        """The image on the host by reference or id; ``None`` if it is not there."""

    async def images(self) -> Sequence[ListedImage]:
        """All images on the host but those that only others are built upon."""

    async def pull(
        self,
        reference: str,
        on_progress: Callable[[str, int, int | None], None] | None = None,
        *,
        login: RegistryLogin | None = None,
    ) -> Image:
        """Pull from the reference's registry.

        Args:
            on_progress: called with (what, bytes done, bytes in total or ``None``), sums over all layers.
            login: what its registry is told, to give what is private.

        Raises:
            Failed: ``image_pull_failed`` with the registry's reason.
        """

    async def tags(self, reference: str, *, login: RegistryLogin | None = None) -> Sequence[str]:
        """The tags that the reference's registry has of its repository, in no order.

        Raises:
            Failed: as :meth:`pull`; or ``registry_tags_unreadable``.
        """

    async def login(self, login: RegistryLogin) -> None:
        """Try a login out. Nothing of it is kept.

        Raises:
            Failed: ``registry_login_refused``, ``registry_not_asked``.
        """

    async def tag(self, image_id: str, repository: str, tag: str) -> None:
        """Give an image a name. Idempotent."""

    async def untag(self, reference: str) -> None:
        """Take a name away; the engine drops the image with its last name. Unknown names are fine.

        Raises:
            Conflict: ``image_in_use`` for the last name of an image that a container was made of; the name stays.
        """

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container, not started. Returns its id.

        Raises:
            Failed: ``bind_source_missing``, ``engine_volume_missing``: it is an error, never a new directory.
        """

    async def start(self, container_id: str) -> None:
        """Start it; fine if it runs already."""

    async def stop(self, container_id: str, grace: float) -> Exit:
        """Stop it, kill it after ``grace`` seconds, and confirm that it is not running. Fine if it is stopped.

        Raises:
            Failed: ``container_not_stopped`` when it runs all the same.
        """

    async def pause(self, container_id: str) -> None:
        """Freeze all processes. Fine if it is paused."""

    async def unpause(self, container_id: str) -> None:
        """Thaw. Fine if it is not paused."""

    async def remove(self, container_id: str, *, force: bool = False, keep_volumes: bool = False) -> None:
        """Remove it with its anonymous volumes, unless these are to be kept. Fine if it is gone."""

    async def rename(self, container_id: str, name: str) -> None:
        """Give a container another name. Fine if it has it."""

    async def set_restart_policy(self, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
        """Change the restart policy of an existing container."""

    async def inspect(self, container_id: str) -> Container:
        """The container in full. Raises ``NotFound``."""

    async def inspection(self, container_id: str) -> Inspection:
        """The container, by id or name, in the engine's own words. Raises ``NotFound``."""

    async def containers(
        self, labels: Mapping[str, str] | None = None, *, without: Mapping[str, str] | None = None
    ) -> Sequence[Container]:
        """All containers, stopped ones included, newest first; each that is told of is looked at.

        One that this process itself runs in is not told of.

        Args:
            labels: only those that carry all of these.
            without: none that carries all of these.
        """

    async def listed(self, labels: Mapping[str, str]) -> Sequence[ListedContainer]:
        """All containers that carry all of ``labels``, stopped ones included, newest first; none is looked at."""

    async def usage(self, labels: Mapping[str, str]) -> Sequence[ContainerUsage]:
        """What those running containers that carry all ``labels`` use, each looked at once.

        One that stops meanwhile, or that the engine can't tell about, is left out.
        """

    def logs(
        self, container_id: str, *, follow: bool = False, tail: int | None = None, since: str | None = None
    ) -> AsyncGenerator[ContainerLog, None]:
        """Log lines, oldest first; with ``follow`` until the container ends or the iterator is closed."""

    async def exec(
        self, container_id: str, command: Sequence[str], timeout: float, *, on_made: OnMade | None = None
    ) -> ExecResult:
        """Run a command inside, as the container's own user.

        At ``timeout`` seconds its process and all that it started are killed (by host pid) and
        ``Failed("exec_timeout")`` raised; so they are when the caller gives up.
        """

    async def end_exec(self, container_id: str, exec_id: str) -> bool:
        """End a command that somebody who is gone by now may have left running.

        What a command that has ended left behind on purpose is not touched.

        Returns:
            Whether it is known not to run; so it is when the command or its container is gone.
        """

    def events(self, on_open: Callable[[], object] | None = None) -> AsyncIterator[ContainerEvent]:
        """Container events from now on, until closed or the engine goes away (``Unavailable``).

        Args:
            on_open: called once the engine has taken the request: from then on it tells each event.
        """

    async def ensure_network(self, name: str, labels: Mapping[str, str], *, internal: bool = False) -> None:
        """Make a bridge network if it is not there.

        Args:
            internal: nothing outside of it can be reached from it; this host can still reach what is on it.
        """

    async def has_network(self, name: str) -> bool:
        """Whether the engine has a network of this name."""

    async def remove_network(self, name: str) -> None:
        """Remove it; fine if it is gone or in use."""

    async def volume(self, name: str) -> EngineVolume | None:
        """The engine's volume of this name; ``None`` if it knows none."""

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume of the driver ``local``, without options. One that is there already stays as it is."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume with its data; fine if it is gone.

        Raises:
            Conflict: ``engine_volume_in_use``: a container mounts it, a stopped one too.
        """

    async def close(self) -> None:
        """Let go of connections."""
