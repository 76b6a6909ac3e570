"""Who has a port, and what is connected where, is found by the kernel's own tables."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from holdfast.edge.sockets import connected_to, hand_over_waiting_connections, who_listens


def test_the_process_that_listens_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert who_listens(port) is None
        listener.listen()
        name = Path("/proc/self/comm").read_text().strip()
        assert who_listens(port) == f"{name} (process {os.getpid()})"


def test_who_listens_at_another_address_is_in_nobody_s_way() -> None:
    name = f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"
    with socket.socket() as listener:
        listener.bind(("127.3.2.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert who_listens(port, "127.3.2.1") == name
        assert who_listens(port, "127.3.2.2") is None
        assert who_listens(port, "0.0.0.0") == who_listens(port, "[::]") == who_listens(port) == name


@pytest.mark.parametrize("address", ["", "127.3.2.1", "[::1]"])
def test_who_listens_everywhere_is_in_everybody_s_way(tmp_path: Path, address: str) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text("head\n0: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 99 1\n")
    (tmp_path / "812/fd").mkdir(parents=True)
    (tmp_path / "812/comm").write_text("nginx\n")
    (tmp_path / "812/fd/3").symlink_to("socket:[99]")
    assert who_listens(80, address, tmp_path) == "nginx (process 812)"
    assert who_listens(81, address, tmp_path) is None


@pytest.mark.parametrize(
    ("family", "address", "written"),
    [(socket.AF_INET, "127.3.2.1", "127.3.2.1"), (socket.AF_INET6, "::1", "[::1]")],
    ids=["ipv4", "ipv6"],
)
def test_a_connection_is_seen_while_it_is_there(family: int, address: str, written: str) -> None:
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        remote = f"{written}:{listener.getsockname()[1]}"
        assert not connected_to([remote])
        with socket.create_connection((address, listener.getsockname()[1])):
            assert connected_to(["127.0.0.1:9", remote])
        assert not connected_to([remote])


def test_where_nothing_can_be_looked_at_there_is_nothing(tmp_path: Path) -> None:
    assert who_listens(80, proc=tmp_path) is None
    assert not connected_to(["127.0.0.1:80"], tmp_path)


def test_connections_that_wait_at_a_listener_that_closes_are_handed_over(tmp_path: Path) -> None:
    setting = tmp_path / "tcp_migrate_req"
    hand_over_waiting_connections(setting)  # a kernel that can't
    assert not setting.exists()
    setting.write_text("0\n")
    hand_over_waiting_connections(setting)
    assert setting.read_text() == "1\n"
