"""What the suite of the container runtimes works with: images, and a place to make containers in."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.runtime.port import LABEL_INSTALLATION, Container, ContainerLog, ContainerRuntime, ContainerSpec

HELLO = ("echo", "hello")
FAILING = ("false",)
HANGING = ("sleep", "1000")
UNKNOWN = ("no-such-program",)
WHO = ("id", "-u")
MARK = ("touch", "/tmp/marked")
MARKED = ("test", "-e", "/tmp/marked")
"""Commands that the images know; a fake has to be told of them."""

PATIENCE = 60.0
"""Seconds after which a condition that did not come fails the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """References of the images that the suite works with; they are on the host.

    All but ``failing`` run until they are stopped, and print ``ready`` first: TERM is heard from then on.

    Attributes:
        steady: ends with 0 at TERM; without a health check.
        stubborn: ignores TERM.
        failing: ends with 3 at once.
        healthy, unhealthy: by their own health checks.
        printing: prints ``one`` and ``three`` to stdout and ``two`` to stderr, after ``ready``, in this order.
        writing: writes ``written`` to ``/data/file`` when it starts; runs as user ``1000``.
    """

    steady: str
    stubborn: str
    failing: str
    healthy: str
    unhealthy: str
    printing: str
    writing: str


class Lab:
    """A runtime and what a test made with it: containers carry one label and are removed at the end."""

    def __init__(self, runtime: ContainerRuntime, images: Images) -> None:
        self.runtime = runtime
        self.images = images
        self.installation = f"test-{secrets.token_hex(6)}"

    async def create(self, image: str, name: str = "a", labels: Mapping[str, str] | None = None, **facts: Any) -> str:
        found = await self.runtime.image(image)
        assert found is not None
        spec = ContainerSpec(
            name=f"{self.installation}-{name}",
            image=found.id,
            labels={LABEL_INSTALLATION: self.installation, **(labels or {})},
            **facts,
        )
        return await self.runtime.create(spec)

    async def run(self, image: str, name: str = "a", **facts: Any) -> str:
        container_id = await self.create(image, name, **facts)
        await self.runtime.start(container_id)
        if image != self.images.failing:
            await self.until_printed(container_id, "ready")
        return container_id

    async def until_printed(self, container_id: str, text: str) -> None:
        async def printed() -> bool:
            return any(line.text == text for line in await read_log(self.runtime.logs(container_id)))

        await eventually(printed)

    async def until(self, container_id: str, true: Callable[[Container], bool]) -> Container:
        found: list[Container] = []

        async def met() -> bool:
            found.append(await self.runtime.inspect(container_id))
            return true(found[-1])

        await eventually(met)
        return found[-1]

    async def clean(self) -> None:
        for container in await self.runtime.containers({LABEL_INSTALLATION: self.installation}):
            await self.runtime.remove(container.id, force=True)


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await true():  # noqa: ASYNC110 - the condition lies outside of this process
            await asyncio.sleep(0.02)


async def read_log(lines: AsyncIterator[ContainerLog]) -> list[ContainerLog]:
    async with asyncio.timeout(PATIENCE):
        return [line async for line in lines]
