"""A backup is brought back while the server runs: refused where it would tear something, else by the next start."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.config import Settings
from holdfast.domain.accounts import Role
from holdfast.domain.backup import BackupReason
from holdfast.domain.deployment import DeploymentState
from holdfast.domain.errors import Busy, ConfirmationMissing, Conflict, HoldfastError, NotFound, Refused, Unavailable
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.engine.backup_file import read_facts, write_backup
from holdfast.services.operations import OperationContext
from holdfast.services.reconcile import Reconciled
from holdfast.testing.installation import Installation, deployed, ended, installation, snapshotted, spec_of, succeeded
from holdfast.testing.quick_workers import QuickWorkers

PASSPHRASE = "correct horse battery"
PASSWORD = "staple correct horse"


class Tight(Installation):
    """One that has to leave more free than any disk has."""

    @property
    def settings(self) -> Settings:
        return replace(super().settings, disk_reserve_bytes=1 << 60)


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return replace(installation(tmp_path), seams=Seams(workers=QuickWorkers, backup_cost=2))


@asynccontextmanager
async def serving(here: Installation) -> AsyncIterator[Holdfast]:
    async with here.running() as holdfast:
        await holdfast.api.backups.set_passphrase(PASSPHRASE)
        yield holdfast


async def backed_up(holdfast: Holdfast) -> str:
    return str((await succeeded(holdfast, await holdfast.api.backups.create(actor="test"))).outcome["backup_id"])


async def asked(holdfast: Holdfast, backup_id: str, passphrase: str | None = None) -> Operation:
    """What the next start carries out."""
    operation = await holdfast.api.backup_restores.restore(
        backup_id, confirm=backup_id, passphrase=passphrase, actor="ann"
    )
    await holdfast.restart.wait()
    left = await holdfast.operations.wait(operation.id)
    assert left.state is OperationState.RUNNING
    return left


async def told(holdfast: Holdfast) -> dict[str, Reconciled]:
    """What differs, once the look that the engine's coming brought about is over."""
    while True:
        found = await holdfast.reconciler.run()
        if not any(each.skipped for each in found):
            return {each.workload: each for each in found}
        await asyncio.sleep(0)


async def refusal(holdfast: Holdfast, backup_id: str, confirm: str | None) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        await holdfast.api.backup_restores.restore(backup_id, confirm=confirm, actor="ann")
    return caught.value


async def test_the_state_goes_back_and_what_it_took_the_place_of_is_a_backup_too(here: Installation) -> None:
    async with serving(here) as holdfast:
        notes = await deployed(holdfast)
        ann = await holdfast.api.accounts.create("ann", PASSWORD, Role.ADMIN, actor="test")
        kept, _ = await holdfast.api.tokens.create(ann, "kept", role=ann.role, lasts=None, actor="test")
        lost, about = await holdfast.api.tokens.create(ann, "lost", role=ann.role, lasts=None, actor="test")
        cookie, _, _ = await holdfast.api.sessions.sign_in("ann", PASSWORD, address="192.0.2.1", agent="")
        backup_id = await backed_up(holdfast)
        await holdfast.api.tokens.remove(about.id, of_user=None, up_to=Role.ADMIN, actor="test")
        later = await deployed(holdfast, spec_of("later"))
        safety = await snapshotted(holdfast, notes)
        await holdfast.api.snapshots.set_pinned("notes", safety, True, actor="test")
        await succeeded(holdfast, await holdfast.api.deployer.stop("notes", actor="test"))
        restored = await asked(holdfast, backup_id)
        with pytest.raises(Unavailable) as refused:
            await holdfast.api.deployer.start("notes", actor="test")
        assert refused.value.code == "draining"
    async with here.running() as holdfast:
        end = await holdfast.operations.get(restored.id)
        assert (end.state, end.outcome["backup_id"]) == (OperationState.SUCCEEDED, backup_id)
        states = {each.kind: each.state for each in (await holdfast.operations.list(limit=50)).items}
        assert states[OperationKind.BACKUP] is OperationState.SUCCEEDED, "it was under way in the backup that it made"
        with pytest.raises(NotFound):
            await holdfast.api.workloads.get("later")
        assert await holdfast.api.tokens.verify(kept) is not None
        assert await holdfast.api.tokens.verify(lost) is None, "it was ended since"
        assert await holdfast.api.sessions.verify(cookie) is None
        assert (await holdfast.api.snapshots.get("notes", safety)).pinned
        found = (await told(holdfast))[later.id]
        assert [difference.code for difference in found.differences] == ["workload_gone"]
        lines = [line.entry async for line in await holdfast.api.audit.export()]
        (line,) = [entry for entry in lines if entry.action == "restore_backup_ended"]
        assert line.subject["audit_head_before"] == end.outcome["audit_head_before"]
        before = str(end.outcome["safety_backup_id"])
        (safety_backup,) = [each for each in (await holdfast.api.backups.list()).backups if each.id == before]
        assert (safety_backup.reason, safety_backup.audit_head) == (
            BackupReason.SAFETY,
            end.outcome["audit_head_before"],
        )
        assert not here.settings.state_restore_dir.exists()
        await asked(holdfast, before)
    async with here.running() as holdfast:
        assert (await holdfast.api.workloads.get("later")).id == later.id


