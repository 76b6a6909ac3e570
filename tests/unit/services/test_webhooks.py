"""Deliveries: proved, kept before they are answered, applied once and in order, and never lost."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.deploy_bench import STATELESS, opened
from tests.unit.services.webhook_bench import BURST, KEPT, KEPT_IGNORED, SECRET, Hooks, hooked, signed

from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import Conflict, HoldfastError, NotFound, Refused, TooMany
from holdfast.domain.ids import new_id
from holdfast.domain.operation import OperationKind, OperationState
from holdfast.domain.told import Told, told
from holdfast.domain.webhook import Binding, DeliveryState, Happening, HookAction, HookDelivery, HookEvent, Provider
from holdfast.domain.workload import Workload
from holdfast.services.webhook_intake import PER_SECOND
from holdfast.services.webhook_work import ATTEMPTS
from holdfast.services.webhooks import MOST_BINDINGS
from holdfast.store.webhooks import Arrival, SameBody

SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
PUSH = {
    "ref": "refs/heads/main",
    "after": SHA,
    "repository": {"full_name": "home/notes", "default_branch": "main"},
    "project": {"path_with_namespace": "home/notes", "default_branch": "main"},
    "object_kind": "push",
}
BODY = json.dumps(PUSH).encode()
PUSHED: dict[str, Any] = {
    "events": [{"id": "e-1", "action": "push", "target": {"repository": "library/notes", "tag": "1"}}]
}


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Hooks, Workload]]:
    async with hooked(tmp_path) as both:
        yield both


def standard(body: bytes, key: bytes, *, name: str = "msg_1", at: int = 1_000_000) -> dict[str, str]:
    """Headers as https://www.standardwebhooks.com has them."""
    made = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(made).decode()}"
    return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": f"v1a,x {signature}"}


async def refusal(hooks: Hooks, binding: Binding, body: bytes, headers: dict[str, str]) -> str:
    with pytest.raises(HoldfastError) as caught:
        await hooks.send(binding, body, headers)
    return caught.value.code


def codes(deliveries: Iterable[HookDelivery]) -> list[str]:
    return [each.why.code if each.why else "" for each in deliveries]


# --- who may deliver ----------------------------------------------------------------------------------------------


PROOFS: list[tuple[Provider, dict[str, str], dict[str, str]]] = [
    (Provider.GITHUB, {"x-hub-signature-256": f"sha256={signed(BODY)}"}, {"x-hub-signature-256": "sha256=" + "0" * 64}),
    (Provider.GITEA, {"x-gitea-signature": signed(BODY)}, {"x-gitea-signature": signed(BODY + b" ")}),
    (Provider.GITEA, {"x-forgejo-signature": signed(BODY)}, {"x-forgejo-signature": "é"}),
    (Provider.GITLAB, {"x-gitlab-token": SECRET}, {"x-gitlab-token": SECRET[:-1]}),
    (Provider.GITLAB, standard(BODY, SECRET.encode()), standard(BODY, b"other")),
    (Provider.GITLAB, standard(BODY, SECRET.encode()), standard(BODY, SECRET.encode(), at=999_000)),
]


