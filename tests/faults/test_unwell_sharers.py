"""Who shares a volume and was no better before takes no restore back; who was, does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest_asyncio
from tests.faults.test_review_findings import engine, running_of

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.operation import Operation
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import Workload
from holdfast.runtime.port import LABEL_WORKLOAD, ContainerState
from holdfast.services.restore_registry import Decision
from holdfast.testing.crash import QuickClock
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.installation import deployed, ended, installation, restore, snapshotted, spec_of, succeeded
from holdfast.testing.quick_workers import QuickWorkers


@dataclass(kw_only=True)
class Pair:
    """The notes, and a shelf that runs only where the volume that both share has the file ``good``.

    Attributes:
        with_good, without: snapshots of the notes.
    """

    holdfast: Holdfast
    notes: Workload
    shelf: Workload
    media: Path
    with_good: str
    without: str

    def crash_shelf(self) -> None:
        """From now on it ends at each start, and the engine starts it again and again."""
        (self.media / "good").unlink(missing_ok=True)
        fake = engine(self.holdfast).engine
        (container,) = (c for c in fake.state.containers.values() if c.spec.labels[LABEL_WORKLOAD] == self.shelf.id)
        fake.stop(container, 1.0)
        fake.start(container)
        assert container.state is ContainerState.RESTARTING
        fake.save()

    async def stop_notes(self) -> None:
        await succeeded(self.holdfast, await self.holdfast.api.deployer.stop(self.notes.id, actor="test"))

    async def restored(self, snapshot: str, on_unhealthy: OnUnhealthy | None = None) -> Operation:
        """Restore the notes' snapshot, in which the volume that both share also has a file ``taken``."""
        operation = await restore(self.holdfast, self.notes, snapshot, on_unhealthy=on_unhealthy)
        end = await ended(self.holdfast, operation)
        await self.holdfast.reaper.idle()
        return end

    async def undone(self) -> Operation:
        target = await self.holdfast.api.restores.undo_target(self.notes.id)
        assert target is not None
        undo = await self.holdfast.api.restores.undo(self.notes.id, confirm=target.id, dry_run=False, actor="test")
        return await ended(self.holdfast, undo)

    @property
    def holds(self) -> set[str]:
        return {path.name for path in self.media.iterdir()}


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    place = replace(installation(tmp_path), seams=Seams(workers=QuickWorkers, clock=QuickClock()))
    place.fake_engine().add_image("shelf:1", Behaviour(requires={"/media/good": None}))
    (media := place.volumes / "@home/media").mkdir(parents=True)
    async with place.running() as holdfast:
        notes = await deployed(holdfast)
        (media / "taken").touch()
        without = await snapshotted(holdfast, notes)
        (media / "good").touch()
        shelf = await deployed(holdfast, spec_of("shelf", image="shelf:1"))
        with_good = await snapshotted(holdfast, notes)
        (media / "taken").unlink()
        yield Pair(holdfast=holdfast, notes=notes, shelf=shelf, media=media, with_good=with_good, without=without)


def told(end: Operation) -> str:
    assert end.error is not None
    return str(end.error["message"])


async def test_who_crashed_before_the_restore_as_well_takes_nothing_back(pair: Pair) -> None:
    pair.crash_shelf()
    plan = (await ended(pair.holdfast, await restore(pair.holdfast, pair.notes, pair.without, dry_run=True))).outcome
    assert plan["on_unhealthy"] == "revert"
    assert "shelf shares a volume, and is not healthy now" in str(plan["warnings"])
    end = await pair.restored(pair.without)
    assert end.outcome["result"] == "restored_unhealthy"
    assert "shelf, which shares a volume, is not healthy on it, and was not before" in told(end)
    assert pair.holds == {"taken"}
    assert len(running_of(engine(pair.holdfast), pair.notes)) == 1

    end = await pair.restored(pair.with_good)
    assert (end.error, end.outcome["result"]) == (None, "restored"), "the shelf is well on that"
    assert pair.holds == {"taken", "good"}

    pair.crash_shelf()
    end = await pair.restored(pair.without, OnUnhealthy.REVERT)
    assert end.outcome["result"] == "reverted_unhealthy", "whoever asks for the way back gets it"


async def test_beside_one_that_is_stopped_who_was_well_takes_the_data_back_and_who_crashed_before_does_not(
    pair: Pair,
) -> None:
    await pair.stop_notes()
    end = await pair.restored(pair.without)
    assert end.outcome["result"] == "reverted"
    assert pair.holds == {"good"}
    assert len(running_of(engine(pair.holdfast), pair.shelf)) == 1
    release = await pair.holdfast.api.restores.decide(pair.notes.id, Decision.RELEASE, confirm=None, actor="test")
    await succeeded(pair.holdfast, release)

    pair.crash_shelf()
    await pair.restored(pair.without)
    pair.crash_shelf()
    end = await pair.undone()
    assert end.outcome["result"] == "restored_unhealthy"
    assert pair.holds == set()
