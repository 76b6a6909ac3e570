"""Where settings come from: a TOML file, then ``HOLDFAST_*`` variables, which win.

A key that is not known is an error that names the nearest known one: a setting with a slip in its name must not be
ignored in silence.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from holdfast.config import Settings
from holdfast.config_checks import checked, invalid
from holdfast.domain.errors import InvalidInput
from holdfast.domain.units import parse_duration, parse_size
from holdfast.engine.limits import Limits

CLIENT_VARIABLES: Final = frozenset({"HOLDFAST_URL", "HOLDFAST_TOKEN", "HOLDFAST_CONFIG", "HOLDFAST_S3_SECRET"})
"""Variables that are not settings of the server: the command line's own."""

_PREFIX: Final = "HOLDFAST_"
_SIZES: Final = frozenset(
    {"disk_reserve_bytes", "max_upload_bytes", "copy_limit_rate", "container_log_bytes", "kept_log_bytes"}
)
_DURATIONS: Final = frozenset(
    {"engine_timeout", "drain_deadline", "steady_seconds", "source_timeout", "metrics_interval"}
)
_LISTS: Final = {"allowed_roots": ":", "proxy_addresses": ","}
"""Settings of several values, and what stands between them in a variable."""


def load_settings(config_file: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the settings.

    Args:
        config_file: a TOML file, or ``None`` for none.
        env: the environment. ``HOLDFAST_LISTEN`` sets ``listen``, ``HOLDFAST_LIMITS_ENTRIES`` sets
            ``limits.entries``; with ``_FILE`` appended the value is read from the named file. ``DOCKER_HOST`` is heeded
            where nothing else names the engine.

    Raises:
        InvalidInput: ``settings_unreadable``, ``setting_unknown`` or ``setting_invalid``.
    """
    given: dict[str, object] = {}
    if "DOCKER_HOST" in env:
        given["docker_host"] = env["DOCKER_HOST"]
    if config_file is not None:
        given |= _from_file(config_file)
    given |= _from_environment(env)
    return checked(_convert(given))


def _from_file(path: Path) -> dict[str, object]:
    """The file's settings by dotted name."""
    try:
        table: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(
            "settings_unreadable",
            f"The settings file {path} can't be read: {error}.",
            next_step="Mend the file, or start without it.",
        ) from error
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict) and (value or key == "limits"):
            flat |= {f"{key}.{inner}": setting for inner, setting in value.items()}
        else:
            flat[key] = value
    for name in flat:
        if name not in _names():
            _unknown(name, sorted(_names()), str(path))
    return flat


def _from_environment(env: Mapping[str, str]) -> dict[str, object]:
    """The environment's settings by dotted name."""
    by_variable = {_PREFIX + name.upper().replace(".", "_"): name for name in _names()}
    given: dict[str, object] = {}
    for variable, value in sorted(env.items()):
        if not variable.startswith(_PREFIX) or variable.removesuffix("_FILE") in CLIENT_VARIABLES:
            continue
        name, text = by_variable.get(variable), value
        if name is None and variable.endswith("_FILE"):
            name = by_variable.get(variable.removesuffix("_FILE"))
            text = _secret_file(variable, value) if name is not None else value
        if name is None:
            _unknown(variable, sorted(by_variable), "the environment")
        if name in given:
            raise invalid(name, f"both {variable.removesuffix('_FILE')} and its _FILE variant are set")
        separator = _LISTS.get(name)
        given[name] = text if separator is None else [part.strip() for part in text.split(separator) if part.strip()]
    return given


def _secret_file(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "settings_unreadable",
            f"The file {path} that {variable} names can't be read: {error}.",
            next_step="Mend the file, or unset the variable.",
        ) from error


def _names() -> frozenset[str]:
    """All settings by dotted name."""
    flat = {setting.name for setting in dataclasses.fields(Settings)} - {"limits"}
    return frozenset(flat | {f"limits.{limit.name}" for limit in dataclasses.fields(Limits)})


def _convert(given: Mapping[str, object]) -> Settings:
    """Typed settings from what was given, by dotted name."""
    values: dict[str, object] = {}
    limits: dict[str, object] = {}
    for name, value in given.items():
        converted = _measure(name, value)
        if name.startswith("limits."):
            limits[name.removeprefix("limits.")] = converted
        else:
            values[name] = converted
    try:
        return msgspec.convert(values | {"limits": limits}, Settings, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at ")
        name = where.strip("`").removeprefix("$.").partition("[")[0]
        raise invalid(name, reason) from error


def _measure(name: str, value: object) -> object:
    """Numbers from sizes and durations that carry a unit."""
    if not isinstance(value, str):
        return value
    try:
        if name in _SIZES or (name.startswith("limits.") and name.endswith("bytes")):
            return parse_size(value)
        if name in _DURATIONS:
            return parse_duration(value)
    except ValueError as error:
        raise invalid(name, str(error)) from error
    return value


def _decode_path(kind: type, value: object) -> object:
    if kind is not Path:
        raise NotImplementedError(f"{kind} from {type(value)}")
    if not isinstance(value, str):
        raise ValueError("a path is text, in quotes")  # noqa: TRY004 - what msgspec turns into its own error
    if not os.path.isabs(value) or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path")
    try:
        return Path(os.path.realpath(value))
    except OSError as error:
        raise ValueError(f"{value!r} can't be resolved: {error.strerror}") from error


def _unknown(name: str, known: list[str], where: str) -> NoReturn:
    nearest = difflib.get_close_matches(name, known, 1, cutoff=0.0)
    raise InvalidInput(
        "setting_unknown",
        f"There is no setting {name} (in {where}).",
        next_step=f"Did you mean {nearest[0]}?",
        details={"setting": name, "nearest": nearest[0]},
    )
