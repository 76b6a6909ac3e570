"""The server: the assembly, served over HTTP until it is told to stop."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import uvicorn

from holdfast.api.app import create_app
from holdfast.bootstrap.assembly import running
from holdfast.config import Settings
from holdfast.log_setup import configure_logging

CLOSE_WAIT: Final = 3
"""Seconds that open connections get at shutdown, event streams among them."""


def serve(settings: Settings) -> None:
    """Run the server until it is told to stop."""
    configure_logging(settings.log_format)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with running(settings) as holdfast:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(holdfast.api),
                host=settings.listen_host,
                port=settings.listen_port,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=CLOSE_WAIT,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )
        _greet(settings, holdfast.first_token)
        await server.serve()


def _greet(settings: Settings, first_token: str | None) -> None:
    """The few lines that a person sees on the console; the token this once."""
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    lines = [f"Holdfast listens on http://{host}:{settings.listen_port}, data in {settings.data_dir}"]
    if first_token is not None:
        lines.append(f"Admin token (shown once, kept in {settings.admin_token_file}): {first_token}")
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - for the person at the console