async def test_it_has_to_be_confirmed_and_to_be_of_this_holdfast_and_version(here: Installation) -> None:
    async with serving(here) as holdfast:
        backup_id = await backed_up(holdfast)
        assert isinstance(await refusal(holdfast, backup_id, None), ConfirmationMissing)
        assert (await refusal(holdfast, backup_id, "another")).code == "confirmation_mismatch"
        assert isinstance(await refusal(holdfast, "01jzzzzzzzzzzzzzzzzzzzzzz0", None), NotFound)
        with (here.settings.backups_dir / f"{backup_id}.backup").open("rb") as file:
            facts = read_facts(file)
        for number, (changed, code) in enumerate(
            (
                ({"installation": "01jzzzzzzzzzzzzzzzzzzzzzz9"}, "backup_of_another"),
                ({"schema": "9999"}, "backup_schema_newer"),
            )
        ):
            other = f"01jzzzzzzzzzzzzzzzzzzzzzz{number}"
            with (here.settings.backups_dir / f"{other}.backup").open("wb") as out:
                write_backup(out, msgspec.structs.replace(facts, id=other, **changed), {}, PASSPHRASE)
            error = await refusal(holdfast, other, other)
            assert (type(error), error.code) == (Refused, code)
        assert not holdfast.restart.is_set()


async def test_one_that_does_not_open_or_was_changed_leaves_all_as_it_was(here: Installation) -> None:
    async with serving(here) as holdfast:
        backup_id = await backed_up(holdfast)
        path = here.settings.backups_dir / f"{backup_id}.backup"
        for passphrase, change, code in (
            ("another passphrase", False, "backup_not_opened"),
            (None, True, "backup_damaged"),
        ):
            if change:
                content = path.read_bytes()
                path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            operation = await holdfast.api.backup_restores.restore(
                backup_id, confirm=backup_id, passphrase=passphrase, actor="ann"
            )
            end = await ended(holdfast, operation)
            assert (end.state, (end.error or {})["code"]) in {
                (OperationState.FAILED, code),
                (OperationState.FAILED, "backup_not_opened"),
            }
        assert not here.settings.state_restore_dir.exists()
        await deployed(holdfast)


async def test_a_disk_without_room_keeps_its_reserve_and_nothing_is_left_of_it(here: Installation) -> None:
    async with serving(here) as holdfast:
        backup_id = await backed_up(holdfast)
    async with Tight(directory=here.directory, runtime=here.runtime, seams=here.seams).running() as holdfast:
        operation = await holdfast.api.backup_restores.restore(backup_id, confirm=backup_id, actor="ann")
        end = await ended(holdfast, operation)
        assert (end.state, (end.error or {})["code"]) == (OperationState.FAILED, "disk_reserve_reached")
        assert not here.settings.state_restore_dir.exists()
        assert not holdfast.restart.is_set()


async def test_it_is_refused_while_another_or_anything_else_is_under_way(here: Installation) -> None:
    async with serving(here) as holdfast:
        backup_id = await backed_up(holdfast)
        go_on = asyncio.Event()

        async def run(ctx: OperationContext) -> None:
            await go_on.wait()

        other = await holdfast.operations.start(OperationKind.PRUNE, None, "test", run)
        error = await refusal(holdfast, backup_id, backup_id)
        assert (type(error), error.code) == (Conflict, "operations_running")
        assert other.id in error.message
        go_on.set()
        await succeeded(holdfast, other)
        left = here.settings.holds_dir / "01jzzzzzzzzzzzzzzzzzzzzzz0.json"
        left.write_text("{}")
        assert (await refusal(holdfast, backup_id, backup_id)).code == "restores_unfinished"
        left.unlink()
        answers = await asyncio.gather(
            *(holdfast.api.backup_restores.restore(backup_id, confirm=backup_id, actor="ann") for _ in range(2)),
            return_exceptions=True,
        )
        (refused,) = [answer for answer in answers if not isinstance(answer, Operation)]
        assert isinstance(refused, Busy)
        assert refused.code == "state_restore_running"
        await holdfast.restart.wait()


