"""What is in a snapshot, through the API: listed, taken out, compared; and nothing of it is ever interpreted."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.faults.refusal_bench import Bench, bench_on, wear

from holdfast.testing.installation import installation, snapshotted

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_on(installation(tmp_path_factory.mktemp("looking"))) as bench:
        data = bench.volumes[0]
        (data / "folder").mkdir()
        (data / "folder/page.html").write_text("<script>alert(1)</script>")
        (data / "folder/b").write_bytes(os.urandom(700_000))
        os.link(data / "folder/b", data / "folder/same")
        os.link(data / "kept", data / "folder/outer")
        (data / "folder/link").symlink_to("/etc/passwd")
        with (data / "folder/sparse").open("wb") as file:
            file.seek(1 << 20)
            file.write(b"end")
        os.makedirs(os.fsencode(data) + b"/folder/na\xffme")
        bench.snapshot_id = await snapshotted(bench.holdfast, bench.workload)
        yield bench


async def ask(bench: Bench, what: str, **params: Any) -> httpx.Response:
    return await bench.client.get(f"/api/workloads/notes/snapshots/{bench.snapshot_id}/{what}", params=params)


async def test_a_folder_is_listed_page_by_page(bench: Bench) -> None:
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = (await ask(bench, "files", volume="/data", path="folder", limit=2, after=after)).json()
        found += page["items"]
        after = page["next_after"]
    assert [(item["name"], item["kind"]) for item in found] == [
        ("b", "file"),
        ("link", "symlink"),
        ("na\\xffme", "directory"),
        ("outer", "file"),
        ("page.html", "file"),
        ("same", "hardlink"),
        ("sparse", "file"),
    ]
    assert found[1]["link_target"] == "/etc/passwd"
    inside = await ask(bench, "files", volume="/data", path=found[2]["path"], encoded=True)
    assert inside.json() == {"items": [], "next_after": None}


async def test_a_file_is_taken_out_as_it_is_and_as_an_attachment(bench: Bench) -> None:
    for name in ("b", "same", "sparse", "page.html", "outer"):
        answer = await ask(bench, "content", volume="/data", path=f"folder/{name}")
        assert answer.content == (bench.volumes[0] / "folder" / name).read_bytes()
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert int(answer.headers["content-length"]) == len(answer.content)


async def test_a_folder_is_taken_out_as_tar(bench: Bench) -> None:
    answer = await ask(bench, "content", volume="/data", path="folder")
    assert answer.headers["content-disposition"] == 'attachment; filename="folder.tar"'
    with tarfile.open(fileobj=io.BytesIO(answer.content), errors="surrogateescape") as found:
        members = {member.name: member for member in found.getmembers()}
        assert sorted(members) == sorted(
            [
                "folder",
                *(f"folder/{name}" for name in ("b", "link", "na\udcffme", "outer", "page.html", "same", "sparse")),
            ]
        )
        assert members["folder/same"].islnk()
        assert members["folder/same"].linkname == "folder/b"
        assert members["folder/link"].linkname == "/etc/passwd"
        for name in ("b", "outer", "sparse"):
            content = found.extractfile(f"folder/{name}")
            assert content is not None
            assert content.read() == (bench.volumes[0] / "folder" / name).read_bytes()


async def test_a_whole_volume_is_taken_out_as_zip(bench: Bench) -> None:
    answer = await ask(bench, "content", volume="/data", format="zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="data.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        for name in ("kept", "folder/b", "folder/same", "folder/sparse"):
            assert found.read(name) == (bench.volumes[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("what", "params", "status", "code"),
    [
        ("files", {"path": "folder"}, 400, "volume_not_named"),
        ("files", {"volume": "/nowhere"}, 404, "volume_unknown"),
        ("files", {"volume": "/data", "path": "nothing"}, 404, "file_unknown"),
        ("files", {"volume": "/data", "path": "kept"}, 404, "file_unknown"),
        ("files", {"volume": "/data", "path": "../etc"}, 400, "path_malformed"),
        ("files", {"volume": "/data", "path": "!!!", "encoded": True}, 400, "path_malformed"),
        ("content", {"volume": "/data", "path": "nothing"}, 404, "file_unknown"),
        ("content", {"volume": "/data", "path": "folder/link"}, 400, "file_not_downloadable"),
        ("content", {"volume": "/data", "format": "rar"}, 400, "request_malformed"),
    ],
)
async def test_what_can_t_be_looked_at_is_told(
    bench: Bench, what: str, params: dict[str, Any], status: int, code: str
) -> None:
    answer = await ask(bench, what, **params)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["next_step"]


async def compared(bench: Bench, old: str, against: str | None) -> dict[str, Any]:
    answer = await bench.post(f"/api/workloads/notes/snapshots/{old}/compare", {"against": against})
    end = await bench.ended(answer)
    assert end["state"] == "succeeded", end["error"]
    return {volume["target"]: volume for volume in end["outcome"]["volumes"]}


async def test_what_differs_is_downloaded_by_the_path_that_is_told_whatever_its_name(bench: Bench) -> None:
    wear(bench)
    odd = os.fsencode(bench.volumes[0]) + b"/odd \xff\n\x1b name"

    def write(text: str) -> None:
        Path(os.fsdecode(odd)).write_text(text)

    write("old")
    old = await snapshotted(bench.holdfast, bench.workload)
    write("newer")
    new = await snapshotted(bench.holdfast, bench.workload)
    [[shown, size, exact]] = (await compared(bench, old, new))["/data"]["changed"]["first"]
    assert (shown, size) == (r"odd \xff\n\x1b name", 5)
    for snapshot, content in ((old, "old"), (new, "newer")):
        path = f"/api/workloads/notes/snapshots/{snapshot}/content"
        wanted = {"volume": "/data", "path": exact, "encoded": True}
        assert (await bench.client.get(path, params=wanted)).text == content
    os.unlink(odd)


async def test_what_differs_is_told_by_path_and_size(bench: Bench) -> None:
    data = bench.volumes[0]
    wear(bench)
    old = await snapshotted(bench.holdfast, bench.workload)
    assert all(
        not any(v[kind]["count"] for kind in ("added", "changed", "removed"))
        for v in (await compared(bench, old, None)).values()
    )
    (data / "kept").write_text("other")
    (data / "added").write_bytes(b"x" * 10)
    (data / "folder/page.html").unlink()
    new = await snapshotted(bench.holdfast, bench.workload)
    for against in (new, None):
        found = (await compared(bench, old, against))["/data"]
        assert found["added"] == {"count": 1, "bytes": 10, "first": [["added", 10, "YWRkZWQ"]]}
        # the first name of the changed file, and the other one
        assert [path for path, _, _ in found["changed"]["first"]] == ["folder/outer", "kept"]
        assert found["removed"] == {
            "count": 1,
            "bytes": 25,
            "first": [["folder/page.html", 25, "Zm9sZGVyL3BhZ2UuaHRtbA"]],
        }
