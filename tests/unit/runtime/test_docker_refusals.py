"""A change of the restart policy that the engine refuses: for now, for good, or for another reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from holdfast.domain.errors import Failed
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.docker import DockerRuntime

Answer = tuple[int, str]
DONE: Answer = (200, "")
NO_PROCESS: tuple[Answer, ...] = (
    (500, "Cannot update container 1: cannot update a stopped container: unknown"),
    (500, "Cannot update container 1: cannot update a deleted process: unknown"),
    (500, "Cannot update container 1: runc did not terminate successfully: exit status 1"),
)


class Engine:
    """Answers updates as it is told to, one after another."""

    def __init__(self, answers: Iterator[Answer]) -> None:
        self.updates = 0
        self._answers = answers

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.41"})

    async def update(self, _: web.Request) -> web.Response:
        self.updates += 1
        status, message = next(self._answers)
        return web.json_response({"message": message} if message else {"Warnings": []}, status=status)

    @asynccontextmanager
    async def runtime(self, timeout: float) -> AsyncIterator[DockerRuntime]:
        app = web.Application()
        app.router.add_get("/version", self.version)
        app.router.add_post("/v1.41/containers/1/update", self.update)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        runtime = DockerRuntime(f"tcp://{host}:{port}", timeout)
        try:
            yield runtime
        finally:
            await runtime.close()
            await runner.cleanup()


async def test_a_process_that_is_gone_is_asked_about_until_the_engine_knows() -> None:
    engine = Engine(iter([*NO_PROCESS, DONE]))
    async with engine.runtime(30) as runtime:
        await runtime.set_restart_policy("1", RestartPolicy.NO)
    assert engine.updates == 4


async def test_an_engine_that_never_learns_that_a_process_is_gone_is_given_up() -> None:
    refusal = NO_PROCESS[0]
    engine = Engine(iter(lambda: refusal, None))
    async with engine.runtime(1) as runtime:
        with pytest.raises(Failed, match="cannot update a stopped container"):
            await runtime.set_restart_policy("1", RestartPolicy.NO)
    assert engine.updates > 1


@pytest.mark.parametrize(
    "refusal",
    [
        (409, "Cannot update container 1: Restart policy cannot be updated because AutoRemove is enabled"),
        (500, "write /var/lib/docker/containers/1/hostconfig.json: no space left on device"),
    ],
)
async def test_what_the_engine_will_not_have_is_asked_for_once(refusal: Answer) -> None:
    engine = Engine(iter([refusal]))
    async with engine.runtime(30) as runtime:
        with pytest.raises(Failed):
            await runtime.set_restart_policy("1", RestartPolicy.NO)
    assert engine.updates == 1
