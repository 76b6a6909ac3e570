"""One service of a compose file as the declaration of a workload."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.domain import compose_keys as keys
from holdfast.domain.compose_findings import Findings, Path, words
from holdfast.domain.compose_health import health
from holdfast.domain.compose_values import number, pairs, ports, scalar, seconds, size
from holdfast.domain.compose_variables import Variables, looks_secret
from holdfast.domain.compose_volumes import Surroundings, volumes
from holdfast.domain.told import told
from holdfast.domain.workload import RestartPolicy

_RESTART_OF: Final = {
    "none": RestartPolicy.NO,
    "any": RestartPolicy.ALWAYS,
    **{each.value: each for each in RestartPolicy},
}
_MAX_WORDS: Final = 1000
"""Of a command; what a declaration may have."""
_CARRIED: Final = frozenset(
    {
        *("image", "environment", "env_file", "labels", "command", "entrypoint", "user", "stop_signal"),
        *("stop_grace_period", "ports", "volumes", "tmpfs", "healthcheck", "restart", "deploy", "scale"),
        *("mem_limit", "cpus"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """An ``env_file`` that a service names: as it is written, and whether Compose would go on without it."""

    written: str
    path: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a service is looked at with.

    Attributes:
        used: of each place in the file the variables whose values were filled in there.
        env_files: the variables of the files that were sent, by their paths.
        variables: of whoever imports.
    """

    project: str
    around: Surroundings
    variables: Variables
    used: Mapping[Path, frozenset[str]]
    env_files: Mapping[str, Mapping[str, str]]


@dataclass(slots=True)
class _Environment:
    env: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


def declaration(
    name: str, service: Mapping[str, object], path: Path, context: Context, findings: Findings
) -> dict[str, object]:
    """What a service is as a workload, in the order of the reference; what it has no place for goes to ``findings``."""
    for key in service:
        if key not in _CARRIED and not keys.is_extension(key):
            findings.left_out((*path, key), keys.of(keys.SERVICE_KEYS, key))
    environment = _environment(name, service, path, context, findings)
    made: dict[str, object] = {
        "name": name,
        "project": context.project,
        "source": _source(service, path, findings),
        "env": environment.env,
        "secrets": environment.secrets,
        "labels": _labels(service.get("labels"), (*path, "labels"), findings),
        "command": _words(service, "command", path, findings) or [],
        "entrypoint": _words(service, "entrypoint", path, findings),
        "user": _text(service, "user", path, findings),
        "stop_signal": _text(service, "stop_signal", path, findings),
        "stop_grace": _stop_grace(service, path, findings),
        "ports": ports(service.get("ports"), (*path, "ports"), findings),
        "volumes": volumes(service.get("volumes"), service.get("tmpfs"), path, context.around, findings),
        "health": health(service.get("healthcheck"), (*path, "healthcheck"), findings),
        "restart": _restart(service, path, findings),
        "max_instances": _instances(service, path, findings),
        "resources": _resources(service, path, findings),
    }
    _tell_plain_secrets(path, context, findings)
    return {key: value for key, value in made.items() if value is not None and value not in ([], {})} | (
        {"entrypoint": []} if made["entrypoint"] == [] else {}
    )


def env_files(service: Mapping[str, object], path: Path, findings: Findings) -> Iterator[tuple[EnvFile, Path]]:
    """The files that a service takes variables from, in the order in which they count."""
    given = service.get("env_file")
    if given is None:
        return
    for index, entry in enumerate(given if isinstance(given, list) else [given]):
        place = (*path, "env_file", index) if isinstance(given, list) else (*path, "env_file")
        if isinstance(entry, str) and entry:
            yield EnvFile(written=entry, path=entry, required=True), place
        elif isinstance(entry, Mapping) and isinstance(entry.get("path"), str):
            file = str(entry["path"])
            yield EnvFile(written=file, path=file, required=entry.get("required", True) is not False), place
            for key in entry:
                if key not in ("path", "required"):
                    findings.left_out(
                        (*place, key),
                        told("import_env_file_option", "Env files are all read the same way.", "Check the values."),
                    )
        else:
            findings.wrong_type(place, told("wanted_file", "the path of a file"))


