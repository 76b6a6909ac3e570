"""What every blob store has to do: the suite for adapters of ``holdfast.engine.repository.blobs``.

An adapter's test module subclasses ``BlobStoreContract`` and provides two fixtures: ``blobs``, an empty store, and
``plant``, a function that puts something into the very place where the store keeps its blobs, past the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.domain.errors import Conflict, Damaged, InvalidInput, NotFound
from holdfast.engine.repository.blobs import BlobInfo, BlobStore
from holdfast.testing.s3_server import PAGE

Plant = Callable[[str, bytes], None]
"""Stores bytes under a name (with ``/``) in the place where the blobs lie."""

PACK = "packs/" + "0123456789abcdef" * 4
LARGE = 40 * 1024 * 1024 + 17
"""Larger than a pack ever gets; no multiple of anything."""

MALFORMED = [
    "",
    "/",
    "packs/",
    "/packs",
    "..",
    "../x",
    "packs/..",
    "packs/.hidden",
    "packs//x",
    "a/b/c",
    "Packs/x",
    "packs/x\n",
    "packs/x\0",
    "packs/ü",
    "packs/" + "x" * 129,
    ".holdfast-tmp-0123",
]


class BlobStoreContract:
    """The suite. Sizes are bytes."""

    # --- put and get ---------------------------------------------------------------------------------------------

    def test_a_blob_comes_back_as_it_was_put(self, blobs: BlobStore) -> None:
        blobs.put(PACK, [b"content"])
        assert blobs.get(PACK, limit=100) == b"content"

    def test_a_blob_is_put_together_from_its_parts(self, blobs: BlobStore) -> None:
        whole = bytes(range(256)) * 100
        blobs.put(PACK, [whole[:7], b"", memoryview(whole)[7:1000], memoryview(bytearray(whole[1000:]))])
        assert blobs.get(PACK, limit=len(whole)) == whole

    def test_an_empty_blob_is_a_blob(self, blobs: BlobStore) -> None:
        blobs.put("manifests/empty", [])
        assert blobs.get("manifests/empty", limit=0) == b""
        assert blobs.list_blobs("manifests") == [BlobInfo("manifests/empty", 0)]

    def test_a_large_blob_comes_back_whole_and_in_ranges(self, blobs: BlobStore) -> None:
        block = bytes(range(251)) * 4177
        whole = (block * (LARGE // len(block) + 1))[:LARGE]
        blobs.put(PACK, [memoryview(whole)[start : start + 1_000_003] for start in range(0, LARGE, 1_000_003)])
        assert blobs.get(PACK, limit=LARGE) == whole
        assert blobs.get_range(PACK, LARGE - 100, 100) == whole[-100:]
        assert blobs.get_range(PACK, 9_999_999, 2_000_001) == whole[9_999_999:12_000_000]

    def test_putting_replaces(self, blobs: BlobStore) -> None:
        blobs.put("repository.json", [b"a longer first one"])
        blobs.put("repository.json", [b"second"])
        assert blobs.get("repository.json", limit=100) == b"second"
        assert blobs.list_blobs("") == [BlobInfo("repository.json", 6)]

    def test_a_missing_blob_is_said_to_be_missing(self, blobs: BlobStore) -> None:
        gets: list[Callable[[], bytes]] = [lambda: blobs.get(PACK, limit=1), lambda: blobs.get_range(PACK, 0, 1)]
        for get in gets:
            with pytest.raises(NotFound) as caught:
                get()
            assert caught.value.code == "blob_missing"
            assert caught.value.details["blob"] == PACK

    def test_no_more_is_read_than_is_allowed(self, blobs: BlobStore) -> None:
        blobs.put(PACK, [b"12345"])
        assert blobs.get(PACK, limit=5) == b"12345"
        with pytest.raises(Damaged) as caught:
            blobs.get(PACK, limit=4)
        assert caught.value.code == "blob_too_large"

    # --- ranges --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("offset", "length"), [(0, 10), (0, 1), (9, 1), (3, 4), (0, 0), (10, 0)])
    def test_a_range_is_exact(self, blobs: BlobStore, offset: int, length: int) -> None:
        blobs.put(PACK, [b"0123456789"])
        assert blobs.get_range(PACK, offset, length) == b"0123456789"[offset : offset + length]

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 11), (9, 2), (10, 1), (11, 0), (500, 1), (0, 1 << 60), (1 << 62, 1 << 62), (1 << 64, 1), (-1, 2), (0, -1)],
    )
    def test_a_range_that_the_blob_does_not_have_is_damage(self, blobs: BlobStore, offset: int, length: int) -> None:
        blobs.put(PACK, [b"0123456789"])
        with pytest.raises(Damaged) as caught:
            blobs.get_range(PACK, offset, length)
        assert caught.value.code == "blob_truncated"

    def test_an_empty_blob_has_no_first_byte(self, blobs: BlobStore) -> None:
        blobs.put(PACK, [])
        with pytest.raises(Damaged):
            blobs.get_range(PACK, 0, 1)

    # --- create --------------------------------------------------------------------------------------------------

    def test_a_blob_is_created_once(self, blobs: BlobStore) -> None:
        blobs.create("repository.json", [b"fir", b"st"])
        with pytest.raises(Conflict) as caught:
            blobs.create("repository.json", [b"second"])
        assert caught.value.code == "blob_exists"
        assert blobs.get("repository.json", limit=100) == b"first"
        assert blobs.list_blobs("") == [BlobInfo("repository.json", 5)]

    def test_a_deleted_blob_can_be_created_again(self, blobs: BlobStore) -> None:
        blobs.create("manifests/one", [b"first"])
        blobs.delete(["manifests/one"])
        blobs.create("manifests/one", [b"second"])
        assert blobs.get("manifests/one", limit=100) == b"second"

    def test_of_many_who_create_at_once_one_succeeds(self, blobs: BlobStore) -> None:
        together = threading.Barrier(8)

        def create(number: int) -> bool:
            together.wait()
            try:
                blobs.create("manifests/one", [b"number %d" % number])
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(create, range(8)))
        assert created.count(True) == 1
        assert blobs.get("manifests/one", limit=100) == b"number %d" % created.index(True)

    # --- list ----------------------------------------------------------------------------------------------------

    def test_a_folder_is_listed_by_name_with_sizes_and_nothing_of_another(self, blobs: BlobStore) -> None:
        for number, name in enumerate(["packs/b", "packs/a", "packs2/c", "repository.json", "packs/a.json"]):
            blobs.put(name, [b"x" * number])
        assert blobs.list_blobs("packs") == [("packs/a", 1), ("packs/a.json", 4), ("packs/b", 0)]
        assert blobs.list_blobs("packs2") == [("packs2/c", 2)]
        assert blobs.list_blobs("") == [("repository.json", 3)]

    def test_a_folder_that_was_never_used_is_empty(self, blobs: BlobStore) -> None:
        assert blobs.list_blobs("condemned") == []
        assert blobs.list_blobs("") == []

    def test_a_long_listing_is_complete(self, blobs: BlobStore) -> None:
        names = [f"manifests/{number:04}" for number in range(3 * PAGE + 1)]
        for name in names:
            blobs.put(name, [b"x"])
        assert [info.name for info in blobs.list_blobs("manifests")] == names
        blobs.delete([*(f"manifests/{number:04}" for number in range(1000, 2010)), *names])
        assert blobs.list_blobs("manifests") == []

    def test_what_else_lies_there_is_not_listed(self, blobs: BlobStore, plant: Plant) -> None:
        blobs.put("packs/a", [b"x"])
        for crap in ("packs/UPPER", "packs/.holdfast-tmp-1", "packs/a b", "packs/deep/er", "Lock", "packs/ü"):
            plant(crap, b"crap")
        assert blobs.list_blobs("packs") == [("packs/a", 1)]
        assert blobs.list_blobs("") == []

    # --- delete --------------------------------------------------------------------------------------------------

    def test_blobs_are_deleted_and_missing_ones_are_fine(self, blobs: BlobStore) -> None:
        for name in ("packs/a", "packs/b", "manifests/c"):
            blobs.put(name, [b"x"])
        blobs.delete(["packs/a", "packs/never", "manifests/c", "condemned/never", "never"])
        assert blobs.list_blobs("packs") == [("packs/b", 1)]
        assert blobs.list_blobs("manifests") == []
        blobs.delete([])
        blobs.delete(["packs/b", "packs/b"])
        with pytest.raises(NotFound):
            blobs.get("packs/b", limit=1)

    # --- names ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", MALFORMED)
    def test_no_crap_gets_in(self, blobs: BlobStore, name: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: blobs.put(name, [b"x"]),
            lambda: blobs.create(name, [b"x"]),
            lambda: blobs.get(name, limit=1),
            lambda: blobs.get_range(name, 0, 1),
            lambda: blobs.delete(["packs/kept", name]),
        ]
        blobs.put("packs/kept", [b"x"])
        for call in calls:
            with pytest.raises(InvalidInput) as caught:
                call()
            assert caught.value.code == "blob_name_malformed"
        assert blobs.list_blobs("packs") == [("packs/kept", 1)]

    @pytest.mark.parametrize("folder", ["..", "packs/", "packs/a", "/", ".", "Packs"])
    def test_only_folders_are_listed(self, blobs: BlobStore, folder: str) -> None:
        with pytest.raises(InvalidInput):
            blobs.list_blobs(folder)

    # --- at once -------------------------------------------------------------------------------------------------

    def test_readers_see_the_old_blob_or_the_new_one(self, blobs: BlobStore) -> None:
        versions = [bytes([number]) * 300_000 for number in range(10)]
        blobs.put("packs/a", [versions[0]])
        done = threading.Event()

        def read() -> set[bytes]:
            seen = set()
            while not done.is_set():
                seen.add(blobs.get("packs/a", limit=1_000_000))
                seen.add(blobs.get_range("packs/a", 0, 300_000))
            return seen

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for version in versions:
                    blobs.put("packs/a", [version[:100_000], version[100_000:]])
            finally:
                done.set()
        for reader in readers:
            assert reader.result() <= set(versions)

    # --- the end -------------------------------------------------------------------------------------------------

    def test_cleaning_up_touches_no_blob(self, blobs: BlobStore) -> None:
        blobs.put("repository.json", [b"x"])
        blobs.put("packs/a", [b"y"])
        assert list(blobs.clean_temporary()) == []
        assert blobs.list_blobs("") == [("repository.json", 1)]
        assert blobs.get("packs/a", limit=1) == b"y"

    def test_closing_twice_is_closing_once(self, blobs: BlobStore) -> None:
        with blobs:
            blobs.put("packs/a", [b"x"])
        blobs.close()
