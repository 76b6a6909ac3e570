"""For all tests: what the servers under test log is text that costs nothing, tracebacks included; and no property is
false because the machine was busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from holdfast.testing.s3_server import S3Server

settings.register_profile("holdfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holdfast")


def pytest_configure() -> None:
    """The default renderer draws a traceback with all variables, which takes a second for a deep one."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One S3 server (moto's) for all tests: each makes a bucket of its own."""
    from holdfast.testing.s3_server import s3_server  # takes a second to load

    with s3_server() as running:
        yield running
