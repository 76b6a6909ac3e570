"""What running containers of the Docker Engine use: one short answer for each (``one-shot``, API 1.41).

Without it the engine would take two looks a second apart for every answer. Few are asked for at a time: nobody waits
for them, and the engine has other things to do.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Final

from aiodocker import DockerError

from holdfast.domain.errors import Unavailable
from holdfast.runtime import docker_spec, docker_view
from holdfast.runtime.docker_client import DockerClient, refused
from holdfast.runtime.port import ContainerUsage

_AT_ONCE: Final = 4


async def running(client: DockerClient, labels: Mapping[str, str]) -> list[ContainerUsage]:
    """See the port."""
    filters = json.dumps(docker_spec.label_filters(labels))
    try:
        listed = await client.ask("GET", "containers/json", params={"filters": filters})
    except DockerError as error:
        raise refused(error) from error
    turns = asyncio.Semaphore(_AT_ONCE)

    async def of(container_id: str, labels: Mapping[str, str]) -> ContainerUsage | None:
        async with turns:
            try:
                path = f"containers/{container_id}/stats"
                answer = await client.ask("GET", path, params={"stream": False, "one-shot": True})
            except DockerError:
                return None  # it went away, or can't be asked: the others can
            except Unavailable as error:
                if error.code != "engine_timeout":
                    raise
                return None  # the engine is stuck over this one
            if not answer:
                return None  # it was just starting or ending: the engine says nothing at all of it (20.10, measured)
            return docker_view.usage(container_id, labels, answer, time.monotonic())

    found = await asyncio.gather(*(of(entry["Id"], entry.get("Labels") or {}) for entry in listed))
    return [usage for usage in found if usage is not None]
