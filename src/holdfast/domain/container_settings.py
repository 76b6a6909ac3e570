"""Settings of a foreign container that no workload has, by the keys that Compose has for them.

All that is not as the engine sets it by itself is found: a setting of a later engine's by its own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

_DEFAULT_SHM: Final = 64 << 20
_KEY_OF: Final = {
    "Privileged": "privileged",
    "CapAdd": "cap_add",
    "CapDrop": "cap_drop",
    "Devices": "devices",
    "DeviceCgroupRules": "devices",
    "DeviceRequests": "gpus",
    "Dns": "dns",
    "DnsOptions": "dns",
    "DnsSearch": "dns",
    "ExtraHosts": "extra_hosts",
    "GroupAdd": "group_add",
    "IpcMode": "ipc",
    "PidMode": "pid",
    "UTSMode": "uts",
    "UsernsMode": "userns_mode",
    "Links": "links",
    "VolumesFrom": "volumes_from",
    "ReadonlyRootfs": "read_only",
    "SecurityOpt": "security_opt",
    "ShmSize": "shm_size",
    "Sysctls": "sysctls",
    "Ulimits": "ulimits",
    "OomScoreAdj": "oom_score_adj",
    "OomKillDisable": "oom_kill_disable",
    "PidsLimit": "pids_limit",
    "Runtime": "runtime",
    "Init": "init",
    "CgroupParent": "cgroup_parent",
    "CpuShares": "cpu_shares",
    "CpusetCpus": "cpuset",
    "CpusetMems": "cpuset",
    "MemoryReservation": "mem_reservation",
    "MemorySwap": "memswap_limit",
    "MemorySwappiness": "mem_swappiness",
    "StorageOpt": "storage_opt",
    "Annotations": "annotations",
    "BlkioWeight": "blkio_config",
    "BlkioWeightDevice": "blkio_config",
    "BlkioDeviceReadBps": "blkio_config",
    "BlkioDeviceWriteBps": "blkio_config",
    "BlkioDeviceReadIOps": "blkio_config",
    "BlkioDeviceWriteIOps": "blkio_config",
}
_USUAL: Final[Mapping[str, tuple[object, ...]]] = {
    "IpcMode": ("private", "shareable"),
    "ShmSize": (_DEFAULT_SHM,),
    "PidsLimit": (-1,),
    "MemorySwap": (-1,),
    "MemorySwappiness": (-1,),
    "Runtime": ("runc", "io.containerd.runc.v2"),
}
"""What the engine fills in by itself, beside nothing."""
_ELSEWHERE: Final = frozenset(
    {
        *("Binds", "Mounts", "Tmpfs", "VolumeDriver", "PortBindings", "PublishAllPorts", "RestartPolicy", "Memory"),
        *("NanoCpus", "CpuQuota", "CpuPeriod", "NetworkMode", "LogConfig", "AutoRemove"),
    }
)
"""Carried over, or told of, by others."""
_NOTHING_SET: Final = frozenset(
    {"ContainerIDFile", "CgroupnsMode", "Cgroup", "ConsoleSize", "Isolation", "MaskedPaths", "ReadonlyPaths"}
)
"""What the engine has a value for whatever was asked for, or what means nothing on Linux."""
_LOG_DRIVERS: Final = ("json-file", "local", "journald")
"""What the engine may be configured to use for all."""


def foreign_keys(
    config: Mapping[str, object], host: Mapping[str, object], image: Mapping[str, object], *, short_id: str
) -> Iterator[str]:
    """The keys of what can't be carried over, some of them twice.

    Args:
        config: the container's own configuration.
        host: what it has of the host.
        image: the image's configuration, which is the container's where nothing else was asked for.
        short_id: the engine's name for it within its own network, where it was given none.
    """
    for name, value in host.items():
        if name in _ELSEWHERE or name in _NOTHING_SET or not value or value in _USUAL.get(name, ()):
            continue
        if name == "MemorySwap" and value == 2 * _number(host.get("Memory")):
            continue
        yield _KEY_OF.get(name, name)
    log = host.get("LogConfig")
    if isinstance(log, Mapping) and (log.get("Config") or log.get("Type") not in (*_LOG_DRIVERS, "", None)):
        yield "logging"
    network = str(host.get("NetworkMode") or "")
    if network in ("host", "none") or network.startswith("container:") or config.get("NetworkDisabled"):
        yield "network_mode"
    elif config.get("Hostname") not in (short_id, "", None):
        yield "hostname"
    for name, key in (("Domainname", "domainname"), ("Tty", "tty"), ("OpenStdin", "stdin_open")):
        if config.get(name):
            yield key
    if config.get("MacAddress"):
        yield "mac_address"
    if (config.get("WorkingDir") or "") != (image.get("WorkingDir") or ""):
        yield "working_dir"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
