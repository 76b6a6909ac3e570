"""From what a configuration names to exactly one image on this host."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import Bench, opened

from holdfast.domain.errors import Cancelled, Failed, InvalidInput, Unavailable
from holdfast.domain.ids import new_id
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.operation import Operation
from holdfast.services.image_source import ImageSource, PullPolicy, Version
from holdfast.testing.fake_runtime import Call, FakeRuntime

NOTES = "registry.example/notes:1"


class Source:
    """The image source, asked as part of an operation."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def resolve(self, image: str, pull: PullPolicy = PullPolicy.ALWAYS) -> Version:
        return await self.bench.within(lambda ctx: self.bench.images.resolve(image, ctx, pull=pull))

    @property
    def operation(self) -> Operation:
        assert self.bench.last is not None
        return self.bench.last

    @property
    def logged(self) -> str:
        return self.operation.log[0].message


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


@pytest.fixture
def source(bench: Bench) -> Source:
    return Source(bench)


@pytest.fixture
def runtime(bench: Bench) -> FakeRuntime:
    return bench.runtime


def pulls(runtime: FakeRuntime) -> list[Call]:
    return [call for call in runtime.calls if call.name == "pull"]


async def test_a_name_with_a_registry_is_pulled_with_progress_and_pinned_by_id_and_digest(
    runtime: FakeRuntime, source: Source
) -> None:
    digest = runtime.add_remote_image(NOTES, user="1000")
    version = await source.resolve(NOTES)
    assert version.digest == digest
    assert version.image_id == digest.partition("@")[2]
    assert (version.reference, version.user) == (NOTES, "1000")
    assert [step.name for step in source.operation.steps] == ["pulling"]
    assert source.operation.progress.done_bytes == 2


async def test_a_tag_that_moved_on_is_followed(runtime: FakeRuntime, source: Source) -> None:
    runtime.add_remote_image(NOTES)
    first = await source.resolve(NOTES)
    runtime.add_remote_image(NOTES, version="newer")
    second = await source.resolve(NOTES)
    assert second.image_id != first.image_id


async def test_if_only_missing_images_are_to_be_pulled_the_one_here_is_used(
    runtime: FakeRuntime, source: Source
) -> None:
    runtime.add_remote_image(NOTES)
    first = await source.resolve(NOTES, pull=PullPolicy.IF_MISSING)
    runtime.add_remote_image(NOTES, version="newer")
    assert await source.resolve(NOTES, pull=PullPolicy.IF_MISSING) == first
    assert len(pulls(runtime)) == 1


async def test_a_locally_built_image_that_no_registry_knows_is_used_and_the_log_says_so(
    runtime: FakeRuntime, source: Source
) -> None:
    image = runtime.add_image(NOTES)
    version = await source.resolve(NOTES)
    assert (version.image_id, version.digest) == (image.id, None)
    assert "could not be pulled" in source.logged
    assert "the one on this host is used" in source.logged


async def test_a_local_image_with_a_bare_name_is_not_looked_up_where_a_stranger_may_own_the_name(
    runtime: FakeRuntime, source: Source
) -> None:
    image = runtime.add_image("notes:1")
    assert (await source.resolve("notes:1")).image_id == image.id
    assert not pulls(runtime)
    assert "built on this host" in source.logged


async def test_a_digest_that_is_here_is_not_pulled_again(runtime: FakeRuntime, source: Source) -> None:
    digest = runtime.add_remote_image(NOTES)
    await source.resolve(digest)
    assert (await source.resolve(digest)).digest == digest
    assert len(pulls(runtime)) == 1


async def test_an_image_id_is_never_pulled(runtime: FakeRuntime, source: Source) -> None:
    image = runtime.add_image(NOTES)
    assert (await source.resolve(image.id)).image_id == image.id
    with pytest.raises(Failed) as caught:
        await source.resolve(f"sha256:{'0' * 64}")
    assert caught.value.code == "image_missing"
    assert not pulls(runtime)


async def test_an_absent_image_that_can_t_be_pulled_fails(source: Source) -> None:
    with pytest.raises(Failed) as caught:
        await source.resolve(NOTES)
    assert caught.value.code == "image_not_in_registry"


async def test_without_pulling_an_absent_image_is_missing(source: Source) -> None:
    with pytest.raises(Failed) as caught:
        await source.resolve(NOTES, pull=PullPolicy.NEVER)
    assert caught.value.code == "image_missing"


async def test_a_malformed_reference_is_refused_before_the_engine_is_asked(
    runtime: FakeRuntime, source: Source
) -> None:
    with pytest.raises(InvalidInput):
        await source.resolve("Not A Reference")
    assert not runtime.calls


async def test_the_digest_is_the_one_of_the_repository_that_was_asked_for(runtime: FakeRuntime, source: Source) -> None:
    wanted = f"registry.example/notes@sha256:{'a' * 64}"
    runtime.add_image(NOTES, digest="<none>@<none>")
    runtime.add_image(NOTES, digest=f"elsewhere.example/notes@sha256:{'b' * 64}")
    runtime.add_image(NOTES, digest=wanted)
    assert (await source.resolve(NOTES, pull=PullPolicy.NEVER)).digest == wanted


async def test_an_engine_that_hangs_is_told_as_such(runtime: FakeRuntime, source: Source) -> None:
    runtime.hang("pull")
    with pytest.raises(Unavailable) as caught:
        await source.resolve(NOTES)
    assert caught.value.code == "engine_timeout"


async def test_a_pull_can_be_cancelled(bench: Bench, source: Source) -> None:
    async def stall(call: Call) -> None:
        if call.name == "pull":
            (running,) = (await bench.operations.list(1)).items
            await bench.operations.cancel(running.id)
            await asyncio.Event().wait()

    bench.on_call = stall
    with pytest.raises(Cancelled):
        await source.resolve(NOTES)


@pytest.fixture
def images(bench: Bench) -> ImageSource:
    return bench.images


async def test_a_kept_image_survives_that_its_own_name_moves_on(runtime: FakeRuntime, images: ImageSource) -> None:
    image = runtime.add_image("notes:1")
    await images.keep(image.id, "w1", "d1")
    runtime.add_image("notes:1", version="newer")
    await runtime.untag("notes:1")
    version = await images.pinned(image.id)
    assert version.reference == image.id
    await images.release("w1", "d1")
    with pytest.raises(Failed):
        await images.pinned(image.id)
    await images.release("w1", "d1")


async def test_the_name_that_keeps_an_image_is_a_valid_one(runtime: FakeRuntime, images: ImageSource) -> None:
    image = runtime.add_image("notes:1")
    await images.keep(image.id, new_id(), new_id())
    kept = await runtime.image(image.id)
    assert kept is not None
    assert all(parse_image_ref(tag).registry in (None, "holdfast.local") for tag in kept.tags)
    assert (await images.pinned(image.id)).reference == "notes:1"
