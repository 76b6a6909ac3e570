"""Which server is asked, and with which token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.cli.connection import DEFAULT_URL, resolve
from holdfast.domain.errors import InvalidInput
from tests.unit.cli.fake_server import FakeServer, answer, workload


def test_this_host_is_asked_by_default(tmp_path: Path) -> None:
    connection = resolve(None, None, {"HOLDFAST_DATA_DIR": str(tmp_path)})
    assert (connection.url, connection.token) == (DEFAULT_URL, None)


def test_the_option_wins_over_the_environment() -> None:
    env = {"HOLDFAST_URL": "http://other:1", "HOLDFAST_TOKEN": "t"}
    assert resolve("https://named/", None, env).url == "https://named"
    assert resolve(None, None, env).url == "http://other:1"


@pytest.mark.parametrize("url", ["127.0.0.1:8484", "ftp://x", "x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="not the address"):
        resolve(url, None, {"HOLDFAST_TOKEN": "t"})


def test_the_token_comes_from_the_option_then_the_environment_then_the_data_directory(tmp_path: Path) -> None:
    for name in ("option", "variable", "admin-token"):
        (tmp_path / name).write_text(f"from-{name}\n")
    env = {"HOLDFAST_DATA_DIR": str(tmp_path)}
    assert resolve(None, None, env).token == "from-admin-token"
    env["HOLDFAST_TOKEN_FILE"] = str(tmp_path / "variable")
    assert resolve(None, None, env).token == "from-variable"
    env["HOLDFAST_TOKEN"] = "directly"
    assert resolve(None, None, env).token == "directly"
    assert resolve(None, str(tmp_path / "option"), env).token == "from-option"


def test_a_named_token_file_that_can_t_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be read"):
        resolve(None, str(tmp_path / "nothing"), {})


@pytest.mark.parametrize("content", ["", "two words", "line\nbreak", "snow☃"])
def test_a_file_without_a_token_is_an_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(InvalidInput, match="does not hold a token"):
        resolve(None, os.fspath(file), {})


def test_requests_carry_the_token(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes", answer(workload()))
    server.run("workload", "show", "notes", env={"HOLDFAST_TOKEN": "hf_secret"})
    assert server.requests[0].headers["Authorization"] == "Bearer hf_secret"
