"""From what a configuration names to exactly one image on this host."""

import asyncio

import pytest

from holdfast.domain.errors import Cancelled, Failed, InvalidInput, Unavailable
from holdfast.domain.ids import new_id
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.operation import Progress
from holdfast.services.image_source import ImageSource, PullPolicy
from holdfast.testing.fake_runtime import Call, FakeRuntime

NOTES = "registry.example/notes:1"


class Report:
    """What an operation was told."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.progressed: list[Progress] = []
        self.logged: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.progressed.append(progress)

    async def log(self, message: str, level: str = "info") -> None:
        self.logged.append(f"{level}: {message}")


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(timeout=0.0)


@pytest.fixture
def source(runtime: FakeRuntime) -> ImageSource:
    return ImageSource(runtime, new_id())


@pytest.fixture
async def report() -> Report:
    return Report()


def pulls(runtime: FakeRuntime) -> list[Call]:
    return [call for call in runtime.calls if call.name == "pull"]


async def test_a_name_with_a_registry_is_pulled_with_progress_and_pinned_by_id_and_digest(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    digest = runtime.add_remote_image(NOTES, user="1000")
    version = await source.resolve(NOTES, report)
    assert version.digest == digest
    assert version.image_id == digest.partition("@")[2]
    assert (version.reference, version.user) == (NOTES, "1000")
    assert report.progressed[-1] == Progress(done_bytes=2, total_bytes=2, note="Downloading")


async def test_a_tag_that_moved_on_is_followed(runtime: FakeRuntime, source: ImageSource, report: Report) -> None:
    runtime.add_remote_image(NOTES)
    first = await source.resolve(NOTES, report)
    runtime.add_remote_image(NOTES, version="newer")
    second = await source.resolve(NOTES, report)
    assert second.image_id != first.image_id


async def test_if_only_missing_images_are_to_be_pulled_the_one_here_is_used(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    runtime.add_remote_image(NOTES)
    first = await source.resolve(NOTES, report, pull=PullPolicy.IF_MISSING)
    runtime.add_remote_image(NOTES, version="newer")
    assert await source.resolve(NOTES, report, pull=PullPolicy.IF_MISSING) == first
    assert len(pulls(runtime)) == 1


async def test_a_locally_built_image_that_no_registry_knows_is_used_and_the_log_says_so(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    image = runtime.add_image(NOTES)
    version = await source.resolve(NOTES, report)
    assert (version.image_id, version.digest) == (image.id, None)
    assert "could not be pulled" in report.logged[0]
    assert "the one on this host is used" in report.logged[0]


async def test_a_local_image_with_a_bare_name_is_not_looked_up_where_a_stranger_may_own_the_name(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    image = runtime.add_image("notes:1")
    assert (await source.resolve("notes:1", report)).image_id == image.id
    assert not pulls(runtime)
    assert "built on this host" in report.logged[0]


async def test_a_digest_that_is_here_is_not_pulled_again(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    digest = runtime.add_remote_image(NOTES)
    await source.resolve(digest, report)
    assert (await source.resolve(digest, report)).digest == digest
    assert len(pulls(runtime)) == 1


async def test_an_image_id_is_never_pulled(runtime: FakeRuntime, source: ImageSource, report: Report) -> None:
    image = runtime.add_image(NOTES)
    assert (await source.resolve(image.id, report)).image_id == image.id
    with pytest.raises(Failed) as caught:
        await source.resolve(f"sha256:{'0' * 64}", report)
    assert caught.value.code == "image_missing"
    assert not pulls(runtime)


async def test_an_absent_image_that_can_t_be_pulled_fails(source: ImageSource, report: Report) -> None:
    with pytest.raises(Failed) as caught:
        await source.resolve(NOTES, report)
    assert caught.value.code == "image_pull_failed"


async def test_without_pulling_an_absent_image_is_missing(source: ImageSource, report: Report) -> None:
    with pytest.raises(Failed) as caught:
        await source.resolve(NOTES, report, pull=PullPolicy.NEVER)
    assert caught.value.code == "image_missing"


async def test_a_malformed_reference_is_refused_before_the_engine_is_asked(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    with pytest.raises(InvalidInput):
        await source.resolve("Not A Reference", report)
    assert runtime.calls == []


async def test_the_digest_is_the_one_of_the_repository_that_was_asked_for(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    wanted = f"registry.example/notes@sha256:{'a' * 64}"
    runtime.add_image(NOTES, digest="<none>@<none>")
    runtime.add_image(NOTES, digest=f"elsewhere.example/notes@sha256:{'b' * 64}")
    runtime.add_image(NOTES, digest=wanted)
    assert (await source.resolve(NOTES, report, pull=PullPolicy.NEVER)).digest == wanted


async def test_an_engine_that_hangs_is_told_as_such(runtime: FakeRuntime, source: ImageSource, report: Report) -> None:
    runtime.hang("pull")
    with pytest.raises(Unavailable) as caught:
        await source.resolve(NOTES, report)
    assert caught.value.code == "engine_timeout"


async def test_a_pull_can_be_cancelled(report: Report) -> None:
    async def stall(call: Call) -> None:
        if call.name == "pull":
            report.cancelled.set()
            await asyncio.Event().wait()

    with pytest.raises(Cancelled):
        await ImageSource(FakeRuntime(on_call=stall), new_id()).resolve(NOTES, report)


async def test_a_kept_image_survives_that_its_own_name_moves_on(
    runtime: FakeRuntime, source: ImageSource, report: Report
) -> None:
    image = runtime.add_image("notes:1")
    await source.keep(image.id, "w1", "d1")
    runtime.add_image("notes:1", version="newer")
    await runtime.untag("notes:1")
    version = await source.pinned(image.id)
    assert version.reference == image.id
    await source.release("w1", "d1")
    with pytest.raises(Failed):
        await source.pinned(image.id)
    await source.release("w1", "d1")


async def test_the_name_that_keeps_an_image_is_a_valid_one(runtime: FakeRuntime, source: ImageSource) -> None:
    image = runtime.add_image("notes:1")
    await source.keep(image.id, new_id(), new_id())
    kept = await runtime.image(image.id)
    assert kept is not None
    assert all(parse_image_ref(tag).registry in (None, "holdfast.local") for tag in kept.tags)
    assert (await source.pinned(image.id)).reference == "notes:1"
