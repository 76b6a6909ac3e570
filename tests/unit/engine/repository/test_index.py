"""The index: what it knows, how it comes to agree with the packs that are there, and what counts as present."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.engine.repository.packs import KEYS, PLAIN, SEALED, chunk_id, pack_of

from holdfast.domain.errors import Failed, HoldfastError, Unavailable
from holdfast.domain.ids import new_id
from holdfast.engine.fs import Fs
from holdfast.engine.repository.blobs import BlobInfo
from holdfast.engine.repository.chunk_writer import ChunkWriter
from holdfast.engine.repository.condemned import read_condemned, write_condemned
from holdfast.engine.repository.index import Index, Location
from holdfast.engine.repository.pack import FrameInfo, Pack, decode_frame
from holdfast.engine.repository.posix_blobs import PosixBlobs

ONE, TWO, THREE = b"one" * 100, b"two" * 200, b"three" * 300
ABSENT = chunk_id(b"nowhere")
ALL = [chunk_id(ONE), chunk_id(TWO), chunk_id(THREE), ABSENT]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def blobs(fs: Fs, root: Path) -> Iterator[PosixBlobs]:
    with PosixBlobs.made_at(fs, root) as blobs:
        yield blobs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def index(fs: Fs, path: Path) -> Iterator[Index]:
    with Index(fs, path, "r1") as index:
        yield index


def stored(blobs: PosixBlobs, pack: Pack) -> Pack:
    blobs.put(f"packs/{pack.name}", pack.buffers)
    return pack


def added(index: Index, *packs: Pack) -> None:
    for pack in packs:
        index.add_pack(pack.name, pack.size, pack.frames)


def synced(index: Index, blobs: PosixBlobs, *, condemned: tuple[str, ...] = ()) -> list[tuple[str, object]]:
    """Problems as code and pack."""
    problems = index.sync(blobs, KEYS, PLAIN, condemned=condemned)
    return [(problem.code, problem.details.get("pack")) for problem in problems]


# --- asking --------------------------------------------------------------------------------------------------------


def test_what_was_added_is_found_where_it_lies(blobs: PosixBlobs, index: Index) -> None:
    pack = stored(blobs, pack_of([ONE, TWO], [THREE]))
    assert index.missing(ALL) == set(ALL)
    added(index, pack)
    for _ in range(2):
        assert index.missing(ALL) == {ABSENT}
        found = index.locate([chunk_id(TWO), ABSENT])
        assert list(found) == [chunk_id(TWO)]
        location = found[chunk_id(TWO)]
        raw = blobs.get_range(f"packs/{location.pack}", location.frame_offset, location.frame_length)
        plain = b"".join(chunk for _, chunk in decode_frame(raw, location.frame_offset, b"", PLAIN))
        assert plain[location.start : location.start + location.length] == TWO
        index.flush()  # and the same from the file


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 499, 500, 501, 1200])
def test_any_number_of_ids_can_be_asked_for_at_once(index: Index, count: int) -> None:
    known = [chunk_id(b"%d" % number) for number in range(600)]
    index.add_pack("a" * 64, 1000, [FrameInfo(48, 100, b"", tuple((one, 1) for one in known))])
    unknown = [chunk_id(b"-%d" % number) for number in range(600)]
    asked = [one for pair in zip(known, unknown, strict=True) for one in pair][:count]
    for _ in range(2):
        assert index.missing(asked) == set(asked) & set(unknown)
        assert set(index.locate(asked)) == set(asked) & set(known)
        index.flush()


def test_many_packs_reach_the_file_by_themselves(fs: Fs, path: Path, index: Index) -> None:
    packs = {f"{number:064x}": [chunk_id(b"%d %d" % (number, chunk)) for chunk in range(16_000)] for number in range(5)}
    for name, ids in packs.items():
        index.add_pack(name, 1000, [FrameInfo(48, 100, b"", tuple((one, 1) for one in ids))])
    with Index(fs, path, "r1") as other:
        assert len(other.packs()) == 4
        assert not other.missing(packs[f"{0:064x}"])
    assert index.packs() == dict.fromkeys(packs, 1000)
    assert all(not index.missing(ids) for ids in packs.values())


def test_a_pack_that_is_added_again_stays_as_it_is(index: Index) -> None:
    pack = pack_of([ONE], [TWO])
    for _ in range(2):
        added(index, pack, pack)
        index.flush()
    assert index.packs() == {pack.name: pack.size}
    assert index.locate([chunk_id(TWO)]) == {
        chunk_id(TWO): Location(pack.name, pack.frames[1].offset, pack.frames[1].length, 0, len(TWO))
    }


def test_several_threads_ask_and_add_at_once(index: Index) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for step in range(20):
            chunk = b"%d %d" % (number, step)
            before = index.missing([chunk_id(chunk)])
            added(index, pack_of([chunk]))
            if before != {chunk_id(chunk)} or index.missing([chunk_id(chunk)]) or not index.locate([chunk_id(chunk)]):
                wrong.append(chunk)
            if not step % 7:
                index.flush()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(index.packs()) == 80


# --- agreeing with the packs ---------------------------------------------------------------------------------------


def test_a_new_index_learns_everything_from_the_packs(blobs: PosixBlobs, index: Index) -> None:
    packs = [stored(blobs, pack_of([ONE])), stored(blobs, pack_of([TWO], [THREE]))]
    assert synced(index, blobs) == []
    assert index.packs() == {pack.name: pack.size for pack in packs}
    assert index.missing(ALL) == {ABSENT}


def test_a_sealed_repository_is_learnt_as_well(blobs: PosixBlobs, index: Index) -> None:
    stored(blobs, pack_of([ONE], [TWO, THREE], sealer=SEALED))
    assert index.sync(blobs, KEYS, SEALED, condemned=()) == []
    assert index.missing(ALL) == {ABSENT}


def test_what_was_not_flushed_is_learnt_from_the_packs_again(fs: Fs, path: Path, blobs: PosixBlobs) -> None:
    with Index(fs, path, "r1") as index:
        added(index, stored(blobs, pack_of([ONE])))
    with Index(fs, path, "r1") as index:
        assert index.missing([chunk_id(ONE)]) == {chunk_id(ONE)}
        assert synced(index, blobs) == []
        assert index.missing([chunk_id(ONE)]) == set()


def test_what_a_writer_stored_needs_no_reading_once_it_is_finished(fs: Fs, path: Path, blobs: PosixBlobs) -> None:
    with Index(fs, path, "r1") as index, ChunkWriter(blobs, index, KEYS, PLAIN) as writer:
        writer.put(ONE)
        writer.finish()
    with Index(fs, path, "r1") as index:
        assert index.missing(ALL[:1]) == set()


def test_known_packs_are_not_read_again(fs: Fs, path: Path, root: Path, blobs: PosixBlobs) -> None:
    pack = stored(blobs, pack_of([ONE]))
    with Index(fs, path, "r1") as index:
        assert synced(index, blobs) == []
    (root / "packs" / pack.name).write_bytes(bytes(pack.size))
    with Index(fs, path, "r1") as index:
        assert synced(index, blobs) == []
        assert index.missing([chunk_id(ONE)]) == set()


def test_packs_that_vanished_are_forgotten(blobs: PosixBlobs, index: Index) -> None:
    first, second = stored(blobs, pack_of([ONE], [TWO])), stored(blobs, pack_of([TWO], [THREE]))
    synced(index, blobs)
    blobs.delete([f"packs/{first.name}"])
    assert synced(index, blobs) == []
    assert index.packs() == {second.name: second.size}
    assert index.missing(ALL) == {chunk_id(ONE), ABSENT}
    assert index.locate([chunk_id(TWO)])[chunk_id(TWO)].pack == second.name


def test_other_things_beside_the_packs_are_none_of_its_business(root: Path, blobs: PosixBlobs, index: Index) -> None:
    pack = stored(blobs, pack_of([ONE]))
    for name in ("notes.txt", ".holdfast-tmp-1234", "a" * 63, "A" * 64):
        (root / "packs" / name).write_bytes(b"mine")
    assert synced(index, blobs) == []
    assert list(index.packs()) == [pack.name]


def test_a_damaged_pack_is_told_and_the_others_are_used(root: Path, blobs: PosixBlobs, index: Index) -> None:
    bad, good = stored(blobs, pack_of([ONE], [TWO])), stored(blobs, pack_of([THREE]))
    file = root / "packs" / bad.name
    file.write_bytes(b"garbage")
    for _ in range(2):  # each time, until somebody does something about it
        assert synced(index, blobs) == [("pack_incomplete", bad.name)]
        assert index.packs() == {good.name: good.size}
        assert index.missing(ALL) == {chunk_id(ONE), chunk_id(TWO), ABSENT}
    stored(blobs, bad)
    assert synced(index, blobs) == []
    assert index.missing(ALL) == {ABSENT}


def test_what_is_whole_in_a_pack_without_a_trailer_can_be_used(root: Path, blobs: PosixBlobs, index: Index) -> None:
    bad = stored(blobs, pack_of([ONE], [TWO], [THREE]))
    file = root / "packs" / bad.name
    last = bad.frames[-1]
    file.write_bytes(file.read_bytes()[: last.offset + last.length - 1])
    for _ in range(2):
        assert synced(index, blobs) == [("pack_incomplete", bad.name)]
        assert index.missing(ALL) == {chunk_id(THREE), ABSENT}
    stored(blobs, bad)
    assert synced(index, blobs) == []
    assert index.missing(ALL) == {ABSENT}


def test_a_salvaged_pack_that_was_mended_is_read_again_though_its_size_is_the_same(
    root: Path, blobs: PosixBlobs, index: Index
) -> None:
    bad = stored(blobs, pack_of([ONE], [TWO]))
    content = bytearray((root / "packs" / bad.name).read_bytes())
    content[bad.frames[1].offset + 60] ^= 1
    content[-1] ^= 1
    (root / "packs" / bad.name).write_bytes(content)
    for _ in range(2):
        assert synced(index, blobs) == [("pack_incomplete", bad.name)]
        assert index.missing(ALL) == {chunk_id(TWO), chunk_id(THREE), ABSENT}
    stored(blobs, bad)
    assert synced(index, blobs) == []
    assert index.missing(ALL) == {chunk_id(THREE), ABSENT}


def test_salvage_believes_no_chunk_that_is_not_what_its_id_says(blobs: PosixBlobs, index: Index, root: Path) -> None:
    pack = stored(blobs, pack_of([ONE]))
    content = bytearray((root / "packs" / pack.name).read_bytes())
    content[pack.frames[0].offset + 8] ^= 1  # in the id that the frame itself states
    (root / "packs" / pack.name).write_bytes(content[: pack.frames[0].offset + pack.frames[0].length])
    assert synced(index, blobs) == [("pack_incomplete", pack.name)]
    changed = bytes([chunk_id(ONE)[0] ^ 1]) + chunk_id(ONE)[1:]
    assert index.missing([chunk_id(ONE), changed]) == {chunk_id(ONE), changed}


def test_packs_that_changed_places_are_told_and_their_chunks_found(root: Path, blobs: PosixBlobs, index: Index) -> None:
    first, second = stored(blobs, pack_of([ONE])), stored(blobs, pack_of([TWO], [THREE]))
    synced(index, blobs)
    stored(blobs, second._replace(name=first.name))
    stored(blobs, first._replace(name=second.name))
    assert sorted(synced(index, blobs)) == sorted([("pack_misnamed", first.name), ("pack_misnamed", second.name)])
    assert index.missing(ALL) == {ABSENT}
    assert index.locate([chunk_id(ONE)])[chunk_id(ONE)].pack == second.name


def test_a_pack_that_is_there_twice_does_no_harm(blobs: PosixBlobs, index: Index) -> None:
    pack = stored(blobs, pack_of([ONE], [TWO]))
    stored(blobs, pack._replace(name="0" * 64))
    assert synced(index, blobs) == [("pack_misnamed", "0" * 64)]
    blobs.delete([f"packs/{'0' * 64}"])
    assert synced(index, blobs) == []
    assert index.missing(ALL) == {chunk_id(THREE), ABSENT}
    assert index.locate([chunk_id(ONE)])[chunk_id(ONE)].pack == pack.name


class BadSector(Fs):
    """Can't read one offset of the file of one name."""

    def __init__(self, name: str, offset: int) -> None:
        self.name, self.offset = name, offset

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if offset <= self.offset < offset + size and self.path_of(fd).endswith(self.name):
            raise OSError(errno.EIO, "Input/output error")
        return super().pread(fd, size, offset)


