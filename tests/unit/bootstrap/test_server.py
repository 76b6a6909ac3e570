"""Starting the server where it can't start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from holdfast.bootstrap import serve
from holdfast.config import Settings
from holdfast.domain.errors import Conflict


def test_an_address_that_is_taken_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(data_dir=tmp_path / "data", listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Conflict) as refusal:
            serve(settings)
    assert refusal.value.code == "address_unavailable"
    assert "--listen" in refusal.value.next_step
    assert not settings.data_dir.exists()
