"""Containers that others made: told of in the Docker Engine's own words."""

from __future__ import annotations

from aiodocker import DockerError

from holdfast.runtime import docker_spec
from holdfast.runtime.docker_client import DockerClient, refused, unknown_container
from holdfast.runtime.port import Inspection

_NOT_FOUND = 404
_DELETED = 2
"""The engine's word for a path of the image's that is gone."""


async def inspection(client: DockerClient, container_id: str, path: str) -> Inspection:
    """The container and its image; what is said of an image that is gone is empty.

    Args:
        path: the container's, quoted.
    """
    try:
        container = await client.ask("GET", f"containers/{path}/json")
        changes = await client.ask("GET", f"containers/{path}/changes") or ()
    except DockerError as error:
        raise refused(error, unknown_container(container_id)) from error
    try:
        image = await client.ask("GET", f"images/{docker_spec.image_path(container['Image'])}/json")
    except DockerError as error:
        if error.status != _NOT_FOUND:
            raise refused(error) from error
        image = {}
    changed = tuple(change["Path"] for change in changes if change["Kind"] != _DELETED)
    return Inspection(container=container, image=image, changed=changed)