def test_what_lies_around_a_bad_sector_can_be_used(root: Path, blobs: PosixBlobs, index: Index) -> None:
    good, bad = stored(blobs, pack_of([ONE])), stored(blobs, pack_of([TWO], [THREE]))
    content_end = bad.size - len(bad.buffers[-1])
    with PosixBlobs(BadSector(bad.name, content_end), root) as failing:
        assert synced(index, failing) == [("disk_error", bad.name)]
    assert index.missing(ALL) == {ABSENT}
    with PosixBlobs(BadSector(bad.name, 0), root) as failing, Index(Fs(), root / "other" / "index", "r1") as other:
        assert synced(other, failing) == [("disk_error", bad.name)]
        assert other.packs() == {good.name: good.size}


def test_a_bad_sector_within_a_pack_takes_only_what_lies_there(root: Path, blobs: PosixBlobs, index: Index) -> None:
    bad = stored(blobs, pack_of([ONE], [TWO], [THREE])._replace(name="0" * 64))
    with PosixBlobs(BadSector(bad.name, bad.frames[1].offset + 4), root) as failing:
        assert synced(index, failing) == [("disk_error", bad.name)]
    assert index.missing(ALL) == {chunk_id(TWO), ABSENT}


class Refusing(PosixBlobs):
    """Lists what it has, and then has nothing more to say."""

    error: HoldfastError

    def _get_range(self, name: str, offset: int, length: int) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [Unavailable("blob_store_silent", "It is silent."), Failed("too_many_open_files", "Too many open files.")],
    ids=lambda error: error.code,
)
def test_what_is_wrong_with_the_whole_store_is_no_problem_of_its_packs(
    fs: Fs, root: Path, index: Index, error: HoldfastError
) -> None:
    with Refusing.made_at(fs, root) as store:
        assert isinstance(store, Refusing)
        store.error = error
        stored(store, pack_of([ONE]))
        with pytest.raises(type(error)) as caught:
            synced(index, store)
    assert caught.value is error
    assert index.packs() == {}


