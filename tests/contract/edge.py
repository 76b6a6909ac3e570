"""What every edge does, the fake included."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import pytest

from holdfast.domain.edge import Route
from holdfast.domain.errors import Unavailable
from holdfast.edge.port import Edge
from holdfast.testing.caddies import backend, held_backend


class Lab(ABC):
    """An edge, and how to ask it as the world does."""

    edge: Edge

    @abstractmethod
    async def ask(self, domain: str) -> tuple[int, str]:
        """The status and the text that somebody gets who asks for a domain."""

    @abstractmethod
    async def forget(self) -> None:
        """Have it end and come back without anything that it was told, as after a crash."""

    @abstractmethod
    async def go_away(self) -> None:
        """Have it end, so that it can't be brought back by itself."""


class EdgeContract:
    """Derive from it, with a fixture ``lab``."""

    async def test_it_serves_each_domain_from_its_own_upstream(self, lab: Lab) -> None:
        async with backend("one") as one, backend("two") as two:
            await lab.edge.serve(
                [Route(domains=("a.test", "b.test"), upstreams=(one,)), Route(domains=("c.test",), upstreams=(two,))]
            )
            assert [await lab.ask(f"{name}.test") for name in "abc"] == [(200, "one /"), (200, "one /"), (200, "two /")]

    async def test_what_it_is_told_replaces_what_it_was_told(self, lab: Lab) -> None:
        async with backend("one") as one, backend("two") as two:
            await lab.edge.serve([Route(domains=("a.test",), upstreams=(one,))])
            await lab.edge.serve([Route(domains=("b.test",), upstreams=(two,))])
            assert await lab.ask("b.test") == (200, "two /")
            assert "one" not in (await lab.ask("a.test"))[1]

    async def test_who_asks_while_nobody_serves_is_told_to_come_back(self, lab: Lab) -> None:
        await lab.edge.serve([Route(domains=("a.test",), upstreams=())])
        status, text = await lab.ask("a.test")
        assert status == 503
        assert "a.test" in text

    async def test_after_a_crash_it_serves_again_what_it_is_told_again(self, lab: Lab) -> None:
        async with backend("one") as one:
            routes = [Route(domains=("a.test",), upstreams=(one,))]
            await lab.edge.serve(routes)
            await lab.forget()
            await lab.edge.serve(routes)
            assert await lab.ask("a.test") == (200, "one /")

    async def test_a_request_under_way_is_answered_by_whom_it_went_to_and_seen_until_then(self, lab: Lab) -> None:
        async with held_backend("old") as old, backend("new") as new:
            await lab.edge.serve([Route(domains=("a.test",), upstreams=(old.address,))])
            asked = asyncio.ensure_future(lab.ask("a.test"))
            await old.asked.wait()
            await lab.edge.serve([Route(domains=("a.test",), upstreams=(new,))])
            assert await lab.edge.under_way([old.address])
            assert await lab.ask("a.test") == (200, "new /")
            old.release.set()
            assert await asked == (200, "old /")
            async with asyncio.timeout(60):
                while await lab.edge.under_way([old.address]):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)

    async def test_one_that_does_not_answer_is_told_as_such(self, lab: Lab) -> None:
        await lab.go_away()
        with pytest.raises(Unavailable) as failure:
            await lab.edge.serve([Route(domains=("a.test",), upstreams=("127.0.0.1:9",))])
        assert failure.value.code.startswith("edge_")
        assert failure.value.next_step
