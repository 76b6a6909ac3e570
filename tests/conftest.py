"""For all tests: what the servers under test log is text that costs nothing, tracebacks included; no property is false
because the machine was busy, nor tried with other examples each time (but with ``HOLDFAST_TORTURE=1``); and what was
proven is counted, summed over all processes, and printed at the end.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.remote import Producer  # type: ignore[import-untyped]

from tests.scheduling import Mixed

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from holdfast.testing.s3_server import S3Server

gc.disable()  # until all is collected: what is loaded is no garbage, and looking for some takes a quarter of the time

settings.register_profile(
    "holdfast",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("HOLDFAST_TORTURE") != "1",
)
settings.load_profile("holdfast")


def pytest_configure() -> None:
    """The default renderer draws a traceback with all variables, which takes a second for a deep one."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is loaded by now stays: no later search for garbage goes through it, and forked servers share its memory.

    What tests make is short-lived: seldom looked through, it costs a tenth less.
    """
    if session.config.getoption("loadgroup", False):
        lone = [
            item.nodeid for item in session.items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid
        ]
        assert not lone, f"pytest-xdist sends these to any worker, whatever their group: {lone[:3]}"
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Mixed:
    """With ``-n``: tests that wait beside tests that compute. Who schedules collects nothing itself."""
    gc.enable()
    return Mixed(config, log)


_FIGURE = "figure: "


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Count something of the proof: ``figure("crash points", 312)``. Counts of the same name are added up."""

    def count(name: str, number: int) -> None:
        record_property(_FIGURE + name, number)

    return count


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the sums; ``docs/explanation/proof.md`` shows them."""
    sums: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties:
            if name.startswith(_FIGURE) and isinstance(number, int):
                sums[name.removeprefix(_FIGURE)] += number
    if sums:
        terminalreporter.section("figures of the proof")
        for name, number in sorted(sums.items()):
            terminalreporter.write_line(f"{number:>10,}  {name}")


@pytest.fixture
def patient_log_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers in this process keep logs however long that takes on a busy machine; others have two seconds for it."""
    from holdfast.bootstrap import deploying  # all of Holdfast, which takes a second to load
    from holdfast.services.log_keeping import LogKeeping

    monkeypatch.setattr(deploying, "LogKeeping", partial(LogKeeping, patience=60.0))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One S3 server (moto's) for all tests: each makes a bucket of its own."""
    from holdfast.testing.s3_server import s3_server  # takes a second to load

    with s3_server() as running:
        yield running