class Racing(PosixBlobs):
    """While it is being listed, another process adds a pack, and deletes one that was listed."""

    other: Index
    pack: Pack
    deleted: Pack

    def _list(self, folder: str) -> list[BlobInfo]:
        found = super()._list(folder)
        stored(self, self.pack)
        added(self.other, self.pack)
        self.other.flush()
        self.delete([f"packs/{self.deleted.name}"])
        return found


def test_what_another_process_does_meanwhile_is_not_undone(fs: Fs, root: Path, path: Path, index: Index) -> None:
    with Racing.made_at(fs, root) as racing, Index(fs, path, "r1") as other:
        assert isinstance(racing, Racing)
        racing.other, racing.pack, racing.deleted = other, pack_of([TWO]), stored(racing, pack_of([ONE]))
        assert synced(index, racing) == []
        assert index.packs() == other.packs() == {racing.pack.name: racing.pack.size}


# --- what counts as present ----------------------------------------------------------------------------------------


def test_condemned_packs_can_be_read_and_don_t_count_as_present(index: Index) -> None:
    first, second = pack_of([ONE], [TWO]), pack_of([TWO], [THREE])
    added(index, first, second)
    index.condemn([first.name, "no such pack"])
    assert index.missing(ALL) == {chunk_id(ONE), ABSENT}
    assert index.locate([chunk_id(ONE)])[chunk_id(ONE)].pack == first.name
    assert index.locate([chunk_id(TWO)])[chunk_id(TWO)].pack == second.name
    index.absolve([first.name])
    assert index.missing(ALL) == {ABSENT}


