"""The application: routes, bounds and error mapping put together.

Invariants: every route under ``/api`` declares the role that it needs, every answer carries the security headers, every
error has the one shape, and no body is read beyond its bound. Cross-origin requests are never allowed. The web
interface stands before it all: what it answers is the same for everybody.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.types import Scope

from holdfast import __version__
from holdfast.api import errors
from holdfast.api.compression import Compression
from holdfast.api.interface import Interface
from holdfast.api.middleware import MAX_JSON_BYTES, Bounds, Shield
from holdfast.api.routes import (
    audit,
    backups,
    clones,
    deployments,
    disk,
    health,
    images,
    imports,
    logs,
    metrics,
    notifications,
    operations,
    previews,
    protection,
    registries,
    repositories,
    repository,
    restores,
    schedules,
    secrets,
    sessions,
    snapshot_files,
    snapshots,
    system,
    tokens,
    users,
    webhooks,
    workloads,
)
from holdfast.api.services import ApiServices
from holdfast.api.strict_route import StrictRoute

_IMPORT: Final = re.compile(r"/api/workloads/[^/]+/snapshots/import")
"""Where archives are received."""


def create_app(services: ApiServices) -> FastAPI:
    """The API in front of ``services``."""
    app = bare_app()
    app.state.services = services
    app.state.following = Counter()
    app.state.closing = asyncio.Event()  # for streams without end: whoever stops the server sets it
    app.add_middleware(Compression)
    app.add_middleware(Bounds, body_limit=_body_limit)
    app.add_middleware(Shield)
    app.add_middleware(Interface)
    errors.register(app)
    return app


def bare_app() -> FastAPI:
    """The routes alone: enough to describe the API, not to serve it."""
    app = FastAPI(
        title="Holdfast",
        version=__version__,
        description="Deploys containers, and rolls back their data as safely as their code.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    # not `include_router`: it makes every route a second time, which takes a third of a second of the first request
    app.router.routes.extend(route for router in routers() for route in router.routes)
    for route in app.router.routes:
        if not isinstance(route, StrictRoute):
            raise TypeError(f"{route} is no StrictRoute, and so nothing says who may use it")
    return app


def routers() -> tuple[APIRouter, ...]:
    """All routes, by resource. The order matters only where a fixed segment stands beside a parameter, and for speed.

    Addresses are compared with one route after the other: the one that is flooded comes first.
    """
    return (
        webhooks.public,
        system.router,
        disk.router,
        workloads.router,
        deployments.router,
        logs.router,
        metrics.router,
        health.router,
        metrics.figures,
        secrets.router,
        snapshots.router,
        snapshot_files.router,
        images.router,
        imports.router,
        repository.router,
        registries.router,
        repositories.router,
        protection.router,
        restores.router,
        clones.router,
        previews.router,
        operations.router,
        schedules.router,
        notifications.router,
        audit.router,
        backups.router,
        webhooks.router,
        sessions.router,
        users.router,
        tokens.router,
    )


def _body_limit(scope: Scope) -> int:
    """Archives may be large; everything else is a small document, which is read before its caller is known.

    The one route that streams its body to the disk, and only that: any other route at the same path reads into memory.
    """
    if scope["method"] != "POST" or not _IMPORT.fullmatch(scope["path"]):
        return MAX_JSON_BYTES
    services: ApiServices = scope["app"].state.services
    return services.max_upload_bytes
