"""Second repositories on the command line: what is sent, what is shown, and where a secret may come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, OPERATION, SNAPSHOT, FakeServer, answer, operation, snapshot, stream

REPOSITORIES = "/api/repositories"
EVENTS = f"/api/operations/{OPERATION}/events"
FAR: dict[str, Any] = {
    "name": "far",
    "kind": "s3",
    "place": "s3://bucket/a at https://s3.example",
    "repository_id": SNAPSHOT,
    "encrypted": True,
    "created_at": AT,
    "access_key_id": "AKIA",
    "region": "eu",
}
S3 = ("repository", "add", "far", "--s3", "bucket/a/b/", "--endpoint", "https://s3.example", "--access-key-id", "AKIA")


def run_to_end(server: FakeServer, path: str, outcome: dict[str, Any], *arguments: str) -> str:
    server.on("POST", path, answer(operation(), 202))
    server.on("GET", EVENTS, stream(operation(state="succeeded", outcome=outcome)))
    result = server.run(*arguments)
    assert result.exit_code == ExitCode.OK, result.output
    return result.stdout


@pytest.mark.parametrize("way", ["file", "stdin", "environment", "question"])
def test_the_secret_comes_from_anywhere_but_the_command_line(server: FakeServer, tmp_path: Path, way: str) -> None:
    server.on("POST", REPOSITORIES, answer(FAR, 201))
    file = tmp_path / "secret"
    file.write_text("hush\nmore")
    result = {
        "file": lambda: server.run(*S3, "--secret-file", str(file)),
        "stdin": lambda: server.run(*S3, "--secret-file", "-", typed="hush\n"),
        "environment": lambda: server.run(*S3, env={"HOLDFAST_S3_SECRET": "hush"}),
        "question": lambda: server.run(*S3, typed="hush\n", interactive=True),
    }[way]()
    assert result.exit_code == ExitCode.OK
    assert "hush" not in result.output
    (body,) = server.bodies("POST", REPOSITORIES)
    assert body == {
        "name": "far",
        "take_over": False,
        "s3": {
            "bucket": "bucket",
            "prefix": "a/b",
            "endpoint": "https://s3.example",
            "region": "us-east-1",
            "access_key_id": "AKIA",
            "secret_access_key": "hush",
            "certificate": "",
        },
    }
    assert "Added far: s3://bucket/a at https://s3.example, encrypted." in result.stdout


def test_where_nobody_can_be_asked_a_missing_secret_is_told(server: FakeServer, tmp_path: Path) -> None:
    result = server.run(*S3)
    assert result.exit_code == ExitCode.USAGE
    assert "--secret-file" in result.stderr
    result = server.run(*S3, "--secret-file", str(tmp_path / "none"))
    assert "can't be read" in result.stderr
    assert server.requests == []


def test_a_directory_may_stay_plain_and_a_take_over_is_confirmed(server: FakeServer) -> None:
    server.on("POST", REPOSITORIES, answer(FAR | {"encrypted": False}, 201))
    server.run("repository", "add", "disk", "--directory", "/mnt/disk/holdfast", "--plain")
    add = ("repository", "add", "disk", "--directory", "/mnt/disk/holdfast", "--take-over")
    assert server.run(*add).exit_code != ExitCode.OK
    server.run(*add, "--yes")
    first, second = server.bodies("POST", REPOSITORIES)
    assert first["directory"] == {"path": "/mnt/disk/holdfast", "encrypt": False}
    assert (second["take_over"], second["directory"]["encrypt"]) == (True, True)


def test_neither_or_both_places_are_a_usage_error(server: FakeServer) -> None:
    for arguments in ((), ("--directory", "/x", "--s3", "b")):
        assert server.run("repository", "add", "far", *arguments).exit_code == ExitCode.USAGE


def test_a_bucket_without_the_access_key_s_id_is_told_before_anything_is_sent(server: FakeServer) -> None:
    result = server.run("repository", "add", "far", "--s3", "bucket", env={"HOLDFAST_S3_SECRET": "hush"})
    assert result.exit_code == ExitCode.USAGE
    assert "--access-key-id" in result.stderr
    assert not server.requests


def test_they_are_listed_shown_tried_and_forgotten(server: FakeServer) -> None:
    server.on("GET", REPOSITORIES, answer({"items": [FAR]}))
    server.on("GET", f"{REPOSITORIES}/far", answer(FAR))
    server.on("POST", f"{REPOSITORIES}/far/test", answer({"snapshots": 3, "packs": 2, "bytes": 2048, "seconds": 0.5}))
    server.on("DELETE", f"{REPOSITORIES}/far", httpx.Response(204))
    assert "s3://bucket/a at https://s3.example" in server.run("repository", "list").stdout
    assert "access key:" in server.run("repository", "show", "far").stdout
    assert "2 KiB in 2 packs" in server.run("repository", "test", "far").stdout
    assert server.run("repository", "remove", "far").exit_code != ExitCode.OK
    assert server.run("repository", "remove", "far", "--yes").stdout == "Forgot far.\n"
    assert server.run("repository", "show", "../x").exit_code == ExitCode.USAGE


def test_a_copy_tells_what_was_sent(server: FakeServer) -> None:
    outcome = {"copied": [SNAPSHOT], "existed": 4, "sent_bytes": 3 << 20}
    path = f"{REPOSITORIES}/far/copies"
    shown = run_to_end(
        server, path, outcome, "snapshot", "copy", "notes", "--all", "--to", "far", "--limit-rate", "10MiB"
    )
    assert "3 MiB" in shown
    run_to_end(server, path, outcome, "snapshot", "copy", "notes", SNAPSHOT, "--to", "far")
    assert server.bodies("POST", path) == [
        {"workload": "notes", "snapshot": None, "limit_rate": 10 << 20},
        {"workload": "notes", "snapshot": SNAPSHOT, "limit_rate": None},
    ]
    for wrong in ((), (SNAPSHOT, "--all"), ("--all", "--limit-rate", "fast")):
        assert server.run("snapshot", "copy", "notes", *wrong, "--to", "far").exit_code == ExitCode.USAGE


def test_snapshots_of_a_second_repository_are_named_with_from(server: FakeServer) -> None:
    there = f"{REPOSITORIES}/far/snapshots"
    server.on("GET", there, answer({"items": [snapshot()], "next_cursor": None}))
    server.on("GET", f"{there}/{SNAPSHOT}", answer(snapshot()))
    server.on("DELETE", f"{there}/{SNAPSHOT}", httpx.Response(204))
    assert SNAPSHOT in server.run("snapshot", "list", "notes", "--from", "far").stdout
    assert server.requests[-1].url.params["workload"] == "notes"
    assert f"{SNAPSHOT}  notes     " in server.run("repository", "snapshots", "far").stdout
    assert server.run("snapshot", "show", "notes", SNAPSHOT, "--from", "far").exit_code == ExitCode.OK
    assert server.run("snapshot", "delete", "notes", SNAPSHOT, "--from", "far", "--yes").exit_code == ExitCode.OK
    run_to_end(server, f"{there}/{SNAPSHOT}/verify", {}, "snapshot", "verify", "notes", SNAPSHOT, "--from", "far")


def test_nothing_of_a_workload_in_a_second_repository_is_told_in_words(server: FakeServer) -> None:
    server.on("GET", f"{REPOSITORIES}/far/snapshots", answer({"items": [], "next_cursor": None}))
    assert "far holds no snapshots of notes." in server.run("snapshot", "list", "notes", "--from", "far").stderr
    assert "far holds no snapshots." in server.run("repository", "snapshots", "far").stderr


def test_a_second_repository_is_verified_and_pruned_by_name(server: FakeServer) -> None:
    read: dict[str, Any] = {"bytes": 1024, "bytes_in_all": 2048, "since": None}
    assert "1 KiB of 2 KiB" in run_to_end(server, f"{REPOSITORIES}/far/verify", read, "repository", "verify", "far")
    read["since"] = AT
    told = run_to_end(server, f"{REPOSITORIES}/far/verify", read, "repository", "verify", "far")
    assert "2026-11-23 09:00:00 UTC" in told
    pruned = {"deleted_packs": 1, "rewritten_packs": 0, "freed_bytes": 1024, "postponed_packs": 0}
    assert "1 KiB" in run_to_end(server, f"{REPOSITORIES}/far/prune", pruned, "repository", "prune", "far")