async def test_what_the_next_start_can_not_carry_out_is_told_and_nothing_was_changed(here: Installation) -> None:
    async with serving(here) as holdfast:
        backup_id = await backed_up(holdfast)
        await deployed(holdfast)
        restored = await asked(holdfast, backup_id)
    (here.settings.keys_dir / "backup.passphrase").unlink()
    async with here.running() as holdfast:
        end = await holdfast.operations.get(restored.id)
        assert (end.state, (end.error or {})["code"]) == (OperationState.FAILED, "backup_passphrase_not_set")
        assert (await holdfast.api.workloads.get("notes")).name == "notes"
        assert not here.settings.state_restore_dir.exists()


async def test_a_version_that_no_record_tells_of_is_told_and_no_earlier_one_takes_its_place(here: Installation) -> None:
    async with serving(here) as holdfast:
        await deployed(holdfast)
        backup_id = await backed_up(holdfast)
        await deployed(holdfast, replace(spec_of(), env=(("NEW", "1"),)))
        await succeeded(holdfast, await holdfast.api.deployer.stop("notes", actor="test"))
        before = [container.id for container in await holdfast.runtime.containers({})]
        await asked(holdfast, backup_id)
    async with here.running() as holdfast:
        found = (await told(holdfast))["notes"]
        assert [difference.code for difference in found.differences] == ["deployment_unknown"]
        assert found.operation_id is None
        assert [container.id for container in await holdfast.runtime.containers({})] == before


async def test_a_deployment_that_was_under_way_in_the_backup_is_not_taken_back(here: Installation) -> None:
    async with serving(here) as holdfast:
        notes = await deployed(holdfast)
        later = await deployed(holdfast, replace(spec_of(), env=(("NEW", "1"),)))
        (newest,) = (await holdfast.api.deployer.deployments("notes", 1, None)).items
        await _set_state(here, newest.id, DeploymentState.RUNNING)
        backup_id = await backed_up(holdfast)
        await _set_state(here, newest.id, DeploymentState.SUCCEEDED)
        before = [container.id for container in await holdfast.runtime.containers({})]
        await asked(holdfast, backup_id)
    async with here.running() as holdfast:
        found = (await told(holdfast))["notes"]
        assert [difference.code for difference in found.differences] == ["other_version_running"]
        assert (found.taken_back, later.id) == ((), notes.id)
        assert [container.id for container in await holdfast.runtime.containers({})] == before


async def _set_state(here: Installation, deployment_id: str, state: DeploymentState) -> None:
    def write() -> None:
        with closing(sqlite3.connect(here.settings.database_file)) as database, database:
            database.execute("UPDATE deployments SET state = ? WHERE id = ?", (state.value, deployment_id))

    await asyncio.to_thread(write)


async def test_what_can_not_be_upgraded_does_not_take_the_place_of_what_there_is(here: Installation) -> None:
    async with serving(here) as holdfast:
        backup_id = await backed_up(holdfast)
        await deployed(holdfast)
        restored = await asked(holdfast, backup_id)
    staged = here.settings.state_restore_dir / "new" / "state.db"
    with closing(sqlite3.connect(staged)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")  # which it is not
    plan = here.settings.state_restore_dir / "asked.json"
    changed = json.loads(plan.read_text())
    changed["schema"] = "0001"
    changed["files"]["state.db"] = hashlib.sha256(staged.read_bytes()).hexdigest()
    plan.write_text(json.dumps(changed))
    async with here.running() as holdfast:
        end = await holdfast.operations.get(restored.id)
        assert (end.state, (end.error or {})["code"]) == (OperationState.FAILED, "upgrade_failed")
        assert (await holdfast.api.workloads.get("notes")).name == "notes"


async def test_tokens_of_who_was_shut_out_since_and_a_first_token_that_ended_are_not_good_again(
    here: Installation,
) -> None:
    async with serving(here) as holdfast:
        first, new_server = holdfast.first_token, await backed_up(holdfast)
        await holdfast.api.accounts.create("ann", PASSWORD, Role.ADMIN, actor="test")
        bob = await holdfast.api.accounts.create("bob", PASSWORD, Role.OPERATOR, actor="test")
        token, _ = await holdfast.api.tokens.create(bob, "laptop", role=bob.role, lasts=None, actor="test")
        with_bob = await backed_up(holdfast)
        await holdfast.api.accounts.change("bob", disabled=True, actor="test")
        await asked(holdfast, with_bob)
    async with here.running() as holdfast:
        assert await holdfast.api.tokens.verify(token) is None
        await asked(holdfast, new_server)
    async with here.running() as holdfast:
        assert first is not None
        assert await holdfast.api.tokens.verify(first) is None
        assert holdfast.first_token not in (None, first), "somebody has to get in, and is told how on the host"
