"""Foreign containers as proposals: the declaration of one workload for each, on the data that they have.

What the engine says of a container is data here, in the words of its API. It is put into the words of a compose file
and goes the way of those (:mod:`holdfast.domain.compose_service`); mounts have one of their own. Invariants:

- Every setting that is not the engine's own default is carried over, or named with its place, a reason and a next step.
- What the image brings by itself is in no declaration: a later image brings its own.
- The value of a variable that looks like a secret is in no finding, and in no ``env``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from holdfast.domain import compose_keys as keys
from holdfast.domain.compose import ProposedWorkload, project_name, tell_shared_directories, workload_names
from holdfast.domain.compose_findings import Finding, Findings, Path, words
from holdfast.domain.compose_service import Context, declaration
from holdfast.domain.compose_variables import Variables
from holdfast.domain.compose_volumes import Surroundings
from holdfast.domain.container_layer import tell_layer
from holdfast.domain.container_settings import foreign_keys
from holdfast.domain.container_volumes import ForeignVolume, Host, carried_mounts, engine_volumes_of
from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.told import told
from holdfast.domain.workload import Scope

MAX_CONTAINERS: Final = 50
"""Of one request."""
COMPOSE: Final = "com.docker.compose."
_SHORT_ID: Final = 12
_OWN_NETWORKS: Final = ("", "default", "bridge", "host", "none")
_MICROSECOND: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignContainer:
    """A container as the engine tells of it, and of its image; that is empty where it is gone.

    Attributes:
        changed: paths that it has written beside its mounts.
    """

    container: Mapping[str, Any] = field(repr=False)
    image: Mapping[str, Any] = field(repr=False)
    changed: Sequence[str] = ()

    @property
    def id(self) -> str:
        return str(self.container["Id"])

    @property
    def name(self) -> str:
        return str(self.container["Name"]).removeprefix("/")

    @property
    def config(self) -> Mapping[str, Any]:
        return self.container.get("Config") or {}

    @property
    def host(self) -> Mapping[str, Any]:
        return self.container.get("HostConfig") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        return self.config.get("Labels") or {}

    @property
    def image_config(self) -> Mapping[str, Any]:
        return self.image.get("Config") or {}

    def compose(self, label: str) -> str:
        """What Compose noted of it; empty if it did not."""
        return self.labels.get(f"{COMPOSE}{label}", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedContainer:
    """A container as a workload.

    Attributes:
        secrets: values of the variables that the declaration names as secrets.
        lost: targets that it may write to and that the declaration has no volume for.
        waits_for: names of the other containers that it depends on.
    """

    container: ForeignContainer
    workload: ProposedWorkload
    secrets: Mapping[str, str] = field(repr=False)
    lost: tuple[str, ...]
    waits_for: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersProposal:
    """What containers come to, each after those that it depends on; ``findings``: what belongs to no single one."""

    containers: tuple[ProposedContainer, ...]
    findings: tuple[Finding, ...]


def propose_containers(
    containers: Sequence[ForeignContainer],
    *,
    project: str | None,
    volumes: Mapping[str, ForeignVolume],
    files: Iterable[str],
    beside: Mapping[str, Sequence[str]] | None = None,
) -> ContainersProposal:
    """Propose workloads.

    Args:
        project: for all of them; ``None``: Compose's, or each its own.
        volumes: the engine's that they mount.
        files: host paths that they mount and that are no directories.
        beside: by Compose's projects, names of running containers that are not among those.
    """
    findings = Findings()
    users = Counter(name for each in containers for name in {*engine_volumes_of(each.container)})
    host = Host(volumes=volumes, files=frozenset(files), shared={name for name, count in users.items() if count > 1})
    called = _called(containers)
    names = workload_names(tuple(called.values()))
    proposed = [
        _proposed(
            each,
            called[each.id],
            names[called[each.id]],
            project,
            containers,
            host,
            (beside or {}).get(each.compose("project"), ()),
        )
        for each in containers
    ]
    tell_shared_directories([each.workload for each in proposed], findings)
    _tell_shared_volumes(proposed, findings)
    return ContainersProposal(containers=tuple(_in_order(proposed)), findings=findings.found)


def _called(containers: Sequence[ForeignContainer]) -> dict[str, str]:
    """What each is called, by its id: as Compose calls its service, or by its own name where another has that."""
    called = {each.id: each.compose("service") or each.name for each in containers}
    while len({*called.values()}) < len(called):
        times = Counter(called.values())
        called |= {each.id: each.name for each in containers if times[called[each.id]] > 1}
    return called


def _proposed(
    each: ForeignContainer,
    called: str,
    name: str,
    project: str | None,
    everyone: Sequence[ForeignContainer],
    host: Host,
    beside: Sequence[str],
) -> ProposedContainer:
    findings, path = Findings(), (each.name,)
    if name != called:
        findings.note(
            path,
            told(
                "import_workload_renamed",
                "The workload is called {name}: {given} can't be its name.",
                "Where others reach it as {given}, name {name} there.",
                name=name,
                given=words(called),
            ),
        )
    whose = project or each.compose("project")
    context = Context(
        project=project_name(whose, findings, (*path, "project")) if whose else name,
        around=Surroundings(declared={}, shared=frozenset(), directory="", home="", project=""),
        variables=Variables({}),
        used={},
        env_files={},
    )
    service = _service(each, path, findings)
    document = declaration(name, service, path, context, findings)
    mounts = carried_mounts(each.container, path, host, findings)
    if mounts.volumes:
        document["volumes"] = mounts.volumes
    if not whose:
        del document["project"]
    _tell_network(each, path, beside, findings)
    tell_layer(each.container, each.changed, path, findings)
    if each.compose("project"):
        findings.note(
            (*path, "compose"),
            told(
                "import_made_by_compose",
                "Compose made it, and makes it again the next time that `docker compose up` runs: beside the workload.",
                "Take it out of the compose file before that.",
            ),
        )
    waits_for = _waits_for(each, everyone)
    if waits_for:
        findings.note((*path, "depends_on"), keys.of(keys.SERVICE_KEYS, "depends_on"))
    secrets = document.get("secrets")
    environment = service["environment"]
    assert isinstance(environment, Mapping)
    return ProposedContainer(
        container=each,
        workload=ProposedWorkload(service=each.name, name=name, document=document, findings=findings.found),
        secrets={secret: environment[secret] for secret in secrets} if isinstance(secrets, list) else {},
        lost=mounts.lost,
        waits_for=waits_for,
    )


def _service(each: ForeignContainer, path: Path, findings: Findings) -> dict[str, object]:
    """The container in the words of a compose file, as far as the image does not say the same by itself."""
    config, host, image = each.config, each.host, each.image_config
    inherited = set(image.get("Env") or ())
    service: dict[str, object] = dict.fromkeys(foreign_keys(config, host, image, short_id=each.id[:_SHORT_ID]), True)
    service["image"] = _image(each, path, findings)
    service["environment"] = {
        name: value
        for name, equals, value in (entry.partition("=") for entry in config.get("Env") or ())
        if equals and f"{name}={value}" not in inherited
    }
    from_image = image.get("Labels") or {}
    service["labels"] = {
        name: value
        for name, value in each.labels.items()
        if not name.startswith(COMPOSE) and from_image.get(name) != value
    }
    service |= _command(config, image)
    if config.get("User") and config.get("User") != image.get("User"):
        service["user"] = config["User"]
    if config.get("StopSignal") not in (None, "", "SIGTERM", image.get("StopSignal")):
        service["stop_signal"] = config["StopSignal"]
    if config.get("StopTimeout") is not None:
        service["stop_grace_period"] = f"{config['StopTimeout']}s"
    service["ports"] = _ports(host.get("PortBindings") or {})
    if host.get("PublishAllPorts"):
        findings.left_out(
            (*path, "publish_all"),
            told(
                "import_random_ports",
                "Its ports are published at random by -P.",
                "Write those that are needed into ports.",
            ),
        )
    check = _healthcheck(config.get("Healthcheck"), image.get("Healthcheck"))
    if check is not None:
        service["healthcheck"] = check
    policy = host.get("RestartPolicy") or {}
    times = policy.get("MaximumRetryCount")
    service["restart"] = f"{policy.get('Name') or 'no'}{f':{times}' if times else ''}"
    if host.get("AutoRemove"):
        findings.left_out(
            (*path, "auto_remove"),
            told("import_removes_itself", "The engine removes it when it stops.", "Holdfast keeps the last one."),
        )
    return service | _bounds(host)


def _image(each: ForeignContainer, path: Path, findings: Findings) -> str | None:
    """By name, with the digest that its registry gave it where there is one."""
    digests = [parse_image_ref(digest) for digest in each.image.get("RepoDigests") or () if "<none>" not in digest]
    tags = [tag for tag in each.image.get("RepoTags") or () if "<none>" not in tag]
    for written in (str(each.config.get("Image") or ""), *tags, *map(str, digests)):
        try:
            wanted = parse_image_ref(written)
        except InvalidInput:
            continue  # the id of an image, of which another name may be known
        alike = [found for found in digests if _same_name(found.canonical, replace(wanted, tag=None).canonical)]
        if wanted.digest or not alike:
            if not wanted.digest and wanted.with_tag not in tags:
                findings.note(
                    (*path, "image"),
                    told(
                        "import_image_renamed",
                        "{image} is the name of another image by now than the one that runs.",
                        "See what is new in it before you deploy.",
                        image=words(written),
                    ),
                )
            return str(wanted)
        findings.note(
            (*path, "image"),
            told(
                "import_pinned",
                "It is pinned to the image that runs now.",
                "Take the digest away (@sha256:…) to follow the tag.",
            ),
        )
        return str(replace(wanted, tag=wanted.effective_tag, digest=alike[0].digest))
    findings.left_out(
        (*path, "image"),
        told(
            "import_image_unnamed", "Its image has no name.", "Give it one (docker tag), and name that as source.image."
        ),
    )
    return None


def _same_name(one: str, other: str) -> bool:
    return one.partition("@")[0] == other.partition("@")[0].removesuffix(":latest")


def _command(config: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, object]:
    """Where it is not the image's own. With an entrypoint of its own the image's command means nothing."""
    entrypoint, command = list(config.get("Entrypoint") or ()), list(config.get("Cmd") or ())
    if entrypoint == list(image.get("Entrypoint") or ()):
        if command == list(image.get("Cmd") or ()):
            return {}
        if command:
            return {"command": command}
    return {"entrypoint": entrypoint} | ({"command": command} if command else {})


def _ports(bindings: Mapping[str, Any]) -> list[str]:
    made = []
    for inner in sorted(bindings):
        for binding in bindings[inner] or ():
            address, outer = str(binding.get("HostIp") or ""), str(binding.get("HostPort") or "").removeprefix("0")
            address = f"[{address}]" if ":" in address else address
            front = f"{address}:{outer}:" if address else f"{outer}:" if outer else ""
            made.append(f"{front}{inner.removesuffix('/tcp')}")
    return made


def _healthcheck(check: Mapping[str, Any] | None, of_image: Mapping[str, Any] | None) -> dict[str, object] | None:
    """As Compose writes it; without a test where it is the image's own."""
    test = list((check or {}).get("Test") or ())
    if not check or (test == ["NONE"] and not of_image):
        return None
    if check == of_image and test != ["NONE"]:
        return {}
    made: dict[str, object] = {"test": test} if test else {}
    for name, key in (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start_period")):
        if check.get(name):
            made[key] = f"{check[name] // _MICROSECOND}us"
    return made | ({"retries": check["Retries"]} if check.get("Retries") else {})


def _bounds(host: Mapping[str, Any]) -> dict[str, object]:
    bounds: dict[str, object] = {}
    if host.get("Memory"):
        bounds["mem_limit"] = host["Memory"]
    if host.get("NanoCpus"):
        bounds["cpus"] = host["NanoCpus"] / 1e9
    elif (host.get("CpuQuota") or 0) > 0:
        bounds["cpus"] = host["CpuQuota"] / (host.get("CpuPeriod") or 100_000)
    return bounds


def _tell_network(each: ForeignContainer, path: Path, beside: Sequence[str], findings: Findings) -> None:
    if beside:
        findings.left_out(
            (*path, "networks"),
            told(
                "import_beside",
                "{containers} of the same project of Compose would not find it by its name any more.",
                "Import all that find each other by name together.",
                containers=[words(each) for each in beside],
            ),
        )
    own = (*_OWN_NETWORKS, f"{each.compose('project')}_default" if each.compose("project") else "")
    networks = (each.container.get("NetworkSettings") or {}).get("Networks") or {}
    if any(((network or {}).get("IPAMConfig") or {}).values() for network in networks.values()):
        findings.left_out(
            (*path, "ip_address"),
            told(
                "import_own_address",
                "It has an address of its own choice.",
                "Where others use it, have them use its name.",
            ),
        )
    left = sorted(name for name in networks if name not in own)
    if left:
        findings.left_out(
            (*path, "networks"),
            told(
                "import_leaves_networks",
                "It leaves {networks}: each project has one network of its own, on which its workloads find each "
                "other by name.",
                "Import all that find each other by name together, into one project; name shared ones under networks.",
                networks=[words(each) for each in left],
            ),
        )


def _waits_for(each: ForeignContainer, everyone: Sequence[ForeignContainer]) -> tuple[str, ...]:
    """The containers that Compose starts before this one, among those that are given."""
    services = {entry.partition(":")[0] for entry in each.compose("depends_on").split(",")} - {""}
    return tuple(
        other.name
        for other in everyone
        if other.id != each.id
        and other.compose("service") in services
        and other.compose("project") == each.compose("project")
    )


def _in_order(proposed: Sequence[ProposedContainer]) -> list[ProposedContainer]:
    """Each after those that it waits for; as they are given where they wait for each other."""
    left, ordered = list(proposed), list[ProposedContainer]()
    while left:
        waiting = {each.workload.service for each in left}
        ready = [each for each in left if waiting.isdisjoint(each.waits_for)] or left[:1]
        ordered += ready
        left = [each for each in left if each not in ready]
    return ordered


def _tell_shared_volumes(proposed: Sequence[ProposedContainer], findings: Findings) -> None:
    """A volume is shared within one project only."""
    projects: dict[object, set[object]] = {}
    for each in proposed:
        volumes = each.workload.document.get("volumes", [])
        assert isinstance(volumes, list)
        for volume in volumes:
            if volume["scope"] == Scope.PROJECT_NAMED.value:
                mine = each.workload.document.get("project", each.workload.name)
                projects.setdefault(volume["engine_volume"], set()).add(mine)
    for volume, found in projects.items():
        if len(found) > 1:
            findings.note(
                ("volumes", str(volume)),
                told(
                    "import_shared_by_projects",
                    "Workloads of several projects would share it: {projects}.",
                    "Name one project for all of them: --project (project).",
                    projects=sorted(map(str, found)),
                ),
            )
