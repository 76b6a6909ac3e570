"""Who may ask for what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from holdfast.api.app import routers
from holdfast.api.auth import Requires
from holdfast.domain.accounts import Role
from tests.unit.api.standins import OPERATION_ID, SNAPSHOT_ID, Api

PUBLIC = {"/healthz", "/readyz"}
HOOKS = "/hooks/{address}"
V, O, A = Role.VIEWER, Role.OPERATOR, Role.ADMIN  # noqa: E741 - a table is read at a glance

NEEDED = {
    "list_workloads": V,
    "create_workload": O,
    "preview_workload": O,
    "get_workload": V,
    "put_workload": O,
    "delete_workload": A,
    "get_workload_status": V,
    "get_workload_schema": V,
    "deploy_workload": O,
    "get_rollback": V,
    "roll_back_workload": O,
    "get_promotion": V,
    "promote_workload": O,
    "list_sources": V,
    "start_workload": O,
    "stop_workload": O,
    "list_deployments": V,
    "get_deployment": V,
    "get_deploy_plan": V,
    "list_registries": V,
    "add_registry": A,
    "remove_registry": A,
    "list_secrets": V,
    "set_secret": O,
    "remove_secret": O,
    "import_env": O,
    "import_compose": O,
    "import_containers": A,
    "take_containers_over": A,
    "read_logs": V,
    "download_logs": V,
    "read_metrics": V,
    "get_disk": V,
    "get_figures": V,
    "list_snapshots": V,
    "create_snapshot": O,
    "import_snapshot": A,
    "get_snapshot": V,
    "patch_snapshot": A,
    "delete_snapshot": A,
    "verify_snapshot": O,
    "drill_snapshot": O,
    "export_snapshot": O,
    "list_files": O,
    "download": O,
    "compare": O,
    "prune_repository": A,
    "list_images": V,
    "prune_images": A,
    "verify_repository": O,
    "list_damaged": V,
    "delete_damaged": A,
    "list_repositories": V,
    "add_repository": A,
    "get_repository": V,
    "remove_repository": A,
    "check_repository": O,
    "copy_snapshots": O,
    "list_second_snapshots": V,
    "get_second_snapshot": V,
    "delete_second_snapshot": A,
    "verify_second_snapshot": O,
    "verify_second_repository": O,
    "prune_second_repository": A,
    "restore_snapshot": A,
    "list_all_snapshots": V,
    "get_any_snapshot": V,
    "clone_snapshot": A,
    "get_undo_target": V,
    "undo_restore": A,
    "get_pending_decision": V,
    "decide_restore": A,
    "list_previews": V,
    "create_preview": O,
    "get_preview": V,
    "delete_preview": O,
    "list_webhooks": V,
    "create_webhook": O,
    "get_webhook": V,
    "delete_webhook": O,
    "list_deliveries": V,
    "replay_delivery": O,
    "list_schedules": V,
    "list_channels": V,
    "add_channel": A,
    "remove_channel": A,
    "try_channel": A,
    "list_operations": V,
    "get_operation": V,
    "cancel_operation": O,
    "follow_operation": V,
    "get_version": V,
    "get_doctor": A,
    "get_openapi": V,
}


def filled(route: APIRoute) -> str:
    """An address of a route."""
    return route.path.format(
        workload="notes",
        snapshot=SNAPSHOT_ID,
        operation=OPERATION_ID,
        repository="far",
        channel="ops",
        deployment=OPERATION_ID,
        secret="KEY",
        registry="registry.example:5000",
        preview="notes-pr-17",
        webhook=OPERATION_ID,
        delivery=OPERATION_ID,
        address="none",
    )


def routes() -> list[APIRoute]:
    return [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
async def test_a_query_parameter_that_does_nothing_is_refused(api: Api, route: APIRoute) -> None:
    path = filled(route)
    for method in route.methods or ():
        answer = await api.ask(method, f"{path}?no_such_thing=1")
        if path in PUBLIC or route.path == HOOKS:  # caches and providers may add what they like
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "query_unknown")


def _requirements(dependant: Dependant) -> Iterator[Requires]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Requires):
            yield inner.call
        yield from _requirements(inner)


def test_every_route_declares_the_role_that_it_needs() -> None:
    declared = {}
    for route in routes():
        found = list(_requirements(route.dependant))
        if route.path not in PUBLIC and route.path != HOOKS:
            assert len(found) == 1, f"{route.path} declares {len(found)} roles"
            declared[route.name] = found[0].role
    assert declared == NEEDED


async def test_without_a_token_nothing_but_health_is_told(api: Api) -> None:
    for route in routes():
        path = filled(route)
        for method in route.methods or ():
            answer = await api.ask(method, path, role=None)
            if route.path in PUBLIC or route.path == HOOKS:
                assert answer.status_code == 200
            else:
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_missing"), path
                assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not any(r.calls for r in (api.deployer, api.snapshots, api.restores, api.operations))


@pytest.mark.parametrize("value", ["Bearer nonsense", "Bearer " + "x" * 600, "Bearer hf_admin hf_admin"])
async def test_an_unknown_token_is_refused(api: Api, value: str) -> None:
    answer = await api.ask("GET", "/api/version", role=None, headers={"Authorization": value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_unknown")


async def test_another_scheme_than_bearer_is_no_token(api: Api) -> None:
    answer = await api.ask("GET", "/api/version", role=None, headers={"Authorization": "Basic aGY6eA=="})
    assert answer.json()["error"]["code"] == "token_missing"


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", "/api/workloads/notes/deploy", Role.VIEWER),
        ("POST", f"/api/workloads/notes/snapshots/{SNAPSHOT_ID}/restore", Role.OPERATOR),
        ("POST", f"/api/snapshots/{SNAPSHOT_ID}/clone", Role.OPERATOR),
        ("DELETE", f"/api/workloads/notes/snapshots/{SNAPSHOT_ID}", Role.OPERATOR),
    ],
)
async def test_a_role_that_is_not_sufficient_is_refused_and_nothing_is_done(
    api: Api, method: str, path: str, role: Role
) -> None:
    answer = await api.ask(method, path, role=role)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "role_insufficient")
    assert not api.deployer.calls
    assert not api.restores.calls
    assert not api.snapshots.calls


async def test_a_rollback_that_replaces_data_is_for_admins_only(api: Api) -> None:
    wanted = {"deployment": SNAPSHOT_ID, "with_data": True}
    answer = await api.ask("POST", "/api/workloads/notes/rollback", role=Role.OPERATOR, json=wanted)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "role_insufficient")
    assert not api.data_rollbacks.calls


async def test_absolute_volumes_are_configured_by_admins_only(api: Api) -> None:
    body = {
        "name": "notes",
        "source": {"type": "image", "image": "notes:1"},
        "volumes": [{"target": "/data", "scope": "absolute", "source": "/srv/data"}],
    }
    refused = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "absolute_volume_forbidden")
    assert (await api.ask("PUT", "/api/workloads/notes", json=body)).status_code == 200
    body["volumes"] = [{"target": "/data", "scope": "named", "source": "data", "engine_volume": "home_db"}]
    refused = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "engine_volume_forbidden")
    assert (await api.ask("PUT", "/api/workloads/notes", json=body)).status_code == 200
