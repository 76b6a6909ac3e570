"""Logins of registries: tried out, sealed, and used for the pulls from their registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import InvalidInput, NotFound, Refused
from holdfast.domain.operation import Operation
from holdfast.domain.registry import RegistryLogin, registry_host, registry_of
from holdfast.domain.workload import Workload
from holdfast.store.tables import registries
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation, ended, installation, spec_of, succeeded

HOST, IMAGE = "registry.example:5000", "registry.example:5000/app:1"
LOGIN = RegistryLogin(host=HOST, username="ann", password="open sesame")


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return installation(tmp_path)


@pytest.fixture
async def holdfast(place: Installation) -> AsyncIterator[Holdfast]:
    async with place.running() as holdfast:
        engine_of(holdfast).guarded[HOST] = LOGIN
        engine_of(holdfast).add_remote_image(IMAGE)
        yield holdfast


def engine_of(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


async def add(holdfast: Holdfast, password: str = LOGIN.password) -> None:
    await holdfast.api.registries.add(HOST, LOGIN.username, password, actor="ann")


async def deploy(holdfast: Holdfast) -> tuple[Workload, Operation]:
    result = await holdfast.api.workloads.apply(spec_of(image=IMAGE), actor="ann")
    assert result.workload is not None
    return result.workload, await holdfast.api.deployer.deploy(result.workload.id, actor="ann")


async def test_a_private_image_is_pulled_with_the_login_of_its_registry(holdfast: Holdfast) -> None:
    _, operation = await deploy(holdfast)
    failed = await ended(holdfast, operation)
    assert failed.error is not None
    assert failed.error["code"] == "registry_denied"
    assert "holdfast registry add" in str(failed.error["next_step"])
    await add(holdfast)
    _, operation = await deploy(holdfast)
    await succeeded(holdfast, operation)


async def test_a_login_that_the_registry_does_not_take_is_not_kept(holdfast: Holdfast) -> None:
    await add(holdfast)
    with pytest.raises(Refused) as caught:
        await add(holdfast, "wrong")
    assert caught.value.code == "registry_login_refused"
    _, operation = await deploy(holdfast)
    await succeeded(holdfast, operation)


async def test_the_password_is_in_plain_nowhere(place: Installation) -> None:
    async with place.running() as holdfast:
        await add(holdfast)
        assert LOGIN.password not in repr((LOGIN, await holdfast.api.registries.list()))
    files = [path for path in place.settings.data_dir.rglob("*") if path.is_file()]
    assert not any(LOGIN.password.encode() in path.read_bytes() for path in files)


async def test_a_password_serves_no_other_registry(holdfast: Holdfast) -> None:
    await add(holdfast)
    await holdfast.database.change(update(registries).values(host="elsewhere.example"))
    assert [login.readable for login in await holdfast.api.registries.list()] == [False]


async def test_a_lost_key_is_told_with_the_login_that_has_to_be_added_again(
    holdfast: Holdfast, place: Installation
) -> None:
    await add(holdfast)
    place.settings.keys_dir.joinpath("sealing.key").unlink()
    assert [login.readable for login in await holdfast.api.registries.list()] == [False]
    _, operation = await deploy(holdfast)
    failed = await ended(holdfast, operation)
    assert failed.error is not None
    assert failed.error["code"] == "registry_login_unreadable"
    assert f"holdfast registry add {HOST} --username ann" in str(failed.error["next_step"])
    await add(holdfast)
    assert [login.readable for login in await holdfast.api.registries.list()] == [True]


async def test_a_login_is_forgotten(holdfast: Holdfast) -> None:
    await add(holdfast)
    await holdfast.api.registries.remove(HOST, actor="ann")
    assert await holdfast.api.registries.list() == []
    with pytest.raises(NotFound):
        await holdfast.api.registries.remove(HOST, actor="ann")


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("a:b", "x"), ("ann", ""), ("ann", "a\nb")])
async def test_a_login_that_can_t_be_one_is_refused(holdfast: Holdfast, name: str, password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await holdfast.api.registries.add(HOST, name, password, actor="ann")
    assert caught.value.code == "registry_login_malformed"


@pytest.mark.parametrize("text", ["", "https://registry.example", "registry.example/path", "notes", "a b.c", "x.y:z"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry_host(text)
    assert caught.value.code == "registry_host_malformed"


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("notes:1", "docker.io"),
        ("index.docker.io/me/notes", "docker.io"),
        ("Registry.Example/notes", "registry.example"),
        ("[::1]:5000/notes@sha256:" + "0a" * 32, "[::1]:5000"),
    ],
)
def test_an_image_belongs_to_the_registry_that_its_name_begins_with(reference: str, host: str) -> None:
    assert registry_of(reference) == host
    assert registry_host(host) == host
