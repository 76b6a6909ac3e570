"""How well workloads are protected."""

from __future__ import annotations

from fastapi import APIRouter

from holdfast.api.answers import problems
from holdfast.api.auth import Viewer
from holdfast.api.schemas.snapshot import ProtectionsView, ProtectionView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/protection", tags=["snapshots"], route_class=StrictRoute)


@router.get("", summary="Tell what there is to go back to for each workload", responses=problems())
async def list_protection(services: Services, _caller: Viewer) -> ProtectionsView:
    found = await services.snapshots.protection()
    return ProtectionsView(items=[ProtectionView.model_validate(each) for each in found])
