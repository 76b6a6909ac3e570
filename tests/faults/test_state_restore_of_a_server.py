"""A real server whose state is brought back: it starts anew at the same address, and the command line waits for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from holdfast.bootstrap import Seams
from holdfast.cli.main import create_cli
from holdfast.cli.session import Session
from holdfast.testing.forked_server import ForkedServer
from holdfast.testing.installation import installation
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.server_process import PATIENCE, ServerProcess, connect

PASSPHRASE = "correct horse battery"


def brought_back(running: ServerProcess, token: str) -> None:
    assert running.http.put("/api/backups/passphrase", json={"passphrase": PASSPHRASE}).is_success
    backup_id = running.succeeded(running.start("POST", "/api/backups"))["backup_id"]
    body = {"name": "later", "source": {"type": "image", "image": "later:1"}}
    assert running.http.post("/api/workloads", json=body).is_success
    variables = {"HOLDFAST_URL": str(running.http.base_url), "HOLDFAST_TOKEN": token}
    command = ["backup", "restore", backup_id, "--yes", "--json"]
    done = CliRunner().invoke(create_cli(lambda: Session(variables, interactive=False)), command)
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)["outcome"]
    assert outcome["backup_id"] == backup_id
    assert running.http.get("/api/workloads/later").status_code == 404
    kept = running.http.get("/api/backups").json()["items"]
    assert [(backup["id"], backup["reason"]) for backup in kept] == [
        (outcome["safety_backup_id"], "safety"),
        (backup_id, "manual"),
    ]


def test_the_command_line_waits_until_the_server_is_back_and_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    place = installation(tmp_path)
    (tmp_path / "srv").mkdir()
    settings = replace(place.settings, listen="127.0.0.1:0")
    settings.docker_volumes.mkdir()
    process = ForkedServer(
        settings, tmp_path / "log", Seams(workers=QuickWorkers, runtime=place.runtime, backup_cost=2)
    )
    try:
        running = connect(process, settings, tmp_path / "log")
        try:
            brought_back(running, settings.admin_token_file.read_text().strip())
            with running.http.stream("GET", "/api/events") as looked_on:
                told = looked_on.iter_lines()
                assert next(told) == "event: updates"
                process.terminate()
                list(told)  # it raises unless the stream ends in order
        finally:
            running.close()
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
        assert "Exception" not in (tmp_path / "log").read_text()
        assert not (settings.data_dir / "state.db-wal").exists(), "the database was closed"
    finally:
        process.kill()
        process.wait()
