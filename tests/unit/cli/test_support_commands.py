"""A bundle for whoever helps: everything that the server says, nothing that is secret."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from holdfast.cli.commands import support
from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import FakeServer, answer, refusal


@pytest.fixture
def told(server: FakeServer) -> FakeServer:
    """A server that has an answer to all that is asked."""
    for path, _ in support._DOCUMENTS.values():
        server.on("GET", path, answer({"items": []}))
    server.on("GET", "/metrics", httpx.Response(200, text="holdfast_ready 1.0\n"))
    return server


def test_a_bundle_holds_what_the_server_says_but_no_value_of_a_variable(told: FakeServer, tmp_path: Path) -> None:
    workload = {"name": "notes", "spec": {"env": {"DB_PASSWORD": "hush"}, "volumes": [{"target": "/data"}]}}
    told.on("GET", "/api/workloads", answer({"items": [workload]}))
    file = tmp_path / "bundle.zip"
    result = told.run("support", "bundle", str(file))
    assert (result.exit_code, "Look into it" in result.stdout) == (ExitCode.OK, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {*(f"{name}.json" for name in support._DOCUMENTS), "metrics.txt", "about.json"}
    assert json.loads(texts["workloads.json"])["items"][0]["spec"]["env"] == {"DB_PASSWORD": "…"}
    assert "/data" in texts["workloads.json"]
    assert "hush" not in "".join(texts.values())
    assert "hf_test" not in "".join(texts.values()), "the token that asked"
    assert texts["metrics.txt"] == "holdfast_ready 1.0\n"


def test_a_bundle_holds_nothing_that_a_container_wrote(told: FakeServer, tmp_path: Path) -> None:
    error = {"code": "instance_unhealthy", "details": {"logs": ["dsn=hush"], "output": "hush", "reason": "exited"}}
    attempt = {"error": {"code": "instance_unhealthy", "logs": "dsn=hush"}}
    operation = {"error": error, "outcome": {"instance_logs": ["hush"], "kept_trees": []}, "log": [{"message": "m"}]}
    told.on("GET", "/api/operations", answer({"items": [operation]}))
    told.on("GET", "/api/statuses", answer({"items": [{"last_deployment": attempt}]}))
    file = tmp_path / "bundle.zip"
    told.run("support", "bundle", str(file))
    with ZipFile(file) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
        (kept,) = json.loads(archive.read("operations.json"))["items"]
    assert "hush" not in "".join(texts)
    assert (kept["error"]["details"]["reason"], kept["log"]) == ("exited", [{"message": "m"}])


def test_what_can_not_be_had_is_told_and_keeps_nothing_else_out(told: FakeServer, tmp_path: Path) -> None:
    told.on("GET", "/api/disk", refusal(503, "engine_unavailable"))
    told.on("GET", "/metrics", refusal(403, "role_insufficient"))
    result = told.run("support", "bundle", str(tmp_path / "bundle.zip"), "--json")
    assert json.loads(result.stdout)["missing"] == ["disk", "metrics"]
    assert "disk is missing: It is engine_unavailable." in result.stderr
    with ZipFile(tmp_path / "bundle.zip") as archive:
        about = json.loads(archive.read("about.json"))
        assert "doctor.json" in archive.namelist()
    assert about["missing"]["disk"]["code"] == "engine_unavailable"


def test_nothing_is_overwritten_and_nothing_written_where_there_is_no_server(told: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    file.write_text("mine")
    assert told.run("support", "bundle", str(file)).exit_code == ExitCode.REFUSED
    assert file.read_text() == "mine"
    assert "can't be written" in told.run("support", "bundle", str(tmp_path / "none" / "b.zip")).stderr
    told.on("GET", "/api/version", httpx.ConnectError("refused"))
    assert told.run("support", "bundle", str(tmp_path / "new.zip")).exit_code == ExitCode.UNREACHABLE
    assert not (tmp_path / "new.zip").exists()
