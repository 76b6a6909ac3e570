"""audit: the log as people read it, and found whole or not wherever it lies."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from holdfast.cli.exit_codes import ExitCode
from holdfast.domain.audit import EMPTY, AuditEntry, AuditLine, Head, next_line
from tests.unit.cli.fake_server import AT, FakeServer, answer


def log(length: int = 3) -> list[AuditLine]:
    entry = AuditEntry(
        at=AT,
        actor="ann",
        address="192.0.2.7",
        action="deploy_workload",
        subject={"workload": "notes"},
        status=202,
        outcome="accepted",
    )
    lines: list[AuditLine] = []
    for _ in range(length):
        lines.append(next_line(head(lines), entry))
    return lines


def head(lines: list[AuditLine]) -> Head:
    return Head(lines[-1].number, lines[-1].hash) if lines else EMPTY


def exported(lines: list[AuditLine]) -> bytes:
    return "".join(f"{line.exported()}\n" for line in lines).encode()


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    lines = log()
    page = {
        "items": [json.loads(line.exported()) for line in lines[::-1]],
        "next_cursor": None,
        "head": str(head(lines)),
    }
    server.on("GET", "/api/audit", answer(page))
    server.on("GET", "/api/audit/export", httpx.Response(200, content=exported(lines)))
    return server


def test_lines_are_listed(ready: FakeServer) -> None:
    result = ready.run("audit", "list", "--on", "notes", "--actor", "ann")
    assert result.exit_code == ExitCode.OK, result.output
    assert result.stdout.splitlines()[1].split() == [
        "3",
        AT[:19],
        "ann",
        "192.0.2.7",
        "deploy_workload",
        "workload=notes",
        "accepted",
    ]
    (asked,) = ready.sent("GET", "/api/audit")
    assert dict(asked.url.params) == {"limit": "50", "actor": "ann", "subject": "notes"}


def test_the_log_is_exported_for_its_owner_only(ready: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert ready.run("audit", "export", "-o", str(file)).exit_code == ExitCode.OK
    assert file.read_bytes() == exported(log())
    assert file.stat().st_mode & 0o777 == 0o600
    refused = ready.run("audit", "export", "-o", "-", "--json")
    assert "output_ambiguous" in refused.output


def test_a_servers_log_is_checked_here_and_its_head_told(ready: FakeServer) -> None:
    result = ready.run("audit", "verify")
    assert result.exit_code == ExitCode.OK, result.output
    assert str(head(log())) in result.stdout


def test_a_server_that_leaves_out_the_last_line_is_found_out(ready: FakeServer) -> None:
    ready.on("GET", "/api/audit/export", httpx.Response(200, content=exported(log()[:2])))
    result = ready.run("audit", "verify")
    assert result.exit_code == ExitCode.FAILED
    assert "line 3 is missing at the end" in result.stderr


def test_an_exported_file_is_checked_against_a_head_that_was_noted(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(exported(log()))
    assert server.run("audit", "verify", str(file), "--head", str(head(log()))).exit_code == ExitCode.OK
    failed = server.run("audit", "verify", str(file), "--head", f"2:{'0' * 64}", "--json")
    assert failed.exit_code == ExitCode.FAILED
    assert json.loads(failed.stdout)["error"]["details"]["findings"][0]["number"] == 2
    file.write_bytes(exported(log()).replace(b'"ann"', b'"eve"', 1))
    assert "line 1 was changed" in server.run("audit", "verify", str(file)).stderr
    file.write_text("nonsense")
    assert server.run("audit", "verify", str(file)).exit_code == ExitCode.USAGE
    assert "can't be read" in server.run("audit", "verify", str(tmp_path / "none")).stderr


def test_a_data_directory_is_checked_without_a_server(server: FakeServer, tmp_path: Path) -> None:
    result = server.run("audit", "verify", "--offline", "--data-dir", str(tmp_path))
    assert result.exit_code == ExitCode.NOT_FOUND
    assert not server.requests
