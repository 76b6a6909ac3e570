"""login, logout, password, user and token: what is asked for, sent and kept, and what is shown nowhere."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path

import httpx
import pytest

from holdfast.bootstrap.first_token import renew_first_token
from holdfast.cli.connection import DEFAULT_URL, resolve
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.stored_sessions import store_session, stored_session
from holdfast.config_reading import load_settings
from holdfast.domain.errors import Busy, Failed
from holdfast.engine.data_lock import DataLock
from tests.unit.cli.fake_server import AT, OPERATION, FakeServer, answer, refusal

ANN = {"name": "ann", "role": "admin", "signed_in": True, "scopes": []}
USER = {"id": OPERATION, "name": "bob", "role": "viewer", "disabled": True, "created_at": AT, "password_set_at": AT}
TOKEN = {
    "id": OPERATION,
    "user": "ann",
    "name": "ci",
    "role": "operator",
    "scopes": ["deployments", "operations"],
    "created_at": AT,
    "expires_at": AT,
}
COOKIE = "holdfast=hfs_secret"
PASSWORD = "open sesame, please"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOLDFAST_TOKEN": "", "XDG_CONFIG_HOME": str(tmp_path), "HOLDFAST_DATA_DIR": str(tmp_path / "none")}


def sign_in(server: FakeServer, env: dict[str, str], *, interactive: bool = False) -> str:
    cookie = f"{COOKIE}; HttpOnly; Max-Age=2592000; Path=/; SameSite=strict; Secure"
    server.on("POST", "/api/session", httpx.Response(201, json=ANN, headers={"Set-Cookie": cookie}))
    names: tuple[str, ...] = () if interactive else ("--username", "ann")
    typed = f"{'ann' if interactive else PASSWORD}\n{PASSWORD}\n"
    result = server.run("login", *names, typed=typed, interactive=interactive, env=env)
    assert result.exit_code == ExitCode.OK, result.output
    assert PASSWORD not in result.output
    assert "hfs_secret" not in result.output
    return result.stdout


@pytest.mark.parametrize("interactive", [False, True])
def test_who_signed_in_is_that_user_for_all_commands_until_they_sign_out(
    server: FakeServer, env: dict[str, str], tmp_path: Path, interactive: bool
) -> None:
    assert f"Signed in at {DEFAULT_URL} as ann (admin)." in sign_in(server, env, interactive=interactive)
    (request,) = server.sent("POST", "/api/session")
    assert json.loads(request.content) == {"username": "ann", "password": PASSWORD}
    assert request.headers["X-Holdfast-Request"]
    assert "Cookie" not in request.headers
    kept = tmp_path / "holdfast" / "sessions.json"
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(kept.parent).st_mode) == 0o700
    server.on("GET", "/api/users", answer({"items": [USER]}))
    assert "bob" in server.run("user", "list", env=env).stdout
    (request,) = server.sent("GET", "/api/users")
    assert (request.headers["Cookie"], request.headers["X-Holdfast-Request"]) == (COOKIE, "1")
    assert "Authorization" not in request.headers
    server.on("DELETE", "/api/session", httpx.Response(204))
    assert server.run("logout", env=env).stdout == "Signed out.\n"
    assert stored_session(DEFAULT_URL, env) is None
    assert server.run("logout", env=env).stdout == "Nobody was signed in here.\n"


def test_signing_out_everywhere_or_of_what_is_over_forgets_the_session(server: FakeServer, env: dict[str, str]) -> None:
    for told in (answer({"ended": 3}), refusal(401, "session_over")):
        sign_in(server, env)
        server.on("DELETE", "/api/sessions", told)
        assert server.run("logout", "--everywhere", env=env).stdout == "Signed out everywhere.\n"
        assert stored_session(DEFAULT_URL, env) is None


def test_what_is_named_goes_before_the_session_and_that_before_the_first_token(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "admin-token").write_text("hf_first")
    env["HOLDFAST_DATA_DIR"] = str(tmp_path)
    assert resolve(None, None, env).token == "hf_first"
    store_session(DEFAULT_URL, COOKIE, env)
    store_session("http://other:1", "holdfast=hfs_other", env)
    assert (resolve(None, None, env).token, resolve(None, None, env).session) == (None, COOKIE)
    assert resolve("http://other:1", None, env).session == "holdfast=hfs_other"
    named = resolve(None, None, env | {"HOLDFAST_TOKEN": "hf_named"})
    assert (named.token, named.session) == ("hf_named", None)


def test_a_file_of_sessions_that_can_not_be_read_holds_none_and_no_place_for_one_is_an_error(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "holdfast").mkdir()
    for content in (b"", b"\xff", b"[]", b'{"http://127.0.0.1:8484": 1}'):
        (tmp_path / "holdfast" / "sessions.json").write_bytes(content)
        assert stored_session(DEFAULT_URL, env) is None
    for nowhere in ({}, {"XDG_CONFIG_HOME": os.devnull}):
        with pytest.raises(Failed) as caught:
            store_session(DEFAULT_URL, COOKIE, nowhere)
        assert caught.value.code == "file_not_written"
    store_session(DEFAULT_URL, None, {})


def test_a_login_without_a_name_needs_somebody_to_ask(server: FakeServer, env: dict[str, str]) -> None:
    assert server.run("login", env=env).exit_code == ExitCode.USAGE
    server.on("POST", "/api/session", refusal(401, "sign_in_failed"))
    result = server.run("login", "-u", "ann", typed="x\n", env=env)
    assert result.exit_code == ExitCode.REFUSED
    assert stored_session(DEFAULT_URL, env) is None


def test_a_password_of_ones_own_is_changed(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "present").write_text("the present one\n")
    server.on("PUT", "/api/password", httpx.Response(204))
    result = server.run("password", "--current-file", str(tmp_path / "present"), typed=f"{PASSWORD}\n")
    assert result.stdout == "Changed. All other sessions have ended.\n"
    assert server.bodies("PUT", "/api/password") == [{"current": "the present one", "password": PASSWORD}]


def test_users_are_made_changed_signed_out_and_removed(server: FakeServer) -> None:
    server.on("POST", "/api/users", answer(USER, 201))
    made = server.run("user", "create", "bob", "--role", "viewer", typed=f"{PASSWORD}\n{PASSWORD}\n", interactive=True)
    assert "Made bob (viewer)." in made.stdout
    assert PASSWORD not in made.output
    assert server.bodies("POST", "/api/users") == [{"name": "bob", "password": PASSWORD, "role": "viewer"}]
    server.on("PATCH", "/api/users/bob", answer(USER))
    assert server.run("user", "change", "bob", "--disable").stdout == "bob is viewer, and disabled.\n"
    assert server.bodies("PATCH", "/api/users/bob") == [{"role": None, "disabled": True}]
    server.on("PUT", "/api/users/bob/password", answer(USER))
    assert "signed out everywhere" in server.run("user", "set-password", "bob", typed=f"{PASSWORD}\n").stdout
    server.on("DELETE", "/api/sessions", answer({"ended": 2}))
    assert server.run("user", "sign-out", "bob").stdout == "Ended 2 sessions of bob.\n"
    assert server.sent("DELETE", "/api/sessions")[0].url.params["user"] == "bob"
    assert server.run("user", "remove", "bob").exit_code == ExitCode.REFUSED
    server.on("DELETE", "/api/users/bob", httpx.Response(204))
    assert server.run("user", "remove", "bob", "--yes").stdout == "Removed bob.\n"
    assert server.run("user", "remove", "../x", "--yes").exit_code == ExitCode.USAGE


def test_a_token_is_made_listed_and_removed(server: FakeServer) -> None:
    server.on("POST", "/api/tokens", answer(TOKEN | {"token": "hf_new"}, 201))
    scopes = ("--scope", "deployments", "--scope", "operations")
    made = server.run("token", "create", "ci", "--role", "operator", *scopes, "--for", "30d")
    assert made.stdout == "hf_new\n"
    assert "not shown again" in made.stderr
    wanted = {"name": "ci", "role": "operator", "scopes": ["deployments", "operations"], "expires_in": 30 * 86400.0}
    assert server.bodies("POST", "/api/tokens") == [wanted]
    server.run("token", "create", "ci", "--for", "never")
    assert server.bodies("POST", "/api/tokens")[1]["expires_in"] is None
    assert server.run("token", "create", "ci", "--for", "soon").exit_code == ExitCode.USAGE
    server.on("GET", "/api/tokens", answer({"items": [TOKEN]}))
    assert "ann/ci" in server.run("token", "list", "--user", "ann").stdout
    assert server.sent("GET", "/api/tokens")[0].url.params["user"] == "ann"
    server.on("DELETE", f"/api/tokens/{OPERATION}", httpx.Response(204))
    for named in ("ann/ci", OPERATION):
        assert server.run("token", "remove", named).stdout == "Removed ann/ci.\n"
    assert server.run("token", "remove", "ci").exit_code == ExitCode.NOT_FOUND


def test_where_somebody_is_signed_in_is_listed_and_ended(server: FakeServer) -> None:
    here = {
        "id": OPERATION,
        "current": True,
        "created_at": AT,
        "used_at": AT,
        "expires_at": AT,
        "address": "192.0.2.7",
        "agent": "holdfast/1",
    }
    server.on("GET", "/api/sessions", answer({"items": [here]}))
    listed = server.run("session", "list", "--user", "ann").stdout
    assert all(told in listed for told in ("(this one)", "192.0.2.7", "holdfast/1", OPERATION))
    assert server.sent("GET", "/api/sessions")[0].url.params["user"] == "ann"
    server.on("DELETE", f"/api/sessions/{OPERATION}", httpx.Response(204))
    assert server.run("session", "end", OPERATION).stdout == "Signed out there.\n"
    assert server.run("session", "end", "../users").exit_code == ExitCode.USAGE


def test_the_first_token_is_made_anew_on_the_host_while_the_server_is_stopped(
    server: FakeServer, tmp_path: Path
) -> None:
    env = {"HOLDFAST_DATA_DIR": str(tmp_path)}
    assert server.run("user", "recover", env=env).exit_code == ExitCode.NOT_FOUND
    settings = load_settings(None, env)
    settings.database_file.touch()
    result = server.run("user", "recover", env=env)
    assert f"Wrote {settings.admin_token_file}." in result.stdout
    token = settings.admin_token_file.read_text()
    assert token.startswith("hf_")
    assert token.strip() not in result.output
    with sqlite3.connect(settings.database_file) as database:
        assert database.execute("SELECT number, actor, action FROM audit").fetchall() == [
            (1, "host", "renew_first_token")
        ]
    with DataLock.acquire(settings.data_dir, 0), pytest.raises(Busy):
        renew_first_token(settings, lock_wait=0)
