"""The difference of two configurations, as people are shown it before and after an ``apply``.

Values are JSON; times are seconds, sizes bytes. The order is stable: that of the configuration's fields, and within a
mapping that of its keys. No value of a secret is part of a configuration: of secrets it is told when they were set. A
variable that is a secret on one side is shown without its value on the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from holdfast.domain.workload import WorkloadSpec

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None

_MAPPINGS: Final = frozenset({"env", "labels"})
"""Fields that are pairs, compared key by key."""
_HIDDEN: Final = "(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value that differs.

    Attributes:
        path: dotted, e.g. ``env.TZ``, ``health.port``, ``volumes./data.read_only``.
        before: the old value; ``None`` where there was none.
        after: the new value; ``None`` where there is none any more.
    """

    path: str
    before: JSON
    after: JSON


def changes(before: WorkloadSpec | None, after: WorkloadSpec) -> tuple[Change, ...]:
    """What ``after`` changes.

    Args:
        before: ``None`` for a new workload; then every value is listed that isn't a default.
    """
    if before == after:  # as mostly, where many are looked at
        return ()
    sides = [spec for spec in (before, after) if spec is not None]
    hidden = frozenset(secret.name for spec in sides for secret in spec.secrets)
    new = _tree(after, hidden)
    old = _tree(before, hidden) if before is not None else {}
    defaults = _defaults() if before is None else {}
    found: list[Change] = []
    for key in new:
        if before is None and key in defaults and new[key] == defaults[key]:
            continue
        found.extend(_compare(key, old.get(key), new[key]))
    return tuple(found)


def _compare(path: str, before: JSON, after: JSON) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _compare(f"{path}.{key}", before.get(key), after.get(key))
    elif before is None and isinstance(after, Mapping) and path in {*_MAPPINGS, "secrets", "volumes"}:
        for key in after:
            yield from _compare(f"{path}.{key}", None, after[key])
    else:
        yield Change(path=path, before=before, after=after)


def _tree(spec: WorkloadSpec, hidden: Collection[str] = ()) -> dict[str, JSON]:
    tree: dict[str, JSON] = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name == "plugin":
            tree["source"] = None if value is None else {"type": value.type, "settings": value.mapping}
        elif field.name == "image":
            tree["image"] = None if spec.plugin else value
        elif field.name == "env":
            tree[field.name] = {name: _HIDDEN if name in hidden else text for name, text in sorted(value)}
        elif field.name == "previews":
            tree[field.name] = _json_mapping(value) | {"env": dict(sorted(value.env))}
        elif field.name in _MAPPINGS:
            tree[field.name] = dict(sorted(value))
        elif field.name == "secrets":
            tree[field.name] = {secret.name: secret.words for secret in value}
        elif field.name == "volumes":
            tree[field.name] = {
                volume.target: {name: part for name, part in _json_mapping(volume).items() if name != "target"}
                for volume in value
            }
        else:
            tree[field.name] = _json(value)
    return tree


def _defaults() -> dict[str, JSON]:
    """The values that a configuration has where nothing was said."""
    bare = _tree(WorkloadSpec(name="", image="", project=""))
    return {key: value for key, value in bare.items() if key not in {"name", "image", "project"}}


def _json_mapping(value: object) -> dict[str, JSON]:
    assert dataclasses.is_dataclass(value)
    return {field.name: _json(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _json(value: object) -> JSON:
    if isinstance(value, Enum):
        return str(value.value)
    if dataclasses.is_dataclass(value):
        return _json_mapping(value)
    if isinstance(value, (tuple, list)):
        return [_json(item) for item in value]
    assert value is None or isinstance(value, (bool, int, float, str))
    return value
