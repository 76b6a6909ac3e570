"""Pulling from a real registry."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed
from holdfast.domain.registry import RegistryLogin
from holdfast.runtime.docker import DockerRuntime
from holdfast.testing.images import build_image
from holdfast.testing.odd_registry import odd_registry
from holdfast.testing.registry import push, registry

OPEN_SESAME = "$2b$05$kCeSqv3uyXq5mTllrhWO0ea3r1neCmU/5382zZlFTDGXP0nu4qH66"
"""The bcrypt of a password."""


@dataclass(frozen=True)
class Published:
    reference: str
    digest: str
    image_id: str


@pytest.fixture
async def published(docker_host: str, docker_runtime: DockerRuntime, registry_address: str) -> AsyncIterator[Published]:
    """An image that is in the registry, and not on this host."""
    reference = f"{registry_address}/holdfast-test/app:1"
    image_id = await publish(docker_host, docker_runtime, reference)
    digest = await push(docker_host, image_id, reference)
    await docker_runtime.untag("holdfast-test/pushed")
    assert await docker_runtime.image(image_id) is None
    yield Published(reference, digest, image_id)
    for name in (reference, f"{registry_address}/holdfast-test/app"):
        await docker_runtime.untag(name)


async def publish(docker_host: str, runtime: DockerRuntime, reference: str) -> str:
    noise = os.urandom(6_000_000).hex()  # large enough that the engine tells of it more than once
    return await build_image(docker_host, "holdfast-test/pushed", script="exit 0", files={"/noise": noise})


@pytest.mark.xdist_group("registry")
async def test_a_pull_reports_its_progress_and_gives_the_image_with_its_digest(
    docker_runtime: DockerRuntime, published: Published
) -> None:
    seen: list[tuple[str, int, int | None]] = []
    image = await docker_runtime.pull(published.reference, lambda *progress: seen.append(progress))
    assert image.id == published.image_id
    assert published.digest in image.digests
    assert published.reference in image.tags
    what, done, total = seen[-1]
    assert what == "unpacking"
    assert done == total
    assert total is not None
    assert total > 3_000_000
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


@pytest.mark.xdist_group("registry")
async def test_an_image_is_pulled_by_its_digest(docker_runtime: DockerRuntime, published: Published) -> None:
    image = await docker_runtime.pull(published.digest)
    assert image.id == published.image_id
    found = await docker_runtime.image(published.digest)
    assert found is not None
    assert found.id == published.image_id
    assert image.tags == ()
    await docker_runtime.tag(image.id, published.reference.removesuffix(":1"), "1")


async def test_a_private_image_is_pulled_with_a_login_and_a_wrong_one_is_told(
    docker_host: str, docker_runtime: DockerRuntime, tmp_path: Path
) -> None:
    with registry(tmp_path, users={"ann": OPEN_SESAME}) as address:
        login = RegistryLogin(host=address, username="ann", password="open sesame")
        reference = f"{address}/holdfast-test/private:1"
        image_id = await build_image(docker_host, "holdfast-test/private", script="exit 0")
        await push(docker_host, image_id, reference, login=login)
        await docker_runtime.untag("holdfast-test/private")
        await docker_runtime.login(login)
        wrong = dataclasses.replace(login, password="close sesame")
        for refused in (None, wrong):
            with pytest.raises(Failed) as failure:
                await docker_runtime.pull(reference, login=refused)
            assert failure.value.code == "registry_denied"
        with pytest.raises(Failed) as failure:
            await docker_runtime.login(wrong)
        assert failure.value.code == "registry_login_refused"
        assert "sesame" not in failure.value.message
        assert (await docker_runtime.pull(reference, login=login)).id == image_id
        await docker_runtime.untag(reference)
    with pytest.raises(Failed) as failure:
        await docker_runtime.login(login)
    assert failure.value.code == "registry_not_asked"


async def test_what_a_registry_refuses_is_told_by_its_cause(docker_host: str, docker_runtime: DockerRuntime) -> None:
    told = {}
    async with odd_registry() as address:
        for name in ("busy", "closed", "denied", "broken", "other-machine", "none"):
            with pytest.raises(Failed) as failure:
                await docker_runtime.pull(f"{address}/{name}/app:1")
            assert failure.value.details["registry"] == address
            told[name] = failure.value.code
        impatient = DockerRuntime(docker_host, registry_patience=0.5)
        with pytest.raises(Failed) as failure:
            await impatient.pull(f"{address}/silent/app:1")
        await impatient.close()
        told["silent"] = failure.value.code
    with pytest.raises(Failed) as failure:
        await docker_runtime.pull(f"{address}/gone/app:1")
    told["gone"] = failure.value.code
    assert told == {
        "busy": "registry_rate_limited",
        "closed": "registry_denied",
        "denied": "registry_denied",
        "broken": "registry_broken",
        "other-machine": "image_for_other_platform",
        "none": "image_not_in_registry",
        "silent": "registry_silent",
        "gone": "registry_unreachable",
    }


@pytest.mark.xdist_group("registry")
async def test_a_tag_that_the_registry_does_not_have_is_a_failed_pull(
    docker_runtime: DockerRuntime, registry_address: str, tmp_path: Path
) -> None:
    with pytest.raises(Failed) as failure:
        await docker_runtime.pull(f"{registry_address}/holdfast-test/none")
    assert failure.value.code == "image_not_in_registry"
    assert "none" in failure.value.message
