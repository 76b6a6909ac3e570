"""Users, their passwords, and where they are signed in."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.account_bench import CHEAP, HOME, MOST, PASSWORD, AccountBench, account_bench

from holdfast.domain.accounts import Principal, Role, check_password, check_user_name
from holdfast.domain.errors import Conflict, Forbidden, HoldfastError, InvalidInput, NotFound, TooMany, Unauthorized
from holdfast.services.passwords import MOST_WAITING, PasswordCost, Passwords
from holdfast.services.sessions import LONGEST_SECONDS, NOTED_SECONDS, UNUSED_SECONDS
from holdfast.services.sign_in_bounds import OF_NETWORK, OF_USER, OF_USER_PER_SECOND, Buckets

OTHER = "a password, another one"
ELSEWHERE = "198.51.100.1"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[AccountBench]:
    async with account_bench(tmp_path) as bench:
        yield bench


async def failure(bench: AccountBench, name: str, password: str = OTHER, address: str = HOME) -> HoldfastError:
    """How signing in fails."""
    with pytest.raises(HoldfastError) as caught:
        await bench.sign_in(name, password, address)
    return caught.value


# --- users ---------------------------------------------------------------------------------------------------------


async def test_nobody_is_made_with_a_bad_name_or_password(bench: AccountBench) -> None:
    for name, password in (("Ann", PASSWORD), ("ann", "short")):
        with pytest.raises(InvalidInput):
            await bench.accounts.create(name, password, Role.ADMIN, actor="test")
    assert await bench.accounts.list() == ()
    await bench.user()
    with pytest.raises(InvalidInput):
        await bench.accounts.set_password("ann", "short", actor="test")


async def test_a_user_is_made_once_and_found_by_name(bench: AccountBench) -> None:
    ann = await bench.user()
    eve = await bench.user("eve", Role.VIEWER)
    assert await bench.accounts.list() == (ann, eve)
    assert await bench.accounts.get("eve") == eve
    assert PASSWORD not in repr(ann)
    assert ann.password not in repr(ann)
    with pytest.raises(Conflict) as caught:
        await bench.user()
    assert caught.value.code == "user_exists"
    with pytest.raises(NotFound) as unknown:
        await bench.accounts.get("bob")
    assert unknown.value.code == "user_unknown"


@pytest.mark.parametrize("name", ["", "Ann", "a/b", "-a", "a" * 64, "a b", "é", "a\n", "schedule"])
def test_names_that_could_be_taken_for_others_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_user_name(name)
    assert caught.value.code == "user_name_malformed"
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("password", ["elevenchars", "aaaabbbbccccdddd", "annabelle.2026", "x1y2z3" * 200])
def test_passwords_that_are_tried_first_are_refused(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_password("annabelle", password)
    assert caught.value.code == "password_unfit"
    assert password not in caught.value.message


async def test_the_last_admin_who_can_get_in_stays_one(bench: AccountBench) -> None:
    await bench.user("ann")
    await bench.user("eve")
    await bench.user("bob", Role.OPERATOR)
    await bench.accounts.change("eve", disabled=True, actor="ann")
    for attempt in (
        bench.accounts.change("ann", role=Role.OPERATOR, actor="ann"),
        bench.accounts.change("ann", disabled=True, actor="ann"),
        bench.accounts.delete("ann", actor="ann"),
    ):
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.code == "last_admin"
    assert (await bench.accounts.get("ann")).role is Role.ADMIN
    await bench.accounts.change("eve", disabled=False, actor="ann")
    await bench.accounts.delete("ann", actor="eve")
    assert [user.name for user in await bench.accounts.list()] == ["bob", "eve"]


async def test_two_admins_who_remove_each_other_at_once_leave_one(bench: AccountBench) -> None:
    await bench.user("ann")
    await bench.user("eve")
    await asyncio.gather(
        bench.accounts.delete("ann", actor="eve"), bench.accounts.delete("eve", actor="ann"), return_exceptions=True
    )
    assert len(await bench.accounts.list()) == 1


# --- signing in and out --------------------------------------------------------------------------------------------


async def test_who_signed_in_is_known_by_the_session_with_the_role_of_now(bench: AccountBench) -> None:
    user = await bench.user()
    await bench.user("eve")
    secret, session, signed_in = await bench.sessions.sign_in(" Ann", PASSWORD, address=HOME, agent="a\nb" + "c" * 999)
    assert signed_in == user
    assert session.agent == "ab" + "c" * 198
    assert await bench.sessions.verify(secret) == Principal(
        name="ann", role=Role.ADMIN, user_id=user.id, session_id=session.id
    )
    for other in ("", secret[:-1], secret.replace("hfs_", "hf_"), "hfs_" + "a" * 43):
        assert await bench.sessions.verify(other) is None
    await bench.accounts.change("ann", role=Role.VIEWER, actor="eve")
    found = await bench.sessions.verify(secret)
    assert found is not None
    assert found.role is Role.VIEWER


async def test_a_password_is_right_however_it_is_composed(bench: AccountBench) -> None:
    await bench.accounts.create("ann", "Zoë's long password", Role.VIEWER, actor="test")
    assert await bench.sign_in("ann", "Zoe\u0308's long password")


async def test_an_unknown_user_a_disabled_one_and_a_wrong_password_are_told_the_same_after_the_same_work(
    bench: AccountBench,
) -> None:
    await bench.user()
    await bench.user("bob")
    await bench.accounts.change("bob", disabled=True, actor="ann")
    told = []
    for name, password in (("ann", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("a\ud800", "\ud800")):
        before = bench.passwords.worked
        error = await failure(bench, name, password)
        assert isinstance(error, Unauthorized)
        told.append((error.code, error.message, error.next_step, error.details, bench.passwords.worked - before))
    assert len(set(map(repr, told))) == 1


async def test_nobodys_password_costs_what_a_users_does() -> None:
    passwords = Passwords(CHEAP)
    kept = await passwords.kept(PASSWORD)
    nobodys = passwords._nobodys  # the one place where the two could differ
    assert nobodys.split("$")[:4] == kept.split("$")[:4]
    assert [len(part) for part in nobodys.split("$")] == [len(part) for part in kept.split("$")]
    assert not passwords.outdated(nobodys)
    assert not await passwords.matches(nobodys, PASSWORD)
    assert not await passwords.matches(None, PASSWORD)
    assert not await passwords.matches("damaged", PASSWORD)


def test_the_cost_is_never_less_than_recommended_unless_a_test_says_so() -> None:
    assert PasswordCost() == PasswordCost(memory_kib=65536, passes=3, lanes=4)  # RFC 9106, section 4


async def test_what_is_kept_at_another_cost_is_made_anew_by_signing_in(bench: AccountBench) -> None:
    user = await bench.user()
    earlier = await Passwords(PasswordCost(memory_kib=16, passes=1, lanes=1)).kept(PASSWORD)
    await bench.users.rehash(user, earlier)
    secret = await bench.sign_in()
    assert bench.passwords.outdated(earlier)
    assert not bench.passwords.outdated((await bench.accounts.get("ann")).password)
    assert await bench.sessions.verify(secret) is not None
    assert await bench.sign_in()


async def test_a_session_is_useless_after_signing_out_here_or_everywhere(bench: AccountBench) -> None:
    user = await bench.user()
    here, there, third = await bench.sign_in(), await bench.sign_in(), await bench.sign_in()
    principal = await bench.sessions.verify(here)
    assert principal is not None
    assert principal.session_id is not None
    await bench.sessions.end(user.id, principal.session_id)
    assert await bench.sessions.verify(here) is None
    with pytest.raises(NotFound) as caught:
        await bench.sessions.end(user.id, principal.session_id)
    assert caught.value.code == "session_unknown"
    assert await bench.sessions.verify(there) is not None
    assert await bench.sessions.end_all(user.id) == 2
    assert [await bench.sessions.verify(each) for each in (there, third)] == [None, None]


async def test_nobody_ends_the_session_of_another(bench: AccountBench) -> None:
    await bench.user()
    eve = await bench.user("eve")
    secret = await bench.sign_in()
    found = await bench.sessions.verify(secret)
    assert found is not None
    assert found.session_id is not None
    with pytest.raises(NotFound):
        await bench.sessions.end(eve.id, found.session_id)
    assert await bench.sessions.verify(secret) is not None


async def test_disabling_removing_and_a_new_password_end_sessions(bench: AccountBench) -> None:
    await bench.user()
    for name in ("bob", "dan", "eve"):
        await bench.user(name)
    secrets = [await bench.sign_in(name) for name in ("bob", "dan", "eve")]
    await bench.accounts.change("bob", disabled=True, actor="ann")
    await bench.accounts.delete("dan", actor="ann")
    await bench.accounts.set_password("eve", OTHER, actor="ann")
    assert [await bench.sessions.verify(secret) for secret in secrets] == [None, None, None]
    await bench.accounts.change("bob", disabled=False, actor="ann")
    assert await bench.sessions.verify(secrets[0]) is None
    assert (await failure(bench, "eve", PASSWORD)).code == "sign_in_failed"
    assert await bench.sign_in("eve", OTHER)


async def test_a_session_ends_by_itself_when_it_is_old_or_not_used(bench: AccountBench) -> None:
    user = await bench.user()
    begun = bench.clock.at
    used, unused = await bench.sign_in(), await bench.sign_in()
    bench.clock.at += NOTED_SECONDS
    assert await bench.sessions.verify(used) is not None
    bench.clock.at = begun + UNUSED_SECONDS
    assert await bench.sessions.verify(unused) is None
    assert await bench.sessions.verify(used) is not None
    assert len(await bench.sessions.list(user.id)) == 1
    for at in itertools.count(begun + 2 * UNUSED_SECONDS - 1, UNUSED_SECONDS - 1):
        bench.clock.at = min(at, begun + LONGEST_SECONDS)
        if await bench.sessions.verify(used) is None:
            break
    assert bench.clock.at == begun + LONGEST_SECONDS
    assert await bench.sessions.list(user.id) == ()
    await bench.sign_in()
    assert len(await bench.session_store.of(user.id)) == 1  # what was over went


async def test_a_user_has_so_many_sessions_and_the_oldest_goes(bench: AccountBench) -> None:
    user = await bench.user()
    secrets = [await bench.sign_in() for _ in range(MOST + 1)]
    assert len(await bench.sessions.list(user.id)) == MOST
    assert await bench.sessions.verify(secrets[0]) is None
    assert await bench.sessions.verify(secrets[1]) is not None


async def test_a_password_that_changes_while_somebody_signs_in_lets_nobody_in_with_the_old_one(
    bench: AccountBench,
) -> None:
    user = await bench.user()
    await bench.user("eve")
    session_of = bench.session_store.insert
    _, session, _ = await bench.sessions.sign_in("ann", PASSWORD, address=HOME, agent="")
    await bench.accounts.set_password("ann", OTHER, actor="eve")
    assert not await session_of(session, "hash", user, unused_since="")
    await bench.accounts.change("ann", disabled=True, actor="eve")
    assert not await session_of(session, "hash", await bench.accounts.get("ann"), unused_since="")


# --- one's own password --------------------------------------------------------------------------------------------


async def test_a_new_password_of_ones_own_ends_all_other_sessions(bench: AccountBench) -> None:
    await bench.user()
    here, there = await bench.sign_in(), await bench.sign_in()
    caller = await bench.sessions.verify(here)
    assert caller is not None
    with pytest.raises(Forbidden) as caught:
        await bench.accounts.change_password(caller, OTHER, OTHER, address=HOME)
    assert caught.value.code == "password_wrong"
    await bench.accounts.change_password(caller, PASSWORD, OTHER, address=HOME)
    assert await bench.sessions.verify(here) is not None
    assert await bench.sessions.verify(there) is None
    assert await bench.sign_in("ann", OTHER)


async def test_the_present_password_is_not_guessed_through_a_session(bench: AccountBench) -> None:
    await bench.user()
    caller = await bench.sessions.verify(await bench.sign_in())
    assert caller is not None
    codes = []
    for _ in range(int(OF_USER) + 1):
        with pytest.raises(HoldfastError) as caught:
            await bench.accounts.change_password(caller, OTHER, OTHER, address=HOME)
        codes.append(caught.value.code)
    assert codes[-2:] == ["password_wrong", "sign_in_too_often"]


async def test_the_first_token_has_no_password(bench: AccountBench) -> None:
    with pytest.raises(Conflict) as caught:
        await bench.accounts.change_password(Principal(name="admin", role=Role.ADMIN), PASSWORD, OTHER, address=HOME)
    assert caught.value.code == "no_user"


async def test_of_two_new_passwords_at_once_one_is_made(bench: AccountBench) -> None:
    await bench.user()
    caller = await bench.sessions.verify(await bench.sign_in())
    assert caller is not None
    changes = (bench.accounts.change_password(caller, PASSWORD, new, address=HOME) for new in (OTHER, OTHER[::-1]))
    first, second = await asyncio.gather(*changes, return_exceptions=True)
    codes = [None if error is None else getattr(error, "code", error) for error in (first, second)]
    assert sorted(codes, key=str) == [None, "password_changed"]


# --- guessing ------------------------------------------------------------------------------------------------------


async def test_ten_thousand_wrong_passwords_lock_nobody_out_and_cost_next_to_nothing(bench: AccountBench) -> None:
    await bench.user()
    await bench.user("eve")
    secret = await bench.sign_in()
    before = bench.passwords.worked
    codes = [(await failure(bench, name)).code for _ in range(5_000) for name in ("ann", "nobody")]
    assert codes.count("sign_in_failed") == bench.passwords.worked - before == 2 * OF_USER
    assert await bench.sessions.verify(secret) is not None
    assert await bench.sign_in("ann", PASSWORD, ELSEWHERE)
    assert await bench.sign_in("eve", PASSWORD)
    assert isinstance(await failure(bench, "ann", PASSWORD), TooMany)
    bench.clock.at += 1 / OF_USER_PER_SECOND
    assert await bench.sign_in("ann", PASSWORD)


async def test_who_tries_many_names_at_once_takes_no_turn_from_who_comes_from_elsewhere(bench: AccountBench) -> None:
    await bench.user()
    tries = [asyncio.ensure_future(failure(bench, f"user{number}")) for number in range(2 * MOST_WAITING)]
    signed_in = asyncio.ensure_future(bench.sign_in("ann", PASSWORD, ELSEWHERE))
    await asyncio.gather(*tries)
    assert await signed_in


async def test_trying_many_names_from_one_network_is_bounded_and_from_another_it_is_not(bench: AccountBench) -> None:
    await bench.user()
    codes = [(await failure(bench, f"user{n}", address=f"2001:db8::{n:x}")).code for n in range(int(OF_NETWORK) + 1)]
    assert codes[-2:] == ["sign_in_failed", "sign_in_too_often"]
    assert (await failure(bench, "ann", PASSWORD, "2001:db8::ffff")).code == "sign_in_too_often"
    assert await bench.sign_in("ann", PASSWORD, "2001:db8:0:1::1")
    assert await bench.sign_in("ann", PASSWORD, "::ffff:192.0.2.7")


async def test_who_signs_in_often_is_not_taken_for_one_who_guesses(bench: AccountBench) -> None:
    for _ in range(int(OF_NETWORK) + 1):
        bench.bounds.take("ann", HOME)
        bench.bounds.was_right("ann", HOME)


def test_what_is_counted_is_bounded_and_what_was_counted_long_ago_goes() -> None:
    buckets = Buckets(full=2, per_second=1, most=3)
    for number in range(5):
        buckets.take(number, at=0)
    assert buckets.counted() == [2, 3, 4]
    buckets.take(2, at=1)
    buckets.take(5, at=1)
    assert buckets.counted() == [2, 5]


async def test_few_wait_for_their_password_to_be_looked_at(bench: AccountBench) -> None:
    answers = await asyncio.gather(
        *(bench.passwords.matches(None, OTHER) for _ in range(MOST_WAITING + 5)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, TooMany)]
    assert len(refused) == 5
    assert {error.code for error in refused} == {"passwords_busy"}
    assert not await bench.passwords.matches(None, OTHER)
