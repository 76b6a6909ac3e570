"""Servers on one installation, which the tests of a module share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.faults.restart_bench import Servers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """With a workload that runs and has a snapshot; modules that need more define it anew."""
    servers = await Servers.at(tmp_path_factory.mktemp("servers"))
    yield servers
    await servers.end_well()


@pytest.fixture
def servers(standing: Servers) -> Servers:
    """The same, as the test before it must have left them."""
    standing.ready()
    return standing
