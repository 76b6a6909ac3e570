from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.domain.errors import Refused
from holdfast.domain.ids import new_id
from holdfast.domain.restore import RootRef
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, Scope, Volume, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.services.engine_volumes import EngineVolumes
from holdfast.services.volumes import VolumeResolver
from holdfast.store.database import Database
from holdfast.store.volume_states import VolumeStateStore
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.fake_records import FakeVolume
from holdfast.testing.fake_runtime import FakeRuntime

INSTALLATION = "01j00000000000000000000000"
DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
MEDIA = Volume(target="/media", scope=Scope.PROJECT, source="media")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    resolver: VolumeResolver
    runtime: FakeRuntime
    live: LiveRoots
    workloads: WorkloadStore
    states: VolumeStateStore
    base: Path
    allowed: Path

    async def add(self, *volumes: Volume, name: str = "notes", project: str = "home") -> Workload:
        workload = made(*volumes, name=name, project=project)
        await self.workloads.insert(workload)
        return workload

    async def codes(self, workload: Workload) -> list[str]:
        return [problem.code for problem in await self.resolver.check_before_start(workload)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    allowed = tmp_path / "srv"
    allowed.mkdir()
    (tmp_path / "own" / "volumes").mkdir(parents=True)
    (tmp_path / "engine/volumes").mkdir(parents=True)
    settings = Settings(data_dir=tmp_path / "own", allowed_roots=(allowed,), docker_volumes=tmp_path / "engine/volumes")
    runtime = FakeRuntime(root_dir=str(tmp_path / "engine"))
    database = Database.at(tmp_path / "state.db")
    await database.open()
    states = VolumeStateStore(database)
    late = [str(settings.docker_volumes)]
    with LiveRoots(Fs(), [str(settings.volumes_base), str(allowed)], late=late) as live:
        yield Bench(
            resolver=VolumeResolver(settings, live, states, EngineVolumes(settings, INSTALLATION, runtime, live)),
            runtime=runtime,
            live=live,
            workloads=WorkloadStore(database),
            states=states,
            base=settings.volumes_base,
            allowed=allowed,
        )
    await database.close()


def made(*volumes: Volume, name: str = "notes", project: str = "home") -> Workload:
    spec = WorkloadSpec(name=name, image="notes", project=project, volumes=volumes)
    return Workload(id=new_id(), spec=spec, desired=DesiredState.RUNNING, created_at=now(), updated_at=now())


def absolute(path: Path | str) -> Volume:
    return Volume(target="/abs", scope=Scope.ABSOLUTE, source=str(path))


class TestPlaces:
    async def test_stage_and_project_volumes_are_below_the_base(self, bench: Bench) -> None:
        spec = made().spec
        assert bench.resolver.resolve(spec, DATA) == RootRef(root=str(bench.base), relative="notes/data")
        assert bench.resolver.resolve(spec, MEDIA) == RootRef(root=str(bench.base), relative="@home/media")

    async def test_an_absolute_volume_is_below_an_allowed_root(self, bench: Bench) -> None:
        ref = bench.resolver.resolve(made().spec, absolute(bench.allowed / "a" / "b"))
        assert ref == RootRef(root=str(bench.allowed), relative="a/b")

    @pytest.mark.parametrize("path", ["/srv-elsewhere/a", "{allowed}"])
    async def test_an_absolute_volume_outside_of_the_roots_is_refused_with_the_roots(
        self, bench: Bench, path: str
    ) -> None:
        with pytest.raises(Refused) as caught:
            bench.resolver.resolve(made().spec, absolute(path.format(allowed=bench.allowed)))
        assert caught.value.code == "volume_root_not_allowed"
        assert str(bench.allowed) in caught.value.next_step

    async def test_without_allowed_roots_the_refusal_says_who_can_allow_one(self, bench: Bench, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "own")
        named = EngineVolumes(settings, INSTALLATION, bench.runtime, bench.live)
        resolver = VolumeResolver(settings, bench.live, bench.states, named)
        with pytest.raises(Refused) as caught:
            resolver.resolve(made().spec, absolute("/srv/x"))
        assert "allowed_roots" in caught.value.next_step

    async def test_the_engines_own_directory_is_forbidden_once_it_is_known(self, bench: Bench) -> None:
        volume = absolute(bench.allowed / "engine" / "volumes")
        assert bench.resolver.problems(made(volume).spec) == []
        bench.resolver.learn_engine_root(str(bench.allowed / "engine"))
        assert [problem.code for problem in bench.resolver.problems(made(volume).spec)] == ["volume_path_forbidden"]

    async def test_holdfasts_own_directory_is_forbidden(self, bench: Bench) -> None:
        problems = bench.resolver.problems(made(absolute(bench.base.parent / "journal")).spec)
        assert [problem.code for problem in problems] == ["volume_path_forbidden"]

    async def test_a_volume_in_memory_has_no_place(self, bench: Bench) -> None:
        with pytest.raises(ValueError, match="no directory"):
            bench.resolver.resolve(made().spec, Volume(target="/t", scope=Scope.EPHEMERAL))


class TestSharing:
    async def test_conflicts_name_the_other_workload_and_pass_over_the_workload_itself(self, bench: Bench) -> None:
        mine = made(absolute(bench.base / "wiki" / "data"))
        other = made(DATA, name="wiki")
        (problem,) = bench.resolver.conflicts(mine.spec, [mine, other])
        assert problem.details["other_workload"] == "wiki"

    async def test_those_who_share_a_project_volume_are_sharers(self, bench: Bench) -> None:
        mine, other = made(DATA, MEDIA), made(DATA, MEDIA, name="wiki")
        stranger = made(DATA, MEDIA, name="shop", project="shop")
        same_project = made(DATA, name="cache")
        everyone = [mine, other, stranger, same_project]
        assert bench.resolver.conflicts(mine.spec, everyone) == []
        assert bench.resolver.sharers(mine, everyone) == {mine.id, other.id}
        assert bench.resolver.sharers(same_project, everyone) == {same_project.id}


class TestPrepare:
    async def test_missing_directories_are_made_once_with_their_owner(self, bench: Bench) -> None:
        workload = await bench.add(DATA, MEDIA)
        paths = await bench.resolver.prepare(workload, (1234, 4321))
        assert paths == (str(bench.base / "notes" / "data"), str(bench.base / "@home" / "media"))
        found = (bench.base / "notes" / "data").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 4321, 0o755)
        assert (bench.base / "notes").stat().st_uid == 0
        assert await bench.codes(workload) == []

    async def test_an_existing_directory_is_adopted_and_keeps_its_owner(self, bench: Bench) -> None:
        directory = bench.base / "notes" / "data"
        directory.mkdir(parents=True)
        os.chown(directory, 77, 88)
        workload = await bench.add(DATA)
        assert await bench.resolver.prepare(workload, (1234, 4321)) == ()
        assert (directory.stat().st_uid, directory.stat().st_gid) == (77, 88)
        assert await bench.codes(workload) == []

    async def test_a_remembered_directory_is_never_made_again(self, bench: Bench) -> None:
        workload = await bench.add(DATA)
        await bench.resolver.prepare(workload, (0, 0))
        (bench.base / "notes" / "data").rmdir()
        assert await bench.resolver.prepare(workload, (0, 0)) == ()
        assert await bench.codes(workload) == ["volume_missing"]

    async def test_what_a_sharer_remembers_is_not_made_again_either(self, bench: Bench) -> None:
        first, second = await bench.add(MEDIA), await bench.add(MEDIA, name="wiki")
        await bench.resolver.prepare(first, (0, 0))
        (bench.base / "@home" / "media").rmdir()
        assert await bench.resolver.prepare(second, (0, 0), sharers=[first.id, second.id]) == ()
        assert await bench.codes(second) == ["volume_missing"]

    async def test_nothing_is_made_through_a_symlink(self, bench: Bench, tmp_path: Path) -> None:
        (bench.base / "notes").symlink_to(tmp_path / "elsewhere")
        workload = await bench.add(DATA)
        assert await bench.resolver.prepare(workload, (0, 0)) == ()
        assert await bench.codes(workload) == ["volume_is_symlink"]

    async def test_a_configuration_that_names_another_source_gets_a_new_directory(self, bench: Bench) -> None:
        workload = await bench.add(DATA)
        await bench.resolver.prepare(workload, (0, 0))
        moved = replace(workload, spec=replace(workload.spec, volumes=(replace(DATA, source="data-2"),)))
        assert await bench.resolver.prepare(moved, (0, 0)) == (str(bench.base / "notes" / "data-2"),)
        assert await bench.codes(moved) == []


