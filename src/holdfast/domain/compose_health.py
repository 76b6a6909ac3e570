"""A compose file's ``healthcheck`` as the health check of a workload.

Compose's check goes on for as long as the container runs; Holdfast's is the gate that a deployment has to pass. From
how long Compose would wait until it calls a container unhealthy the gate's deadline is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.domain import compose_keys as keys
from holdfast.domain.compose_findings import Findings, Path
from holdfast.domain.compose_values import number, scalar, seconds
from holdfast.domain.told import told
from holdfast.domain.workload import HealthType

_INTERVAL: Final = 30.0
_TIMEOUT: Final = 30.0
_RETRIES: Final = 3
"""What Compose takes where nothing is said."""
_LONGEST_CHECK: Final = 300.0
_DEADLINES: Final = (60.0, 3600.0)
_MAX_RETRIES: Final = 10_000


def health(value: object, path: Path, findings: Findings) -> dict[str, object] | None:
    """The ``health`` of a workload; ``None`` where the compose file says nothing that can be carried over."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        findings.wrong_type(path, told("wanted_mapping", "a mapping"))
        return None
    for key in value:
        if key not in keys.HEALTH_KEYS and not keys.is_extension(key):
            findings.left_out((*path, key), keys.of({}, key))
    test = value.get("test")
    if value.get("disable") in (True, "true") or test == ["NONE"] or test == "NONE":
        return {"type": HealthType.NONE.value}
    if test is None:
        findings.note(
            path,
            told(
                "import_health_of_image",
                "The image's own check is taken, with its own pace.",
                "See that the image has one; give another check under health if it has none.",
            ),
        )
        return {"type": HealthType.DOCKER.value}
    command = _command(test)
    if command is None:
        findings.left_out(
            (*path, "test"),
            told(
                "import_health_unreadable",
                "This is no check that can be read.",
                "Write it under health as a command of words.",
            ),
        )
        return None
    return {"type": HealthType.COMMAND.value, "command": command} | _pace(value, path, findings)


def _command(test: object) -> list[str] | None:
    if isinstance(test, str):
        return ["/bin/sh", "-c", test] if test else None
    if not isinstance(test, list) or len(test) < 2:
        return None
    words = [text for item in test if (text := scalar(item)) is not None]
    if len(words) != len(test):
        return None
    if words[0] == "CMD":
        return words[1:]
    return ["/bin/sh", "-c", words[1]] if words[0] == "CMD-SHELL" and len(words) == 2 else None


def _pace(value: Mapping[str, object], path: Path, findings: Findings) -> dict[str, object]:
    """Interval and timeout as they are, within what a declaration may have; the deadline as Compose would wait."""
    made: dict[str, object] = {}
    found: dict[str, float] = {}
    for key in ("interval", "timeout", "start_period", "start_interval"):
        if value.get(key) is None:
            continue
        length = seconds(value[key])
        if length is None:
            findings.wrong_type((*path, key), told("wanted_duration", "a duration such as 1m30s"))
        else:
            found[key] = length
    retries = scalar(value.get("retries"))
    if retries is not None and not (retries.isdecimal() and retries.isascii() and len(retries) < 6):
        findings.wrong_type((*path, "retries"), told("wanted_whole_number", "a whole number"))
        retries = None
    between = found.get("start_interval", found.get("interval"))
    if between is not None:
        made["interval"] = number(min(max(between, 0.1), _LONGEST_CHECK))
    if "timeout" in found:
        made["timeout"] = number(min(max(found["timeout"], 0.1), _LONGEST_CHECK))
    if not found and retries is None:
        return made
    times = min(int(retries), _MAX_RETRIES) if retries is not None else _RETRIES
    pause, longest = found.get("interval", _INTERVAL), found.get("timeout", _TIMEOUT)
    waits = found.get("start_period", 0.0) + times * (pause + longest)
    made["deadline"] = deadline = number(float(round(min(max(waits, _DEADLINES[0]), _DEADLINES[1]))))
    findings.note(
        path,
        told(
            "import_health_deadline",
            "A deployment waits up to {deadline_seconds} for it, about as long as Compose would wait.",
            "Lower health.deadline and health.interval: a deployment is done as soon as the check succeeds.",
            deadline_seconds=deadline,
        ),
    )
    return made
