"""One container of which the engine says nothing keeps nobody from knowing what the others use."""

from __future__ import annotations

from typing import Any, cast

import pytest

from holdfast.domain.errors import Unavailable
from holdfast.runtime import docker_usage
from holdfast.runtime.docker_client import DockerClient

STATS = {"cpu_stats": {"cpu_usage": {"total_usage": 10**9}}, "memory_stats": {"usage": 1000}}


class Engine:
    """Runs two containers, and answers nothing of use about the first."""

    def __init__(self, code: str = "") -> None:
        self.code = code

    async def ask(self, _method: str, path: str, **_: object) -> Any:
        if path == "containers/json":
            return [{"Id": "1"}, {"Id": "2"}]
        if path == "containers/1/stats" and not self.code:
            return None
        if path == "containers/1/stats":
            raise Unavailable(self.code, "The engine does not answer.")
        return STATS


async def test_a_container_over_which_the_engine_is_stuck_is_left_out() -> None:
    engine = cast("DockerClient", Engine("engine_timeout"))
    assert [usage.container_id for usage in await docker_usage.running(engine, {})] == ["2"]


async def test_a_container_that_is_just_ending_is_left_out() -> None:
    found = await docker_usage.running(cast("DockerClient", Engine()), {})
    assert [usage.container_id for usage in found] == ["2"]


async def test_an_engine_that_is_gone_tells_nothing() -> None:
    with pytest.raises(Unavailable):
        await docker_usage.running(cast("DockerClient", Engine("engine_unavailable")), {})
