"""Each class of error has its status, and all have the one shape."""

from __future__ import annotations

import pytest
import structlog

from holdfast.api.errors import STATUS, status_of
from holdfast.domain import errors
from holdfast.domain.errors import Problem, Refused
from holdfast.domain.ids import is_id
from tests.unit.api.standins import Api

PATH = "/api/workloads/notes/status"


def _error(kind: type[errors.HoldfastError]) -> errors.HoldfastError:
    if kind is errors.Refused:
        return Refused([Problem(code="volume_missing", message="It is missing.", next_step="Mount it.")])
    if kind is errors.Cancelled:
        return errors.Cancelled()
    return kind("some_code", "Some message.", next_step="Some step.", details={"path": "/srv"})


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidInput, 400),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.Busy, 409),
        (errors.Cancelled, 409),
        (errors.TooLarge, 413),
        (errors.Refused, 422),
        (errors.Damaged, 422),
        (errors.Failed, 422),
        (errors.PreconditionFailed, 412),
        (errors.ConfirmationMissing, 428),
        (errors.Unavailable, 503),
        (errors.NoSpace, 507),
    ],
)
async def test_each_class_of_error_has_its_status_and_the_one_shape(
    api: Api, kind: type[errors.HoldfastError], status: int
) -> None:
    error = _error(kind)
    api.workloads.failure = error
    answer = await api.ask("GET", PATH)
    assert answer.status_code == status
    assert answer.json() == {
        "error": {
            "code": error.code,
            "message": error.message,
            "next_step": error.next_step,
            "details": error.details,
        }
    }
    assert ("Retry-After" in answer.headers) == (kind in (errors.Busy, errors.Unavailable))


def test_no_class_of_error_is_without_a_status() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.HoldfastError)]
    without = [kind.__name__ for kind in kinds if status_of(kind.__new__(kind)) == 500]
    assert without == ["HoldfastError"]
    assert len({kind for kind, _ in STATUS}) == len(STATUS)


async def test_details_that_are_no_json_do_not_break_the_answer(api: Api) -> None:
    api.workloads.failure = errors.Failed("x", "y", details={"path": b"\xff", "set": {1}})
    assert (await api.ask("GET", PATH)).status_code == 422


async def test_what_nobody_foresaw_is_logged_with_an_id_and_leaks_nothing(api: Api) -> None:
    api.workloads.failure = RuntimeError("secret inside")
    with structlog.testing.capture_logs() as logs:
        answer = await api.ask("GET", PATH)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "internal_error"
    assert is_id(error["details"]["error_id"])
    assert "secret" not in answer.text
    assert [entry["error_id"] for entry in logs] == [error["details"]["error_id"]]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_unknown_address_is_told_in_the_one_shape(api: Api) -> None:
    for path in ("/api/nothing", "/nothing", "/api/workloads/"):
        answer = await api.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "route_unknown")


async def test_a_wrong_method_is_told_with_the_right_ones(api: Api) -> None:
    answer = await api.ask("POST", "/api/workloads/notes/status")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("GET", "/api/workloads?limit=0", {}),
        ("GET", "/api/workloads?limit=x", {}),
        ("GET", "/api/workloads/notes/logs?since=yesterday", {}),
        ("GET", "/api/workloads/notes/logs?tail=10001", {}),
        ("POST", "/api/workloads/notes/snapshots", {"json": {"quiesce": "sometimes"}}),
        ("POST", "/api/workloads/notes/snapshots", {"json": {"note": "a\x1b[2J"}}),
        ("POST", "/api/workloads/notes/snapshots", {"json": {"unknown": 1}}),
        ("POST", "/api/workloads/notes/snapshots", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        ("POST", "/api/workloads/notes/snapshots", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
        ("POST", "/api/workloads/notes/deploy", {"headers": {"Idempotency-Key": "a b"}}),
        ("POST", "/api/workloads/notes/deploy", {"headers": {"Idempotency-Key": "k" * 201}}),
        ("POST", "/api/workloads/notes/restore-decision", {"json": {"choice": "neither"}}),
    ],
)
async def test_what_is_malformed_is_refused_with_where_and_why(
    api: Api, method: str, path: str, arguments: dict[str, object]
) -> None:
    answer = await api.ask(method, path, **arguments)  # type: ignore[arg-type] # the parameters are of many kinds
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "request_malformed"
    assert error["details"]["problems"][0].keys() == {"where", "message"}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/workloads?cursor=..", "cursor_invalid"),
        ("/api/workloads/UPPER", "workload_name_malformed"),
        ("/api/workloads/" + "a" * 65, "workload_name_malformed"),
        ("/api/workloads/a%0Ab", "workload_name_malformed"),
        ("/api/operations?workload=A", "workload_name_malformed"),
    ],
)
async def test_a_malformed_name_gets_a_sentence(api: Api, path: str, code: str) -> None:
    answer = await api.ask("GET", path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert error["message"].isprintable()
    assert error["message"].endswith(".")


async def test_no_pattern_is_told_to_people(api: Api) -> None:
    for headers in ({"Idempotency-Key": "a b"}, {"X-Confirm-Restore": "a b"}):
        path = "/api/workloads/notes/undo" if "X-Confirm-Restore" in headers else "/api/workloads/notes/deploy"
        message = (await api.ask("POST", path, headers=headers)).json()["error"]["message"]
        assert "visible ASCII characters" in message
        assert "Value error" not in message


async def test_what_was_sent_is_not_repeated(api: Api) -> None:
    answer = await api.ask("POST", "/api/workloads/notes/snapshots", json={"quiesce": "hunter2"})
    assert "hunter2" not in answer.text


async def test_an_id_that_cannot_exist_is_unknown_rather_than_malformed(api: Api) -> None:
    for path, code in (
        ("/api/operations/not-an-id", "operation_unknown"),
        ("/api/workloads/notes/snapshots/nope", "snapshot_unknown"),
    ):
        answer = await api.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
        assert answer.json()["error"]["next_step"]
