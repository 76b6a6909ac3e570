"""What a shell completes at Tab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from holdfast.testing.server_process import until
from tests.unit.cli.fake_server import AT, SNAPSHOT, FakeServer, answer

WORKLOADS = answer(
    {"items": [{"name": "notes", "image": "notes:1"}, {"name": "news", "image": None}, {"name": "shop"}]}
)
SNAPSHOTS = answer({"items": [{"id": SNAPSHOT, "created_at": AT, "note": "before the upgrade"}]})


def completed(server: FakeServer, line: str) -> list[str]:
    """What bash is told for a line that is typed up to here."""
    words = line.split(" ")
    env = {"_HOLDFAST_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = server.run(process_env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.fixture
def server() -> FakeServer:
    server = FakeServer()
    server.on("GET", "/api/workloads", WORKLOADS)
    server.on("GET", "/api/workloads/notes/snapshots", SNAPSHOTS)
    server.on("GET", "/api/repositories/far/snapshots", SNAPSHOTS)
    return server


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("holdfast snapshot li", ["list"]),
        ("holdfast deploy n", ["notes", "news"]),
        ("holdfast status s", ["shop"]),
        ("holdfast promote notes --to sh", ["shop"]),
        ("holdfast restore notes ", [SNAPSHOT]),
        ("holdfast restore --from far notes 01", [SNAPSHOT]),
        ("holdfast snapshot show notes 01", [SNAPSHOT]),
        ("holdfast snapshot drill notes 02", []),
        ("holdfast deploy --dry-", ["--dry-run"]),
    ],
)
def test_commands_options_workloads_and_snapshots_are_offered(
    server: FakeServer, line: str, offered: list[str]
) -> None:
    assert completed(server, line) == offered


def test_the_server_that_the_line_names_is_asked(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_other")
    completed(server, f"holdfast --url https://far.example --token-file {tmp_path}/token deploy n")
    (asked,) = server.requests
    assert (asked.url.host, asked.headers["Authorization"]) == ("far.example", "Bearer hf_other")
    assert max(asked.extensions["timeout"].values()) <= 1


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("away"),
        httpx.ReadTimeout("slow"),
        answer({"error": {"code": "token_unknown", "message": "No.", "details": {}, "next_step": ""}}, 401),
        httpx.Response(502, text="<html>"),
    ],
)
def test_a_server_that_is_away_or_does_not_let_us_in_offers_nothing_in_silence(
    server: FakeServer, trouble: httpx.Response | Exception
) -> None:
    server.on("GET", "/api/workloads", trouble)
    assert completed(server, "holdfast deploy n") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_own_words(server: FakeServer, shell: str) -> None:
    result = server.run("completion", shell)
    assert result.exit_code == 0
    assert f"_HOLDFAST_COMPLETE=complete_{shell}" in result.stdout


_AS_ZSH_DOES = """
_arguments() { action=${1#*: :}; eval "offered=( ${action:2:${#action}-4} )"; printf '%s\\n' "${offered[@]}"; }
eval "$COMPLETION"
"""
"""The completion is evaluated, and then once more between double quotes, which mean the same to bash."""


@pytest.mark.parametrize(
    ("note", "told"),
    [
        (r"\$(touch ran)", "(touch ran)"),
        (r"\`touch ran`", "touch ran"),
        ('"; touch ran; "', "; touch ran;"),
        ("'; touch ran; '", "; touch ran;"),
        (r"\"; touch ran; \"", "; touch ran;"),
        (r"\[b]$(touch ran)", "b (touch ran)"),
        ("[/b] no markup", "/b no markup"),
        ("before 2.0: größer", "before 2.0: größer"),
    ],
)
def test_a_note_runs_nothing_at_somebody_elses_tab(tmp_path: Path, note: str, told: str) -> None:
    server = FakeServer()
    wrong = {"id": "$(touch ran)", "created_at": AT}
    server.on(
        "GET",
        "/api/workloads/notes/snapshots",
        answer({"items": [{"id": SNAPSHOT, "created_at": AT, "note": note}, wrong]}),
    )
    env = {"_HOLDFAST_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "holdfast restore notes "}
    result = server.run(process_env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    done = subprocess.run(
        ["bash", "--norc", "-c", _AS_ZSH_DOES],
        cwd=tmp_path,
        env={"COMPLETION": result.stdout, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(tmp_path.iterdir()) == []
    (offered,) = done.stdout.splitlines()
    assert offered.startswith(f"{SNAPSHOT}:")
    assert " ".join(offered.replace("\\", "").split()).endswith(told)


class _Workloads(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"items": [{"name": "notes"}, {"name": "shop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def listening() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Workloads) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_real_bash_completes_a_workload_of_a_real_server() -> None:
    bash = shutil.which("bash")
    assert bash is not None
    line = (
        'eval "$(holdfast completion bash)"; COMP_WORDS=(holdfast deploy no); COMP_CWORD=2; '
        '_holdfast_completion holdfast; echo "${COMPREPLY[*]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with listening() as url:
        env = {"PATH": path, "HOLDFAST_URL": url, "HOLDFAST_TOKEN": "hf_test"}

        def offered() -> tuple[str, str]:
            done = subprocess.run([bash, "--norc", "-c", line], env=env, capture_output=True, text=True, check=False)
            return done.stdout, done.stderr

        until(lambda: offered() == ("notes\n", ""))  # a machine that is busy may have nothing to offer in its second
