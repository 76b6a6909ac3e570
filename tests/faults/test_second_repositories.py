"""Second repositories from end to end: copied to a directory and to object storage, restored straight from there.

The S3 server is moto's, behind a proxy that misbehaves on order.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.errors import Busy, Conflict, Failed, HoldfastError, NotFound, Refused, Unavailable
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.domain.workload import Workload
from holdfast.engine.fs import Fs
from holdfast.engine.repository.s3 import S3Location, s3_blobs
from holdfast.services.repositories import Repositories
from holdfast.services.workers import Workers
from holdfast.store.database import Database
from holdfast.store.repositories import RepositoryNames
from holdfast.testing.faulty_http import Answer, FaultyProxy, Hold, Refuse, Strip
from holdfast.testing.installation import (
    Installation,
    deployed,
    ended,
    installation,
    snapshotted,
    succeeded,
    undone,
)
from holdfast.testing.quick_workers import QuickWorkers, ThreadWorker
from holdfast.testing.s3_server import S3Server
from holdfast.testing.trees import describe_tree

SECRET = "wJalrXUtnFEMI-hush"
SOME = bytes(range(256)) * 40
DENIED = Answer(403, b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>")


def quick(directory: Path) -> Installation:
    directory.mkdir()
    return replace(installation(directory), seams=Seams(workers=QuickWorkers))


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return quick(tmp_path / "here")


def data_of(here: Installation) -> Path:
    (path,) = here.volumes.glob("*/data")  # nothing of what is being removed beside it
    return path


def fill(here: Installation, **files: bytes) -> None:
    for name, content in files.items():
        (data_of(here) / name).write_bytes(content)


def lose_packs(repository: Path) -> None:
    for pack in (repository / "packs").iterdir():
        pack.unlink()


async def add_directory(
    holdfast: Holdfast, path: Path, name: str = "disk", *, encrypt: bool = True, take_over: bool = False
) -> None:
    place = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(path))
    await holdfast.api.repositories.add(name, place, "", encrypt=encrypt, take_over=take_over)


async def copy(
    holdfast: Holdfast, workload: Workload, snapshot_id: str | None = None, to: str = "disk", rate: int | None = None
) -> Operation:
    return await holdfast.api.copies.copy(
        to, workload=workload.name, snapshot_id=snapshot_id, limit_rate=rate, actor="test"
    )


async def restore_from(
    holdfast: Holdfast,
    workload: Workload,
    snapshot_id: str,
    name: str = "disk",
    *,
    paths: tuple[bytes, ...] = (),
    dry_run: bool = False,
) -> Operation:
    return await holdfast.api.restores.restore(
        workload.id,
        snapshot_id,
        confirm=snapshot_id,
        volumes=None,
        paths=paths,
        on_unhealthy=None,
        with_image=False,
        repository=name,
        dry_run=dry_run,
        actor="test",
    )


class Bucket:
    """A bucket behind a proxy."""

    def __init__(self, server: S3Server, proxy: FaultyProxy) -> None:
        self._endpoint, self.proxy = server.endpoint, proxy
        self.name = f"bucket-{new_id()}"
        server.make_bucket(self.name)

    def put(self, directory: Path, pattern: str, prefix: str = "some/where") -> None:
        """Store files of a directory, past whatever is tested."""
        blobs = s3_blobs(
            S3Location(
                bucket=self.name,
                prefix=prefix,
                endpoint=self._endpoint,
                access_key_id="AKIA",
                secret_access_key=SECRET,
            )
        )
        for path in directory.glob(pattern):
            blobs.put(str(path.relative_to(directory)), [path.read_bytes()])

    async def add(
        self, holdfast: Holdfast, name: str = "far", *, prefix: str = "some/where", take_over: bool = False
    ) -> None:
        place = RepositoryPlace(
            kind=RepositoryKind.S3,
            bucket=self.name,
            prefix=prefix,
            endpoint=f"http://127.0.0.1:{self.proxy.port}",
            region="us-east-1",
            access_key_id="AKIA",
        )
        await holdfast.api.repositories.add(name, place, SECRET, encrypt=False, take_over=take_over)

    def sent(self) -> int:
        """Bytes of packs that were sent since it was asked last."""
        sizes = [
            int(request.headers["content-length"])
            for request in self.proxy.requests
            if request.method == "PUT" and "/packs/" in request.path
        ]
        self.proxy.requests.clear()
        return sum(sizes)


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[Bucket]:
    with FaultyProxy(s3.port) as proxy:
        yield Bucket(s3, proxy)


# --- a directory ---------------------------------------------------------------------------------------------------


async def test_a_workload_is_restored_from_a_directory_after_the_primary_has_lost_its_data(
    here: Installation, tmp_path: Path
) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME, other=b"then")
        then = describe_tree(data_of(here))
        first = await snapshotted(holdfast, workload)
        await add_directory(holdfast, tmp_path / "second")
        end = await succeeded(holdfast, await copy(holdfast, workload))
        assert end.outcome["copied"] == [first]
        fill(here, kept=b"broken")
        now = describe_tree(data_of(here))
        lose_packs(here.settings.repository_dir)
        with pytest.raises(Refused) as caught:
            await holdfast.api.restores.restore(
                workload.id,
                first,
                confirm=first,
                volumes=None,
                on_unhealthy=None,
                with_image=False,
                dry_run=True,
                actor="test",
            )
        assert caught.value.code == "snapshot_incomplete"
        plan = await succeeded(holdfast, await restore_from(holdfast, workload, first, dry_run=True))
        assert plan.outcome["result"] == "dry_run"
        assert plan.outcome["volumes"][0]["changed"] == 1  # type: ignore[index]
        end = await succeeded(holdfast, await restore_from(holdfast, workload, first))
        assert end.outcome["result"] == "restored"
        assert describe_tree(data_of(here)) == then
        await undone(holdfast, workload)
        assert describe_tree(data_of(here)) == now


async def test_what_is_there_can_be_listed_verified_deleted_and_pruned(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        second = holdfast.api.second_snapshots
        fill(here, kept=SOME)
        first = await snapshotted(holdfast, workload)
        fill(here, more=bytes(reversed(SOME)) * 20)
        later = await snapshotted(holdfast, workload)
        await add_directory(holdfast, tmp_path / "second")
        await succeeded(holdfast, await copy(holdfast, workload))
        again = await succeeded(holdfast, await copy(holdfast, workload))
        assert (again.outcome["existed"], again.outcome["sent_bytes"]) == (2, 0)
        page = await second.list("disk", workload="notes", limit=1, cursor=None)
        assert [snapshot.id for snapshot in page.items] == [later]
        page = await second.list("disk", workload=workload.id, limit=5, cursor=page.next_cursor)
        assert [snapshot.id for snapshot in page.items] == [first]
        assert (await second.list("disk", workload="other", limit=5, cursor=None)).items == ()
        await succeeded(holdfast, await second.verify("disk", later, actor="test"))
        await succeeded(holdfast, await second.verify_all("disk", percent=100, actor="test"))
        await second.delete("disk", later)
        with pytest.raises(NotFound):
            await second.get("disk", later)
        assert (await holdfast.api.snapshots.get(workload.id, later)).id == later
        pruned = await succeeded(holdfast, await second.prune("disk", dry_run=False, actor="test"))
        assert int(str(pruned.outcome["freed_bytes"])) > 0
        facts = await holdfast.api.repositories.test("disk")
        assert (facts.snapshots, facts.packs > 0) == (1, True)
        await succeeded(holdfast, await second.verify("disk", first, actor="test"))


async def test_a_damaged_snapshot_keeps_no_other_from_being_copied(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        first = await snapshotted(holdfast, workload)
        lose_packs(here.settings.repository_dir)
        fill(here, kept=SOME * 2)
        later = await snapshotted(holdfast, workload)
        await add_directory(holdfast, tmp_path / "second")
        end = await ended(holdfast, await copy(holdfast, workload))
        assert end.error is not None
        assert end.error["code"] == "copy_incomplete"
        assert end.outcome["copied"] == [later]
        assert end.outcome["left"][0]["snapshot"] == first  # type: ignore[index]


async def test_what_is_not_whole_there_is_refused_before_anything_is_staged(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        live = describe_tree(data_of(here))
        snapshot = await snapshotted(holdfast, workload)
        await add_directory(holdfast, tmp_path / "second")
        await succeeded(holdfast, await copy(holdfast, workload))
        with pytest.raises(Refused) as chosen:
            await restore_from(holdfast, workload, snapshot, paths=(b"/data/kept",))
        assert chosen.value.code == "paths_from_second_repository"
        lose_packs(tmp_path / "second")
        for dry_run in (True, False):
            end = await ended(holdfast, await restore_from(holdfast, workload, snapshot, dry_run=dry_run))
            assert end.error is not None
            assert end.error["code"] == "snapshot_incomplete"
            assert "staging" not in [step.name for step in end.steps]
        assert describe_tree(data_of(here)) == live


# --- what is refused when one is added -------------------------------------------------------------------------------


async def test_a_place_that_is_none_is_refused_and_nothing_is_remembered(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        full = tmp_path / "full"
        full.mkdir()
        (full / "photo.jpg").write_bytes(b"x")
        link = tmp_path / "link"
        link.symlink_to(here.volumes)
        for path, code in [
            (full, "repository_not_empty"),
            (tmp_path / "no" / "such", "blob_store_missing"),
            (here.settings.repository_dir, "repository_place_unsafe"),
            (here.settings.data_dir / "copies", "repository_place_unsafe"),
            (here.directory / "srv" / "copies", "repository_place_unsafe"),
            (link / "copies", "repository_place_unsafe"),
            (Path("/"), "repository_place_unsafe"),
            (Path("relative"), "repository_path_malformed"),
        ]:
            with pytest.raises(HoldfastError) as caught:
                await add_directory(holdfast, path)
            assert caught.value.code == code, path
            assert caught.value.next_step
        for name in ("primary", "Upper", "../x", "", "a" * 64):
            with pytest.raises(HoldfastError) as caught:
                await add_directory(holdfast, tmp_path / "second", name)
            assert caught.value.code == "repository_name_malformed"
        assert await holdfast.api.repositories.list() == ()
        assert not (tmp_path / "second").exists()
        await add_directory(holdfast, tmp_path / "second")
        for name in ("disk", "again"):
            with pytest.raises(Conflict) as known:
                await add_directory(holdfast, tmp_path / "second", name)
            assert known.value.code == "repository_known"


async def test_a_disk_that_is_not_mounted_or_another_one_is_named(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        await snapshotted(holdfast, workload)
        place = tmp_path / "second"
        await add_directory(holdfast, place)

        async def told() -> str:
            end = await ended(holdfast, await copy(holdfast, workload))
            assert end.error is not None
            assert end.error["next_step"]
            return str(end.error["code"])

        place.rename(tmp_path / "away")
        assert await told() == "blob_store_missing"
        place.mkdir()
        assert await told() == "repository_missing"
        assert list(place.iterdir()) == []
        place.rmdir()
        await add_directory(holdfast, place, "other-disk")
        assert await told() == "repository_exchanged"
        shutil.rmtree(place)
        (tmp_path / "away").rename(place)
        await succeeded(holdfast, await copy(holdfast, workload))


async def test_another_key_is_refused_and_nothing_is_written(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        await add_directory(holdfast, tmp_path / "second")
    before = describe_tree(tmp_path / "second")
    there = quick(tmp_path / "there")
    async with there.running() as holdfast:
        for take_over in (False, True):
            with pytest.raises(Refused) as caught:
                await add_directory(holdfast, tmp_path / "second", take_over=take_over)
            assert caught.value.code == "repository_key_wrong"
    assert describe_tree(tmp_path / "second") == before


# --- a new machine ---------------------------------------------------------------------------------------------------


async def test_a_new_machine_takes_the_repository_over_and_the_old_one_is_refused(
    here: Installation, tmp_path: Path
) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        then = describe_tree(data_of(here))
        snapshot = await snapshotted(holdfast, workload)
        await add_directory(holdfast, tmp_path / "second")
        await succeeded(holdfast, await copy(holdfast, workload))
    there = quick(tmp_path / "there")
    keys = there.settings.keys_dir
    keys.mkdir(parents=True, mode=0o700)
    there.settings.data_dir.chmod(0o700)
    shutil.copy(here.settings.repository_key_file, keys)
    async with there.running() as holdfast:
        with pytest.raises(Conflict) as caught:
            await add_directory(holdfast, tmp_path / "second")
        assert caught.value.code == "repository_of_another"
        await add_directory(holdfast, tmp_path / "second", take_over=True)
        new = await deployed(holdfast)
        assert new.id == workload.id
        await succeeded(holdfast, await restore_from(holdfast, new, snapshot))
        assert describe_tree(data_of(there)) == then
    async with here.running() as holdfast:
        end = await ended(holdfast, await copy(holdfast, workload))
        assert end.error is not None
        assert end.error["code"] == "repository_of_another"


# --- object storage --------------------------------------------------------------------------------------------------


async def test_object_storage_gets_what_is_missing_sealed_and_gives_it_back(here: Installation, bucket: Bucket) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME, large=bytes(1000) + random_bytes(300_000))
        then = describe_tree(data_of(here))
        first = await snapshotted(holdfast, workload)
        await bucket.add(holdfast)
        assert (await holdfast.api.repositories.get("far")).encrypted
        bucket.sent()
        await succeeded(holdfast, await copy(holdfast, workload, first, "far"))
        assert bucket.sent() > 300_000
        fill(here, new=random_bytes(10_000))
        later = await snapshotted(holdfast, workload)
        await succeeded(holdfast, await copy(holdfast, workload, later, "far"))
        assert 10_000 < bucket.sent() < 20_000
        lose_packs(here.settings.repository_dir)
        await succeeded(holdfast, await restore_from(holdfast, workload, first, "far"))
        assert describe_tree(data_of(here)) == then


async def test_nothing_is_sent_to_object_storage_where_somebody_put_a_repository_that_is_not_encrypted(
    here: Installation, bucket: Bucket, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        await snapshotted(holdfast, workload)
        await add_directory(holdfast, plain, encrypt=False)
        await succeeded(holdfast, await copy(holdfast, workload))
        await holdfast.api.repositories.remove("disk")  # so that it is not known by its id

        async def refused(*, prefix: str, take_over: bool) -> str:
            with pytest.raises(Refused) as caught:
                await bucket.add(holdfast, prefix=prefix, take_over=take_over)
            return caught.value.code

        bucket.put(plain, "repository.json", "whole")
        bucket.put(plain, "*/*", "whole")
        bucket.put(plain, "manifests/*", "not-described")
        for take_over in (False, True):
            assert await refused(prefix="whole", take_over=take_over) == "repository_not_encrypted"
        assert await refused(prefix="not-described", take_over=True) == "repository_not_recognised"
        await bucket.add(holdfast)
        bucket.put(plain, "repository.json")
        bucket.sent()
        end = await ended(holdfast, await copy(holdfast, workload, to="far"))
        assert end.error is not None
        assert end.error["code"] == "repository_not_encrypted"
        assert bucket.sent() == 0


async def test_a_secret_is_sealed_and_in_plain_nowhere(
    here: Installation, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    async with here.running() as holdfast:
        await bucket.add(holdfast)
        assert SECRET not in repr(await holdfast.api.repositories.list())
        (file,) = here.settings.keys_dir.glob("*.sealed")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert SECRET not in caplog.text
        files = [path for path in here.directory.rglob("*") if path.is_file()]
        assert not any(SECRET.encode() in path.read_bytes() for path in files)
        await holdfast.api.repositories.remove("far")
        assert list(here.settings.keys_dir.glob("*.sealed")) == []
        left = here.settings.keys_dir / f"{new_id()}.sealed"
        left.write_bytes(b"of a server that died")
        left.chmod(0o600)
        await bucket.add(holdfast)  # what is stored there was not touched, and is this installation's own
    async with here.running():
        assert not left.exists()
        assert len(list(here.settings.keys_dir.glob("*.sealed"))) == 1


async def test_a_secret_that_an_earlier_version_kept_in_plain_is_sealed_at_the_next_start(
    here: Installation, bucket: Bucket
) -> None:
    async with here.running() as holdfast:
        await bucket.add(holdfast)
        (file,) = here.settings.keys_dir.glob("*.sealed")
        sealed = file.read_bytes()
    plain = file.with_suffix(".secret")
    plain.write_text(SECRET)
    plain.chmod(0o600)
    file.unlink()
    async with here.running() as holdfast:
        assert (plain.exists(), file.exists()) == (False, True)
        assert SECRET.encode() not in file.read_bytes()
        await holdfast.api.repositories.test("far")
        file.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        with pytest.raises(Failed) as caught:
            await holdfast.api.repositories.test("far")
        assert caught.value.code == "repository_secret_unreadable"
        file.write_bytes(sealed)
        here.settings.keys_dir.joinpath("sealing.key").unlink()
        with pytest.raises(Failed) as caught:
            await holdfast.api.repositories.test("far")
        assert caught.value.code == "repository_secret_unreadable"
        await holdfast.api.repositories.remove("far")
        await bucket.add(holdfast)
        await holdfast.api.repositories.test("far")


async def test_a_server_that_is_away_or_refuses_is_named_and_touches_nothing(
    here: Installation, bucket: Bucket
) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        live = describe_tree(data_of(here))
        snapshot = await snapshotted(holdfast, workload)
        bucket.proxy.order(DENIED, times=10)
        with pytest.raises(Failed) as denied:
            await bucket.add(holdfast)
        assert denied.value.code == "blob_store_access_denied"
        assert await holdfast.api.repositories.list() == ()
        assert list(here.settings.keys_dir.glob("*.sealed")) == []
        bucket.proxy.forget()
        await bucket.add(holdfast)

        bucket.proxy.order(DENIED, times=100, method="PUT", path="/packs/")
        end = await ended(holdfast, await copy(holdfast, workload, snapshot, "far"))
        assert end.error is not None
        assert end.error["code"] == "blob_store_access_denied"
        bucket.proxy.forget()
        bucket.proxy.order(Answer(503), method="PUT", path="/packs/")
        await succeeded(holdfast, await copy(holdfast, workload, snapshot, "far"))

        bucket.proxy.order(DENIED, times=100, method="GET", path="/packs/")
        shutil.rmtree(here.settings.second_dir)  # or the index would know what is there
        end = await ended(holdfast, await restore_from(holdfast, workload, snapshot, "far"))
        assert end.error is not None
        assert end.error["code"] == "blob_store_access_denied"
        bucket.proxy.forget()
        bucket.proxy.order(Refuse(), times=100)
        with pytest.raises(Unavailable) as away:
            await restore_from(holdfast, workload, snapshot, "far")
        assert away.value.code == "blob_store_unreachable"
        assert SECRET not in f"{away.value.message} {away.value.details}"
        bucket.proxy.forget()
        assert describe_tree(data_of(here)) == live
        await succeeded(holdfast, await restore_from(holdfast, workload, snapshot, "far"))


@asynccontextmanager
async def one_of_its_own(here: Installation, tmp_path: Path, *, answer_seconds: float) -> AsyncIterator[Repositories]:
    """Second repositories without a server; one of them, on a disk, is called ``disk``."""
    database = Database.at(tmp_path / "names.db")
    await database.open()
    here.settings.keys_dir.mkdir(parents=True, mode=0o700)
    here.settings.repository_key_file.write_bytes(bytes(32))
    here.settings.repository_key_file.chmod(0o600)
    repositories = Repositories(
        settings=here.settings,
        installation=new_id(),
        fs=Fs(),
        names=RepositoryNames(database),
        answer_seconds=answer_seconds,
    )
    try:
        place = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(tmp_path / "second"))
        await repositories.add("disk", place, "", encrypt=True, take_over=False)
        yield repositories
    finally:
        repositories.close()
        await database.close()


async def test_a_repository_that_does_not_answer_keeps_nothing_else_waiting(here: Installation, tmp_path: Path) -> None:
    asked, answered = threading.Event(), threading.Event()

    def answer(_: object) -> bool:
        asked.set()
        return answered.wait()

    with ThreadPoolExecutor(1) as waiting:
        async with one_of_its_own(here, tmp_path, answer_seconds=60) as repositories:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            looking = asyncio.create_task(repositories.look("disk", answer))
            await asyncio.get_running_loop().run_in_executor(waiting, asked.wait)
            try:
                assert await asyncio.wait_for(asyncio.to_thread(lambda: "at once"), 20) == "at once"
                assert not looking.done()
            finally:
                answered.set()
            assert await looking


async def test_a_repository_that_is_silent_is_given_up_and_named(here: Installation, tmp_path: Path) -> None:
    answered = threading.Event()
    async with one_of_its_own(here, tmp_path, answer_seconds=0.2) as repositories:
        try:
            with pytest.raises(Unavailable) as caught:
                await repositories.look("disk", lambda _: answered.wait())
            assert caught.value.code == "repository_silent"
            await repositories.remove("disk")  # which who has lost it wants to
        finally:
            answered.set()


async def test_storage_that_does_not_heed_conditions_is_refused(here: Installation, bucket: Bucket) -> None:
    async with here.running() as holdfast:
        bucket.proxy.order(Strip("If-None-Match"), times=2, method="PUT", path="/probe-")
        with pytest.raises(Refused) as caught:
            await bucket.add(holdfast)
        assert caught.value.code == "blob_store_unfit"
        assert await holdfast.api.repositories.list() == ()


async def test_while_a_copy_runs_its_snapshot_and_its_repository_stay_and_captures_go_on(
    here: Installation, bucket: Bucket
) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        snapshot = await snapshotted(holdfast, workload)
        await bucket.add(holdfast)
        go_on = threading.Event()
        bucket.proxy.order(Hold(go_on), method="PUT", path="/packs/")
        try:
            running = await copy(holdfast, workload, snapshot, "far")
            await until(lambda: bucket.proxy.left == 0)
            with pytest.raises(Conflict) as used:
                await holdfast.api.snapshots.delete(workload.id, snapshot, actor="test")
            assert used.value.code == "snapshot_in_use"
            with pytest.raises(Busy) as held:
                await holdfast.api.repositories.remove("far")
            assert held.value.code == "repository_in_use"
            with pytest.raises(Busy) as twice:
                await copy(holdfast, workload, snapshot, "far")
            assert twice.value.code == "copy_running"
            await snapshotted(holdfast, workload)
        finally:
            go_on.set()
        await succeeded(holdfast, running)


async def test_a_copy_can_be_cancelled_and_goes_on_later(
    here: Installation, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, cancel = asyncio.Event(), ThreadWorker.cancel

    async def noted(worker: ThreadWorker) -> None:
        await cancel(worker)
        told.set()

    monkeypatch.setattr(ThreadWorker, "cancel", noted)
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        fill(here, kept=SOME)
        snapshot = await snapshotted(holdfast, workload)
        await bucket.add(holdfast)
        go_on = threading.Event()
        bucket.proxy.order(Hold(go_on), method="PUT", path="/packs/")
        running = await copy(holdfast, workload, snapshot, "far")
        await until(lambda: bucket.proxy.left == 0)
        await holdfast.operations.cancel(running.id)
        await told.wait()
        go_on.set()
        assert (await ended(holdfast, running)).state is OperationState.CANCELLED
        assert (await holdfast.api.repositories.test("far")).snapshots == 0
        await succeeded(holdfast, await copy(holdfast, workload, snapshot, "far"))


async def test_a_copy_whose_server_ends_is_interrupted_and_the_next_one_goes_on(
    here: Installation, bucket: Bucket
) -> None:
    """With a worker process of its own, which ends with the server in the middle of a request."""
    here = replace(here, seams=Seams(workers=partial(Workers, stop_seconds=0.1)), drain_deadline=0.1)
    go_on = threading.Event()
    try:
        async with here.running() as holdfast:
            workload = await deployed(holdfast)
            fill(here, kept=SOME)
            snapshot = await snapshotted(holdfast, workload)
            await bucket.add(holdfast)
            bucket.proxy.order(Hold(go_on), method="PUT", path="/manifests/")
            running = await copy(holdfast, workload, snapshot, "far")
            await until(lambda: bucket.proxy.left == 0)
    finally:
        go_on.set()
    sent = bucket.sent()
    assert sent > 0
    async with here.running() as holdfast:
        assert (await holdfast.operations.get(running.id)).state is OperationState.INTERRUPTED
        again = await succeeded(holdfast, await copy(holdfast, workload, snapshot, "far"))
        assert (again.outcome["sent_bytes"], bucket.sent()) == (0, 0)
        await succeeded(holdfast, await holdfast.api.second_snapshots.verify("far", snapshot, actor="test"))


async def test_a_rate_that_no_request_could_keep_is_refused(here: Installation, tmp_path: Path) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        await add_directory(holdfast, tmp_path / "second")
        with pytest.raises(HoldfastError) as caught:
            await copy(holdfast, workload, rate=1000)
        assert caught.value.code == "limit_rate_invalid"


async def test_who_opens_it_anew_is_not_told_of_a_secret_that_is_gone(here: Installation, bucket: Bucket) -> None:
    async with here.running() as holdfast:
        await bucket.add(holdfast)
        (file,) = here.settings.keys_dir.glob("*.sealed")
        file.unlink()
        with pytest.raises(Failed) as caught:
            await holdfast.api.repositories.test("far")
        assert caught.value.code == "repository_secret_missing"


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - another thread's doing
            await asyncio.sleep(0.01)
