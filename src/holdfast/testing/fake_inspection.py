"""What the fake engine says of a container in the words of the Docker Engine API, as far as imports read it."""

from __future__ import annotations

from typing import Any

from holdfast.runtime.docker_spec import create_body
from holdfast.runtime.port import Container
from holdfast.testing.fake_records import FakeContainer, FakeImage

_BRIDGE = "bridge"


def container_words(container: FakeContainer, seen: Container, image: FakeImage) -> dict[str, Any]:
    """``GET /containers/{id}/json``.

    Args:
        seen: the same as the port shows it.
    """
    body = create_body(container.spec)
    host = body.pop("HostConfig")
    names = iter(volume.name for volume in container.spec.volumes)
    return {
        "Id": container.id,
        "Name": f"/{container.spec.name}",
        "Image": image.id,
        "State": {"Status": container.state.value},
        "Config": {**body, "Image": image.tags[0] if image.tags else image.id, "Hostname": container.id[:12]},
        "HostConfig": {
            **host,
            "NetworkMode": container.spec.network or _BRIDGE,
            "RestartPolicy": {"Name": container.restart.value, "MaximumRetryCount": container.max_retries},
            "AutoRemove": False,
        },
        "NetworkSettings": {"Networks": {container.spec.network or _BRIDGE: {}}},
        "Mounts": [
            {
                "Type": mount.type,
                "Source": mount.source,
                "Destination": mount.target,
                "RW": not mount.read_only,
                **({"Name": next(names)} if mount.type == "volume" else {}),
            }
            for mount in seen.mounts
        ],
    }


def image_words(image: FakeImage) -> dict[str, Any]:
    """``GET /images/{id}/json``."""
    return {"Id": image.id, "RepoTags": image.tags, "RepoDigests": image.digests, "Config": {"User": image.user}}
