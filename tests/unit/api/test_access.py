"""Who may ask for what."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from holdfast.api import app as application
from holdfast.api.app import bare_app, routers
from holdfast.api.auth import PUBLIC, Requires, Viewer
from holdfast.api.strict_route import StrictRoute, declarations
from holdfast.domain.accounts import Role, TokenScope
from holdfast.domain.workload import Scope, Volume
from tests.unit.api.standins import OPERATION_ID, SESSIONS, SNAPSHOT_ID, TOKENS, WORKLOAD, Api

OPEN = {"/healthz", "/readyz"}
HOOKS = "/hooks/{address}"
PUBLISHED = Path(__file__).parents[3] / "docs/reference/openapi.json"
HEADER: Final = {"X-Holdfast-Request": "1"}
ADMIN: Final = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
V, O, A = Role.VIEWER, Role.OPERATOR, Role.ADMIN  # noqa: E741 - a table is read at a glance

NEEDED = {
    "list_workloads": V,
    "create_workload": O,
    "preview_workload": O,
    "get_workload": V,
    "put_workload": O,
    "delete_workload": A,
    "get_workload_status": V,
    "list_statuses": V,
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
    "read_health": V,
    "get_disk": V,
    "list_protection": V,
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
    "list_audit": A,
    "list_backups": A,
    "create_backup": A,
    "set_backup_passphrase": A,
    "download_backup": A,
    "verify_backup": A,
    "delete_backup": A,
    "restore_backup": A,
    "export_audit": A,
    "list_operations": V,
    "get_operation": V,
    "cancel_operation": O,
    "follow_operation": V,
    "get_session": V,
    "sign_out": V,
    "list_sessions": V,
    "sign_out_everywhere": V,
    "end_session": V,
    "change_password": V,
    "list_users": A,
    "create_user": A,
    "change_user": A,
    "set_password": A,
    "remove_user": A,
    "list_tokens": V,
    "create_token": V,
    "remove_token": V,
    "get_version": V,
    "follow_updates": V,
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
        user="ann",
        session=OPERATION_ID,
        token=OPERATION_ID,
        backup=OPERATION_ID,
    )


def client_of(api: Api) -> httpx.AsyncClient:
    """One for many requests."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://test")


def is_public(route: APIRoute) -> bool:
    return route.path in OPEN or route.path == HOOKS or route.name in {"sign_in", "get_setup"}


def routes() -> list[APIRoute]:
    return [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]


async def test_a_query_parameter_that_does_nothing_is_refused(api: Api) -> None:
    async with client_of(api) as client:
        for route in routes():
            path = filled(route)
            for method in route.methods or ():
                answer = await client.request(method, f"{path}?no_such_thing=1", headers=ADMIN)
                if path in OPEN or route.path == HOOKS:  # caches and providers may add what they like
                    assert answer.status_code == 200
                else:
                    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "query_unknown"), path


def test_every_route_declares_who_may_use_it() -> None:
    declared = {}
    for route in routes():
        (found,) = declarations(route.dependant)
        assert isinstance(found, Requires) != is_public(route), route.path
        if isinstance(found, Requires):
            declared[route.name] = found.role
    assert declared == NEEDED


def test_what_declares_nothing_or_twice_can_not_be_made() -> None:
    async def nobody() -> None: ...

    async def somebody(_caller: Viewer) -> None: ...

    router = APIRouter(route_class=StrictRoute, tags=["system"])
    router.get("/fine")(somebody)
    router.get("/public", dependencies=[PUBLIC])(nobody)
    for make in (
        lambda: router.get("/nobody")(nobody),
        lambda: router.get("/both", dependencies=[PUBLIC])(somebody),
        lambda: router.get("/parts", tags=["logs"])(somebody),
    ):
        with pytest.raises(TypeError, match="declares"):
            make()


def test_the_server_does_not_start_with_a_route_that_declares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = APIRouter()

    @plain.get("/api/plain")
    async def nobody() -> None: ...

    monkeypatch.setattr(application, "routers", lambda: (plain,))
    with pytest.raises(TypeError, match="nothing says who may use it"):
        bare_app()


def test_every_route_belongs_to_a_part_that_tokens_can_be_confined_to() -> None:
    assert {tag for route in routes() for tag in route.tags} == set(TokenScope)


