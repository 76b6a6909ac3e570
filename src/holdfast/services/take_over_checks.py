"""What forbids that containers of others are taken over; all of it is told at once, and nothing is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.domain.compose_findings import FindingKind
from holdfast.domain.container_import import ProposedContainer
from holdfast.domain.errors import ConfirmationMissing, Problem, Refused
from holdfast.domain.workload import WorkloadSpec
from holdfast.services.instances import Instances
from holdfast.services.path_users import writers_on_volumes
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workloads import Workloads


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOverWish:
    """A container, and the configuration of the workload that takes its place."""

    proposed: ProposedContainer
    spec: WorkloadSpec


class TakeOverChecks:
    """Looks at containers before they are taken over."""

    def __init__(self, *, workloads: Workloads, volumes: VolumeResolver, instances: Instances) -> None:
        self._workloads = workloads
        self._volumes = volumes
        self._instances = instances

    async def require(self, wishes: Sequence[TakeOverWish], *, accept_left_out: bool) -> None:
        """Raise ``Refused`` with every problem.

        Args:
            accept_left_out: whether what can't be carried over is given up.
        """
        problems = [problem for wish in wishes for problem in _of_container(wish, accept_left_out=accept_left_out)]
        for wish in wishes:
            try:
                await self._workloads.preview(wish.spec)
            except Refused as refusal:
                problems += refusal.problems
            else:
                problems += (await self._volumes.engine_problems(wish.spec)).values()
                problems += await self._shared(wish, wishes)
        if problems:
            raise Refused(problems)

    def require_confirmed(self, wishes: Sequence[TakeOverWish], confirm: str | None) -> None:
        """Raise ``ConfirmationMissing`` or ``Refused`` unless the containers were named once more."""
        expected = ",".join(wish.proposed.container.name for wish in wishes)
        if confirm is None:
            raise ConfirmationMissing(
                "confirmation_missing",
                "A take-over stops containers and has others run on their data, so it has to be confirmed.",
                next_step=f"Send the header X-Confirm-Take-Over: {expected}",
            )
        if sorted(confirm.split(",")) != sorted(expected.split(",")):
            raise Refused(
                [
                    Problem(
                        code="confirmation_mismatch",
                        message="The confirmation names other containers than those that are to be taken over.",
                        next_step=f"Send the header X-Confirm-Take-Over: {expected}",
                        details={"expected": expected},
                    )
                ]
            )

    async def _shared(self, wish: TakeOverWish, wishes: Sequence[TakeOverWish]) -> list[Problem]:
        """Other containers that use the data and would not be stopped for it."""
        taken = {each.proposed.container.id for each in wishes}
        others = [other for other in await self._instances.strangers() if other.id not in taken]
        reading = {volume.target for volume in wish.spec.captured_volumes if volume.read_only}
        places = self._volumes.placed(wish.spec)
        read_only = [place.path for place in places if place.target in reading]
        writable = [place.path for place in places if place.target not in reading]
        found, _ = await asyncio.to_thread(writers_on_volumes, others, writable, read_only)
        return [
            replace(
                problem,
                code="container_data_shared",
                message=f"{problem.message} It is the data of {wish.proposed.container.name} as well.",
                next_step="Take both over together, or stop the other one for good.",
            )
            for problem in found
        ]


def _of_container(wish: TakeOverWish, *, accept_left_out: bool) -> list[Problem]:
    """What the container itself says against it."""
    proposed, problems = wish.proposed, []
    name = proposed.container.name
    state = (proposed.container.container.get("State") or {}).get("Status")
    if state != "running":
        problems.append(not_running(name, state))
    if proposed.container.host.get("AutoRemove"):
        problems.append(
            Problem(
                code="container_removes_itself",
                message=f"The engine removes the container {name} when it stops: it could not be brought back.",
                next_step="Make it anew without --rm, or apply the workload file that its import proposes.",
                details={"container": name},
            )
        )
    if proposed.lost:
        problems.append(
            Problem(
                code="container_mount_not_kept",
                message=f"The container {name} writes to {', '.join(proposed.lost)}, which a workload can't mount as "
                "it is.",
                next_step=f"See why, and what to do: holdfast import container {name}",
                details={"container": name, "targets": list(proposed.lost)},
            )
        )
    left = [each.path for each in proposed.workload.findings if each.kind is FindingKind.LEFT_OUT]
    if left and not accept_left_out:
        problems.append(
            Problem(
                code="container_settings_left_out",
                message=f"Not all that the container {name} has can be carried over: {', '.join(left)}.",
                next_step=f"See what it means: holdfast import container {name}. If the program works without, take it "
                "over with --accept-left-out (accept_left_out).",
                details={"container": name, "left_out": left},
            )
        )
    return problems


def not_running(name: str, state: str | None) -> Problem:
    """Why a container that does not run is not taken over."""
    return Problem(
        code="container_not_running",
        message=f"The container {name} is not running: it is {state}.",
        next_step="Start it, so that it is known to work; or apply the workload file that its import proposes.",
        details={"container": name},
    )
