"""What takes space on this host's disks."""

from __future__ import annotations

from fastapi import APIRouter

from holdfast.api.answers import problems
from holdfast.api.auth import Viewer
from holdfast.api.schemas.disk import DiskView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/disk", tags=["system"], route_class=StrictRoute)


@router.get(
    "",
    summary="Tell what takes space on disks, by its cause",
    description="Volumes, volumes of trials, snapshots, images, logs of removed instances, leftovers of restores, the "
    "database, all else. Volumes are not walked for it: each says when it was looked at. Of snapshots an item tells "
    "what those of a workload added when they were taken; images count layers that they share in each.",
    responses=problems(),
)
async def get_disk(services: Services, _caller: Viewer) -> DiskView:
    return DiskView.of(await services.disk.report())
