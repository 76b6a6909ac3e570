"""What the Docker Engine API answers, in the port's words. Pure: data to data.

Only what is needed is read, and with a default: later engines add fields and leave old ones out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.domain.metrics import Totals
from holdfast.domain.workload import Port, RestartPolicy
from holdfast.runtime.port import (
    Container,
    ContainerEvent,
    ContainerState,
    ContainerUsage,
    EngineVolume,
    Image,
    ImageHealth,
    ListedContainer,
    ListedImage,
    Mount,
)

_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000
_DROPPABLE: Final = ("total_inactive_file", "inactive_file")
"""What the kernel only keeps of files, in control groups of version 1 and 2; the engine's client leaves it out, too."""
_NO_CHECK: Final = ["NONE"]
_NO_NAME: Final = "<none>"


def image(answer: Mapping[str, Any]) -> Image:
    """``GET /images/{name}/json``."""
    config = answer.get("Config") or {}
    check = (config.get("Healthcheck") or {}).get("Test") or _NO_CHECK
    return Image(
        id=answer["Id"],
        tags=tuple(answer.get("RepoTags") or ()),
        digests=tuple(answer.get("RepoDigests") or ()),
        user=config.get("User") or "",
        size=int(answer.get("Size") or 0),
        has_healthcheck=check != _NO_CHECK,
        architecture=answer.get("Architecture") or "",
    )


def listed_image(answer: Mapping[str, Any]) -> ListedImage:
    """An entry of ``GET /images/json``. One without a name has ``<none>:<none>`` for one."""
    return ListedImage(
        id=answer["Id"],
        tags=tuple(name for name in answer.get("RepoTags") or () if _NO_NAME not in name),
        digests=tuple(name for name in answer.get("RepoDigests") or () if _NO_NAME not in name),
        size=int(answer.get("Size") or 0),
    )


def volume(answer: Mapping[str, Any]) -> EngineVolume:
    """``GET /volumes/{name}``."""
    return EngineVolume(
        name=answer["Name"],
        driver=answer.get("Driver") or "",
        mountpoint=answer.get("Mountpoint") or "",
        labels=dict(answer.get("Labels") or {}),
        options=dict(answer.get("Options") or {}),
    )


def container(answer: Mapping[str, Any]) -> Container:
    """``GET /containers/{id}/json``."""
    state = answer["State"]
    status = ContainerState(state["Status"])
    policy = answer.get("HostConfig", {}).get("RestartPolicy") or {}
    network = answer.get("NetworkSettings") or {}
    ended = status not in (ContainerState.CREATED, ContainerState.RUNNING, ContainerState.PAUSED)
    return Container(
        id=answer["Id"],
        name=answer["Name"].removeprefix("/"),
        state=status,
        image_id=answer["Image"],
        labels=dict((answer.get("Config") or {}).get("Labels") or {}),
        mounts=_mounts(answer.get("Mounts") or ()),
        restart=RestartPolicy(policy.get("Name") or "no"),
        max_retries=int(policy.get("MaximumRetryCount") or 0),
        created_at=answer.get("Created") or "",
        started_at=state.get("StartedAt") or "",
        finished_at=state.get("FinishedAt") or "",
        exit_code=int(state["ExitCode"]) if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
        restart_count=int(answer.get("RestartCount") or 0),
        health=ImageHealth((state.get("Health") or {}).get("Status") or "none"),
        pid=int(state.get("Pid") or 0),
        ip=_address(network, answer.get("HostConfig", {}).get("NetworkMode") or "")
        if status in (ContainerState.RUNNING, ContainerState.PAUSED)
        else "",
        ports=_ports(network),
    )


def listed_container(answer: Mapping[str, Any]) -> ListedContainer:
    """An entry of ``GET /containers/json``, which has the health in brackets: ``Up 5 minutes (health: starting)``."""
    state = ContainerState(answer["State"])
    told = (answer.get("Status") or "").rpartition("(")[2].removesuffix(")").removeprefix("health: ")
    known = state is ContainerState.RUNNING and told in set(ImageHealth)
    return ListedContainer(id=answer["Id"], state=state, health=ImageHealth(told) if known else ImageHealth.NONE)


