"""What the tests of the command line share."""

from __future__ import annotations

import pytest

from tests.unit.cli.fake_server import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()
