from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.domain.accounts import Principal, Role
from holdfast.domain.errors import Failed
from holdfast.engine.fs import Fs
from holdfast.services.tokens import Tokens
from holdfast.store.database import Database
from holdfast.store.tokens import TokenRecord, TokenStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[TokenStore]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    yield TokenStore(database)
    await database.close()


@pytest.fixture
def tokens(store: TokenStore) -> Tokens:
    return Tokens(store, Fs())


def text(path: Path) -> str:
    return path.read_text(encoding="ascii")


async def test_a_token_names_its_principal_and_nothing_else_does(tokens: Tokens) -> None:
    token = await tokens.create("ann", Role.OPERATOR)
    assert token.startswith("hf_")
    assert len(token) == 46
    assert await tokens.verify(token) == Principal(name="ann", role=Role.OPERATOR)
    for other in ("", "hf_", token[:-1], token + "\n", token.swapcase(), "hf_" + "a" * 43, "é" * 46):
        assert await tokens.verify(other) is None


async def test_the_database_never_holds_a_token(tokens: Tokens, tmp_path: Path) -> None:
    token = await tokens.create("ann", Role.VIEWER)
    assert all(token.encode() not in content for content in contents(tmp_path))


def contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.iterdir()]


async def test_the_first_start_makes_an_admin_token_in_a_private_file_and_later_ones_do_not(
    tokens: Tokens, tmp_path: Path
) -> None:
    path = tmp_path / "admin-token"
    token = await tokens.ensure_first_admin(path)
    assert token is not None
    assert text(path) == f"{token}\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert await tokens.verify(token) == Principal(name="admin", role=Role.ADMIN)
    assert await tokens.ensure_first_admin(path) is None
    assert text(path) == f"{token}\n"


async def test_a_crash_between_the_file_and_the_database_is_repaired_at_the_next_start(
    store: TokenStore, tmp_path: Path
) -> None:
    class Crash(Exception):
        pass

    class CrashingStore(TokenStore):
        def __init__(self) -> None:
            """Never reaches a database."""

        async def count(self) -> int:
            return 0

        async def insert(self, record: TokenRecord) -> None:
            raise Crash

    path = tmp_path / "admin-token"
    with pytest.raises(Crash):
        await Tokens(CrashingStore(), Fs()).ensure_first_admin(path)
    again = Tokens(store, Fs())
    token = await again.ensure_first_admin(path)
    assert token is not None
    assert text(path) == f"{token}\n"
    assert await again.verify(token) is not None


async def test_a_file_that_holds_no_token_is_replaced(tokens: Tokens, tmp_path: Path) -> None:
    path = tmp_path / "admin-token"
    fill(path, b"\xff torn")
    token = await tokens.ensure_first_admin(path)
    assert text(path) == f"{token}\n"


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def test_a_token_that_can_not_be_written_down_is_not_made_valid(store: TokenStore, tmp_path: Path) -> None:
    class FullFs(Fs):
        def write_all(self, fd: int, data: bytes | memoryview) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Failed) as caught:
        await Tokens(store, FullFs()).ensure_first_admin(tmp_path / "admin-token")
    assert caught.value.code == "admin_token_unwritable"
    assert await store.count() == 0


@pytest.mark.parametrize(
    ("role", "includes"),
    [
        (Role.VIEWER, {Role.VIEWER}),
        (Role.OPERATOR, {Role.VIEWER, Role.OPERATOR}),
        (Role.ADMIN, {Role.VIEWER, Role.OPERATOR, Role.ADMIN}),
    ],
)
def test_each_role_includes_those_below_it(role: Role, includes: set[Role]) -> None:
    assert {other for other in Role if role.includes(other)} == includes