def _environment(
    workload: str, service: Mapping[str, object], path: Path, context: Context, findings: Findings
) -> _Environment:
    values: dict[str, tuple[str, bool, Path]] = {}
    for file, place in env_files(service, path, findings):
        variables = context.env_files.get(file.path)
        if variables is None:
            missing = told(
                "import_file_missing",
                "The file {file} was not there to be read.",
                "Take it over once the workload is applied: holdfast env import {workload} FILE",
                file=words(file.path),
                workload=workload,
            )
            findings.left_out(place, missing)
            continue
        for name, value in variables.items():
            context.variables.spend(len(name) + len(value))
            values[name] = (value, looks_secret(name, value), place)
        if any("$" in value for value in variables.values()):
            findings.note(
                place,
                told(
                    "import_value_with_dollar",
                    "A value in {file} holds a $; it is taken as it is.",
                    "Write out what it stands for.",
                    file=words(file.path),
                ),
            )
    for name, given, place in pairs(service.get("environment"), (*path, "environment"), findings):
        text = scalar(given) if given is not None else context.variables.get(name)
        if text is None and given is None:
            findings.left_out(
                place,
                told(
                    "import_variable_missing",
                    "The variable {name} has no value in the file, and none was sent.",
                    "Set it in the environment and import again, or write it into env or secrets.",
                    name=words(name),
                ),
            )
        elif text is None:
            findings.wrong_type(place, told("wanted_text_or_number", "a text or number"))
        else:
            filled = any(looks_secret(used) for used in context.used.get(place, ()))
            values[name] = (text, filled or looks_secret(name, text), place)
    made = _Environment()
    for name, (text, secret, place) in values.items():
        if secret and text:
            made.secrets.append(name)
            findings.note(
                place,
                told(
                    "import_looks_secret",
                    "{name} looks like a secret: its value is not in the proposal.",
                    "Set it once the workload is applied: holdfast secret set {workload} {name}",
                    name=words(name),
                    workload=workload,
                ),
            )
        else:
            made.env[name] = text
    return made


def _tell_plain_secrets(path: Path, context: Context, findings: Findings) -> None:
    """Secrets that stand anywhere else than in the environment stay readable."""
    for place, used in context.used.items():
        inside = place[: len(path)] == path and place[len(path) : len(path) + 1] != ("environment",)
        names = sorted(filter(looks_secret, used)) if inside else []
        if names:
            findings.note(
                place,
                told(
                    "import_secret_readable",
                    "The value of {names} stands in it, readable for all who may see the workload.",
                    "Let the program take it from its environment, where it can be a secret.",
                    names=names,
                ),
            )


def _source(service: Mapping[str, object], path: Path, findings: Findings) -> dict[str, object]:
    image = _text(service, "image", path, findings)
    if image is None and "build" not in service:
        findings.left_out(path, told("import_no_image", "The service names no image.", "Name one as source.image."))
    return {"type": "image"} if image is None else {"type": "image", "image": image}


def _labels(value: object, path: Path, findings: Findings) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, given, place in pairs(value, path, findings):
        text = "" if given is None else scalar(given)
        if text is None:
            findings.wrong_type(place, told("wanted_text", "a text"))
        else:
            made[name] = text
    if any(name.startswith(("traefik.", "caddy")) for name in made):
        findings.note(
            path,
            told(
                "import_proxy_labels",
                "Labels that speak to a proxy reach it only if it runs on.",
                "Or name the workload's domains: domains.",
            ),
        )
    return made


def _words(service: Mapping[str, object], key: str, path: Path, findings: Findings) -> list[str] | None:
    """A command line as a list; a text is split as a shell would."""
    value, place = service.get(key), (*path, key)
    if value is None:
        return None
    if isinstance(value, list):
        texts = [text for item in value if (text := scalar(item)) is not None]
        if len(texts) != len(value):
            findings.wrong_type(place, told("wanted_texts", "a list of texts"))
            return None
    elif isinstance(value, str):
        try:
            texts = shlex.split(value)
        except ValueError:
            findings.left_out(
                place, told("import_quote_open", "A quote in it is not closed.", "Mend it in the compose file.")
            )
            return None
    else:
        findings.wrong_type(place, told("wanted_text_or_texts", "a text, or a list of texts"))
        return None
    if len(texts) > _MAX_WORDS:
        findings.left_out(
            place,
            told(
                "import_too_many_words",
                "It has more than {most} words.",
                "Put them into a script on a volume.",
                most=_MAX_WORDS,
            ),
        )
        return None
    if not texts and key == "command":
        findings.left_out(
            place,
            told(
                "import_empty_command",
                "An empty command: the image's own can't be taken away.",
                "Name entrypoint and command in full.",
            ),
        )
    return texts


def _text(service: Mapping[str, object], key: str, path: Path, findings: Findings) -> str | None:
    value = service.get(key)
    text = None if isinstance(value, (bool, float)) else scalar(value)
    if text is None and value is not None:
        findings.wrong_type((*path, key), told("wanted_text", "a text"))
    return text or None


