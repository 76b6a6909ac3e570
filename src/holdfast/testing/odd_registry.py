"""A registry that misbehaves as told: what a real one says only to strangers, when it is busy, or when it is broken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"


async def _answer(request: web.Request) -> web.StreamResponse:
    """What the name of the repository asks for."""
    mode = request.path.removeprefix("/v2/").partition("/")[0]
    match mode:
        case "":
            return web.json_response({})
        case "busy":
            return _error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
        case "closed":
            return _error(401, "UNAUTHORIZED", "authentication required")
        case "denied":
            return _error(403, "DENIED", "requested access to the resource is denied")
        case "broken":
            return _error(503, "UNAVAILABLE", "service unavailable")
        case "silent":
            await asyncio.Event().wait()
        case "other-machine":
            return _for_another_machine()
    return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)


def _for_another_machine() -> web.Response:
    platform = {"architecture": "s390x", "os": "linux"}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    one = {"mediaType": kind, "size": 7, "digest": f"sha256:{'0' * 64}", "platform": platform}
    document = {"schemaVersion": 2, "mediaType": _MANIFEST_LIST, "manifests": [one]}
    return web.Response(body=json.dumps(document).encode(), content_type=_MANIFEST_LIST)


@asynccontextmanager
async def odd_registry() -> AsyncIterator[str]:
    """Run it and yield its address (``127.0.0.1:port``). The first part of a repository's name says what it does."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()
