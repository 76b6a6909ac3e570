"""What a deployment does to the instances that are there, and what differs from what was deployed.

Pure: the deployer and the reconciliation look, ask here what follows, and act.

Invariants:
- Two writers never share a volume unless its owner said so: ``recreate`` makes one instance, after the old one stopped.
- Only what was just verified is "already running"; the candidates named here are no more than candidates.
- Reconciliation mends what is missing. What a person did on purpose (stopped or started an instance) it only reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from holdfast.domain.deployment import Deployment
from holdfast.domain.errors import Problem
from holdfast.domain.workload import DesiredState, HealthType, RestartPolicy, Strategy, WorkloadSpec


class DeployStep(StrEnum):
    """The steps of a deployment in their order; the names that people see as the operation's steps."""

    RESOLVING = "resolving"
    PULLING = "pulling"
    CHECKING = "checking"
    WARMING = "warming"
    """The data is read ahead while the old version runs, for the snapshot before the deployment."""
    STOPPING = "stopping"
    """``recreate`` only: the old version stops before anything of the new one exists."""
    CAPTURING = "capturing"
    """The snapshot before the deployment is taken."""
    CREATING = "creating"
    STARTING = "starting"
    GATING = "gating"
    SWITCHING = "switching"
    DRAINING = "draining"
    """``blue_green`` only: the old version answers what it was asked before the switch."""
    RECORDING = "recording"
    REAPING = "reaping"
    RETURNING = "returning"
    """The new version failed; what ran before is brought back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """One existing instance of a workload.

    Attributes:
        running: whether its processes may write (paused and restarting ones may).
        restart: its present restart policy.
    """

    id: str
    name: str
    deployment_id: str
    image_id: str
    config_hash: str
    running: bool
    restart: RestartPolicy


def instance_count(spec: WorkloadSpec) -> int:
    """How many instances the configuration asks for: several only where they may run side by side."""
    return max(1, spec.max_instances) if spec.effective_strategy is Strategy.BLUE_GREEN else 1


def already_running(
    spec: WorkloadSpec, image_id: str, instances: Sequence[InstanceFacts]
) -> tuple[InstanceFacts, ...] | None:
    """The instances that may be this very version already.

    Returns:
        All running instances, if they are of one deployment, of this image and configuration, and as many as asked
        for; each is still to be verified healthy. ``None`` where a deployment is needed anyway.
    """
    running = tuple(i for i in instances if i.running)
    same = all(i.image_id == image_id and i.config_hash == spec.config_hash for i in running)
    one = len({i.deployment_id for i in running}) == 1
    return running if same and one and len(running) == instance_count(spec) else None


def check_spec(spec: WorkloadSpec, *, image_has_healthcheck: bool) -> list[Problem]:
    """What makes a configuration impossible to deploy, found before anything is touched."""
    problems: list[Problem] = []
    if spec.health.type is HealthType.DOCKER and not image_has_healthcheck:
        problems.append(
            Problem(
                code="image_has_no_healthcheck",
                message=f"{spec.name} is to be judged by its image's own health check, but {spec.image} brings none.",
                next_step="Configure another health type (http, tcp, command, none), or add HEALTHCHECK to the image.",
                details={"image": spec.image},
            )
        )
    fixed = [port.host_port for port in spec.ports if port.host_port]
    if fixed and spec.effective_strategy is Strategy.BLUE_GREEN:
        problems.append(
            Problem(
                code="port_needs_recreate",
                message=f"{spec.name} publishes the fixed port {fixed[0]}, which only one instance can hold.",
                next_step="Use the strategy auto or recreate, or let the engine choose the host port.",
                details={"ports": fixed},
            )
        )
    return problems


class Mend(StrEnum):
    """What reconciliation does about a difference."""

    NOTHING = "nothing"
    """It is reported; a person did it, or has to decide."""
    REDEPLOY = "redeploy"
    REMOVE = "remove"
    SET_RESTART_POLICY = "set_restart_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was deployed.

    Attributes:
        instance_id: the container concerned; empty if there is none.
        restart: the policy to set, for ``SET_RESTART_POLICY``.
    """

    code: str
    message: str
    mend: Mend = Mend.NOTHING
    instance_id: str = ""
    restart: RestartPolicy = RestartPolicy.NO


def differences(
    desired: DesiredState, deployed: Deployment | None, instances: Sequence[InstanceFacts]
) -> list[Difference]:
    """What differs from what was deployed.

    Args:
        deployed: the last successful deployment; ``None`` if there was none.
        instances: the workload's own instances.
    """
    if deployed is None:
        return [_unknown(i) for i in instances if i.running]
    if desired is DesiredState.STOPPED:
        return _while_stopped(instances)
    own = [i for i in instances if i.deployment_id == deployed.id]
    others = [i for i in instances if i.deployment_id != deployed.id]
    if any(i.running for i in others):
        # Somebody, or a restore that kept an unhealthy version, put another version there. Mending would replace it.
        return [_unknown(i) for i in others if i.running]
    found: list[Difference] = []
    missing = instance_count(deployed.spec) - len(own)
    if missing > 0:
        found.append(
            Difference(
                code="instance_missing",
                message=f"{missing} of {instance_count(deployed.spec)} instances are gone; they were removed by hand.",
                mend=Mend.REDEPLOY,
            )
        )
    for instance in own:
        if not instance.running:
            found.append(
                Difference(
                    code="instance_stopped",
                    message=f"{instance.name} should run, but is stopped; start the workload when that wasn't meant.",
                    instance_id=instance.id,
                )
            )
        elif instance.restart is not deployed.spec.restart:
            found.append(_policy(instance, deployed.spec.restart))
    if own and all(i.running for i in own):
        found.extend(_leftover(i) for i in others)
    return found


def _while_stopped(instances: Sequence[InstanceFacts]) -> list[Difference]:
    found: list[Difference] = []
    for instance in instances:
        if instance.running:
            found.append(
                Difference(
                    code="instance_started",
                    message=f"{instance.name} runs, although the workload is stopped; it was started by hand.",
                    instance_id=instance.id,
                )
            )
        elif instance.restart is RestartPolicy.ALWAYS:
            # The engine starts a stopped container with this policy whenever it starts itself.
            found.append(_policy(instance, RestartPolicy.NO))
    return found


def _unknown(instance: InstanceFacts) -> Difference:
    return Difference(
        code="other_version_running",
        message=f"{instance.name} runs, but is not of the last successful deployment.",
        instance_id=instance.id,
    )


def unrecorded(instance: InstanceFacts) -> Difference:
    """It is of a deployment that there is no record of."""
    return Difference(
        code="deployment_unknown",
        message=f"{instance.name} is of a deployment that Holdfast has no record of, later than what it knows. Deploy "
        "the version that is meant.",
        instance_id=instance.id,
    )


def _policy(instance: InstanceFacts, wanted: RestartPolicy) -> Difference:
    return Difference(
        code="restart_policy_differs",
        message=f"{instance.name} has the restart policy {instance.restart.value} instead of {wanted.value}.",
        mend=Mend.SET_RESTART_POLICY,
        instance_id=instance.id,
        restart=wanted,
    )


def _leftover(instance: InstanceFacts) -> Difference:
    return Difference(
        code="instance_left_over",
        message=f"{instance.name} is a stopped instance of another deployment.",
        mend=Mend.REMOVE,
        instance_id=instance.id,
    )
