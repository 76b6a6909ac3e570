"""What the Docker adapter asks for again, asks for once, and asks before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import repeat

import pytest
from aiohttp import web

from holdfast.domain.errors import Failed, Unavailable
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.docker import DockerRuntime

Answer = tuple[int, str]
DONE: Answer = (200, "")
STILL_THERE: Answer = (500, "task 1: already exists: unknown")
NOT_FROZEN: Answer = (500, "Cannot pause container 1: OCI runtime pause failed: unable to freeze: unknown")
NO_PROCESS: tuple[Answer, ...] = (
    (500, "Cannot update container 1: cannot update a stopped container: unknown"),
    (500, "Cannot update container 1: cannot update a deleted process: unknown"),
    (500, "Cannot update container 1: runc did not terminate successfully: exit status 1"),
)


class Engine:
    """Has one container. Answers updates, starts and freezing of it as it is told to, one after another.

    Attributes:
        asked: the last part of each request's path.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.asked: list[str] = []
        self._answers = iter(answers)

    @property
    def updates(self) -> int:
        return self.asked.count("update")

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.41"})

    async def container(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        self.asked.append(what)
        if what == "json":
            return web.json_response({"Id": "1", "Name": "/a", "Image": "sha256:1", "State": {"Status": "running"}})
        status, message = next(self._answers) if what in ("update", "start", "pause") else DONE
        return web.json_response({"message": message} if message else {}, status=status)

    @asynccontextmanager
    async def runtime(self, timeout: float) -> AsyncIterator[DockerRuntime]:
        app = web.Application()
        app.router.add_get("/version", self.version)
        app.router.add_route("*", "/v1.41/containers/1/{what}", self.container)
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
    engine = Engine([*NO_PROCESS, DONE])
    async with engine.runtime(30) as runtime:
        await runtime.set_restart_policy("1", RestartPolicy.NO)
    assert engine.updates == 4


async def test_an_engine_that_never_learns_that_a_process_is_gone_is_given_up() -> None:
    engine = Engine(repeat(NO_PROCESS[0]))
    async with engine.runtime(1) as runtime:
        with pytest.raises(Failed, match="cannot update a stopped container"):
            await runtime.set_restart_policy("1", RestartPolicy.NO)
    assert engine.updates > 1


async def test_a_start_that_only_a_restart_of_the_engine_makes_possible_is_waited_for_like_an_engine_that_is_away() -> (
    None
):
    engine = Engine([STILL_THERE, DONE])
    async with engine.runtime(30) as runtime:
        with pytest.raises(Unavailable, match="Restart the engine") as refusal:
            await runtime.start("1")
        assert refusal.value.code == "engine_lost_track"
        await runtime.start("1")
    assert engine.asked == ["start"] * 2


async def test_a_start_that_the_engine_will_not_have_is_asked_for_once() -> None:
    engine = Engine([(500, "OCI runtime create failed: no such file or directory")])
    async with engine.runtime(30) as runtime:
        with pytest.raises(Failed, match="OCI runtime"):
            await runtime.start("1")
    assert engine.asked == ["start"]


@pytest.mark.parametrize(
    "refusal",
    [
        (409, "Cannot update container 1: Restart policy cannot be updated because AutoRemove is enabled"),
        (500, "write /var/lib/docker/containers/1/hostconfig.json: no space left on device"),
    ],
)
async def test_what_the_engine_will_not_have_is_asked_for_once(refusal: Answer) -> None:
    engine = Engine([refusal])
    async with engine.runtime(30) as runtime:
        with pytest.raises(Failed):
            await runtime.set_restart_policy("1", RestartPolicy.NO)
    assert engine.updates == 1


async def test_nothing_is_frozen_while_a_command_is_being_started_in_it() -> None:
    """The engine answers a look only once it has started what it starts, and could not thaw what it froze before."""
    engine = Engine([DONE])
    async with engine.runtime(30) as runtime:
        await runtime.pause("1")
    assert engine.asked == ["json", "pause"]


async def test_what_could_not_be_frozen_at_once_is_tried_again() -> None:
    engine = Engine([NOT_FROZEN, NOT_FROZEN, DONE])
    async with engine.runtime(30) as runtime:
        await runtime.pause("1")
    assert engine.asked.count("pause") == 3


async def test_what_can_never_be_frozen_is_given_up() -> None:
    engine = Engine(repeat(NOT_FROZEN))
    async with engine.runtime(0.5) as runtime:
        with pytest.raises(Failed, match="unable to freeze"):
            await runtime.pause("1")
    assert engine.asked.count("pause") > 1


async def test_a_freezer_that_is_not_there_is_asked_for_once() -> None:
    engine = Engine([(500, "OCI runtime pause failed: freezer not supported")])
    async with engine.runtime(30) as runtime:
        with pytest.raises(Failed, match="not supported"):
            await runtime.pause("1")
    assert engine.asked.count("pause") == 1
