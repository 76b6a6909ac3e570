"""Images on the host: those that were deployed and are kept, and letting go of the rest."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Viewer
from holdfast.api.schemas.image import KeptImagesView, KeptImageView, PruneImagesBody
from holdfast.api.schemas.operation import OperationView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/images", tags=["images"], route_class=StrictRoute)


@router.get(
    "",
    summary="List the images that were deployed and are kept on the host",
    description="The largest first. Each says which workloads need it.",
    responses=problems(503),
)
async def list_images(services: Services, _caller: Viewer) -> KeptImagesView:
    return KeptImagesView(items=[KeptImageView.of(image) for image in await services.images.kept()])


@router.post(
    "/prune",
    summary="Remove the images that no kept deployment needs",
    description="Deployments do this by themselves, each for its own workload. Only images that were deployed from "
    "here are looked at. One that a container uses, that has another name as well, or that no registry could give "
    "again stays. The outcome lists what went, and why the others did not.",
    status_code=202,
    responses=accepted_or(),
)
async def prune_images(
    response: Response, services: Services, caller: Admin, request: PruneImagesBody | None = None
) -> OperationView:
    wanted = request or PruneImagesBody()
    return accepted(response, await services.images.prune(dry_run=wanted.dry_run, actor=caller.name))