def test_what_is_condemned_is_what_the_repository_says(blobs: PosixBlobs, index: Index) -> None:
    first, second = stored(blobs, pack_of([ONE])), stored(blobs, pack_of([TWO]))
    synced(index, blobs, condemned=(first.name,))
    assert index.missing(ALL[:2]) == {chunk_id(ONE)}
    synced(index, blobs, condemned=(second.name, "f" * 64))
    assert index.missing(ALL[:2]) == {chunk_id(TWO)}
    synced(index, blobs)
    assert index.missing(ALL[:2]) == set()


def test_a_damaged_chunk_is_missing_until_it_is_stored_again(index: Index) -> None:
    first, second = pack_of([ONE, TWO]), pack_of([ONE])
    added(index, first)
    index.mark_damaged(chunk_id(ONE), first.name)
    assert index.missing(ALL[:2]) == {chunk_id(ONE)}
    assert index.locate(ALL[:2]).keys() == set(ALL[:2])  # better than nothing: it may have been the cable
    added(index, second)
    assert index.missing(ALL[:2]) == set()
    assert index.locate([chunk_id(ONE)])[chunk_id(ONE)].pack == second.name
    index.flush()
    assert index.locate([chunk_id(ONE)])[chunk_id(ONE)].pack == second.name
    index.condemn([second.name])
    assert index.locate([chunk_id(ONE)])[chunk_id(ONE)].pack == second.name
    assert index.missing(ALL[:2]) == {chunk_id(ONE)}
    index.note_verified(first.name, 1, ())
    assert index.missing(ALL[:2]) == set()


