from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.account_bench import MOST, PASSWORD, AccountBench, account_bench

from holdfast.domain.accounts import Principal, Role, TokenScope
from holdfast.domain.errors import Conflict, Failed, Forbidden, HoldfastError, InvalidInput, NotFound
from holdfast.engine.fs import Fs
from holdfast.services.bearer_secrets import hash_of, new_secret
from holdfast.store.tokens import TokenStore, WaysIn

DAY = 86400.0


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[AccountBench]:
    async with account_bench(tmp_path) as bench:
        yield bench


def text(path: Path) -> str:
    return path.read_text(encoding="ascii")


def there(path: Path) -> bool:
    return os.path.lexists(path)


async def token_of(bench: AccountBench, name: str = "ci", role: Role = Role.OPERATOR, lasts: float | None = DAY) -> str:
    secret, _ = await bench.tokens.create(
        await bench.accounts.get("ann"), name, role=role, scopes=(TokenScope.LOGS,), lasts=lasts, actor="test"
    )
    return secret


async def test_a_token_acts_as_its_user_and_nothing_else_does(bench: AccountBench) -> None:
    user = await bench.user()
    token = await token_of(bench)
    assert token.startswith("hf_")
    assert len(token) == 46
    assert await bench.tokens.verify(token) == Principal(
        name="ann/ci", role=Role.OPERATOR, user_id=user.id, scopes=frozenset({TokenScope.LOGS})
    )
    for other in ("", "hf_", token[:-1], token + "\n", token.swapcase(), "hf_" + "a" * 43, "é" * 46):
        assert await bench.tokens.verify(other) is None


async def test_the_database_never_holds_a_token_a_session_or_a_password(bench: AccountBench, tmp_path: Path) -> None:
    await bench.user()
    secrets = [await token_of(bench), await bench.sign_in(), PASSWORD]
    assert all(secret.encode() not in content for secret in secrets for content in contents(tmp_path))


def contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.iterdir()]


async def test_a_token_may_never_do_more_than_its_user_may_now(bench: AccountBench) -> None:
    await bench.user()
    await bench.user("eve")
    token = await token_of(bench)
    await bench.accounts.change("ann", role=Role.VIEWER, actor="eve")
    found = await bench.tokens.verify(token)
    assert found is not None
    assert found.role is Role.VIEWER
    with pytest.raises(Forbidden) as caught:
        await token_of(bench, "more")
    assert caught.value.code == "token_role_too_high"
    await bench.accounts.change("ann", disabled=True, actor="eve")
    assert await bench.tokens.verify(token) is None
    await bench.accounts.change("ann", disabled=False, actor="eve")
    assert await bench.tokens.verify(token) is not None
    await bench.accounts.delete("ann", actor="eve")
    assert await bench.tokens.verify(token) is None
    assert await bench.tokens.list() == ()


async def test_a_token_ends_by_itself_or_when_it_is_removed(bench: AccountBench) -> None:
    user = await bench.user()
    short, lasting = await token_of(bench), await token_of(bench, "lasting", lasts=None)
    bench.clock.at += DAY - 1
    assert await bench.tokens.verify(short) is not None
    bench.clock.at += 1
    assert await bench.tokens.verify(short) is None
    assert await bench.tokens.verify(lasting) is not None
    newest, oldest = await bench.tokens.list(user.id)
    assert (newest.name, newest.expires_at, oldest.name) == ("lasting", None, "ci")
    for of_user, known in (("another", newest.id), (None, user.id)):
        with pytest.raises(NotFound) as caught:
            await bench.tokens.remove(known, of_user=of_user, up_to=Role.ADMIN, actor="test")
        assert caught.value.code == "token_not_there"
    await bench.tokens.remove(newest.id, of_user=user.id, up_to=Role.ADMIN, actor="test")
    assert await bench.tokens.verify(lasting) is None


async def test_what_no_token_can_be_made_of_is_refused(bench: AccountBench) -> None:
    user = await bench.user()
    await token_of(bench)

    async def refused(name: str, lasts: float) -> HoldfastError:
        with pytest.raises(HoldfastError) as caught:
            await token_of(bench, name, lasts=lasts)
        return caught.value

    assert isinstance(error := await refused("ci", DAY), Conflict)
    assert error.code == "token_exists"
    assert isinstance(error := await refused("past", 0), InvalidInput)
    assert error.code == "token_lasts_too_short"
    for number in range(MOST - 1):
        await token_of(bench, f"t{number}")
    assert (await refused("one-more", DAY)).code == "tokens_too_many"
    await bench.user("eve")
    await bench.accounts.delete("ann", actor="eve")
    with pytest.raises(Conflict) as caught:
        await bench.tokens.create(user, "late", role=Role.VIEWER, lasts=None, actor="test")
    assert caught.value.code == "user_gone"


