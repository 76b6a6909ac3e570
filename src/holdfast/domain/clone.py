"""Clones into a new workload: its configuration where that is another's, and what of it would collide.

A new workload gets the other one's configuration only because somebody asks for it by name, and only what can stand
beside the other: no directory of its own that is the same, no published port twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.errors import Problem
from holdfast.domain.told import Told, told
from holdfast.domain.volumes import Placed, overlap
from holdfast.domain.workload import Port, Workload, WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LikeSource:
    """A new workload that is to be configured like the one whose data it gets; but for the domains, which stay there.

    Attributes:
        project: ``None``: the source's, or its own name where the source's is its own name.
        stage: ``None``: the source's.
        ports: what it publishes instead of the source's ports; ``None``: the same.
    """

    name: str
    project: str | None = None
    stage: str | None = None
    ports: tuple[Port, ...] | None = None

    def spec(self, source: WorkloadSpec, *, image: str | None = None) -> WorkloadSpec:
        """The configuration of the new workload. Values of secrets are none of it: each workload has its own.

        Args:
            image: what it is to run instead of the source's image.
        """
        return replace(
            source.without_values,
            name=self.name,
            project=self.project or (self.name if source.project == source.name else source.project),
            stage=self.stage or source.stage,
            ports=source.ports if self.ports is None else self.ports,
            domains=(),
            volumes=tuple(replace(volume, engine_volume="") for volume in source.volumes),
            image="" if source.plugin else image or source.image,
        )


def port_problems(spec: WorkloadSpec, others: Iterable[Workload], next_step: str) -> list[Problem]:
    """Host ports of ``spec`` that another workload publishes, too: one of both could not start."""
    return [
        Problem(
            code="port_conflict",
            message=f"The host port {port.host_port}/{port.protocol} (for {port.container_port}) is published by the "
            f"workload {other.name}, too.",
            next_step=next_step,
            details={"host_port": port.host_port, "other_workload": other.name},
        )
        for port in spec.ports
        for other in others
        if any(port.collides_with(taken) for taken in other.spec.ports)
    ]


def shared_problems(mine: Iterable[Placed], source: Iterable[Placed]) -> list[Problem]:
    """Volumes of a new workload, configured like its source, that would be the source's own."""
    theirs = tuple(source)
    return [
        Problem(
            code="clone_shares_volume",
            message=f"{volume.path} (for {volume.target}) is a volume of {other.workload} itself: the new workload "
            "would write to the data of the one that it is cloned from.",
            next_step=_APART,
            details={"target": volume.target, "path": volume.path},
        )
        for volume in mine
        for other in theirs
        if overlap(volume.path, other.path)
    ]


def copied_as_it_is(spec: WorkloadSpec, source: str) -> Told | None:
    """A warning about what came along from the source's configuration and may point to the source's world.

    Names only: values may be secrets.
    """
    named = [
        *([told("clone_environment", "environment ({names})", names=[n for n, _ in spec.env])] if spec.env else []),
        *([told("clone_secrets", "secrets ({names})", names=[s.name for s in spec.secrets])] if spec.secrets else []),
        *([told("clone_labels", "labels ({names})", names=[n for n, _ in spec.labels])] if spec.labels else []),
    ]
    if not named:
        return None
    return told(
        "clone_copied_as_it_is",
        "{workload} gets the {what} of {source} as they are. Where those point to services or names of {source}, give "
        "a configuration of its own (--file, declaration).",
        workload=spec.name,
        what=named,
        source=source,
    )


def secrets_before_data(spec: WorkloadSpec) -> Problem:
    """A new workload that needs secrets can't be given them before it is there, and runs as soon as it has its data."""
    names = [secret.name for secret in spec.secrets]
    return Problem(
        code="secret_not_set",
        message=f"{spec.name} needs secrets that have no value yet: {', '.join(names)}.",
        next_step=f"Apply its file, set each (holdfast secret set {spec.name} {names[0]}), then clone again.",
        details={"workload": spec.name, "secrets": names},
    )


_APART: Final = (
    "Give it a project of its own (--project, project) if the volume is of scope project or project_named; or give a "
    "configuration of its own (--file, declaration), in which the volume has another source."
)


def _pairs(spec: WorkloadSpec) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    secrets = tuple((secret.name, "") for secret in spec.secrets)
    return (("environment", spec.env), ("secrets", secrets), ("labels", spec.labels))