class TestCheckBeforeStart:
    @pytest.fixture
    async def deployed(self, bench: Bench) -> Workload:
        """A workload whose volume has content and was remembered."""
        workload = await bench.add(DATA)
        await bench.resolver.prepare(workload, (0, 0))
        (bench.base / "notes" / "data" / "db").write_text("rows")
        await bench.resolver.remember(workload)
        return workload

    async def test_an_unchanged_volume_may_start(self, bench: Bench, deployed: Workload) -> None:
        (bench.base / "notes" / "data" / "db").write_text("more rows")
        assert await bench.codes(deployed) == []

    async def test_a_missing_directory_is_refused_and_the_usual_cause_named(
        self, bench: Bench, deployed: Workload
    ) -> None:
        (bench.base / "notes" / "data").rename(bench.base / "away")
        (problem,) = await bench.resolver.check_before_start(deployed)
        assert problem.code == "volume_missing"
        assert "not mounted" in problem.next_step
        assert problem.details["target"] == "/data"

    async def test_another_directory_in_its_place_is_refused(self, bench: Bench, deployed: Workload) -> None:
        directory = bench.base / "notes" / "data"
        directory.rename(bench.base / "away")
        directory.mkdir()
        (directory / "db").write_text("rows")
        (problem,) = await bench.resolver.check_before_start(deployed)
        assert problem.code == "volume_replaced"
        assert "not mounted" in problem.next_step

    async def test_a_directory_that_is_empty_where_it_was_not_is_refused(
        self, bench: Bench, deployed: Workload
    ) -> None:
        (bench.base / "notes" / "data" / "db").unlink()
        (problem,) = await bench.resolver.check_before_start(deployed)
        assert problem.code == "volume_emptied"
        assert problem.next_step

    async def test_a_directory_that_was_always_empty_may_start(self, bench: Bench) -> None:
        workload = await bench.add(DATA)
        await bench.resolver.prepare(workload, (0, 0))
        await bench.resolver.remember(workload)
        assert await bench.codes(workload) == []

    async def test_a_symlink_in_its_place_is_refused(self, bench: Bench, deployed: Workload) -> None:
        directory = bench.base / "notes" / "data"
        directory.rename(bench.base / "away")
        directory.symlink_to(bench.base / "away")
        assert await bench.codes(deployed) == ["volume_is_symlink"]

    async def test_all_volumes_problems_are_told_at_once(self, bench: Bench) -> None:
        workload = await bench.add(DATA, MEDIA, absolute("/nowhere/at/all"))
        assert await bench.codes(workload) == ["volume_missing", "volume_missing", "volume_root_not_allowed"]

    async def test_what_a_person_accepts_is_no_longer_refused(self, bench: Bench, deployed: Workload) -> None:
        directory = bench.base / "notes" / "data"
        directory.rename(bench.base / "away")
        await bench.resolver.accept(deployed)
        assert await bench.resolver.prepare(deployed, (0, 0)) == (str(directory),)
        assert await bench.codes(deployed) == []

    async def test_accepting_a_shared_volume_counts_for_those_who_share_it(self, bench: Bench) -> None:
        first, second = await bench.add(MEDIA), await bench.add(MEDIA, DATA, name="wiki")
        for workload in (first, second):
            await bench.resolver.prepare(workload, (0, 0))
            await bench.resolver.remember(workload)
        await bench.resolver.accept(first, sharers=[first.id, second.id])
        assert await bench.states.get(first.id) == {}
        assert set(await bench.states.get(second.id)) == {"/data"}

    async def test_a_restored_directory_is_the_one_that_is_expected(self, bench: Bench, deployed: Workload) -> None:
        directory = bench.base / "notes" / "data"
        directory.rename(bench.base / "away")
        directory.mkdir()
        ref = bench.resolver.resolve(deployed.spec, DATA)
        await bench.resolver.remember_identity(deployed.id, ref.path, bench.live.identity(ref))
        assert await bench.codes(deployed) == []

    async def test_remembering_a_restore_leaves_other_volumes_alone(self, bench: Bench, deployed: Workload) -> None:
        before = await bench.states.get(deployed.id)
        ref = bench.resolver.resolve(deployed.spec, DATA)
        await bench.resolver.remember_identity(deployed.id, "/another/path", bench.live.identity(ref))
        assert await bench.states.get(deployed.id) == before

    async def test_a_volume_that_is_not_configured_any_more_is_forgotten(
        self, bench: Bench, deployed: Workload
    ) -> None:
        await bench.resolver.remember(replace(deployed, spec=replace(deployed.spec, volumes=())))
        assert await bench.states.get(deployed.id) == {}