async def test_the_first_start_makes_an_admin_token_in_a_private_file_and_later_ones_do_not(
    bench: AccountBench,
) -> None:
    token = await bench.tokens.ensure_first_admin()
    assert token is not None
    assert text(bench.file) == f"{token}\n"
    assert stat.S_IMODE(os.stat(bench.file).st_mode) == 0o600
    assert await bench.tokens.verify(token) == Principal(name="first-token", role=Role.ADMIN)
    assert await bench.tokens.ensure_first_admin() is None
    assert text(bench.file) == f"{token}\n"


async def test_the_first_token_ends_with_the_first_admin(bench: AccountBench) -> None:
    token = await bench.tokens.ensure_first_admin()
    assert token is not None
    await bench.user("eve", Role.OPERATOR)
    assert await bench.tokens.verify(token) is not None
    await bench.user("ann")
    assert await bench.tokens.verify(token) is None
    assert not there(bench.file)
    assert await bench.tokens.ensure_first_admin() is None


async def test_a_new_first_token_ends_when_it_gave_an_admin_a_new_password(bench: AccountBench) -> None:
    await bench.user()
    for role_of in ("eve", "ann"):
        if role_of == "eve":
            await bench.user("eve", Role.VIEWER)
        token = await bench.tokens.renew_first()
        await bench.accounts.set_password(role_of, "another long password", actor="admin")
        assert (await bench.tokens.verify(token) is None) == (role_of == "ann")
    assert not there(bench.file)


async def test_the_first_token_ends_with_whoever_becomes_an_admin_who_can_get_in(bench: AccountBench) -> None:
    token = await bench.tokens.ensure_first_admin()
    assert token is not None
    await bench.user("eve", Role.OPERATOR)
    await bench.accounts.change("eve", role=Role.ADMIN, disabled=True, actor="test")
    await bench.accounts.set_password("eve", "another long password", actor="test")
    assert await bench.tokens.verify(token) is not None, "nobody can get in yet"
    await bench.accounts.change("eve", disabled=False, actor="test")
    assert await bench.tokens.verify(token) is None
    assert not there(bench.file)
    token = await bench.tokens.renew_first()
    await bench.accounts.change("eve", disabled=False, actor="test")
    assert await bench.tokens.verify(token) is not None, "she could get in before, with a password that is lost"
    await bench.user("bob", Role.VIEWER)
    await bench.accounts.change("bob", role=Role.ADMIN, actor="test")
    assert await bench.tokens.verify(token) is None


async def test_of_two_who_have_the_first_token_one_makes_the_first_admin(bench: AccountBench) -> None:
    await bench.tokens.ensure_first_admin()
    made = await asyncio.gather(
        *(bench.accounts.create(name, PASSWORD, Role.ADMIN, actor="test", by_first_token=True) for name in "ab"),
        return_exceptions=True,
    )
    (refused,) = (each for each in made if isinstance(each, Conflict))
    assert refused.code == "first_token_over"
    assert len(await bench.accounts.list()) == 1


async def test_what_is_left_of_the_first_token_goes_at_the_next_start(bench: AccountBench) -> None:
    await bench.user()
    fill(bench.file, b"left by a crash")
    assert await bench.tokens.ensure_first_admin() is None
    assert not there(bench.file)


async def test_a_crash_between_the_file_and_the_database_is_repaired_at_the_next_start(bench: AccountBench) -> None:
    class Crash(Exception):
        pass

    class CrashingStore(TokenStore):
        def __init__(self) -> None:
            """Never reaches a database."""

        async def ways_in(self) -> WaysIn:
            return WaysIn(first=False, admin=False)

        async def put_first(self, token_hash: str, name: str) -> None:
            raise Crash

    with pytest.raises(Crash):
        await bench.tokens_on(Fs(), CrashingStore()).ensure_first_admin()
    token = await bench.tokens.ensure_first_admin()
    assert token is not None
    assert text(bench.file) == f"{token}\n"
    assert await bench.tokens.verify(token) is not None


async def test_a_file_that_holds_no_token_is_replaced(bench: AccountBench) -> None:
    fill(bench.file, b"\xff torn")
    token = await bench.tokens.ensure_first_admin()
    assert text(bench.file) == f"{token}\n"


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def test_a_token_that_can_not_be_written_down_is_not_made_valid(bench: AccountBench) -> None:
    class FullFs(Fs):
        def write_all(self, fd: int, data: bytes | memoryview) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Failed) as caught:
        await bench.tokens_on(FullFs()).ensure_first_admin()
    assert caught.value.code == "admin_token_unwritable"
    assert not (await bench.token_store.ways_in()).first


async def test_a_file_that_can_not_be_removed_stops_nothing(bench: AccountBench) -> None:
    class StubbornFs(Fs):
        def unlinkat(self, dirfd: int, name: bytes) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

    token = new_secret("hf_")
    await bench.token_store.put_first(hash_of(token), "admin")
    await bench.user()
    await bench.tokens_on(StubbornFs()).tidy_first()
    assert await bench.tokens.verify(token) is None


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
