"""What the port asks for, in the words of the Docker Engine API. Pure: data to data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import Bind, ContainerSpec, Tmpfs, VolumeMount

_IMAGE_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")
_LOG_FILES: Final = frozenset({"json-file", "local"})
"""Drivers that keep logs in files of the engine's, and take the same options."""
_LOG_FILE_COUNT: Final = 3


def create_body(spec: ContainerSpec) -> dict[str, Any]:
    """The body of ``POST /containers/create``.

    Host directories go into ``HostConfig.Mounts``: the older ``Binds`` silently make a directory where the source is
    missing, and a database then starts on nothing.
    """
    body: dict[str, Any] = {
        "Image": spec.image,
        "Labels": dict(spec.labels),
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "StopTimeout": math.ceil(spec.stop_grace),
        "ExposedPorts": {f"{port.container_port}/{port.protocol}": {} for port in spec.ports},
        "HostConfig": _host_config(spec),
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        body["Entrypoint"] = list(spec.entrypoint)
    if spec.user is not None:
        body["User"] = spec.user
    if spec.stop_signal is not None:
        body["StopSignal"] = spec.stop_signal
    if spec.network is not None:
        body["NetworkingConfig"] = {"EndpointsConfig": {spec.network: {"Aliases": list(spec.aliases)}}}
    return body


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        chosen = {"HostIp": port.host_ip, "HostPort": str(port.host_port) if port.host_port else ""}
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(chosen)
    config: dict[str, Any] = {
        "Mounts": [*map(_bind, spec.binds), *map(_volume, spec.volumes), *map(_tmpfs, spec.tmpfs)],
        "RestartPolicy": restart_policy(spec.restart),
        "PortBindings": bindings,
    }
    if spec.network is not None:
        config["NetworkMode"] = spec.network
    if spec.memory is not None:
        config["Memory"] = spec.memory
    if spec.cpus is not None:
        config["NanoCpus"] = round(spec.cpus * 1_000_000_000)
    return config


def _bind(bind: Bind) -> dict[str, Any]:
    return {"Type": "bind", "Source": bind.source, "Target": bind.target, "ReadOnly": bind.read_only}


def _volume(mount: VolumeMount) -> dict[str, Any]:
    """``NoCopy``: what a volume holds is its workload's and its snapshots', never something of an image's."""
    return {
        "Type": "volume",
        "Source": mount.name,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "VolumeOptions": {"NoCopy": True},
    }


def _tmpfs(tmpfs: Tmpfs) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": "tmpfs", "Target": tmpfs.target}
    if tmpfs.size is not None:
        mount["TmpfsOptions"] = {"SizeBytes": tmpfs.size}
    return mount


def restart_policy(policy: RestartPolicy, max_retries: int = 0) -> dict[str, Any]:
    """A restart policy; the engine refuses a number of retries for all but ``on-failure``."""
    retries = max_retries if policy is RestartPolicy.ON_FAILURE else 0
    return {"Name": policy.value, "MaximumRetryCount": retries}


def log_config(driver: str, most: int) -> dict[str, Any]:
    """What bounds a container's log at ``most`` bytes, as part of ``HostConfig``; nothing for drivers without files.

    The engine drops the oldest of its files when the newest is full: at least two thirds are always there.
    """
    if driver not in _LOG_FILES:
        return {}
    options = {"max-size": str(max(1, most // _LOG_FILE_COUNT)), "max-file": str(_LOG_FILE_COUNT)}
    return {"LogConfig": {"Type": driver, "Config": options}}


def label_filters(labels: Mapping[str, str] | None) -> dict[str, list[str]]:
    """The ``filters`` that find what carries all ``labels``."""
    return {"label": [f"{name}={value}" for name, value in labels.items()]} if labels else {}


def image_path(reference: str) -> str:
    """A reference as part of a path; only what is a reference or an id gets there."""
    if _IMAGE_ID.fullmatch(reference):
        return reference
    return quote(parse_image_ref(reference).with_tag, safe="/:@")