def _mounts(answer: Iterable[Mapping[str, Any]]) -> tuple[Mount, ...]:
    """By target: the engine keeps them in a map, and lists the same ones in another order each time."""
    return tuple(sorted((_mount(mount) for mount in answer), key=lambda mount: mount.target))


def _mount(mount: Mapping[str, Any]) -> Mount:
    return Mount(
        type=mount.get("Type") or "",
        source=mount.get("Source") or "",
        target=mount.get("Destination") or "",
        read_only=not mount.get("RW", True),
    )


def _address(network: Mapping[str, Any], own: str) -> str:
    """On the network that it was made with, whatever others it is on: this host may not reach those."""
    endpoints = network.get("Networks") or {}
    in_order = [endpoints.get(own), *endpoints.values()]
    found = (endpoint.get("IPAddress") for endpoint in in_order if endpoint)
    return next((address for address in found if address), network.get("IPAddress") or "")


def _ports(network: Mapping[str, Any]) -> tuple[Port, ...]:
    """Published ports. With IPv6 the engine lists each twice; the port's vocabulary has one address a port."""
    ports: dict[tuple[int, str, int], Port] = {}
    for name, bindings in (network.get("Ports") or {}).items():
        number, _, protocol = name.partition("/")
        for binding in bindings or ():
            key = (int(number), protocol, int(binding["HostPort"]))
            address = binding.get("HostIp") or "0.0.0.0"  # noqa: S104 - how the engine says "all addresses"
            if key not in ports or ":" not in address:
                ports[key] = Port(container_port=key[0], host_port=key[2], host_ip=address, protocol=protocol)
    return tuple(ports[key] for key in sorted(ports))


def usage(container_id: str, labels: Mapping[str, str], answer: Mapping[str, Any], at: float) -> ContainerUsage | None:
    """``GET /containers/{id}/stats``; ``None`` for a container that does not run, of which nothing is counted.

    Args:
        at: when the answer came, in seconds of a clock that only ever goes forward.
    """
    cpu = ((answer.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    memory = answer.get("memory_stats") or {}
    if not cpu or not memory.get("usage"):
        return None
    networks = (answer.get("networks") or {}).values()
    return ContainerUsage(
        container_id=container_id,
        labels=dict(labels),
        totals=Totals(
            at=at,
            cpu=int(cpu) // _MILLISECOND,
            memory=_memory(memory),
            received=sum(int(network.get("rx_bytes") or 0) for network in networks),
            sent=sum(int(network.get("tx_bytes") or 0) for network in networks),
        ),
    )


def _memory(answer: Mapping[str, Any]) -> int:
    usage, counted = int(answer["usage"]), answer.get("stats") or {}
    droppable = next((int(counted[name]) for name in _DROPPABLE if name in counted), 0)
    return usage - droppable if droppable < usage else usage


def event(answer: Mapping[str, Any]) -> ContainerEvent | None:
    """One line of ``GET /events``; ``None`` for commands run inside (``exec_…``), which are no events of their own."""
    action = str(answer.get("Action") or answer.get("status") or "")
    if action.startswith("exec_"):
        return None
    actor = answer.get("Actor") or {}
    nanoseconds = int(answer.get("timeNano") or int(answer.get("time") or 0) * _SECOND)
    return ContainerEvent(
        action=action,
        container_id=actor.get("ID") or answer.get("id") or "",
        labels=dict(actor.get("Attributes") or {}),
        at=rfc3339(nanoseconds),
    )


def rfc3339(nanoseconds: int) -> str:
    """A time since 1970 as the engine writes it elsewhere."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def unix_time(at: str) -> str:
    """An RFC 3339 time as the engine takes it in queries: ``seconds.nanoseconds``, no digit lost."""
    whole, dot, rest = at.partition(".")
    digits = ""
    if dot:
        digits = rest[: next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))]
        whole += rest[len(digits) :]
    seconds = int(datetime.fromisoformat(whole).timestamp())
    return f"{seconds}.{digits[:9]:0<9}"
