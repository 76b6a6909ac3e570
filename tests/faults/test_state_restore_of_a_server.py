"""A real server whose state is brought back: it starts anew at the same address, and the command line waits for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from holdfast.cli.main import create_cli
from holdfast.cli.session import Session
from holdfast.testing.installation import installation
from holdfast.testing.server_process import crashing_at, server

PASSPHRASE = "correct horse battery"


def test_the_command_line_waits_until_the_server_is_back(tmp_path: Path) -> None:
    settings = replace(installation(tmp_path).settings, docker_host=f"unix://{tmp_path}/no-engine", allowed_roots=())
    with server(settings, tmp_path / "log", crashing_at(tmp_path / "points", "nowhere")) as running:
        assert running.http.put("/api/backups/passphrase", json={"passphrase": PASSPHRASE}).is_success
        backup_id = running.succeeded(running.start("POST", "/api/backups"))["backup_id"]
        body = {"name": "later", "source": {"type": "image", "image": "later:1"}}
        assert running.http.post("/api/workloads", json=body).is_success
        variables = {
            "HOLDFAST_URL": str(running.http.base_url),
            "HOLDFAST_TOKEN": settings.admin_token_file.read_text().strip(),
        }
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
