"""Holdfast's own Caddy, where the program does not behave."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from holdfast.domain.edge import Route
from holdfast.domain.errors import Unavailable
from holdfast.edge.caddy import OwnCaddy
from holdfast.edge.caddy_config import Listen
from holdfast.testing.caddies import until

ROUTES = (Route(domains=("notes.test",), upstreams=("10.0.0.1:80",)),)
DEAF = """#!/bin/sh
trap '' TERM
echo $$ >> "$HOME/pids"
exec sleep 1000
"""


def _has_lines(file: Path, number: int) -> bool:
    return file.exists() and len(file.read_text().splitlines()) == number


async def test_one_that_neither_answers_nor_ends_is_killed_before_another_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "caddy"
    program.write_text(DEAF)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    edge = OwnCaddy("installation", tmp_path / "edge", Listen(), patience=0.2)
    pids = tmp_path / "edge/pids"
    try:
        for started in (1, 2):
            with pytest.raises(Unavailable, match="can't be started"):
                await edge.serve(ROUTES)
            await until(partial(_has_lines, pids, started))
        first, second = map(int, pids.read_text().split())
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        os.kill(second, signal.SIGKILL)
    finally:
        await edge.close()