def _stop_grace(service: Mapping[str, object], path: Path, findings: Findings) -> int | float | None:
    value = service.get("stop_grace_period")
    if value is None:
        return None
    grace = seconds(value)
    if grace is None:
        findings.wrong_type((*path, "stop_grace_period"), told("wanted_duration", "a duration such as 1m30s"))
        return None
    return number(grace)


def _restart(service: Mapping[str, object], path: Path, findings: Findings) -> str | None:
    value, place = service.get("restart"), (*path, "restart")
    deploy = service.get("deploy")
    policy = deploy.get("restart_policy") if isinstance(deploy, Mapping) else None
    if value is None and isinstance(policy, Mapping):
        place = (*path, "deploy", "restart_policy")
        value = policy.get("condition", "any")
        for key in policy:
            if key != "condition":
                findings.left_out(
                    (*place, key),
                    told("import_restart_pace", "The engine's own pace is taken.", "Nothing has to be done."),
                )
    if value is None:
        findings.note(
            place,
            told(
                "import_starts_once",
                "Compose starts it once and never again, and so does this proposal.",
                "For a program that is meant to go on, leave restart out: unless-stopped is usual.",
            ),
        )
        return RestartPolicy.NO.value
    if value is False:  # what an unquoted `no` was in YAML 1.1
        value = "no"
    kind, _, times = value.partition(":") if isinstance(value, str) else ("", "", "")
    found = _RESTART_OF.get(kind)
    if found is None:
        findings.left_out(
            place,
            told(
                "import_restart_unknown", "No such restart policy.", "Write no, on-failure, always or unless-stopped."
            ),
        )
        return None
    if times:
        findings.left_out(
            place, told("import_restart_times", "How often it is started again at most.", "Nothing has to be done.")
        )
    return found.value


def _instances(service: Mapping[str, object], path: Path, findings: Findings) -> int | None:
    deploy = service.get("deploy")
    if deploy is not None and not isinstance(deploy, Mapping):
        findings.wrong_type((*path, "deploy"), told("wanted_mapping", "a mapping"))
    for place, value in (
        ((*path, "scale"), service.get("scale")),
        ((*path, "deploy", "replicas"), deploy.get("replicas") if isinstance(deploy, Mapping) else None),
    ):
        text = scalar(value)
        if value is None or text == "1":
            continue
        if text is None or not text.isdecimal() or not text.isascii() or not 1 <= len(text) <= 4 or text == "0":
            findings.left_out(
                place,
                told(
                    "import_instances_unreadable",
                    "This can't be a number of instances.",
                    "Stop the workload if none shall run.",
                ),
            )
            continue
        return int(text)
    return None


def _resources(service: Mapping[str, object], path: Path, findings: Findings) -> dict[str, object]:
    """Bounds, as ``deploy`` says, else as the older keys do."""
    made: dict[str, object] = {}
    given = [("memory", service.get("mem_limit"), (*path, "mem_limit")), ("cpus", service.get("cpus"), (*path, "cpus"))]
    deploy = service.get("deploy")
    for key, value in deploy.items() if isinstance(deploy, Mapping) else ():
        place = (*path, "deploy", key)
        if key == "resources" and isinstance(value, Mapping):
            limits = value.get("limits")
            for inner in value:
                if inner != "limits" and not keys.is_extension(inner):
                    findings.left_out(
                        (*place, inner),
                        told("import_nothing_reserved", "Nothing is reserved.", "Bound what others may use."),
                    )
            for inner, bound in limits.items() if isinstance(limits, Mapping) else ():
                if inner in ("memory", "cpus"):
                    given.append((inner, bound, (*place, "limits", inner)))
                else:
                    findings.left_out(
                        (*place, "limits", inner),
                        told("import_not_bounded", "It can't be bounded.", "Nothing has to be done."),
                    )
        elif key not in ("restart_policy", "replicas") and not keys.is_extension(key):
            findings.left_out(place, keys.of(keys.DEPLOY_KEYS, key))
    for name, value, place in given:
        if value is None:
            continue
        found = size(value) if name == "memory" else _cpus(value)
        if found is None:
            findings.wrong_type(
                place,
                told("wanted_size", "a size such as 512M") if name == "memory" else told("wanted_number", "a number"),
            )
        elif found != 0:  # Compose's way to say: no bound
            made[name] = found
    return made


def _cpus(value: object) -> int | float | None:
    text = scalar(value)
    if text is None or isinstance(value, bool) or len(text) > 20:
        return None
    try:
        found = float(text)
    except ValueError:
        return None
    return number(found) if 0 <= found < 1e6 else None
