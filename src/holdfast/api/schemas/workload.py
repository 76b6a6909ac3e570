"""A workload's declaration: the same object as YAML, as JSON and in the UI.

Nothing in a declaration is ever ignored: an unknown key is an error that names the nearest known one, a key of a later
version is refused as such, and so is a value that would do nothing where it stands. All problems are reported at once.
``parse(to_document(spec)) == spec`` for every configuration that was parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from holdfast.api.schemas.document_bounds import MAX_DEPTH, MAX_NODES
from holdfast.api.schemas.workload_models import HealthModel, ResourcesModel, WorkloadModel
from holdfast.api.schemas.workload_previews import PreviewsModel, previews_document
from holdfast.api.schemas.workload_problems import FoundProblem, Position, describe, malformed
from holdfast.api.schemas.workload_snapshots import DrillModel, HooksModel, KeepModel, SnapshotsModel
from holdfast.api.schemas.workload_source import SourceModel
from holdfast.api.schemas.workload_updates import UpdatesModel, updates_document
from holdfast.api.schemas.workload_values import format_domain, format_port
from holdfast.api.schemas.workload_volumes import VolumeModel
from holdfast.domain.errors import TooLarge
from holdfast.domain.retention import KEEP_RULES, Keep
from holdfast.domain.workload import IMAGE_SOURCE, DrillPolicy, HealthCheck, Hooks, SnapshotPolicy, Volume, WorkloadSpec

_HEALTH: Final = HealthCheck()
_HOOKS: Final = Hooks()
_SNAPSHOTS: Final = SnapshotPolicy()
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "": tuple(WorkloadModel.model_fields),
    "source": tuple(SourceModel.model_fields),
    "volumes": tuple(VolumeModel.model_fields),
    "health": tuple(HealthModel.model_fields),
    "hooks": tuple(HooksModel.model_fields),
    "resources": tuple(ResourcesModel.model_fields),
    "snapshots": tuple(SnapshotsModel.model_fields),
    "snapshots.keep": tuple(KeepModel.model_fields),
    "snapshots.drill": tuple(DrillModel.model_fields),
    "updates": tuple(UpdatesModel.model_fields),
    "previews": tuple(PreviewsModel.model_fields),
}
"""The keys of this version, by the dotted key that they stand under."""


def parse_workload_json(value: object) -> WorkloadSpec:
    """A configuration from a JSON value.

    Raises:
        InvalidInput: ``workload_malformed``; ``details["problems"]`` lists each as ``path``, ``code``, ``message`` and
            ``next_step``.
        TooLarge: ``json_too_complex``: the bounds of a YAML document hold here too.
    """
    _check_size(value)
    return _parse(value, lambda _path: None)


def parse_workload_yaml(text: str) -> WorkloadSpec:
    """A configuration from a YAML document.

    Raises:
        InvalidInput: ``yaml_malformed``, or ``workload_malformed`` as above, with ``line`` and ``column`` of each.
        TooLarge: ``yaml_too_large``, ``yaml_too_complex``.
    """
    from holdfast.api.schemas.yaml_document import read_yaml  # by the first YAML: a parser of 2 MiB

    document = read_yaml(text)
    return _parse(document.value, document.position)


def _parse(value: object, position: Position) -> WorkloadSpec:
    noted: list[FoundProblem] = []
    found: list[FoundProblem] = []
    untold = 0
    try:
        model = WorkloadModel.model_validate(value, context=noted)
    except ValidationError as error:
        found = describe(error, _KEYS)
        untold = error.error_count() - len(found)
    else:
        if not noted:
            return model.spec()
    raise malformed([*found, *noted], position, untold)


def _check_size(value: object) -> None:
    """Refuse what takes seconds to check: nothing that works is anywhere near."""
    count, depth, level = 0, 0, [value]
    while level and depth <= MAX_DEPTH and count <= MAX_NODES:
        count += len(level)
        depth += 1
        level = [
            item
            for each in level
            for item in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
    if level or count > MAX_NODES:
        raise TooLarge(
            "json_too_complex",
            f"The document has more than {MAX_NODES} values, or is nested deeper than {MAX_DEPTH} levels.",
            next_step="Describe one workload per document; data belongs in a volume, not in the configuration.",
        )


def to_document(spec: WorkloadSpec) -> dict[str, object]:
    """``spec`` as a declaration, in the order of the reference, without what is a default anyway."""
    document: dict[str, object] = {"name": spec.name}
    if spec.project != spec.name:
        document["project"] = spec.project
    document |= {"stage": spec.stage, "source": _source(spec)}
    bare = WorkloadSpec(name=spec.name, image=spec.image, project=spec.project)
    optional: dict[str, object] = {
        "env": dict(spec.env),
        "secrets": [secret.name for secret in spec.secrets],
        "labels": dict(spec.labels),
        "command": list(spec.command),
        "entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "user": spec.user,
        "stop_signal": spec.stop_signal,
        "stop_grace": _number(spec.stop_grace),
        "ports": [format_port(port) for port in spec.ports],
        "domains": [format_domain(domain) for domain in spec.domains],
        "networks": list(spec.networks),
        "volumes": [_volume(volume) for volume in spec.volumes],
        "health": _health(spec.health),
        "restart": spec.restart.value,
        "strategy": spec.strategy.value,
        "max_instances": spec.max_instances,
        "hooks": _hooks(spec.hooks),
        "resources": {
            name: value
            for name, value in (("memory", spec.resources.memory), ("cpus", spec.resources.cpus))
            if value is not None
        },
        "time_zone": spec.time_zone,
        "snapshots": _snapshots(spec.snapshots),
        "revert_data": spec.revert_data.value,
        "updates": updates_document(spec.updates),
        "previews": previews_document(spec.previews),
    }
    return document | {key: value for key, value in optional.items() if getattr(spec, key) != getattr(bare, key)}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a declaration, for editors."""
    schema = WorkloadModel.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _source(spec: WorkloadSpec) -> dict[str, object]:
    if spec.plugin is None:
        return {"type": IMAGE_SOURCE, "image": spec.image}
    document: dict[str, object] = {"type": spec.plugin.type}
    if spec.plugin.settings:
        document["settings"] = spec.plugin.mapping
    return document


