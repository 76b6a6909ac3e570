"""Networks of the engine's that others made, and that a workload is to be on as well."""

from __future__ import annotations

from holdfast.domain.errors import Problem
from holdfast.domain.workload import WorkloadSpec
from holdfast.runtime.port import ContainerRuntime


async def missing_networks(runtime: ContainerRuntime, spec: WorkloadSpec) -> list[Problem]:
    """Those that the engine doesn't have: asked by deployments and restores before anything is stopped."""
    return [
        Problem(
            code="network_missing",
            message=f"The engine has no network {name}, on which {spec.name} is to be as well.",
            next_step=f"Make it, as whoever made it before did (docker network create {name}), or take it out of "
            "networks.",
            details={"network": name},
        )
        for name in spec.networks
        if not await runtime.has_network(name)
    ]
