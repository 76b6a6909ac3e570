"""How a failed command ends: message, next step, exit code."""

from __future__ import annotations

import json

import httpx
import pytest

from holdfast.cli import exit_codes
from holdfast.cli.exit_codes import ExitCode
from holdfast.domain import errors
from tests.unit.cli.fake_server import FakeServer, answer, operation, refusal

SHOW = ("workload", "show", "notes")
PATH = "/api/workloads/notes"


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (400, {}, ExitCode.USAGE),
        (401, {}, ExitCode.REFUSED),
        (403, {}, ExitCode.REFUSED),
        (404, {}, ExitCode.NOT_FOUND),
        (409, {}, ExitCode.REFUSED),
        (409, {"Retry-After": "5"}, ExitCode.BUSY),
        (413, {}, ExitCode.REFUSED),
        (422, {}, ExitCode.FAILED),
        (412, {}, ExitCode.REFUSED),
        (428, {}, ExitCode.REFUSED),
        (500, {}, ExitCode.FAILED),
        (503, {"Retry-After": "5"}, ExitCode.UNREACHABLE),
        (507, {}, ExitCode.FAILED),
    ],
)
def test_every_status_has_its_exit_code(
    server: FakeServer, status: int, headers: dict[str, str], code: ExitCode
) -> None:
    server.on("GET", PATH, refusal(status, "some_code", headers=headers))
    result = server.run(*SHOW)
    assert result.exit_code == code
    assert result.stderr == "error: It is some_code.\nnext: Do this.\n"
    assert result.stdout == ""


def test_a_refusal_lists_every_problem(server: FakeServer) -> None:
    problems = [
        {"code": "a", "message": "The disk is full.", "next_step": "Free space.", "details": {}},
        {"code": "b", "message": "The volume is missing.", "next_step": "Mount it.", "details": {}},
    ]
    server.on("GET", PATH, refusal(422, "several_problems", details={"problems": problems}))
    result = server.run(*SHOW)
    assert result.exit_code == ExitCode.REFUSED
    assert "  - The disk is full. (Free space.)\n  - The volume is missing. (Mount it.)\n" in result.stderr


def test_an_error_is_the_one_json_document_for_programs(server: FakeServer) -> None:
    server.on("GET", PATH, refusal(404, "workload_unknown"))
    result = server.run(*SHOW, "--json")
    assert json.loads(result.stdout)["error"]["code"] == "workload_unknown"
    assert result.stderr.startswith("error: ")


def test_a_server_that_is_not_trusted_is_told_apart_from_none(server: FakeServer) -> None:
    server.on("GET", PATH, httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
    result = server.run(*SHOW)
    assert "not one that this machine trusts" in result.stderr
    assert "SSL_CERT_FILE" in result.stderr


def test_a_server_that_does_not_answer_is_named_with_what_works_without_it(server: FakeServer) -> None:
    server.on("GET", PATH, httpx.ConnectError("connection refused"))
    result = server.run(*SHOW)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "http://127.0.0.1:8484" in result.stderr
    assert "holdfast recover" in result.stderr


def test_an_answer_that_is_not_holdfast_s_is_told_as_such(server: FakeServer) -> None:
    server.on("GET", PATH, httpx.Response(502, text="<html>bad gateway</html>"))
    result = server.run(*SHOW)
    assert result.exit_code == ExitCode.FAILED
    assert "does not come from Holdfast" in result.stderr


def test_a_wrong_option_is_a_usage_error(server: FakeServer) -> None:
    assert server.run("status", "--no-such-option").exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "Notes"),
        ("snapshot", "list", "../operations"),
        ("snapshot", "delete", "notes", "../../other", "--yes"),
        ("restore", "notes", "x?dry_run=true"),
        ("operation", "cancel", "."),
    ],
)
def test_what_can_be_no_name_becomes_part_of_no_address(server: FakeServer, arguments: tuple[str, ...]) -> None:
    result = server.run(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert "Invalid value for" in result.output
    assert server.requests == []


def test_control_characters_from_the_server_do_not_reach_the_terminal(server: FakeServer) -> None:
    server.on("GET", PATH, answer({"error": {"code": "x", "message": "a\x1b[2Jb", "next_step": ""}}, 404))
    assert "\x1b" not in server.run(*SHOW).stderr


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)])
def test_every_class_of_error_has_an_exit_code(kind: type[errors.HoldfastError]) -> None:
    error = kind.__new__(kind)
    assert exit_codes.of_error(error) in (1, 2, 3, 4, 5, 6)


def test_a_failed_preflight_inside_an_operation_is_a_refusal() -> None:
    error = {"code": "several_problems", "details": {"problems": [{"code": "a"}]}}
    assert exit_codes.of_operation(operation(state="failed", error=error)) is ExitCode.REFUSED
    assert exit_codes.of_operation(operation(state="failed", error={"code": "x"})) is ExitCode.FAILED


@pytest.mark.parametrize("result", ["reverted", "needs_decision", "restored_unhealthy", "restored_deploy_failed"])
def test_a_restore_that_ended_otherwise_than_meant_is_a_failure(result: str) -> None:
    ended = operation("restore", "succeeded", outcome={"result": result})
    assert exit_codes.of_operation(ended) is ExitCode.FAILED