def described() -> dict[str, tuple[str, str, bool]]:
    """Method and path of each route, and whether it needs somebody, as published: what another test holds current."""
    paths = json.loads(PUBLISHED.read_text())["paths"]
    return {
        about["operationId"]: (method.upper(), path, "security" in about)
        for path, methods in paths.items()
        for method, about in methods.items()
    }


async def test_each_route_as_it_is_described_lets_in_just_the_roles_that_it_is_for(api: Api) -> None:
    """With nothing, and with a session of each role; what is let in may still be refused for what it lacks."""
    known = {route.name: route for route in routes()}
    told = described()
    assert told.keys() == known.keys()
    async with client_of(api) as client:
        for name, (method, path, protected) in told.items():
            assert (known[name].path, is_public(known[name])) == (path, not protected)
            address = filled(known[name])
            answer = await client.request(method, address)
            if not protected:
                assert (answer.status_code == 200) != (name == "sign_in"), path
                continue
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_missing"), path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            for role, secret in SESSIONS.items():
                if not role.includes(NEEDED[name]):
                    assert not any(r.calls for r in (api.deployer, api.snapshots, api.restores, api.operations))
                answer = await client.request(method, address, headers={"Cookie": f"holdfast={secret}"} | HEADER)
                refused = answer.json()["error"]["code"] if answer.status_code in (401, 403) else ""
                expected = "" if role.includes(NEEDED[name]) else "role_insufficient"
                assert refused == expected, (method, path, role, answer.text)
            for recorder in (api.deployer, api.snapshots, api.restores, api.operations):
                recorder.calls.clear()


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


async def test_a_rollback_brings_volumes_of_others_back_for_admins_only(api: Api) -> None:
    for role in (Role.OPERATOR, Role.ADMIN):
        answer = await api.ask("POST", "/api/workloads/notes/rollback", role=role, json={"deployment": SNAPSHOT_ID})
        assert answer.status_code == 202
        assert api.deployer.last["volumes_of_others"] is (role is Role.ADMIN)


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


async def test_networks_of_the_engine_are_configured_by_admins_only(api: Api) -> None:
    body = {"name": "notes", "source": {"type": "image", "image": "notes:1"}, "networks": ["proxy"]}
    refused = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "network_forbidden")
    assert (await api.ask("PUT", "/api/workloads/notes", json=body)).status_code == 200
    spec = dataclasses.replace(WORKLOAD.spec, networks=("proxy",))
    api.workloads.workload = dataclasses.replace(WORKLOAD, spec=spec)
    assert (await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)).status_code == 200
    del body["networks"]
    refused = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)
    assert refused.json()["error"]["code"] == "network_forbidden"


async def test_what_a_workload_has_of_the_hosts_own_is_taken_from_it_by_admins_only(api: Api) -> None:
    """Who may not give it can still change the rest, and leaves that as it is."""
    of_host = {"target": "/media", "scope": "absolute", "source": "/srv/media", "read_only": True}
    of_engine = {"target": "/db", "scope": "named", "source": "db", "engine_volume": "home_db"}
    body: dict[str, Any] = {
        "name": "notes",
        "source": {"type": "image", "image": "notes:2"},
        "volumes": [of_host, of_engine],
    }
    spec = dataclasses.replace(
        WORKLOAD.spec,
        volumes=(
            Volume(target="/media", scope=Scope.ABSOLUTE, source="/srv/media", read_only=True),
            Volume(target="/db", scope=Scope.NAMED, source="db", engine_volume="home_db"),
        ),
    )
    api.workloads.workload = dataclasses.replace(WORKLOAD, spec=spec)
    kept = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)
    assert kept.status_code == 200, kept.text
    for volumes, code in (
        ([of_engine], "absolute_volume_forbidden"),
        ([{**of_host, "read_only": False}, of_engine], "absolute_volume_forbidden"),
        ([of_host], "engine_volume_forbidden"),
    ):
        changed = {**body, "volumes": volumes}
        refused = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=changed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, code)
        assert (await api.ask("PUT", "/api/workloads/notes", json=changed)).status_code == 200
    api.workloads.meanwhile = WORKLOAD
    late = await api.ask("PUT", "/api/workloads/notes", role=Role.OPERATOR, json=body)
    assert late.status_code == 403, "an admin took it away before this had its turn"
