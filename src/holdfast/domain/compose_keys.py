"""Keys of a compose file that a workload has no place for: what becomes of each, and what to do about it.

A key that stands neither here nor among those that are carried over is named all the same.
"""

from __future__ import annotations

from typing import Final

Told = tuple[str, str]
"""Why, and the next step."""

FLATTEN: Final = "Import what `docker compose config` writes: it puts all of this together."
_NOTHING: Final = "Nothing has to be done."
_RUNS_WITHOUT: Final = "Check that the program works without it, or leave it with Compose."
_MOUNT: Final = "Put the file into a directory, and mount that as a volume; or set what it says in env."

SERVICE_KEYS: Final[dict[str, Told]] = {
    "annotations": ("Containers get no annotations.", _NOTHING),
    "attach": ("Holdfast keeps what all instances print.", _NOTHING),
    "blkio_config": ("Disk bandwidth can't be bounded.", _RUNS_WITHOUT),
    "build": ("Holdfast builds no images.", "Build it, push it to a registry, and name it as source.image."),
    "cap_add": ("Containers get the engine's usual capabilities.", _RUNS_WITHOUT),
    "cap_drop": ("Containers get the engine's usual capabilities.", _RUNS_WITHOUT),
    "configs": ("There are no files from the configuration.", _MOUNT),
    "container_name": (
        "Holdfast names containers itself.",
        "Where others use this name, give them the workload's name.",
    ),
    "credential_spec": ("It means something on Windows only.", _NOTHING),
    "depends_on": (
        "Workloads start and stop on their own.",
        "Deploy what it depends on first; the program has to wait, or to be restarted until that is there.",
    ),
    "devices": ("Containers get no devices of the host.", _RUNS_WITHOUT),
    "dns": ("Names are resolved by the engine.", _RUNS_WITHOUT),
    "domainname": ("A container's own name is the engine's.", _RUNS_WITHOUT),
    "expose": ("Workloads of a project reach each other at all ports.", _NOTHING),
    "extends": ("What it extends is not read.", FLATTEN),
    "external_links": ("Workloads of another project are not reached by name.", "Publish a port, and use that."),
    "extra_hosts": ("No names are added to /etc/hosts.", "Use addresses, or names that a DNS server knows."),
    "gpus": ("Containers get no devices of the host.", _RUNS_WITHOUT),
    "group_add": ("There are no groups beside that of user.", "Give the main group: user: uid:gid."),
    "hostname": ("A container's own name is the engine's.", "Others reach it by the workload's name."),
    "init": ("No init process is put before the program.", "Use an image that brings one, if it leaves zombies."),
    "ipc": ("Namespaces are not shared.", _RUNS_WITHOUT),
    "links": (
        "Workloads of a project find each other by their names.",
        "Use those, where an alias stands after a colon.",
    ),
    "logging": ("Logs are kept by Holdfast.", "Read them with holdfast logs; their bound is container_log_bytes."),
    "network_mode": ("Each project has a network of its own.", "Publish the ports that are needed."),
    "networks": (
        "Each project has one network of its own, on which its workloads find each other by name.",
        "Nothing, unless services were kept apart or have aliases or fixed addresses. Name shared ones under networks.",
    ),
    "oom_score_adj": ("It can't be set.", "Bound the memory with resources.memory."),
    "pid": ("Namespaces are not shared.", _RUNS_WITHOUT),
    "pids_limit": ("The number of processes can't be bounded.", _NOTHING),
    "platform": ("The image is pulled for this host's architecture.", "Check that there is one."),
    "post_start": ("Nothing is run after a start.", "Do it in the image's own start script."),
    "pre_stop": ("Nothing is run before a stop.", "Let the program do it when it gets its stop signal."),
    "privileged": ("Containers get no more rights than usual.", _RUNS_WITHOUT),
    "profiles": ("It is proposed whatever its profiles are.", "Leave out the workload that is not wanted."),
    "pull_policy": ("A deploy always asks the registry, and falls back on the image that is there.", _NOTHING),
    "read_only": ("The container's own files stay writable.", _NOTHING),
    "runtime": ("The engine's default runtime is used.", _RUNS_WITHOUT),
    "secrets": ("Secrets are environment variables, not files.", "Name the variable under secrets, and set its value."),
    "security_opt": ("Containers get the engine's usual profile.", _NOTHING),
    "shm_size": (
        "The size of /dev/shm can't be set.",
        "Add a volume with scope ephemeral, target /dev/shm and that size.",
    ),
    "stdin_open": ("Nobody is at the program's standard input.", _RUNS_WITHOUT),
    "sysctls": ("Kernel settings stay the engine's.", _RUNS_WITHOUT),
    "tty": ("The program gets no terminal.", _NOTHING),
    "ulimits": ("Limits stay the engine's.", "Set them for the engine, in its daemon.json."),
    "userns_mode": ("User namespaces stay the engine's.", _NOTHING),
    "volumes_from": ("Volumes are named by each workload.", "Name them there, with scope project_named."),
    "working_dir": ("The image's own working directory is used.", "Use absolute paths in command and entrypoint."),
}

TOP_KEYS: Final[dict[str, Told]] = {
    "configs": ("There are no files from the configuration.", _MOUNT),
    "include": ("Other files are not read.", FLATTEN),
    "models": ("Models are not run.", "Leave that with Compose."),
    "networks": SERVICE_KEYS["networks"],
    "secrets": SERVICE_KEYS["secrets"],
}

DEPLOY_KEYS: Final[dict[str, Told]] = {
    "endpoint_mode": ("It means something on a swarm only.", _NOTHING),
    "labels": ("They are a swarm's, not the containers'.", _NOTHING),
    "mode": ("It means something on a swarm only.", "Say max_instances for several instances."),
    "placement": ("It means something on a swarm only.", _NOTHING),
    "rollback_config": ("A deployment that fails leaves the old version running.", _NOTHING),
    "update_config": ("How a new version comes is the workload's strategy.", "Say strategy, if auto is not right."),
}

HEALTH_KEYS: Final = frozenset({"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"})

_UNKNOWN: Final[Told] = ("Holdfast has nothing for this key.", _RUNS_WITHOUT)


def told(known: dict[str, Told], key: str) -> Told:
    """What is told of a key that is not carried over."""
    return known.get(key, _UNKNOWN)


def is_extension(key: str) -> bool:
    """Whether a key is the file's own business: it is left out without a word, as Compose does."""
    return key.startswith("x-")
