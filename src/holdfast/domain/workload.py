"""What a workload is: its declared configuration.

The declaration arrives as YAML or JSON through ``api/schemas`` (the edge that validates and words the errors); inside
it is these frozen dataclasses. Times are seconds, sizes bytes. ``config_hash`` names one configuration: two equal
hashes mean that the same containers would be made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from holdfast.domain.environment import SecretRef
from holdfast.domain.retention import Keep
from holdfast.domain.schedule import OnMissed


class Scope(StrEnum):
    """How a volume's source becomes a host path."""

    ABSOLUTE = "absolute"
    STAGE = "stage"
    PROJECT = "project"
    NAMED = "named"
    PROJECT_NAMED = "project_named"
    INSTANCE = "instance"
    EPHEMERAL = "ephemeral"


SUPPORTED_SCOPES: Final = frozenset({Scope.ABSOLUTE, Scope.STAGE, Scope.PROJECT, Scope.NAMED, Scope.PROJECT_NAMED})
"""The scopes that are captured and restored. Drives both, so that they can't drift apart."""

DEPLOYABLE_SCOPES: Final = SUPPORTED_SCOPES | {Scope.EPHEMERAL}
"""The scopes that can be deployed by this version."""

NAMED_SCOPES: Final = frozenset({Scope.NAMED, Scope.PROJECT_NAMED})
"""The scopes whose directories the container engine makes and knows by a name."""

SHARED_SCOPES: Final = frozenset({Scope.PROJECT, Scope.PROJECT_NAMED})
"""The scopes of which equal sources are one volume for all workloads of a project."""

OWN_SCOPES: Final = SUPPORTED_SCOPES - {Scope.ABSOLUTE}
"""The scopes whose directories are made for workloads, and may be removed with them."""


_ANYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to

