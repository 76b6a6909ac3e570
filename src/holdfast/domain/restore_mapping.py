"""Which captured volume goes where: decided from the workload's *current* configuration.

The manifest says only which container target and scope each captured volume had. Every captured volume that is wanted
must map to exactly one configured volume of the same target and a supported scope, and every supported configured
volume must be in the snapshot, unless the caller named the subset that they want. All mismatches are reported at once.

A clone maps in the same way, but for the scope: the two workloads are two, and where the data goes to lie is the
target's own affair. It may also say that a captured target goes to another one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from holdfast.domain.errors import Problem
from holdfast.domain.snapshot import CapturedVolume, SnapshotManifest
from holdfast.domain.workload import SUPPORTED_SCOPES, Volume, WorkloadSpec

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedVolume:
    """A captured volume and the configured volume that it is restored to."""

    captured: CapturedVolume
    configured: Volume


def map_volumes(
    manifest: SnapshotManifest,
    spec: WorkloadSpec,
    wanted: Collection[str] | None,
    *,
    renames: Mapping[str, str] = _NONE,
    any_scope: bool = False,
) -> tuple[tuple[MappedVolume, ...], tuple[Problem, ...]]:
    """Map captured volumes to configured ones.

    Args:
        wanted: container targets that the caller named; ``None`` for all volumes.
        renames: captured target → the configured target that it goes to, where they differ.
        any_scope: whether a volume may have been captured in another scope than it is configured in.

    Returns:
        The mapping, in the order of the configuration, and every problem found. With a problem nothing may be restored.
    """
    problems = _misnamed(manifest, spec, renames)
    captured = {renames.get(volume.target, volume.target): volume for volume in manifest.volumes}
    configured = {volume.target: volume for volume in spec.volumes}
    if problems:
        return (), tuple(problems)  # what would follow from a wrong map is nothing to mend
    for target in sorted(set(wanted or ()) - configured.keys()):
        problems.append(
            Problem(
                code="volume_unknown",
                message=f"The workload {spec.name} has no volume at {target}.",
                next_step=f"Name one of: {', '.join(sorted(configured)) or 'none is configured'}.",
                details={"target": target},
            )
        )
    mapped: list[MappedVolume] = []
    for volume in spec.volumes:
        if wanted is not None and volume.target not in wanted:
            continue
        if wanted is None and not volume.captured and volume.target not in captured:
            continue
        found = captured.get(volume.target)
        if found is None:
            problems.append(
                Problem(
                    code="volume_not_in_snapshot",
                    message=f"The snapshot does not hold the volume {volume.target}.",
                    next_step="Name the volumes to restore, leaving this one out, or choose another snapshot.",
                    details={"target": volume.target, "captured": sorted(captured)},
                )
            )
        elif volume.scope not in SUPPORTED_SCOPES or (found.scope is not volume.scope and not any_scope):
            problems.append(
                Problem(
                    code="volume_rescoped",
                    message=f"The volume {volume.target} was captured as {found.scope} and is {volume.scope} now.",
                    next_step="Set the volume's scope back in the workload's configuration, or leave it out.",
                    details={"target": volume.target, "captured": found.scope, "configured": volume.scope},
                )
            )
        else:
            mapped.append(MappedVolume(captured=found, configured=volume))
    if wanted is None:
        for target in sorted(captured.keys() - configured.keys()):
            problems.append(
                Problem(
                    code="volume_not_configured",
                    message=f"The snapshot holds the volume {target}, which the workload does not have.",
                    next_step="Add it to the workload's configuration, or name the volumes to restore without it."
                    + (" Where it has another path: --map FROM=TO (map)." if any_scope else ""),
                    details={"target": target},
                )
            )
    if not mapped and not problems:
        problems.append(
            Problem(
                code="nothing_to_restore",
                message="The workload has no volume that this snapshot could restore.",
                next_step="Choose another snapshot, or configure a volume of a scope that is captured (all but "
                "ephemeral).",
            )
        )
    return tuple(mapped), tuple(problems)


def _misnamed(manifest: SnapshotManifest, spec: WorkloadSpec, renames: Mapping[str, str]) -> list[Problem]:
    """What is wrong with ``renames`` itself: a volume that is not there, or two that go to one place."""
    targets = [volume.target for volume in manifest.volumes]
    problems = [
        Problem(
            code="volume_not_captured",
            message=f"The snapshot does not hold a volume {target} that could go to {renames[target]}.",
            next_step=f"Name one of: {', '.join(targets) or 'none was captured'}.",
            details={"target": target, "captured": targets},
        )
        for target in sorted(renames.keys() - set(targets))
    ]
    configured = sorted(volume.target for volume in spec.volumes)
    problems += [
        Problem(
            code="volume_unknown",
            message=f"The workload {spec.name} has no volume at {goal}.",
            next_step=f"Name one of: {', '.join(configured) or 'none is configured'}.",
            details={"target": goal},
        )
        for goal in sorted({*renames.values()})
        if goal not in configured
    ]
    goals = [renames.get(target, target) for target in targets]
    problems += [
        Problem(
            code="volume_mapped_twice",
            message=f"Two volumes of the snapshot would go to {goal}.",
            next_step="Map each to a target of its own.",
            details={"target": goal},
        )
        for goal in sorted({goal for goal in goals if goals.count(goal) > 1})
    ]
    return problems
