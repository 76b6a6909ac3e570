"""For all tests: what the servers under test log is text that costs nothing, tracebacks included."""

import structlog


def pytest_configure() -> None:
    """The default renderer draws a traceback with all variables, which takes a second for a deep one."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