IMAGE_SOURCE: Final = "image"
"""The source that is Holdfast's own: the declaration names the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWish:
    """Which source is asked for the image, and with which settings (sorted by name)."""

    type: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def mapping(self) -> dict[str, str]:
        """The settings by name."""
        return dict(self.settings)


class HealthType(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    COMMAND = "command"
    DOCKER = "docker"
    NONE = "none"


class RestartPolicy(StrEnum):
    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


class Strategy(StrEnum):
    AUTO = "auto"
    RECREATE = "recreate"
    BLUE_GREEN = "blue_green"


class Quiesce(StrEnum):
    """How a caller wants the writers held while a snapshot is taken."""

    STOP = "stop"
    PAUSE = "pause"
    HOOKS = "hooks"
    NONE = "none"


class RevertData(StrEnum):
    """What becomes of the data where a deployment fails after its new version ran on it."""

    ASK = "ask"
    """It stays, and the command is told that brings the data of before back."""
    ALWAYS = "always"
    """The data of before comes back together with the version of before."""
    NEVER = "never"
    """It stays."""


class DesiredState(StrEnum):
    """Whether the workload should have running instances. Set by deploy/start and by stop."""

    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One mount of a workload.

    Attributes:
        target: absolute, normalised path inside the container; unique within the workload.
        source: for ``absolute`` a host path; for ``stage`` and ``project`` a relative path below the scope's
            directory; for ``named`` and ``project_named`` the end of the name that the engine knows it by; empty for
            ``ephemeral``.
        size: bytes, ``ephemeral`` only; ``None`` for the engine's default.
        engine_volume: ``named`` and ``project_named`` only: the whole name of a volume of the engine's that was there
            before, whose data it is; empty: the engine makes one under a name of Holdfast's own.
    """

    target: str
    scope: Scope
    source: str = ""
    read_only: bool = False
    size: int | None = None
    engine_volume: str = ""

    @property
    def captured(self) -> bool:
        """Whether snapshots hold this volume."""
        return self.scope in SUPPORTED_SCOPES

    @property
    def named(self) -> bool:
        """Whether it is a volume of the container engine's."""
        return self.scope in NAMED_SCOPES

    @property
    def own(self) -> bool:
        """Whether its directory was made for workloads, and may be removed with them."""
        return self.scope in OWN_SCOPES and not self.engine_volume

    @property
    def of_others(self) -> bool:
        """Whether it gives containers what was not made for workloads, which is configured by admins only."""
        return self.scope is Scope.ABSOLUTE or bool(self.engine_volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How to tell that an instance works. Times in seconds."""

    type: HealthType = HealthType.NONE
    port: int | None = None
    path: str = "/"
    command: tuple[str, ...] = ()
    interval: float = 1.0
    timeout: float = 2.0
    deadline: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    memory: int | None = None
    cpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillPolicy:
    """How it is proved that a workload's snapshots can be restored.

    Attributes:
        schedule: when the newest is, by itself, as cron writes it; ``None``: never.
        command: what is run in the restored copy once it is healthy; it has to end with 0. Empty: nothing.
        timeout: seconds that it gets.
    """

    schedule: str | None = None
    command: tuple[str, ...] = ()
    timeout: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    """How a workload's snapshots are taken and kept where nobody says otherwise.

    Attributes:
        quiesce: how the writers are held.
        before_deploy: whether one is taken right before another version runs on the data.
        keep: which of them a prune keeps; ``None`` keeps all.
        schedule: when one is taken by itself, as cron writes it; ``None``: never.
        missed: what becomes of one that is overdue, once it could be taken.
        drill: how it is proved that they can be restored.
    """

    quiesce: Quiesce = Quiesce.PAUSE
    before_deploy: bool = True
    keep: Keep | None = None
    schedule: str | None = None
    missed: OnMissed = OnMissed.CATCH_UP
    drill: DrillPolicy = field(default_factory=DrillPolicy)


class PreviewSeed(StrEnum):
    """What the volumes of a preview hold when it is made."""

    EMPTY = "empty"
    LATEST = "latest"
    """What the newest snapshot of the workload does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPolicy:
    """What the previews of a workload are like where nobody says otherwise.

    Attributes:
        domain: by which each is reached; its name holds ``{preview}`` in the place of what is each one's own. ``None``:
            by none.
        env: variables in which they differ from the workload, also in place of a secret of that name. ``{preview}`` and
            ``{domain}`` in the values are filled in.
        expires: seconds after which one that nobody updates is removed.
        most: so many may be there at a time.
        last_snapshot: whether the data of one is captured before it is removed with it.
    """

    domain: Domain | None = None
    env: tuple[tuple[str, str], ...] = ()
    seed: PreviewSeed = PreviewSeed.EMPTY
    expires: float = 7 * 86400.0
    most: int = 5
    last_snapshot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePolicy:
    """Whether a workload is deployed by itself once its source names another image.

    Attributes:
        schedule: when it is asked, as cron writes it; ``None``: never.
        tags: pattern of the tags to which it moves on by itself (:mod:`holdfast.domain.newer_tags`); ``None``: to none.
    """

    schedule: str | None = None
    tags: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Commands that run inside of the workload's instances, around a capture and after a restore; empty: none.

    Attributes:
        timeout: seconds that each of them gets before it is killed.
    """

    pre_snapshot: tuple[str, ...] = ()
    post_snapshot: tuple[str, ...] = ()
    post_restore: tuple[str, ...] = ()
    timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A published port. ``host_port`` 0 lets the engine choose."""

    container_port: int
    host_port: int = 0
    host_ip: str = "0.0.0.0"  # noqa: S104 - the engine's own default for a published port; a declaration may narrow it
    protocol: str = "tcp"

    def collides_with(self, other: Port) -> bool:
        """Whether only one of them can be published at a time."""
        if not self.host_port or (self.host_port, self.protocol) != (other.host_port, other.protocol):
            return False
        return self.host_ip == other.host_ip or not _ANYWHERE.isdisjoint({self.host_ip, other.host_ip})


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A domain by which people reach the workload, through the edge.

    Attributes:
        name: lower case, international names in their ASCII form (``xn--…``).
        port: the container's port that its requests go to.
    """

    name: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """The declared configuration of one workload.

    Attributes:
        image: the reference that the source ``image`` names. With another source: in a deployment's configuration
            what it named then, in a workload's nothing.
        time_zone: in which its schedules are meant, and where the days begin of which snapshots are kept; ``None``: the
            server's.
        networks: networks of the engine's that others made, on which its instances are as well, by its name.
        plugin: the source where it is not ``image``.
    """

    name: str
    image: str
    project: str
    stage: str = "production"
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[SecretRef, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    user: str | None = None
    stop_signal: str | None = None
    stop_grace: float = 30.0
    ports: tuple[Port, ...] = ()
    domains: tuple[Domain, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    health: HealthCheck = field(default_factory=HealthCheck)
    restart: RestartPolicy = RestartPolicy.UNLESS_STOPPED
    strategy: Strategy = Strategy.AUTO
    max_instances: int = 1
    hooks: Hooks = field(default_factory=Hooks)
    resources: Resources = field(default_factory=Resources)
    time_zone: str | None = None
    snapshots: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    updates: UpdatePolicy = field(default_factory=UpdatePolicy)
    revert_data: RevertData = RevertData.ASK
    previews: PreviewPolicy = field(default_factory=PreviewPolicy)
    plugin: SourceWish | None = None

    @property
    def source(self) -> SourceWish:
        """Who is asked for the image, whichever source it is."""
        return self.plugin or SourceWish(type=IMAGE_SOURCE, settings=((IMAGE_SOURCE, self.image),))

    @property
    def declared(self) -> WorkloadSpec:
        """The same without what a source named."""
        return self if self.plugin is None else dataclasses.replace(self, image="")

    @property
    def image_words(self) -> str:
        """The image for people, also where it is not known yet."""
        return self.image or f"(of the source {self.source.type})"

    @property
    def captured_volumes(self) -> tuple[Volume, ...]:
        """The volumes that a snapshot holds, in the order of the configuration."""
        return tuple(volume for volume in self.volumes if volume.captured)

    @property
    def effective_strategy(self) -> Strategy:
        """``auto`` resolved: ``recreate`` where two instances would share a writable volume or a fixed host port."""
        if self.strategy is not Strategy.AUTO:
            return self.strategy
        shares = any(v.captured and not v.read_only for v in self.volumes) or any(p.host_port for p in self.ports)
        return Strategy.RECREATE if shares else Strategy.BLUE_GREEN

    @property
    def without_values(self) -> WorkloadSpec:
        """The same with secrets by name only, whatever values are meant: as a file declares it."""
        return dataclasses.replace(self, secrets=tuple(SecretRef(name=secret.name) for secret in self.secrets))

    @property
    def config_hash(self) -> str:
        """Names the containers that this configuration makes: 16 hex digits.

        The image, its source, hooks, snapshots, updates and when they are, previews and what a failure means for the
        data are no part of it: none of them makes another container. Domains are one: what is reached by which name is
        deployed, and rolled back, like the rest.
        """
        facts = dataclasses.asdict(self)
        for part in ("image", "plugin", "hooks", "time_zone", "snapshots", "updates", "revert_data", "previews"):
            del facts[part]
        for part in ("domains", "networks"):  # as it was before there were any: nothing is deployed anew for them
            if not facts[part]:
                del facts[part]
        if not self.secrets:  # so that the containers of versions before there were any keep their name
            del facts["secrets"]
        for volume in facts["volumes"]:
            if not volume["engine_volume"]:  # likewise
                del volume["engine_volume"]
        return _digest(facts)

    @property
    def revision(self) -> str:
        """Names all that is declared: 16 hex digits. The values of secrets are no part of it."""
        return _digest(dataclasses.asdict(self.declared.without_values))


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload as Holdfast knows it: its id never changes, its configuration does.

    Attributes:
        configured_at, configured_by: when its configuration became what it is, and by whom; ``None`` where an earlier
            version of Holdfast did not write it down.
    """

    id: str
    spec: WorkloadSpec
    desired: DesiredState
    created_at: str
    updated_at: str
    configured_at: str | None = None
    configured_by: str | None = None

    @property
    def name(self) -> str:
        return self.spec.name
