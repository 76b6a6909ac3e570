"""For all tests: what the servers under test log is text that costs nothing, tracebacks included; and no property is
false because the machine was busy.
"""

import structlog
from hypothesis import HealthCheck, settings

settings.register_profile("holdfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holdfast")


def pytest_configure() -> None:
    """The default renderer draws a traceback with all variables, which takes a second for a deep one."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
