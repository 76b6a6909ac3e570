"""Keys of a compose file that a workload has no place for: what becomes of each, and what to do about it.

A key that stands neither here nor among those that are carried over is named all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.domain.told import Told, told

FLATTEN: Final = "Import what `docker compose config` writes: it puts all of this together."
_NOTHING: Final = "Nothing has to be done."
_RUNS_WITHOUT: Final = "Check that the program works without it, or leave it with Compose."
_MOUNT: Final = "Put the file into a directory, and mount that as a volume; or set what it says in env."

SERVICE_KEYS: Final[dict[str, Told]] = {
    "annotations": told("import_key_annotations", "Containers get no annotations.", _NOTHING),
    "attach": told("import_key_attach", "Holdfast keeps what all instances print.", _NOTHING),
    "blkio_config": told("import_key_blkio_config", "Disk bandwidth can't be bounded.", _RUNS_WITHOUT),
    "build": told(
        "import_key_build",
        "Holdfast builds no images.",
        "Build it, push it to a registry, and name it as source.image.",
    ),
    "cap_add": told("import_key_cap_add", "Containers get the engine's usual capabilities.", _RUNS_WITHOUT),
    "cap_drop": told("import_key_cap_add", "Containers get the engine's usual capabilities.", _RUNS_WITHOUT),
    "configs": told("import_key_configs", "There are no files from the configuration.", _MOUNT),
    "container_name": told(
        "import_key_container_name",
        "Holdfast names containers itself.",
        "Where others use this name, give them the workload's name.",
    ),
    "credential_spec": told("import_key_credential_spec", "It means something on Windows only.", _NOTHING),
    "depends_on": told(
        "import_key_depends_on",
        "Workloads start and stop on their own.",
        "Deploy what it depends on first; the program has to wait, or to be restarted until that is there.",
    ),
    "devices": told("import_key_devices", "Containers get no devices of the host.", _RUNS_WITHOUT),
    "dns": told("import_key_dns", "Names are resolved by the engine.", _RUNS_WITHOUT),
    "domainname": told("import_key_domainname", "A container's own name is the engine's.", _RUNS_WITHOUT),
    "expose": told("import_key_expose", "Workloads of a project reach each other at all ports.", _NOTHING),
    "extends": told("import_key_extends", "What it extends is not read.", FLATTEN),
    "external_links": told(
        "import_key_external_links",
        "Workloads of another project are not reached by name.",
        "Publish a port, and use that.",
    ),
    "extra_hosts": told(
        "import_key_extra_hosts",
        "No names are added to /etc/hosts.",
        "Use addresses, or names that a DNS server knows.",
    ),
    "gpus": told("import_key_devices", "Containers get no devices of the host.", _RUNS_WITHOUT),
    "group_add": told(
        "import_key_group_add", "There are no groups beside that of user.", "Give the main group: user: uid:gid."
    ),
    "hostname": told(
        "import_key_hostname", "A container's own name is the engine's.", "Others reach it by the workload's name."
    ),
    "init": told(
        "import_key_init",
        "No init process is put before the program.",
        "Use an image that brings one, if it leaves zombies.",
    ),
    "ipc": told("import_key_ipc", "Namespaces are not shared.", _RUNS_WITHOUT),
    "links": told(
        "import_key_links",
        "Workloads of a project find each other by their names.",
        "Use those, where an alias stands after a colon.",
    ),
    "logging": told(
        "import_key_logging",
        "Logs are kept by Holdfast.",
        "Read them with holdfast logs; their bound is container_log_bytes.",
    ),
    "network_mode": told(
        "import_key_network_mode", "Each project has a network of its own.", "Publish the ports that are needed."
    ),
    "networks": told(
        "import_key_networks",
        "Each project has one network of its own, on which its workloads find each other by name.",
        "Nothing, unless services were kept apart or have aliases or fixed addresses. Name shared ones under networks.",
    ),
    "oom_score_adj": told("import_key_oom_score_adj", "It can't be set.", "Bound the memory with resources.memory."),
    "pid": told("import_key_ipc", "Namespaces are not shared.", _RUNS_WITHOUT),
    "pids_limit": told("import_key_pids_limit", "The number of processes can't be bounded.", _NOTHING),
    "platform": told(
        "import_key_platform", "The image is pulled for this host's architecture.", "Check that there is one."
    ),
    "post_start": told(
        "import_key_post_start", "Nothing is run after a start.", "Do it in the image's own start script."
    ),
    "pre_stop": told(
        "import_key_pre_stop", "Nothing is run before a stop.", "Let the program do it when it gets its stop signal."
    ),
    "privileged": told("import_key_privileged", "Containers get no more rights than usual.", _RUNS_WITHOUT),
    "profiles": told(
        "import_key_profiles", "It is proposed whatever its profiles are.", "Leave out the workload that is not wanted."
    ),
    "pull_policy": told(
        "import_key_pull_policy",
        "A deploy always asks the registry, and falls back on the image that is there.",
        _NOTHING,
    ),
    "read_only": told("import_key_read_only", "The container's own files stay writable.", _NOTHING),
    "runtime": told("import_key_runtime", "The engine's default runtime is used.", _RUNS_WITHOUT),
    "secrets": told(
        "import_key_secrets",
        "Secrets are environment variables, not files.",
        "Name the variable under secrets, and set its value.",
    ),
    "security_opt": told("import_key_security_opt", "Containers get the engine's usual profile.", _NOTHING),
    "shm_size": told(
        "import_key_shm_size",
        "The size of /dev/shm can't be set.",
        "Add a volume with scope ephemeral, target /dev/shm and that size.",
    ),
    "stdin_open": told("import_key_stdin_open", "Nobody is at the program's standard input.", _RUNS_WITHOUT),
    "sysctls": told("import_key_sysctls", "Kernel settings stay the engine's.", _RUNS_WITHOUT),
    "tty": told("import_key_tty", "The program gets no terminal.", _NOTHING),
    "ulimits": told("import_key_ulimits", "Limits stay the engine's.", "Set them for the engine, in its daemon.json."),
    "userns_mode": told("import_key_userns_mode", "User namespaces stay the engine's.", _NOTHING),
    "volumes_from": told(
        "import_key_volumes_from", "Volumes are named by each workload.", "Name them there, with scope project_named."
    ),
    "working_dir": told(
        "import_key_working_dir",
        "The image's own working directory is used.",
        "Use absolute paths in command and entrypoint.",
    ),
}

TOP_KEYS: Final[dict[str, Told]] = {
    "configs": told("import_key_configs", "There are no files from the configuration.", _MOUNT),
    "include": told("import_key_include", "Other files are not read.", FLATTEN),
    "models": told("import_key_models", "Models are not run.", "Leave that with Compose."),
    "networks": SERVICE_KEYS["networks"],
    "secrets": SERVICE_KEYS["secrets"],
}

DEPLOY_KEYS: Final[dict[str, Told]] = {
    "endpoint_mode": told("import_swarm_endpoint_mode", "It means something on a swarm only.", _NOTHING),
    "labels": told("import_swarm_labels", "They are a swarm's, not the containers'.", _NOTHING),
    "mode": told(
        "import_swarm_mode", "It means something on a swarm only.", "Say max_instances for several instances."
    ),
    "placement": told("import_swarm_endpoint_mode", "It means something on a swarm only.", _NOTHING),
    "rollback_config": told(
        "import_swarm_rollback_config", "A deployment that fails leaves the old version running.", _NOTHING
    ),
    "update_config": told(
        "import_swarm_update_config",
        "How a new version comes is the workload's strategy.",
        "Say strategy, if auto is not right.",
    ),
}

HEALTH_KEYS: Final = frozenset({"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"})

_UNKNOWN: Final[Told] = told("import_key_unknown", "Holdfast has nothing for this key.", _RUNS_WITHOUT)


def of(known: Mapping[str, Told], key: str) -> Told:
    """What is told of a key that is not carried over."""
    return known.get(key, _UNKNOWN)


def is_extension(key: str) -> bool:
    """Whether a key is the file's own business: it is left out without a word, as Compose does."""
    return key.startswith("x-")