class TestVolumesOfTheEngine:
    NAMED = Volume(target="/data", scope=Scope.NAMED, source="data")
    NAME = "holdfast_notes_data"

    def path(self, bench: Bench) -> Path:
        return Path(bench.runtime.engine.mountpoint(self.NAME))

    async def test_one_is_made_by_the_engine_and_gets_its_owner_once(self, bench: Bench) -> None:
        workload = await bench.add(self.NAMED)
        assert await bench.codes(workload) == ["engine_volume_missing"]
        assert await bench.resolver.prepare(workload, (1000, 1001)) == (str(self.path(bench)),)
        facts = self.path(bench).stat()
        assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (1000, 1001, 0o755)
        assert bench.runtime.engine.state.volumes[self.NAME].labels == {LABEL_INSTALLATION: INSTALLATION}
        assert await bench.codes(workload) == []
        os.chown(self.path(bench), 0, 0)
        assert await bench.resolver.prepare(workload, (1000, 1001)) == ()
        assert self.path(bench).stat().st_uid == 0

    async def test_one_that_a_killed_server_left_without_its_owner_gets_it(self, bench: Bench) -> None:
        workload = await bench.add(self.NAMED)
        await bench.runtime.create_volume(self.NAME, {LABEL_INSTALLATION: INSTALLATION})
        await bench.resolver.prepare(workload, (1000, 1000))
        assert self.path(bench).stat().st_uid == 1000

    async def test_what_is_in_one_that_was_kept_stays_as_it_is(self, bench: Bench) -> None:
        workload = await bench.add(self.NAMED)
        await bench.runtime.create_volume(self.NAME, {LABEL_INSTALLATION: INSTALLATION})
        (self.path(bench) / "note").write_text("kept")
        assert await bench.resolver.prepare(workload, (1000, 1000)) == ()
        assert self.path(bench).stat().st_uid == 0
        assert await bench.codes(workload) == []

    @pytest.mark.parametrize(
        ("volume", "code"),
        [
            (FakeVolume(), "engine_volume_foreign"),
            (FakeVolume(labels={LABEL_INSTALLATION: "another"}), "engine_volume_foreign"),
            (FakeVolume(labels={LABEL_INSTALLATION: INSTALLATION}, driver="nfs"), "engine_volume_not_plain"),
            (
                FakeVolume(labels={LABEL_INSTALLATION: INSTALLATION}, options={"type": "none", "o": "bind"}),
                "engine_volume_not_plain",
            ),
        ],
    )
    async def test_one_that_is_not_ours_or_no_plain_directory_is_refused_and_left_alone(
        self, bench: Bench, volume: FakeVolume, code: str
    ) -> None:
        workload = await bench.add(self.NAMED)
        bench.runtime.engine.make_volume(self.NAME, volume)
        assert await bench.resolver.prepare(workload, (1000, 1000)) == ()
        assert self.path(bench).stat().st_uid == 0
        assert await bench.codes(workload) == [code]
        assert [problem.code for problem in await bench.resolver.check_before_removal(workload)] == [code]

    async def test_one_that_the_engine_keeps_elsewhere_names_the_setting(self, bench: Bench, tmp_path: Path) -> None:
        workload = await bench.add(self.NAMED)
        await bench.resolver.prepare(workload, (0, 0))
        settings = Settings(data_dir=tmp_path / "own", docker_volumes=tmp_path / "elsewhere")
        named = EngineVolumes(settings, INSTALLATION, bench.runtime, bench.live)
        (problem,) = await named.problems(workload.spec)
        assert problem.code == "engine_volume_elsewhere"
        assert f"Set docker_volumes to {tmp_path}/engine/volumes" in problem.next_step

    async def test_one_below_an_engine_that_is_reached_through_a_symlink_is_where_it_really_is(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "engine")
        bench.runtime.engine._volumes = tmp_path / "link/volumes"
        workload = await bench.add(self.NAMED)
        await bench.resolver.prepare(workload, (0, 0))
        assert await bench.codes(workload) == []

    async def test_one_that_is_gone_is_not_made_again_by_itself(self, bench: Bench) -> None:
        workload = await bench.add(self.NAMED)
        await bench.resolver.prepare(workload, (0, 0))
        await bench.runtime.remove_volume(self.NAME)
        assert await bench.resolver.prepare(workload, (0, 0)) == ()
        assert await bench.codes(workload) == ["engine_volume_missing"]

    async def test_a_directory_that_the_engine_knows_nothing_of_is_not_given_to_it(self, bench: Bench) -> None:
        workload = await bench.add(self.NAMED)
        self.path(bench).mkdir(parents=True)
        os.chown(self.path(bench), 5, 5)
        assert await bench.resolver.prepare(workload, (0, 0)) == ()
        assert await bench.codes(workload) == ["engine_volume_missing"]
        assert self.path(bench).stat().st_uid == 5

    async def test_a_symlink_in_the_place_of_its_data_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        workload = await bench.add(self.NAMED)
        await bench.resolver.prepare(workload, (0, 0))
        self.path(bench).rmdir()
        self.path(bench).symlink_to(tmp_path)
        assert await bench.codes(workload) == ["volume_is_symlink"]

    async def test_equal_sources_of_a_project_are_one_volume_and_a_workloads_own_is_not(self, bench: Bench) -> None:
        shared = Volume(target="/data", scope=Scope.PROJECT_NAMED, source="data")
        one = await bench.add(shared, self.NAMED, name="notes")
        two = await bench.add(shared, self.NAMED, name="wiki")
        apart = await bench.add(shared, name="shop", project="work")
        everyone = [one, two, apart]
        assert bench.resolver.conflicts(one.spec, everyone) == []
        assert bench.resolver.sharers(one, everyone) == {one.id, two.id}

    async def test_what_a_cut_off_restore_had_made_is_not_taken_for_data(self, bench: Bench) -> None:
        workload = await bench.add(Volume(target="/data", scope=Scope.NAMED, source="data"))
        await bench.resolver.prepare(workload, (0, 0))
        data = Path(bench.runtime.engine.mountpoint("holdfast_notes_data"))
        (data / "db").write_text("rows")
        await bench.resolver.remember(workload)
        await bench.runtime.remove_volume("holdfast_notes_data")
        with suppress(asyncio.CancelledError):  # the server ends: nobody unmakes anything
            async with bench.resolver.made_by_engine(workload, lambda: False):
                assert await bench.codes(workload) == ["volume_emptied"], "which a restore only warns of"
                raise asyncio.CancelledError
        assert await bench.codes(workload) == ["volume_emptied"]
