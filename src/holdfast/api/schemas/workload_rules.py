"""Rules of a workload's declaration that tie several keys together.

They are checked beside the values themselves and noted instead of raised, so that one answer names all problems.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pydantic import ValidationInfo

from holdfast.api.schemas.workload_problems import FoundProblem
from holdfast.api.schemas.workload_values import problem
from holdfast.domain.volumes import is_below
from holdfast.domain.workload import Domain, HealthType, Port, Strategy

_HEALTH_KEYS = {
    "port": frozenset({HealthType.HTTP, HealthType.TCP}),
    "path": frozenset({HealthType.HTTP}),
    "command": frozenset({HealthType.COMMAND}),
}


def note(info: ValidationInfo, path: tuple[str | int, ...], code: str, message: str, next_step: str) -> None:
    """Note a problem beside those that pydantic collects."""
    if isinstance(info.context, list):
        info.context.append(FoundProblem(path=path, code=code, message=message, next_step=next_step))


def check_health_key(key: str, value: object, health_type: HealthType | None) -> None:
    """Raise if ``key`` is needed and missing, or there and without effect."""
    if health_type is None:
        return
    belongs = health_type in _HEALTH_KEYS[key]
    if value is not None and not belongs:
        raise problem("key_has_no_effect", f"means nothing for the type {health_type.value}", "Remove it.")
    if value is None and belongs and key != "path":
        raise problem("key_missing", f"is missing: the type {health_type.value} needs it", f"Add health.{key}.")


def check_secrets(names: Sequence[str], info: ValidationInfo) -> None:
    """No name may be there twice, and none may be a variable that everybody can read as well."""
    env = info.data.get("env", {})
    for index, name in enumerate(names):
        if name in names[:index]:
            note(info, ("secrets", index), "secret_twice", f"is {name}, which is there already", "Remove it.")
        elif name in env:
            note(
                info,
                ("secrets", index),
                "secret_in_env",
                f"is {name}, which env has a value for that everybody can read",
                "Remove it from env; its value is set with holdfast secret set.",
            )


def check_ports(ports: Sequence[Port], info: ValidationInfo) -> None:
    """No two ports may be published at the same address."""
    seen: set[tuple[str, int, str]] = set()
    for index, port in enumerate(ports):
        key = (port.host_ip, port.host_port, port.protocol)
        if port.host_port and key in seen:
            note(
                info,
                ("ports", index),
                "port_twice",
                f"publishes the host port {port.host_port} a second time",
                "Choose another host port.",
            )
        seen.add(key)


def check_domains(
    domains: Sequence[Domain], ports: Sequence[Port] | None, health_port: int | None, info: ValidationInfo
) -> list[Domain]:
    """No domain twice, and each with a port: its own, the health check's, or the only one that is published.

    Args:
        ports: ``None`` where they are malformed.
    """
    usual = usual_port(ports, health_port)
    found: list[Domain] = []
    for index, domain in enumerate(domains):
        if domain.name in {other.name for other in found}:
            note(info, ("domains", index), "domain_twice", f"is {domain.name} a second time", "Remove it.")
        if not domain.port and not usual and ports is not None:
            note(
                info,
                ("domains", index),
                "domain_port_missing",
                f"doesn't say to which port of the container requests for {domain.name} go",
                f"Write {domain.name}:PORT.",
            )
        found.append(dataclasses.replace(domain, port=domain.port or usual))
    return found


def usual_port(ports: Sequence[Port] | None, health_port: int | None) -> int:
    """The container's port that requests go to where nobody says which: the health check's, or the only one; else 0."""
    published = {port.container_port for port in ports or () if port.protocol == "tcp"}
    return health_port or (published.pop() if len(published) == 1 else 0)


def check_volumes(targets: Sequence[str], info: ValidationInfo) -> None:
    """No target may be there twice or lie inside of another: the engine would make directories in the outer volume."""
    for index, target in enumerate(targets):
        for other_index, other in enumerate(targets):
            if index > other_index and target == other:
                note(
                    info,
                    ("volumes", index, "target"),
                    "volume_target_twice",
                    f"is {target}, like that of volumes[{other_index}]",
                    "Choose another target.",
                )
            elif is_below(target, other):
                note(
                    info,
                    ("volumes", index, "target"),
                    "volume_target_nested",
                    f"is {target}, which is inside of {other}: mounting it makes a directory in that volume's data",
                    "Choose a target outside of the other volumes.",
                )


def check_instances(
    count: int, strategy: Strategy | None, *, writable: bool, fixed_port: bool, info: ValidationInfo
) -> None:
    """Several instances at once must be possible."""
    if count == 1 or strategy is None:
        return
    if fixed_port:
        why = "only one instance can have a fixed host port"
        step = "Leave the host port out, or set max_instances to 1."
    elif strategy is Strategy.RECREATE:
        why = "the strategy recreate never runs more than one"
        step = "Use the strategy blue_green, or set max_instances to 1."
    elif strategy is Strategy.AUTO and writable:
        why = "several instances would write to the same volume"
        step = "Set max_instances to 1. If the program is made for several writers, say so with strategy: blue_green."
    else:
        return
    note(info, ("max_instances",), "instances_impossible", f"can't be {count}: {why}", step)
