"""Who has a port is found by the port alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from holdfast.edge.listeners import who_listens


def test_the_process_that_listens_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert who_listens(port) is None
        listener.listen()
        name = Path("/proc/self/comm").read_text().strip()
        assert who_listens(port) == f"{name} (process {os.getpid()})"


def test_where_nothing_can_be_looked_at_nobody_is_named(tmp_path: Path) -> None:
    assert who_listens(80, tmp_path) is None
