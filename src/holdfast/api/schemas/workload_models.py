"""The models of a workload's declaration; ``docs/reference/workload.md`` and its JSON Schema are generated from them.

Values are checked in ``workload_values``, what ties several keys together in ``workload_rules``. The order of the keys
matters: a check sees the keys above its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from holdfast.api.schemas.workload_previews import PreviewsModel, with_port
from holdfast.api.schemas.workload_rules import (
    check_domains,
    check_health_key,
    check_instances,
    check_ports,
    check_secrets,
    check_volumes,
    note,
)
from holdfast.api.schemas.workload_snapshots import HooksModel, SnapshotsModel
from holdfast.api.schemas.workload_source import SourceModel
from holdfast.api.schemas.workload_updates import UpdatesModel
from holdfast.api.schemas.workload_values import (
    STRICT,
    DomainName,
    Duration,
    EnvName,
    HealthPath,
    LabelName,
    LabelValue,
    Name,
    NetworkName,
    PublishedPort,
    Signal,
    Size,
    Text,
    User,
    ZoneName,
    problem,
)
from holdfast.api.schemas.workload_volumes import VolumeModel
from holdfast.domain.environment import MAX_ENV_CHARACTERS, MAX_SECRETS, MAX_VARIABLES, SecretRef
from holdfast.domain.workload import (
    SUPPORTED_SCOPES,
    Domain,
    HealthCheck,
    HealthType,
    Quiesce,
    Resources,
    RestartPolicy,
    RevertData,
    Scope,
    Strategy,
    WorkloadSpec,
)

_HEALTH: Final = HealthCheck()


class _Model(BaseModel):
    model_config = STRICT


class HealthModel(_Model):
    """How to tell that an instance works. A deployment succeeds only when it does."""

    type: Annotated[
        HealthType,
        Field(
            strict=False,
            description="`http`: GET answers with 2xx or 3xx. `tcp`: the port accepts a connection. `command`: it "
            "exits with 0 inside of the container. `docker`: the image's own health check. `none`: it runs "
            "steadily for ten seconds.",
        ),
    ] = HealthType.NONE
    port: Annotated[
        int | None, Field(ge=1, le=65535, validate_default=True, description="`http` and `tcp`: the container's port.")
    ] = None
    path: Annotated[HealthPath | None, Field(description="`http`: what to ask for; `/` if left out.")] = None
    command: Annotated[
        list[Text] | None,
        Field(min_length=1, max_length=1000, validate_default=True, description="`command`: program and arguments."),
    ] = None
    interval: Annotated[Duration, Field(ge=0.1, le=300, description="Time between two checks.")] = _HEALTH.interval
    timeout: Annotated[Duration, Field(ge=0.1, le=300, description="How long one check may take.")] = _HEALTH.timeout
    deadline: Annotated[
        Duration, Field(ge=1, le=3600, description="How long a new instance may take until it is healthy.")
    ] = _HEALTH.deadline

    @field_validator("port", "path", "command")
    @classmethod
    def _fits_type(cls, value: Any, info: ValidationInfo) -> Any:
        check_health_key(info.field_name or "", value, info.data.get("type"))
        return value


class ResourcesModel(_Model):
    """Bounds of what an instance may use; none unless given."""

    memory: Annotated[
        Size | None, Field(ge=6 * 1024**2, description="Memory; the engine's least is 6MiB.", examples=["512MiB"])
    ] = None
    cpus: Annotated[float | None, Field(ge=0.01, le=1024, allow_inf_nan=False, description="Processors.")] = None


class WorkloadModel(_Model):
    """A workload: what runs, with which configuration, on which data."""

    model_config = ConfigDict(
        title="Holdfast workload",
        json_schema_extra={
            "examples": [
                {
                    "name": "notes",
                    "project": "home",
                    "source": {"type": "image", "image": "registry.example/notes:1.4"},
                    "env": {"TZ": "UTC"},
                    "ports": ["127.0.0.1:8080:80"],
                    "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
                    "health": {"type": "http", "port": 80, "path": "/healthz"},
                }
            ]
        },
    )

    name: Annotated[
        Name, Field(description="Unique, and never changed: it names the directories of the data.", examples=["notes"])
    ]
    project: Annotated[
        Name | None, Field(description="The group it belongs to; its own name if left out.", examples=["home"])
    ] = None
    stage: Annotated[Name, Field(description="Its role in the project.", examples=["production", "test"])] = (
        "production"
    )
    source: SourceModel
    env: Annotated[
        dict[EnvName, Text],
        Field(max_length=MAX_VARIABLES, description="Environment variables. Values are text: put numbers in quotes."),
    ] = {}
    secrets: Annotated[
        list[EnvName],
        Field(
            max_length=MAX_SECRETS,
            description="Environment variables whose values are secret: names only. The values are set with "
            "`holdfast secret set`, sealed, and never shown.",
            examples=["NOTES_KEY"],
        ),
    ] = []
    labels: Annotated[
        dict[LabelName, LabelValue],
        Field(max_length=200, description="Labels of the containers; `holdfast.` is reserved."),
    ] = {}
    command: Annotated[
        list[Text], Field(max_length=1000, description="Arguments in place of the image's own; none: the image's.")
    ] = []
    entrypoint: Annotated[
        list[Text] | None,
        Field(max_length=1000, description="Program in place of the image's own; an empty list takes it away."),
    ] = None
    user: Annotated[
        User | None,
        Field(
            description="Who the processes run as: uid, uid:gid or names. New volume directories are made for a "
            "numeric one; for a name, which only the image can resolve, they belong to root."
        ),
    ] = None
    stop_signal: Annotated[Signal | None, Field(description="Sent to stop it; the image's own if left out.")] = None
    stop_grace: Annotated[
        Duration, Field(ge=0, le=3600, description="How long it may take to stop before it is killed.")
    ] = 30.0
    ports: Annotated[
        list[PublishedPort],
        Field(
            max_length=256,
            description="Published ports: `[address:][host port:]container port[/protocol]`. Without a host port the "
            "engine chooses one; without an address the port is open on all of them.",
        ),
    ] = []
    volumes: Annotated[list[VolumeModel], Field(max_length=64, description="What it stores, and where.")] = []
    health: HealthModel = HealthModel()
    domains: Annotated[
        list[DomainName],
        Field(
            max_length=64,
            description="Domains by which it is reached through the edge, each of one workload only. After a colon, "
            "the container's port; without one, that of an `http` or `tcp` health check, else the only one of "
            "`ports`. International names may be written as they are.",
        ),
    ] = []
    networks: Annotated[
        list[NetworkName],
        Field(
            max_length=16,
            description="Networks of the Docker Engine on which it is as well, besides that of its project, by its "
            "name: that of a proxy, for example. They have to be there, and are never made nor removed. Only admins "
            "may say them.",
            examples=["proxy"],
        ),
    ] = []
    restart: Annotated[
        RestartPolicy,
        Field(strict=False, description="What the engine does when the container ends by itself."),
    ] = RestartPolicy.UNLESS_STOPPED
    strategy: Annotated[
        Strategy,
        Field(
            strict=False,
            validate_default=True,
            description="`recreate` stops the old instance before the new one starts; `blue_green` starts the new one "
            "beside the old. `auto` is `recreate` where both would share a writable volume or a host port. "
            "`blue_green` on a writable volume has two writers for a while: only for programs that can do that.",
        ),
    ] = Strategy.AUTO
    max_instances: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            validate_default=True,
            description="How many instances run side by side. Several only where they share neither a writable volume "
            "nor a host port, or where `strategy: blue_green` says that the program is made for it.",
        ),
    ] = 1
    hooks: HooksModel = HooksModel()
    resources: ResourcesModel = ResourcesModel()
    time_zone: Annotated[
        ZoneName | None,
        Field(
            description="In which its schedules are meant, and where the hours, days, weeks … begin of which "
            "`snapshots.keep` keeps one; the server's if left out.",
            examples=["Europe/Berlin"],
        ),
    ] = None
    snapshots: SnapshotsModel = SnapshotsModel()
    revert_data: Annotated[
        RevertData,
        Field(
            strict=False,
            validate_default=True,
            description="Where a deployment fails after its new version ran on the data: `ask` tells the command that "
            "brings the data of before back, `always` brings it back together with the version of before, `never` "
            "leaves it. `always` only tells, too, where somebody may have gone on writing since: with `blue_green`, "
            "and where a workload shares a volume.",
        ),
    ] = RevertData.ASK

    updates: Annotated[
        UpdatesModel, Field(description="Whether it is deployed by itself once its source names another image.")
    ] = UpdatesModel()
    previews: Annotated[
        PreviewsModel, Field(description="What its previews are like: copies for a branch, for a while.")
    ] = PreviewsModel()

    @field_validator("env", "labels")
    @classmethod
    def _bounded(cls, value: dict[str, str]) -> dict[str, str]:
        if sum(len(key) + len(text) for key, text in value.items()) > MAX_ENV_CHARACTERS:
            raise problem("value_too_large", "holds more than 256 KiB", "Put large texts into a file on a volume.")
        return value

    @field_validator("secrets")
    @classmethod
    def _secrets_apart(cls, names: list[str], info: ValidationInfo) -> list[str]:
        check_secrets(names, info)
        return names

    @field_validator("ports")
    @classmethod
    def _ports_apart(cls, ports: list[Any], info: ValidationInfo) -> list[Any]:
        check_ports(ports, info)
        return ports

    @field_validator("volumes")
    @classmethod
    def _volumes_apart(cls, volumes: list[VolumeModel], info: ValidationInfo) -> list[VolumeModel]:
        check_volumes([volume.target for volume in volumes], info)
        return volumes

    @field_validator("domains")
    @classmethod
    def _domains_lead_somewhere(cls, domains: list[Domain], info: ValidationInfo) -> list[Domain]:
        health = info.data.get("health")
        return check_domains(domains, info.data.get("ports"), health.port if health is not None else None, info)

    @field_validator("strategy")
    @classmethod
    def _strategy_possible(cls, strategy: Strategy, info: ValidationInfo) -> Strategy:
        if strategy is Strategy.BLUE_GREEN and any(port.host_port for port in info.data.get("ports", ())):
            note(
                info,
                ("strategy",),
                "strategy_impossible",
                "can't be blue_green: old and new instance can't both have the same host port",
                "Use recreate, or leave the host port out.",
            )
        return strategy

    @field_validator("max_instances")
    @classmethod
    def _instances_possible(cls, count: int, info: ValidationInfo) -> int:
        writable = any(v.scope is not Scope.EPHEMERAL and not v.read_only for v in info.data.get("volumes", ()))
        fixed = any(port.host_port for port in info.data.get("ports", ()))
        check_instances(count, info.data.get("strategy"), writable=writable, fixed_port=fixed, info=info)
        return count

    @field_validator("snapshots")
    @classmethod
    def _captures_something(cls, snapshots: SnapshotsModel, info: ValidationInfo) -> SnapshotsModel:
        volumes = info.data.get("volumes")
        if (
            snapshots.schedule is not None
            and volumes is not None
            and not any(v.scope in SUPPORTED_SCOPES for v in volumes)
        ):
            note(
                info,
                ("snapshots", "schedule"),
                "key_has_no_effect",
                "takes no snapshots: no volume of the workload is captured",
                "Remove it, or give the workload a volume of a scope that is captured (all but ephemeral).",
            )
        return snapshots

    @field_validator("snapshots")
    @classmethod
    def _hooks_declared(cls, snapshots: SnapshotsModel, info: ValidationInfo) -> SnapshotsModel:
        hooks = info.data.get("hooks")
        if snapshots.quiesce is Quiesce.HOOKS and hooks is not None and not hooks.pre_snapshot:
            note(
                info,
                ("snapshots", "quiesce"),
                "key_missing",
                "is hooks, and there is no hook: hooks.pre_snapshot is missing",
                "Add hooks.pre_snapshot, or choose pause, stop or none.",
            )
        return snapshots

    @field_validator("revert_data")
    @classmethod
    def _has_what_it_reverts_to(cls, revert: RevertData, info: ValidationInfo) -> RevertData:
        snapshots = info.data.get("snapshots")
        if revert is RevertData.ALWAYS and snapshots is not None and not snapshots.before_deploy:
            note(
                info,
                ("revert_data",),
                "key_has_no_effect",
                "is always, and there is nothing to return to: snapshots.before_deploy is false",
                "Remove snapshots.before_deploy, or choose ask or never.",
            )
        return revert

    @field_validator("updates")
    @classmethod
    def _tags_can_be_newer(cls, updates: UpdatesModel, info: ValidationInfo) -> UpdatesModel:
        source = info.data.get("source")
        # An image that can't have a newer one is none of that: a webhook or a promotion may have brought it.
        if updates.tags is not None and source is not None and source.image is None:
            note(
                info,
                ("updates", "tags"),
                "key_has_no_effect",
                "finds no newer tag: its source says which image runs",
                "Remove it, or name an image with a tag like 1.4.2 in source.",
            )
        return updates

    @field_validator("previews")
    @classmethod
    def _previews_lead_somewhere(cls, previews: PreviewsModel, info: ValidationInfo) -> PreviewsModel:
        health = info.data.get("health")
        return with_port(previews, info.data.get("ports"), health.port if health is not None else None, info)

    def spec(self) -> WorkloadSpec:
        """The configuration as the inside of Holdfast knows it. Mappings are sorted: their order means nothing."""
        health = self.health
        return WorkloadSpec(
            name=self.name,
            image=self.source.image or "",
            project=self.project or self.name,
            stage=self.stage,
            env=tuple(sorted(self.env.items())),
            secrets=tuple(SecretRef(name=name) for name in sorted(self.secrets)),
            labels=tuple(sorted(self.labels.items())),
            command=tuple(self.command),
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            user=self.user,
            stop_signal=self.stop_signal,
            stop_grace=self.stop_grace,
            ports=tuple(self.ports),
            domains=tuple(self.domains),
            networks=tuple(sorted(set(self.networks))),
            volumes=tuple(each.volume for each in self.volumes),
            health=HealthCheck(
                type=health.type,
                port=health.port,
                path=health.path or _HEALTH.path,
                command=tuple(health.command or ()),
                interval=health.interval,
                timeout=health.timeout,
                deadline=health.deadline,
            ),
            restart=self.restart,
            strategy=self.strategy,
            max_instances=self.max_instances,
            hooks=self.hooks.hooks(),
            resources=Resources(memory=self.resources.memory, cpus=self.resources.cpus),
            time_zone=self.time_zone,
            snapshots=self.snapshots.policy(),
            updates=self.updates.policy(),
            revert_data=self.revert_data,
            previews=self.previews.policy(),
            plugin=self.source.plugin(),
        )
