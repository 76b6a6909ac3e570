"""Import: proposals for workloads from what others wrote. Nothing is applied."""

from __future__ import annotations

from collections.abc import Iterable

from anyio import to_thread
from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Operator
from holdfast.api.parameters import ConfirmTakeOver
from holdfast.api.schemas.compose import ComposeBody, ComposeView, view
from holdfast.api.schemas.containers import (
    ContainersBody,
    ContainersView,
    TakeOverBody,
    containers_view,
    parsed,
    refusal_findings,
    wish_of,
)
from holdfast.api.schemas.operation import OperationView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.compose import ComposeProposal
from holdfast.domain.compose_findings import Finding
from holdfast.domain.container_import import ProposedContainer
from holdfast.domain.errors import NotFound, Refused, TooLarge
from holdfast.services.compose_import import propose_workloads

router = APIRouter(prefix="/api/import", tags=["import"], route_class=StrictRoute)


@router.post(
    "/compose",
    summary="Propose workloads from a compose file",
    description="One workload for each service, with all that can't be carried over. Nothing is applied, and no file "
    "of the server is read.",
    responses=problems(),
)
async def import_compose(services: Services, _caller: Operator, body: ComposeBody) -> ComposeView:
    proposal = await to_thread.run_sync(_propose, body)  # a large file takes a moment, and others wait
    taken = await _taken(services, [workload.name for workload in proposal.workloads])
    return await to_thread.run_sync(view, proposal, taken, list(body.env_files))


def _propose(body: ComposeBody) -> ComposeProposal:
    from holdfast.api.schemas.yaml_document import read_yaml  # by the first YAML: a parser of 2 MiB

    try:
        document = read_yaml(body.text.get_secret_value(), merge=True)
    except TooLarge as error:
        error.next_step = "Split it into several files of one project, and import each."
        raise
    return propose_workloads(
        document.value,
        folder=body.folder,
        directory=body.directory,
        variables={name: value.get_secret_value() for name, value in body.variables.items()},
        env_files={path: text.get_secret_value() for path, text in body.env_files.items()},
    )


@router.post(
    "/containers",
    summary="Propose workloads from containers that others made",
    description="One workload for each container of this host, on the data that it has, with all that can't be carried "
    "over. Nothing is applied, and no container is touched.",
    responses=problems(404, 422),
)
async def import_containers(services: Services, _caller: Admin, body: ContainersBody) -> ContainersView:
    proposal = await services.containers.propose(body.containers, project=body.project)
    refused = {each.workload.name: await _refused(services, each) for each in proposal.containers}
    taken = await _taken(services, refused)
    return await to_thread.run_sync(containers_view, proposal, refused, taken)


@router.post(
    "/containers/take-over",
    summary="Have workloads take the place of containers that others made",
    description="All of them or none, on their data as it is, after a first snapshot. Needs `X-Confirm-Take-Over: "
    "<names of the containers, joined by commas>`. The containers are stopped, and removed without their volumes once "
    "all workloads are healthy; until then they are put back as they were, whatever happens. The operation belongs to "
    "the first workload.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428, 507),
)
async def take_containers_over(
    response: Response, services: Services, caller: Admin, body: TakeOverBody, confirm: ConfirmTakeOver = None
) -> OperationView:
    proposal = await services.containers.propose(body.containers, project=body.project)
    wishes = await to_thread.run_sync(lambda: [wish_of(each) for each in proposal.containers])
    return accepted(
        response,
        await services.take_overs.begin(
            wishes,
            confirm=confirm,
            accept_left_out=body.accept_left_out,
            keep=body.keep,
            actor=caller.name,
        ),
    )


async def _refused(services: Services, proposed: ProposedContainer) -> list[Finding]:
    """Why a proposal can't be applied as it is."""
    spec, found = await to_thread.run_sync(parsed, proposed)
    if spec is None:
        return found
    try:
        await services.workloads.preview(spec)
    except Refused as refusal:
        return refusal_findings(refusal.problems)
    return []


async def _taken(services: Services, names: Iterable[str]) -> dict[str, str]:
    """The projects of workloads that have a proposed name already."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = (await services.workloads.get(name)).spec.project
        except NotFound:
            continue
    return found
