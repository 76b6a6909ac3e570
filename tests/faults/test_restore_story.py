"""A restore from end to end on real files, with an engine that behaves as told."""

from __future__ import annotations

from pathlib import Path

from holdfast.domain.operation import Operation
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import deployed, installation, restore, snapshotted, succeeded
from holdfast.testing.trees import build_sample_tree, describe_tree


async def test_a_workload_that_is_made_again_under_its_old_name_finds_its_data_and_snapshots(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        (place.volumes / "notes/data/kept").write_text("kept")
        snapshot = await snapshotted(holdfast, workload)
        deletion = await holdfast.api.workloads.delete("notes", delete_data=False, actor="test")
        await succeeded(holdfast, deletion)

        again = await deployed(holdfast)
        assert (place.volumes / "notes/data/kept").read_text() == "kept"
        assert (await holdfast.api.snapshots.get("notes", snapshot)).id == snapshot
        (place.volumes / "notes/data/kept").write_text("changed")
        await succeeded(holdfast, await restore(holdfast, again, snapshot))
        assert (place.volumes / "notes/data/kept").read_text() == "kept"


async def test_a_restore_brings_both_volumes_back_exactly_and_an_undo_takes_that_back(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        data, media = place.volumes / "notes/data", place.volumes / "@home/media"
        build_sample_tree(data)
        build_sample_tree(media)
        before = describe_tree(data), describe_tree(media)
        snapshot = await snapshotted(holdfast, workload)
        (data / "new").write_text("written after the snapshot")
        (media / "new").write_text("written after the snapshot")
        damaged = describe_tree(data), describe_tree(media)

        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert end.outcome["result"] == "restored"
        assert (describe_tree(data), describe_tree(media)) == before

        target = await holdfast.api.restores.undo_target("notes")
        assert target is not None
        assert target.pinned

        async def undone(confirm: str) -> Operation:
            return await holdfast.api.restores.undo(
                "notes", confirm=confirm, dry_run=False, actor="test", idempotency_key="once"
            )

        undo = await undone(target.id)
        await succeeded(holdfast, undo)
        again = await undone(target.id)
        assert again.id == undo.id, "asked once more, as a lost answer has it, nothing is undone twice"
        assert (describe_tree(data), describe_tree(media)) == damaged

        kept = await holdfast.api.snapshots.safety_kept("notes")
        assert (kept.count, kept.oldest_id) == (2, target.id)
        page = await holdfast.api.snapshots.list("notes", limit=10, cursor=None)
        assert kept.stored_bytes == sum(s.manifest.stored_bytes for s in page.items if s.safety_for is not None)
        await holdfast.api.snapshots.set_pinned("notes", target.id, pinned=False, actor="test")
        assert (await holdfast.api.snapshots.safety_kept("notes")).count == 1
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_the_images_that_a_restore_will_run_are_kept_by_name_until_it_is_over(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        restore_id = str(end.outcome["restore_id"])
        runtime = holdfast.runtime
        assert isinstance(runtime, FakeRuntime)
        given = [call.subject for call in runtime.calls if call.name == "tag"]
        taken = [call.subject for call in runtime.calls if call.name == "untag"]
        assert any(restore_id in subject for subject in taken)
        assert len(given) >= 3, "of the deployment, of the restore, and of its redeploy"
