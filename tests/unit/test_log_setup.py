"""Lines of the server's log: each is whole, can't be forged, and has the operation in whose course it was logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from holdfast.config import LogFormat
from holdfast.domain.operation import OperationKind
from holdfast.log_setup import configure_logging
from holdfast.services.locks import DrainBarrier
from holdfast.services.operations import OperationContext, Operations
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
async def operations(tmp_path: Path) -> AsyncIterator[Operations]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    operations = Operations(OperationStore(database), DrainBarrier())
    yield operations
    await operations.close(0)
    await database.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_what_is_logged_in_the_course_of_an_operation_has_its_id_whoever_logs_it_and_wherever(
    operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogFormat.JSON)

    async def beside() -> None:
        structlog.get_logger("holdfast").warning("a task beside it")

    async def run(_ctx: OperationContext) -> None:
        structlog.get_logger("holdfast").info("itself")
        await asyncio.create_task(beside())
        await asyncio.to_thread(logging.getLogger("some.package").error, "a package in a thread")

    ids = [(await operations.start(OperationKind.STOP, name, "ann", run)).id for name in ("w1", "w2")]
    for each in ids:
        await operations.wait(each)
    structlog.get_logger("holdfast").info("none")
    told = lines(capsys)
    for each in ids:
        events = [line["event"] for line in told if line.get("operation_id") == each]
        assert events == ["itself", "a task beside it", "a package in a thread", "operation_ended"]
    assert [line["event"] for line in told if "operation_id" not in line] == ["none"]


@pytest.mark.parametrize("style", LogFormat)
def test_nobody_can_forge_a_line(style: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(style)
    forged = 'x\ntimestamp=2026-01-01 level=info event="all is well"'
    structlog.get_logger("holdfast").warning("refused", name=forged)
    logging.getLogger("some.package").warning("refused %s", forged)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all("refused" in line for line in told)


def test_what_a_library_found_unforeseen_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON)
    try:
        int("none")
    except ValueError:
        logging.getLogger("some.package").exception("failed")
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("failed", "error", "some.package")
    assert "ValueError: invalid literal" in str(line["exception"])