async def test_each_provider_proves_itself_in_its_own_way(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    event = {"x-github-event": "push", "x-gitea-event": "push", "x-gitlab-event": "Push Hook"}
    for provider, good, wrong in PROOFS:
        binding = await hooks.bind(workload, provider, secret=SECRET)
        assert await refusal(hooks, binding, BODY, event) == "webhook_signature_missing"
        assert await refusal(hooks, binding, BODY, event | wrong) == "webhook_signature_wrong"
        assert await hooks.settled(binding) == [], "what is refused is not kept"
        refused = (await hooks.webhooks.get(workload.id, binding.id)).refused
        assert (refused.count, refused.last_code) == (2, "webhook_signature_wrong")
        await hooks.send(binding, BODY, event | good)
        assert await hooks.ended(binding) == [DeliveryState.SUCCEEDED]


async def test_a_registry_sends_its_secret_and_a_generic_caller_signs(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    registry = await hooks.bind(workload, Provider.REGISTRY, secret=SECRET)
    body = json.dumps(PUSHED).encode()
    for wrong in ("Bearer x", SECRET, f"Basic {SECRET}"):
        assert await refusal(hooks, registry, body, {"authorization": wrong}) == "webhook_signature_wrong"
    await hooks.send(registry, body, {"authorization": f"Bearer {SECRET}"})
    generic = await hooks.bind(workload, secret=SECRET)
    assert await refusal(hooks, generic, b"{}", {"x-holdfast-signature": signed(b"{} ")}) == "webhook_signature_wrong"
    await hooks.send(generic, b"{}", {"x-holdfast-signature": f"sha256={signed(b'{}')}"})
    key = base64.b64encode(b"k" * 24).decode()
    stamped = await hooks.bind(workload, secret=f"whsec_{key}")
    await hooks.send(stamped, b"{}", standard(b"{}", b"k" * 24))
    for binding in (registry, generic, stamped):
        (state,) = await hooks.ended(binding)
        assert state in (DeliveryState.SUCCEEDED, DeliveryState.SUPERSEDED)


async def test_an_address_is_known_to_nobody_but_who_made_it(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload, secret=SECRET)
    stored = (hooks.bench.base.parent / "state.db").read_bytes()
    stored += (hooks.bench.base.parent / "state.db-wal").read_bytes()
    assert hooks.addresses[binding.id].encode() not in stored
    assert SECRET.encode() not in stored
    other = dataclasses.replace(binding, id="other")
    for address in ("hfw_" + "x" * 43, "", "hfw_", hooks.addresses[binding.id] + "x"):
        hooks.addresses["other"] = address
        with pytest.raises(NotFound) as caught:
            await hooks.send(other)
        assert caught.value.code == "webhook_unknown"
    await hooks.webhooks.delete(workload.id, binding.id, actor="ann")
    with pytest.raises(NotFound):
        await hooks.send(binding)
    with pytest.raises(NotFound):
        await hooks.webhooks.get(workload.id, binding.id)


async def test_what_can_not_be_read_is_refused_and_not_kept(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload, Provider.GITHUB)
    for body in (b"", b"[]", b"{", b"\xff", b'{"a": "\\ud800"}', b"[" * 100_000, b'{"ref": "x"}'):
        assert await refusal(hooks, binding, body, {"x-github-event": "push"}) == "webhook_body_malformed"
    assert await hooks.settled(binding) == []


async def test_github_may_send_a_form(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload, Provider.GITHUB)
    form = {"content-type": "application/x-www-form-urlencoded", "x-github-event": "ping"}
    await hooks.send(binding, b"payload=%7B%22zen%22%3A%20%22Design%20for%20failure.%22%7D", form)
    assert await hooks.ended(binding) == [DeliveryState.PING]
    assert await refusal(hooks, binding, b"pay=1", form) == "webhook_body_malformed"


# --- once ---------------------------------------------------------------------------------------------------------


async def test_a_delivery_counts_once_by_the_providers_id_or_its_signed_body(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload, Provider.GITHUB, secret=SECRET)
    headers = {"x-github-event": "push", "x-github-delivery": "d-1", "x-hub-signature-256": f"sha256={signed(BODY)}"}
    first = (await hooks.send(binding, BODY, headers))[0]
    await hooks.settled(binding)
    without = {name: value for name, value in headers.items() if name != "x-github-delivery"}
    for again in (headers, headers | {"x-github-delivery": "d-2"}, without):  # the id is not signed
        repeated = (await hooks.send(binding, BODY, again))[0]
        assert (repeated.duplicate, repeated.delivery.id) == (True, first.delivery.id)
    other = BODY + b" "
    same_id = headers | {"x-hub-signature-256": f"sha256={signed(other)}"}
    assert (await hooks.send(binding, other, same_id))[0].duplicate
    assert await hooks.ended(binding) == [DeliveryState.SUCCEEDED]


async def test_a_registrys_events_and_a_callers_ids_count_once(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    registry = await hooks.bind(workload, Provider.REGISTRY)
    more = {"events": [*PUSHED["events"], PUSHED["events"][0] | {"id": "e-2"}]}
    assert [each.duplicate for each in await hooks.send(registry, PUSHED)] == [False]
    await hooks.settled(registry)
    assert [each.duplicate for each in await hooks.send(registry, more)] == [True, False]
    generic = await hooks.bind(workload)
    assert [(await hooks.send(generic, {"id": "b-1"}))[0].duplicate for _ in range(2)] == [False, True]
    assert len(await hooks.settled(generic)) == 1


async def test_without_an_id_an_equal_body_counts_once_while_the_first_waits(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    async with hooks.bench.locks.hold([workload.id], "restore r1"):
        first = await hooks.one(binding)
        await _begun(hooks, first)
        second = await hooks.one(binding)
        assert second.id != first.id, "the first may have looked at the registry already"
        assert (await hooks.one(binding)).id == second.id
    assert await hooks.ended(binding) == [DeliveryState.SUCCEEDED, DeliveryState.SUCCEEDED]
    assert len(await hooks.bench.deployments.list(workload.id)) == 1, "the same image is not deployed twice"


# --- applied ------------------------------------------------------------------------------------------------------


async def test_it_waits_while_a_restore_holds_the_workload_and_says_for_what(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    bench = hooks.bench
    binding = await hooks.bind(workload)
    bench.runtime.add_image("notes:2")
    before = await bench.running(workload)
    async with bench.locks.hold([workload.id], "restore r1"):
        begun = await _begun(hooks, await hooks.one(binding, {"tag": "2"}))
        async for seen in bench.operations.events(str(begun.operation_id)):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore r1"
                break
        assert await bench.running(workload) == before
    (delivery,) = await hooks.settled(binding)
    assert delivery.state is DeliveryState.SUCCEEDED
    operation = await bench.operations.get(str(delivery.operation_id))
    assert (operation.kind, operation.actor) == (OperationKind.DEPLOY, binding.actor)
    assert f"asked for by the webhook {binding.id} (generic: request 2)" in operation.log[0].message
    assert (await bench.newest(workload)).reason is DeployReason.WEBHOOK
    assert (await bench.reload(workload)).spec.image == "notes:2"


async def test_while_the_engine_does_not_answer_it_waits_and_does_not_fail(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    hooks.bench.runtime.fail(times=3)
    await hooks.one(binding)
    assert await hooks.ended(binding) == [DeliveryState.SUCCEEDED]


async def test_of_those_that_wait_the_newest_that_asks_for_the_same_is_applied(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding, other = await hooks.bind(workload), await hooks.bind(workload)
    for tag in ("2", "3"):
        hooks.bench.runtime.add_image(f"notes:{tag}")
    async with hooks.bench.locks.hold([workload.id], "restore r1"):
        await _begun(hooks, await hooks.one(binding))
        for tag in ("2", "3", "2"):
            await hooks.one(binding, {"tag": tag, "id": new_id()})
        newest = await hooks.one(other, {"tag": "2"})
    succeeded, superseded = DeliveryState.SUCCEEDED, DeliveryState.SUPERSEDED
    assert await hooks.ended(binding) == [succeeded, superseded, succeeded, superseded]
    assert await hooks.ended(other) == [succeeded]
    superseded_by = (await hooks.settled(binding))[1].why
    assert superseded_by is not None
    assert (superseded_by.code, superseded_by.values) == ("hook_superseded", {"delivery": newest.id})
    deployed = [each.spec.image for each in await hooks.bench.deployments.list(workload.id)]
    assert deployed == ["notes:2", "notes:3", "notes:1"]


async def test_what_fails_is_recorded_with_why_and_holds_up_nothing(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    await hooks.one(binding, {"tag": "none"})
    await hooks.settled(binding)
    await hooks.one(binding)
    failed, good = await hooks.settled(binding)
    assert (failed.state, codes([failed])) == (DeliveryState.FAILED, ["image_not_in_registry"])
    assert str(failed.why)
    assert good.state is DeliveryState.SUCCEEDED
    hooks.bench.undecided.add(workload.id)
    await hooks.one(binding, {"id": "now"})
    assert codes(await hooks.settled(binding))[-1] == "restore_undecided"


async def test_who_asks_for_what_is_not_allowed_is_told_and_it_is_recorded(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    with pytest.raises(Refused) as caught:
        await hooks.one(binding, {"image": "evil.example/notes:1"})
    assert caught.value.code == "webhook_not_applied"
    assert await hooks.ended(binding) == [DeliveryState.IGNORED]
    assert await hooks.bench.deployments.list(workload.id, limit=2) == (await hooks.bench.newest(workload),)


async def test_nothing_is_ignored_by_what_the_workload_ran_a_moment_ago(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    hooks.bench.runtime.add_image("notes:2")
    binding = await hooks.bind(workload, Provider.REGISTRY)
    pushed = {"events": [PUSHED["events"][0] | {"target": {"repository": "library/notes", "tag": "2"}}]}
    assert (await hooks.one(binding, pushed)).state is DeliveryState.IGNORED
    await hooks.bench.workloads.update_spec(workload.id, dataclasses.replace(workload.spec, image="notes:2"), "ann")
    pushed["events"][0]["id"] = "e-2"
    assert (await hooks.one(binding, pushed)).state is DeliveryState.WAITING
    assert (await hooks.ended(binding))[-1] is DeliveryState.SUCCEEDED


async def test_a_promotion_by_webhook(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    bench = hooks.bench
    bench.runtime.add_remote_image("registry.example/notes:main")
    staging = await bench.add(
        dataclasses.replace(STATELESS, name="staging", stage="test", image="registry.example/notes:main")
    )
    binding = await hooks.bind(workload, action=HookAction.PROMOTE, promote_from="staging")
    await hooks.one(binding)
    assert codes(await hooks.settled(binding)) == ["promotion_of_nothing"]
    assert (await bench.deploy(staging)).state is OperationState.SUCCEEDED
    await hooks.one(binding, {"id": "again"})
    assert (await hooks.ended(binding))[-1] is DeliveryState.SUCCEEDED
    assert (await bench.reload(workload)).spec.image == (await bench.newest(staging)).digest


async def test_a_delivery_is_applied_once_more_when_a_person_says_so(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    hooks.bench.undecided.add(workload.id)
    first = await hooks.one(binding, {"id": "b-1"})
    await hooks.settled(binding)
    hooks.bench.undecided.clear()
    async with hooks.bench.locks.hold([workload.id], "restore r1"):
        again = await hooks.webhooks.replay(workload.id, binding.id, first.id, actor="ann")
        with pytest.raises(Conflict) as caught:
            await hooks.webhooks.replay(workload.id, binding.id, again.id, actor="ann")
        assert caught.value.code == "delivery_not_over"
    failed, replayed = await hooks.settled(binding)
    assert (failed.state, replayed.state) == (DeliveryState.FAILED, DeliveryState.SUCCEEDED)
    assert (replayed.replay_of, replayed.actor) == (first.id, "ann")
    with pytest.raises(NotFound) as unknown:
        await hooks.webhooks.replay(workload.id, binding.id, new_id(), actor="ann")
    assert unknown.value.code == "delivery_unknown"


# --- nothing is lost ----------------------------------------------------------------------------------------------


async def test_what_a_dead_server_left_is_applied_by_the_next_one_and_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        hooks = Hooks(bench, tmp_path)
        workload = await bench.deployed(STATELESS)
        binding = await hooks.bind(workload)
        for tag in ("2", "3"):
            bench.runtime.add_image(f"notes:{tag}")
        for tag in ("2", "3"):  # answered, and the work was never begun
            assert (await hooks.one(binding, {"tag": tag})).state is DeliveryState.WAITING
        done = (await hooks.deliveries.open(workload.id))[0]
        deploy = await bench.deployer.deploy(
            workload.id, image="notes:2", actor=binding.actor, idempotency_key=f"{done.id}.0"
        )
        await bench.ended(deploy)
        runtime = bench.runtime
    async with opened(tmp_path, runtime) as bench:
        hooks = Hooks(bench, tmp_path)
        await hooks.work.start()
        assert await hooks.ended(binding) == [DeliveryState.SUCCEEDED, DeliveryState.SUCCEEDED]
        assert (await hooks.settled(binding))[0].operation_id == deploy.id, "it had been applied already"
        deployed = [each.spec.image for each in await bench.deployments.list(workload.id)]
        assert deployed == ["notes:3", "notes:2", "notes:1"]
        await hooks.work.close()


async def test_what_a_death_cut_off_is_begun_again_a_few_times_at_most(tmp_path: Path) -> None:
    runtime = None
    for server in range(ATTEMPTS + 1):
        async with opened(tmp_path, runtime) as bench:
            hooks = Hooks(bench, tmp_path)
            if runtime is None:
                workload = await bench.deployed(STATELESS)
                binding = await hooks.bind(workload)
                delivery = await hooks.one(binding)
            await bench.operations.recover_unfinished()
            if server == ATTEMPTS:
                await hooks.work.start()
                (end,) = await hooks.settled(binding)
                assert (end.state, codes([end])) == (DeliveryState.FAILED, ["interrupted"])
            else:
                async with bench.locks.hold([workload.id], "restore r1"):
                    await hooks.work.start()
                    begun = await _begun(hooks, delivery, besides=delivery.operation_id)
                    assert begun.operation_id is not None
                    delivery = begun
                    await hooks.work.close()
                    await bench.operations.close(0)  # as good as dead: the operation stays unfinished on disk
            await hooks.work.close()
            runtime = bench.runtime


async def test_at_shutdown_what_waits_stays_for_the_next_server(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        hooks = Hooks(bench, tmp_path)
        workload = await bench.deployed(STATELESS)
        binding = await hooks.bind(workload)
        await hooks.work.start()
        await bench.barrier.close(1)
        delivery = await hooks.one(binding)
        runners = [task for task in asyncio.all_tasks() if task.get_name() == f"webhooks {workload.id}"]
        async with asyncio.timeout(30):
            await asyncio.gather(*runners)
        assert [each.id for each in await hooks.deliveries.open(workload.id)] == [delivery.id]
        await hooks.work.close()


async def test_a_flood_is_bounded_and_of_what_was_taken_nothing_is_lost(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding, calm = await hooks.bind(workload), await hooks.bind(workload)
    sent = int(BURST) + 50
    async with hooks.bench.locks.hold([workload.id], "restore r1"):
        found = await asyncio.gather(*(hooks.one(binding, {"id": str(n)}) for n in range(sent)), return_exceptions=True)
        refused = [each for each in found if isinstance(each, TooMany)]
        taken = [each for each in found if isinstance(each, HookDelivery)]
        assert (len(taken), len(refused)) == (int(BURST), 50)
        assert {each.code for each in refused} == {"webhook_flood"}
        await hooks.one(calm)
        hooks.bench.clock.now += 10.5 / PER_SECOND
        more = [await hooks.one(binding, {"id": f"later {n}"}) for n in range(10)]
        assert await refusal(hooks, binding, b"", {}) == "webhook_flood"
    ended = await hooks.settled(binding)
    assert {each.id for each in ended} == {each.id for each in [*taken, *more]}
    assert {each.state for each in ended} <= {DeliveryState.SUCCEEDED, DeliveryState.SUPERSEDED}
    assert ended[-1].state is DeliveryState.SUCCEEDED
    assert await hooks.ended(calm) in ([DeliveryState.SUCCEEDED], [DeliveryState.SUPERSEDED])


async def test_only_so_many_of_a_binding_wait(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        hooks = Hooks(bench, tmp_path, most_waiting=2)
        binding = await hooks.bind(await bench.add(STATELESS))
        for n in range(2):
            await hooks.one(binding, {"id": str(n)})
        assert await refusal(hooks, binding, b"", {}) == "webhook_flood"


async def test_of_those_that_arrive_together_only_so_many_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        hooks = Hooks(bench, tmp_path, most_waiting=2)
        binding = await hooks.bind(await bench.add(STATELESS))
        answers = await asyncio.gather(*(hooks.one(binding, {"id": str(n)}) for n in range(4)), return_exceptions=True)
        assert sum(isinstance(answer, TooMany) for answer in answers) == 2
        assert len(await hooks.deliveries.list(binding.id, limit=10)) == 2


async def test_of_those_that_arrive_together_one_reads_what_they_came_through(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        hooks = Hooks(bench, tmp_path)
        binding = await hooks.bind(await bench.add(STATELESS))
        await asyncio.gather(*(hooks.one(binding, {"id": str(n)}) for n in range(4)))
        assert hooks.bindings.reads == 1


async def test_what_is_to_be_applied_once_more_is_kept_or_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        hooks = Hooks(bench, tmp_path, most_waiting=1)
        workload = await bench.add(STATELESS)
        binding = await hooks.bind(workload)
        ended = await hooks.one(binding, {"id": "1"})
        await hooks.deliveries.end([ended.id], DeliveryState.SUCCEEDED)
        await hooks.one(binding, {"id": "2"})
        with pytest.raises(TooMany) as caught:
            await hooks.webhooks.replay(workload.id, binding.id, ended.id, actor="ann")
        assert caught.value.code == "webhook_flood"
        assert len(await hooks.deliveries.list(binding.id, limit=10)) == 2


async def test_why_a_delivery_ended_is_kept_also_where_a_code_is_all_there_is(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    kept = {
        "1": Told("", code="cancelled"),
        "2": told("hook_superseded", "the delivery {delivery} asks for the same", delivery="1"),
        "3": None,
    }
    event = HookEvent(name="push", happening=Happening.OTHER)
    made = [
        HookDelivery(
            id=number,
            binding_id=binding.id,
            workload_id=workload.id,
            key=None,
            digest="",
            event=event,
            state=DeliveryState.FAILED,
            received_at="",
            why=why,
        )
        for number, why in kept.items()
    ]
    await hooks.deliveries.keep([Arrival(delivery=each, same_body=SameBody.NEVER) for each in made], [binding.id])
    assert {each.id: each.why for each in await hooks.deliveries.list(binding.id, limit=10)} == kept


async def test_the_oldest_deliveries_go_that_are_too_many(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    binding = await hooks.bind(workload)
    event = HookEvent(name="push", happening=Happening.OTHER)
    made = []
    for state, count in ((DeliveryState.IGNORED, KEPT_IGNORED), (DeliveryState.SUCCEEDED, KEPT)):
        for number in range(count + 3):
            fields: dict[str, Any] = {"binding_id": binding.id, "workload_id": workload.id, "event": event}
            named: dict[str, Any] = {"id": f"{state}-{number:06}", "key": None, "digest": "", "received_at": ""}
            made.append(Arrival(delivery=HookDelivery(state=state, **fields, **named), same_body=SameBody.NEVER))
    await hooks.deliveries.keep(made, [binding.id])
    left = await hooks.deliveries.list(binding.id, limit=5000)
    assert len(left) == KEPT + KEPT_IGNORED
    assert not any(each.id.endswith("-000002") for each in left)


# --- bindings -----------------------------------------------------------------------------------------------------


async def test_bindings_are_checked_bounded_and_go_with_their_workload(both: tuple[Hooks, Workload]) -> None:
    hooks, workload = both
    with pytest.raises(Refused) as caught:
        await hooks.bind(workload, Provider.REGISTRY, branch="main")
    assert caught.value.code == "webhook_settings_invalid"
    with pytest.raises(NotFound):
        await hooks.bind(workload, action=HookAction.PROMOTE, promote_from="nobody")
    bound = [await hooks.bind(workload) for _ in range(MOST_BINDINGS)]
    with pytest.raises(Conflict) as many:
        await hooks.bind(workload)
    assert many.value.code == "webhooks_too_many"
    assert len(await hooks.webhooks.list(workload.id)) == MOST_BINDINGS
    await hooks.bench.workloads.delete(workload.id)
    with pytest.raises(NotFound):
        await hooks.send(bound[0])


async def _begun(hooks: Hooks, delivery: HookDelivery, *, besides: str | None = None) -> HookDelivery:
    """A delivery once its operation was begun, another one than ``besides``."""
    async with asyncio.timeout(30):
        while True:
            found = await hooks.deliveries.get(delivery.id)
            assert found is not None
            if found.operation_id not in (None, besides):
                return found
            await asyncio.sleep(0.01)
