"""snapshot files, get and diff: for people, for programs, and into files that are never replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import OPERATION, SNAPSHOT, FakeServer, answer, operation, stream

BASE = f"/api/workloads/notes/snapshots/{SNAPSHOT}"


def file_item(name: str, **facts: object) -> dict[str, object]:
    return {
        "name": name,
        "path": "cGF0aA",
        "kind": "file",
        "size": 2048,
        "mode": 0o644,
        "uid": 0,
        "gid": 7,
        "mtime_ns": 1_700_000_000_000_000_000,
        "link_target": None,
        **facts,
    }


def test_a_folder_is_listed_whole_however_many_pages_it_has(server: FakeServer) -> None:
    server.on(
        "GET",
        f"{BASE}/files",
        answer({"items": [file_item("first")], "next_after": "Zmlyc3Q"}),
        answer({"items": [file_item("second", kind="symlink", link_target="first")], "next_after": None}),
    )
    result = server.run("snapshot", "files", "notes", SNAPSHOT, "folder", "--volume", "/data")
    assert result.exit_code == ExitCode.OK, result.output
    assert "-0644  0:7    2 KiB  2023-11-14 22:13:20  first" in result.stdout
    assert "second -> first" in result.stdout
    assert [dict(request.url.params)["after"] for request in server.sent("GET", f"{BASE}/files")] == ["", "Zmlyc3Q"]
    assert dict(server.requests[0].url.params)["volume"] == "/data"


def test_a_file_is_written_under_the_server_s_name_and_never_over_another(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sent = httpx.Response(200, content=b"content", headers={"Content-Disposition": 'attachment; filename="note.txt"'})
    server.on("GET", f"{BASE}/content", lambda _request: sent)
    result = server.run("snapshot", "get", "notes", SNAPSHOT, "folder/note.txt", "--json")
    assert json.loads(result.stdout) == {"snapshot_id": SNAPSHOT, "file": "note.txt", "bytes": 7}
    assert (tmp_path / "note.txt").read_bytes() == b"content"
    again = server.run("snapshot", "get", "notes", SNAPSHOT, "folder/note.txt")
    assert again.exit_code != ExitCode.OK
    assert "is there already" in again.stderr


def test_what_differs_is_told_with_signs_and_sizes(server: FakeServer) -> None:
    nothing = {"count": 0, "bytes": 0, "first": []}
    volumes = [
        {
            "target": "/data",
            "added": {"count": 2, "bytes": 10, "first": [["new", 4, "bmV3"]]},
            "changed": nothing,
            "removed": nothing,
        },
        {"target": "/media", "added": nothing, "changed": nothing, "removed": nothing},
    ]
    server.on("POST", f"{BASE}/compare", answer(operation("compare"), 202))
    ended = operation("compare", "succeeded", outcome={"volumes": volumes})
    server.on("GET", f"/api/operations/{OPERATION}/events", stream(ended))
    result = server.run("snapshot", "diff", "notes", SNAPSHOT)
    assert result.exit_code == ExitCode.OK, result.output
    assert "/data: 2 added (10 B)" in result.stdout
    assert "+ new  4 B" in result.stdout
    assert "+ and 1 more" in result.stdout
    assert "/media: nothing differs" in result.stdout
    assert server.bodies("POST", f"{BASE}/compare") == [{"against": None}]


def test_a_path_as_the_container_sees_it_finds_its_volume_and_names_that_are_no_text_are_encoded(
    server: FakeServer,
) -> None:
    volumes = [{"target": "/data"}, {"target": "/data/uploads"}]
    server.on("GET", BASE, answer({"volumes": volumes}))
    server.on("GET", f"{BASE}/files", answer({"items": [file_item("a")], "next_after": None}))
    for path in ("/data/uploads/2025/", "/data", b"b\xff"):
        volume = () if isinstance(path, str) else ("--volume", "/data")
        result = server.run("snapshot", "files", "notes", SNAPSHOT, os.fsdecode(path), *volume)
        assert result.exit_code == ExitCode.OK, result.output
    asked = [dict(request.url.params) for request in server.sent("GET", f"{BASE}/files")]
    assert [(a["volume"], a["path"], a.get("encoded")) for a in asked] == [
        ("/data/uploads", "2025", None),
        ("/data", "", None),
        ("/data", "Yv8", "true"),
    ]
    assert server.run("snapshot", "files", "notes", SNAPSHOT, "/nowhere").exit_code == ExitCode.REFUSED
