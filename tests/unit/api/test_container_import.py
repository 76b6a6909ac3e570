"""Import of containers over the API: proposals as `apply` takes them, and what it would refuse."""

from __future__ import annotations

from holdfast.api.schemas.workload import parse_workload_json, parse_workload_yaml
from holdfast.domain.errors import Problem, Refused
from tests.unit.api.standins import Api

ROUTE = "/api/import/containers"
PROBLEM = Problem(code="volume_root_not_allowed", message="Not allowed.", next_step="Allow it.")


async def test_a_container_is_proposed_as_a_file_that_apply_takes(api: Api) -> None:
    answer = await api.ask("POST", ROUTE, json={"containers": ["blog"], "project": "home"})
    assert answer.status_code == 200, answer.text
    (workload,) = answer.json()["workloads"]
    assert workload["declaration"] == {
        "name": "blog",
        "project": "home",
        "source": {"type": "image", "image": "blog:1"},
        "env": {"TZ": "UTC"},
        "secrets": ["DB_PASSWORD"],
        "volumes": [{"target": "/data", "scope": "absolute", "source": "/srv/blog"}],
        "restart": "always",
    }
    assert parse_workload_yaml(workload["yaml"]) == parse_workload_json(workload["declaration"])
    assert workload["yaml"].startswith("# Proposed from the container blog. ")
    assert (workload["container"], workload["name"], workload["valid"]) == ("blog", "blog", True)
    kinds = {finding["path"]: finding["kind"] for finding in workload["findings"]}
    assert kinds == {"blog.privileged": "left_out", "blog.environment.DB_PASSWORD": "note"}
    assert "sesame" not in answer.text


async def test_what_apply_would_refuse_is_a_problem_of_the_proposal(api: Api) -> None:
    api.workloads.refuses_preview = Refused([PROBLEM])
    answer = await api.ask("POST", ROUTE, json={"containers": ["blog"]})
    (workload,) = answer.json()["workloads"]
    assert not workload["valid"]
    problem = {"kind": "problem", "path": "", "message": "Not allowed.", "next_step": "Allow it."}
    assert problem | {"code": PROBLEM.code, "values": None} in workload["findings"]


async def test_names_that_can_t_be_a_container_s_go_nowhere(api: Api) -> None:
    for names in ([], ["../x"], ["a b"], ["x"] * 51):
        assert (await api.ask("POST", ROUTE, json={"containers": names})).status_code == 400
    assert api.containers.calls == []


async def test_a_take_over_is_asked_for_with_the_containers_named_twice(api: Api) -> None:
    body = {"containers": ["blog"], "accept_left_out": True, "keep": True}
    answer = await api.ask("POST", f"{ROUTE}/take-over", json=body, headers={"X-Confirm-Take-Over": "blog"})
    assert answer.status_code == 202, answer.text
    asked = api.take_overs.last
    (wish,) = asked.pop("wishes")
    assert (wish.proposed.container.name, wish.spec.name) == ("blog", "blog")
    assert wish.proposed.secrets == {"DB_PASSWORD": "sesame"}
    assert (asked["confirm"], asked["accept_left_out"], asked["keep"]) == ("blog", True, True)