def test_a_pack_that_comes_back_is_not_damaged_any_more(index: Index) -> None:
    pack = pack_of([ONE])
    added(index, pack)
    index.mark_damaged(chunk_id(ONE), pack.name)
    index.remove_packs([pack.name])
    added(index, pack)
    index.flush()
    assert index.missing([chunk_id(ONE)]) == set()


def test_a_tree_is_whole_until_anything_is_lost(fs: Fs, path: Path, blobs: PosixBlobs, index: Index) -> None:
    pack, other = stored(blobs, pack_of([ONE])), stored(blobs, pack_of([TWO]))
    synced(index, blobs)

    def whole() -> bool:
        index.set_whole("tree", since=index.losses())
        with Index(fs, path, "r1") as again:
            return again.is_whole("tree")

    assert not index.is_whole("tree")
    assert whole()
    index.condemn([pack.name])
    assert not index.is_whole("tree")
    assert whole()
    index.condemn([pack.name])
    index.absolve([pack.name])
    index.mark_damaged(chunk_id(ONE), other.name)
    index.remove_packs(["no such pack"])
    added(index, pack_of([THREE]))
    assert index.is_whole("tree")
    index.mark_damaged(chunk_id(ONE), pack.name)
    assert not index.is_whole("tree")
    assert whole()
    blobs.delete([f"packs/{pack.name}"])
    synced(index, blobs)
    assert not index.is_whole("tree")


def test_a_tree_is_not_noted_as_whole_if_something_was_lost_while_it_was_looked_at(index: Index) -> None:
    pack = pack_of([ONE])
    added(index, pack)
    before = index.losses()
    assert index.missing([chunk_id(ONE)]) == set()
    index.condemn([pack.name])
    index.set_whole("tree", since=before)
    assert not index.is_whole("tree")


@pytest.mark.parametrize(
    "content",
    [b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"packs":["\xff"]}', b'{"packs":["../x"]}', b"[]", b""],
    ids=["nesting", "no UTF-8", "a name that is none", "a list", "nothing"],
)
def test_a_list_of_condemned_packs_that_makes_no_sense_condemns_nothing(blobs: PosixBlobs, content: bytes) -> None:
    write_condemned(blobs, ["a" * 64])
    blobs.create(f"condemned/{new_id()}.json", [content])
    assert read_condemned(blobs) == {"a" * 64}
