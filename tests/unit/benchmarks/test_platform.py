"""What is said of the platform follows from what was measured."""

import hashlib
import hmac
from typing import Any

import pytest
from benchmarks import hooks, platform
from benchmarks.hooks import Hook
from benchmarks.processes import Stat, Use, together

OVERHEAD = {
    "seconds": {
        "bare engine: create, start, first answer": [0.5, 0.6, 0.5],
        "bare engine: stop, remove": [0.2, 0.2, 0.2],
        "first deploy": [0.7, 0.7, 0.9],
        "one version replaces another": [0.9, 0.95, 0.9],
    },
    "steps": {
        "first deploy": {"creating": [0.1]},
        "one version replaces another": {"creating": [0.1], "draining": [0.2]},
    },
}
DEPLOYS = {"seconds": [1.0, 2.0], "requests": 1200, "failed": ["/: 502"], "resent": 1, "slow": 9, "versions": 3}
HUNDRED = {
    "count": 100,
    "seconds deploying": 90.0,
    "milliseconds": {"the status of one": [5.0, 60.0], "the list of all": [20.0]},
    "idle seconds": 120.0,
    "idle cpu percent": 1.5,
    "resident MiB": 161.0,
}
HOOKS = {
    "sent": 2000,
    "a second": 200.0,
    "milliseconds": [10.0] * 99 + [30.0] * 2,
    "statuses": {"200": 2000},
    "unanswered": 3,
    "lost": 0,
    "states": {"succeeded": 4, "superseded": 1996},
    "not once": 1,
}


def test_each_target_stands_beside_what_was_measured_missed_or_not() -> None:
    text = "\n".join(platform.report({"overhead": OVERHEAD, "deploys": DEPLOYS, "hundred": HUNDRED, "hooks": HOOKS}))
    for row in (
        "| failed requests of 1,200 in 2 deploys | 0 | 1, **missed** |",
        "| overhead, first deploy, median | 300 ms | 200, met |",
        "| overhead, one version replaces another, median | 300 ms | 400, **missed** |",
        "| 100 workloads: the status of one, p99 | 50 ms | 60, **missed** |",
        "| 100 workloads: the list of all, p99 | 50 ms | 20, met |",
        "| 100 workloads: idle | 2 % of a core | 1.50, met |",
        "| 100 workloads: resident MiB | 160 MiB | 161, **missed** |",
        "| 2,000 webhooks, 200 a second: answered, median | 20 ms | 10, met |",
        "| 2,000 webhooks, 200 a second: answered, p99 | 20 ms | 30, **missed** |",
        "| 2,000 webhooks, 200 a second: not answered as received | 0 | 3, **missed** |",
        "| 2,000 webhooks, 200 a second: answered as received, and lost | 0 | 0, met |",
        "| 2,000 webhooks, 200 a second: applied not at all or more than once | 0 | 1, **missed** |",
        "- failed: /: 502",
    ):
        assert row in text
    assert "Not measured" not in text


def test_a_run_that_was_broken_off_says_what_it_has_no_figures_of() -> None:
    text = "\n".join(platform.report({"overhead": OVERHEAD}))
    assert "**Not measured: deploys, hundred, hooks**" in text
    assert "failed requests" not in text


def delivery(number: int, state: str, operation: str | None = None) -> dict[str, Any]:
    return {"id": f"d{number}", "state": state, "operation_id": operation}


GOOD = [delivery(1, "succeeded", "a"), delivery(2, "superseded"), delivery(3, "failed", "b")]


def test_deliveries_that_are_each_on_record_and_applied_once_are_well() -> None:
    found = hooks.outcome([["d1"], ["d2"], ["d3"]], GOOD, ["a", "b"])
    states = {"succeeded": 1, "superseded": 1, "failed": 1}
    assert found == {"unanswered": 0, "lost": 0, "states": states, "not once": 0}


def test_what_is_older_than_all_that_was_superseded_and_is_on_record_was_let_go_of() -> None:
    assert hooks.outcome([["d0"], ["d1"], ["d2"], ["d3"]], GOOD, ["a", "b"])["lost"] == 0


def test_what_its_sender_got_no_answer_for_is_not_lost_but_told() -> None:
    found = hooks.outcome([["d1"], ["d2"], ["d3"], []], GOOD, ["a", "b"])
    assert (found["unanswered"], found["lost"]) == (1, 0)


@pytest.mark.parametrize(
    "answered",
    [[["d1"], ["d2"], ["d2"]], [["d1"], ["d2"], ["d9"]]],
    ids=["taken for another", "not on record"],
)
def test_what_has_no_record_of_its_own_is_lost(answered: list[list[str]]) -> None:
    assert hooks.outcome(answered, GOOD, ["a", "b"])["lost"] > 0


@pytest.mark.parametrize(
    ("kept", "operations"),
    [
        ([delivery(1, "succeeded", "a"), delivery(2, "succeeded", "a")], ["a"]),
        ([delivery(1, "succeeded", "a")], ["a", "b"]),
        ([delivery(1, "succeeded")], []),
    ],
    ids=["two by one operation", "one by two operations", "one by none"],
)
def test_what_was_not_applied_exactly_once_is_counted(kept: list[dict[str, Any]], operations: list[str]) -> None:
    assert hooks.outcome([[each["id"]] for each in kept], kept, operations)["not once"] > 0


def test_each_push_is_another_one_and_signed_by_itself() -> None:
    hook = Hook(workload="web", id="1", address="/hooks/x", secret="0123456789abcdef")
    one, two = hooks.push(hook, 1), hooks.push(hook, 2)
    assert one.body != two.body
    assert one.headers["X-GitHub-Delivery"] != two.headers["X-GitHub-Delivery"]
    for each in (one, two):
        expected = hmac.new(hook.secret.encode(), each.body, hashlib.sha256).hexdigest()
        assert each.headers["X-Hub-Signature-256"] == f"sha256={expected}"


def test_a_process_has_used_what_all_below_it_have_and_nothing_of_others() -> None:
    stats = [
        Stat(pid=1, parent=0, cpu=9.0, resident=900),
        Stat(pid=4, parent=3, cpu=1.0, resident=1),
        Stat(pid=2, parent=1, cpu=2.0, resident=10),
        Stat(pid=3, parent=2, cpu=0.5, resident=100),
    ]
    assert together(2, stats) == Use(cpu=3.5, resident=111)


def test_a_name_with_brackets_and_spaces_hides_no_figure() -> None:
    fields = ["S", "7", *("0" for _ in range(9)), "100", "200", "30", "40", *("0" for _ in range(6)), "5"]
    stat = Stat.read(f"12 (a (b) c) {' '.join(fields)}")
    assert (stat.pid, stat.parent) == (12, 7)
    assert stat.cpu == pytest.approx(
        370 * Stat.read(f"1 (x) {' '.join(['S', '0', *['0'] * 9, '1', *['0'] * 9, '0'])}").cpu
    )
    assert stat.resident > 0