def _volume(volume: Volume) -> dict[str, object]:
    document: dict[str, object] = {"target": volume.target, "scope": volume.scope.value}
    if volume.source:
        document["source"] = volume.source
    if volume.read_only:
        document["read_only"] = True
    if volume.size is not None:
        document["size"] = volume.size
    if volume.engine_volume:
        document["engine_volume"] = volume.engine_volume
    return document


def _health(health: HealthCheck) -> dict[str, object]:
    document: dict[str, object] = {"type": health.type.value}
    if health.port is not None:
        document["port"] = health.port
    if health.path != _HEALTH.path:
        document["path"] = health.path
    if health.command:
        document["command"] = list(health.command)
    for name in ("interval", "timeout", "deadline"):
        value = getattr(health, name)
        if value != getattr(_HEALTH, name):
            document[name] = _number(value)
    return document


def _hooks(hooks: Hooks) -> dict[str, object]:
    document: dict[str, object] = {}
    for name in ("pre_snapshot", "post_snapshot", "post_restore"):
        if command := getattr(hooks, name):
            document[name] = list(command)
    if hooks.timeout != _HOOKS.timeout:
        document["timeout"] = _number(hooks.timeout)
    return document


def _snapshots(policy: SnapshotPolicy) -> dict[str, object]:
    document: dict[str, object] = {}
    if policy.quiesce is not _SNAPSHOTS.quiesce:
        document["quiesce"] = policy.quiesce.value
    if not policy.before_deploy:
        document["before_deploy"] = False
    if policy.keep is not None:
        document["keep"] = _keep(policy.keep)
    if policy.schedule is not None:
        document["schedule"] = policy.schedule
    if policy.missed is not _SNAPSHOTS.missed:
        document["missed"] = policy.missed.value
    if policy.drill != _SNAPSHOTS.drill:
        document["drill"] = _drill(policy.drill)
    return document


def _drill(drill: DrillPolicy) -> dict[str, object]:
    document: dict[str, object] = {}
    if drill.schedule is not None:
        document["schedule"] = drill.schedule
    if drill.command:
        document["command"] = list(drill.command)
    if drill.timeout != _SNAPSHOTS.drill.timeout:
        document["timeout"] = _number(drill.timeout)
    return document


def _keep(keep: Keep) -> dict[str, object]:
    return {rule: getattr(keep, rule) for rule in KEEP_RULES if getattr(keep, rule)}


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value
