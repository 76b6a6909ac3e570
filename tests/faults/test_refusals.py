"""What the API refuses: with a stable code and a next step, and with nothing whatever changed by it.

Each refusal is followed by an ordinary restore, which must work: nothing stays claimed, locked or lying about.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, patch

import pytest
import pytest_asyncio
from tests.faults.refusal_bench import PATIENCE, Bench, assert_told, bench_on, held_up, tmpfs, wear

from holdfast.domain.ids import new_id
from holdfast.domain.workload import RestartPolicy, Scope, Volume
from holdfast.runtime.port import Bind, ContainerSpec
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.hostile_archives import hostile_archives
from holdfast.testing.installation import TWO_VOLUMES, installation, spec_of
from holdfast.testing.raw_tar import FILE, archive, volumes

UNKNOWN = "01k0000000000000000000000"
Fault = Callable[[Bench], AbstractContextManager[None]]


# Who makes a mount namespace of its own copies all mounts of that moment, and then has mounted what a test here binds.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("mount namespaces")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_on(installation(tmp_path_factory.mktemp("refusing"))) as bench:
        yield bench


@pytest.fixture
def bench(standing: Bench) -> Bench:
    """One installation for all: each test also shows that the refusals before it left nothing behind."""
    wear(standing)
    return standing


async def test_what_is_not_there_is_unknown_and_what_is_not_confirmed_is_not_done(bench: Bench) -> None:
    before = bench.facts()
    unknown = bench.snapshot_id[:-1] + ("0" if bench.snapshot_id[-1] != "0" else "1")
    other = bench.restore_path.replace("/notes/", "/nobody/")
    absent = bench.restore_path.replace(bench.snapshot_id, unknown)
    await bench.refuses(404, "workload_unknown", await bench.post(other, confirm=bench.snapshot_id), before)
    await bench.refuses(404, "snapshot_unknown", await bench.post(absent, confirm=unknown), before)
    await bench.refuses(428, "confirmation_missing", await bench.post(bench.restore_path), before)
    await bench.refuses(422, "confirmation_mismatch", await bench.post(bench.restore_path, confirm=unknown), before)
    await bench.refuses(422, "volume_unknown", await bench.ask({"volumes": ["/nowhere"]}), before)
    await bench.refuses(400, "request_malformed", await bench.ask({"volumes": []}), before)
    nothing = await bench.post("/api/workloads/notes/restore-decision", {"choice": "keep"})
    await bench.refuses(404, "nothing_to_decide", nothing, before)
    await bench.still_works()


@contextmanager
def volume_gone(bench: Bench) -> Iterator[None]:
    away = bench.volumes[0].with_name("away")
    bench.volumes[0].rename(away)
    yield
    away.rename(bench.volumes[0])


@contextmanager
def another_directory(bench: Bench) -> Iterator[None]:
    with volume_gone(bench):
        bench.volumes[0].mkdir()
        (bench.volumes[0] / "stranger").write_text("not ours")
        yield
        (bench.volumes[0] / "stranger").unlink()
        bench.volumes[0].rmdir()


@contextmanager
def a_symlink(bench: Bench) -> Iterator[None]:
    with volume_gone(bench):
        bench.volumes[0].symlink_to("away")
        yield
        bench.volumes[0].unlink()


@contextmanager
def a_symlink_above(bench: Bench) -> Iterator[None]:
    parent = bench.volumes[0].parent
    away = parent.with_name("away")
    parent.rename(away)
    parent.symlink_to("away")
    yield
    parent.unlink()
    away.rename(parent)


@contextmanager
def a_file(bench: Bench) -> Iterator[None]:
    with volume_gone(bench):
        bench.volumes[0].write_text("not a directory")
        yield
        bench.volumes[0].unlink()


@contextmanager
def a_mount_at(bench: Bench) -> Iterator[None]:
    with tmpfs(bench.volumes[0]):
        yield


@contextmanager
def a_mount_below(bench: Bench) -> Iterator[None]:
    with tmpfs(bench.volumes[1] / "below"):
        yield


@contextmanager
def image_gone(bench: Bench) -> Iterator[None]:
    with patch.object(bench.runtime, "image", AsyncMock(return_value=None)):
        yield


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (volume_gone, "volume_missing"),
        (another_directory, "volume_replaced"),
        (a_symlink, "volume_is_symlink"),
        (a_symlink_above, "volume_is_symlink"),
        (a_file, "volume_not_directory"),
        (a_mount_at, "volume_replaced"),
        (a_mount_below, "mount_in_volume"),
        (image_gone, "image_missing"),
    ],
)
async def test_a_volume_or_image_that_is_not_as_it_must_be_refuses_the_restore(
    bench: Bench, fault: Fault, code: str
) -> None:
    with fault(bench):
        before = bench.facts()
        await bench.refuses(422, code, await bench.ask(), before)
        await bench.refuses(422, code, await bench.ask({"dry_run": True}), before)
    assert bench.trees() == bench.worn
    await bench.still_works()


@contextmanager
def bound(source: Path, at: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", str(source), str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)
        until_nowhere(at)


def until_nowhere(mounted: Path) -> None:
    """Wait for the processes of other tests that took a copy of a mount along into a namespace of their own."""
    until = time.monotonic() + PATIENCE
    while holding := [each for each in Path("/proc").glob("[0-9]*/mountinfo") if f" {mounted} " in mounts_of(each)]:
        assert time.monotonic() < until, holding
        time.sleep(0.05)


def mounts_of(mountinfo: Path) -> str:
    """The mounts that a process sees; none of one that is gone."""
    try:
        return mountinfo.read_text()
    except OSError:
        return ""


async def test_a_directory_in_a_volume_that_is_mounted_elsewhere_too_refuses_the_restore(
    bench: Bench, tmp_path: Path
) -> None:
    """That mount would go on to show the displaced data, and be empty once that is removed."""
    inside = next(path for path in sorted(bench.volumes[1].rglob("*")) if path.is_dir() and not path.is_symlink())
    with bound(inside, tmp_path):
        await bench.refuses(422, "volume_mounted_elsewhere", await bench.ask(), bench.facts())
    await bench.still_works()


async def test_two_volumes_that_are_one_directory_refuse_the_restore(bench: Bench) -> None:
    with bound(bench.volumes[0], bench.volumes[1]):
        answer = await bench.ask({"accept_replaced": True})
        await bench.refuses(422, "volume_mounted_elsewhere", answer, bench.facts())
    await bench.still_works()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (Volume(target="/media", scope=Scope.STAGE, source="media"), "volume_rescoped"),
        (None, "volume_not_configured"),
        (Volume(target="/elsewhere", scope=Scope.PROJECT, source="media"), "volume_not_configured"),
    ],
    ids=["rescoped", "no longer configured", "at another target"],
)
async def test_a_volume_that_is_configured_otherwise_than_captured_refuses_the_restore(
    bench: Bench, changed: Volume | None, code: str
) -> None:
    configured = (TWO_VOLUMES[0], *([changed] if changed else []))
    before = bench.facts()
    await bench.holdfast.api.workloads.apply(spec_of(volumes=configured), actor="test")
    await bench.refuses(422, code, await bench.ask(), before)
    await bench.holdfast.api.workloads.apply(spec_of(), actor="test")
    await bench.still_works()


@pytest.mark.parametrize("at", ["the path", "an ancestor", "a descendant", "a link to it"])
@pytest.mark.parametrize(
    ("runs", "policy"), [(True, RestartPolicy.NO), (False, RestartPolicy.ALWAYS), (False, RestartPolicy.NO)]
)
async def test_another_container_on_the_path_refuses_if_it_runs_or_would_be_started(
    bench: Bench, tmp_path: Path, at: str, *, runs: bool, policy: RestartPolicy
) -> None:
    link = tmp_path / "link"
    link.symlink_to(bench.volumes[0])
    source = {"the path": bench.volumes[0], "an ancestor": bench.volumes[0].parent, "a link to it": link}.get(
        at, bench.volumes[0] / "below"
    )
    other = await bench.runtime.create(
        ContainerSpec(
            name="stranger",
            image="notes:1",
            binds=(Bind(source=str(source), target="/theirs", read_only=False),),
            restart=policy,
            labels={},
        )
    )
    if runs:
        await bench.runtime.start(other)
    if runs or policy is RestartPolicy.ALWAYS:
        error = await bench.refuses(422, "path_in_use", await bench.ask(), bench.facts())
        assert "stranger" in error["message"]
        await bench.runtime.remove(other, force=True)
    else:
        plan = await bench.ended(await bench.ask({"dry_run": True}))
        assert "stranger" in str(plan["outcome"]["warnings"]), plan
        await bench.runtime.remove(other)
    await bench.still_works()


@pytest.mark.parametrize(("options", "code"), [("size=1m", "no_space_bytes"), ("nr_inodes=24", "no_space_inodes")])
async def test_too_little_space_on_one_of_two_filesystems_refuses_and_names_it(
    tmp_path: Path, options: str, code: str
) -> None:
    elsewhere = tmp_path / "engine"  # an engine's own directory is no place for volumes
    elsewhere.mkdir()
    place = replace(
        installation(tmp_path),
        runtime=lambda _: FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(elsewhere)),
    )
    small = tmp_path / "srv"
    absolute = Volume(target="/media", scope=Scope.ABSOLUTE, source=str(small / "media"))
    spec = replace(spec_of(), volumes=(TWO_VOLUMES[0], absolute))
    with tmpfs(small, options):
        (small / "media").mkdir()
        (small / "media/bulk").write_bytes(os.urandom(300_000))
        for number in range(8):
            (small / f"media/{number}").touch()
        async with bench_on(place, spec, (place.volumes / "notes/data", small / "media")) as bench:
            filler = small / "filler"
            filler.mkdir()
            if code == "no_space_bytes":
                (filler / "bulk").write_bytes(os.urandom(500_000))
            before = bench.facts()
            error = await bench.refuses(202, code, await bench.ask(), before)
            assert str(small) in error["message"]
            await bench.refuses(202, code, await bench.ask({"dry_run": True}), before)
            for path in filler.iterdir():
                path.unlink()
            filler.rmdir()
            if code == "no_space_bytes":
                await bench.still_works()


async def test_a_second_restore_in_flight_is_refused_and_the_first_one_ends_well(bench: Bench) -> None:
    async with held_up(bench, "stop") as reached:
        first = await bench.ask()
        await reached()
        second = await bench.ask()
        assert second.status_code == 409
        assert second.headers["Retry-After"]
        assert_told(second.json()["error"], "restore_in_flight")
        deletion = await bench.client.delete(bench.restore_path.removesuffix("/restore"))
        assert deletion.status_code == 409
        assert_told(deletion.json()["error"], "snapshot_in_use")
        assert bench.trees() == bench.worn
    assert (await bench.ended(first))["state"] == "succeeded"
    assert bench.trees() == bench.taken
    await bench.settled()
    await bench.still_works()


@pytest.mark.parametrize("fault", ["truncated", "corrupt", "hostile", "newer"])
async def test_an_archive_that_is_not_whole_well_meant_and_known_is_not_imported(bench: Bench, fault: str) -> None:
    exported = (await bench.client.get(bench.restore_path.replace("/restore", "/archive"))).content
    middle = len(exported) // 2
    hostile = next(one for one in hostile_archives() if one.code == "archive_path_escapes")
    content, code = {
        "truncated": (exported[:middle], "archive_truncated"),
        "corrupt": (exported[:middle] + bytes([exported[middle] ^ 0x55]) + exported[middle + 1 :], "archive_corrupt"),
        "hostile": (hostile.content, hostile.code),
        "newer": (archive(FILE, listed={"format": 99, "volumes": volumes(1)}), "archive_format_newer"),
    }[fault]
    snapshots = (await bench.client.get("/api/workloads/notes/snapshots")).json()
    before = bench.facts()
    imported = await bench.client.post(
        "/api/workloads/notes/snapshots/import", content=content, headers={"Content-Type": "application/zstd"}
    )
    await bench.refuses(202, code, imported, before)
    assert (await bench.client.get("/api/workloads/notes/snapshots")).json() == snapshots
    await bench.still_works()


async def test_an_archive_that_is_sent_again_is_imported_once(bench: Bench) -> None:
    content = (await bench.client.get(bench.restore_path.replace("/restore", "/archive"))).content
    headers = {"Content-Type": "application/zstd", "Idempotency-Key": new_id()}
    path = "/api/workloads/notes/snapshots"
    before = len((await bench.client.get(path)).json()["items"])

    sent = [bench.client.post(f"{path}/import", content=content, headers=headers) for _ in range(2)]
    once, twice = await asyncio.gather(*sent)
    assert (await bench.ended(once))["state"] == "succeeded"
    again = await bench.client.post(f"{path}/import", content=content, headers=headers)
    assert {answer.json()["id"] for answer in (once, twice, again)} == {once.json()["id"]}
    assert len((await bench.client.get(path)).json()["items"]) == before + 1
    assert list(bench.place.settings.uploads_dir.iterdir()) == [], "an upload that nobody takes doesn't stay"
    await bench.still_works()


async def test_a_safety_snapshot_is_pinned_until_a_person_releases_it(bench: Bench) -> None:
    safety = (await bench.restored())["outcome"]["safety_snapshot_id"]
    path = f"/api/workloads/notes/snapshots/{safety}"
    await bench.refuses(409, "snapshot_pinned", await bench.client.delete(path), bench.facts())
    assert (await bench.client.patch(path, json={"pinned": False})).status_code == 200
    assert (await bench.client.delete(path)).status_code == 204
    assert (await bench.client.get(path)).status_code == 404
    await bench.still_works()
