"""Packs: what goes in comes out, and nothing that was changed since passes for what it was."""

import struct
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.repository.packs import KEYS, PLAIN, SEALED, chunk_id, pack_of

from holdfast.domain.errors import Damaged
from holdfast.engine.repository import pack as pack_module
from holdfast.engine.repository.pack import (
    HEADER_BYTES,
    MAX_CHUNK_BYTES,
    MAX_FRAME_CHUNKS,
    EncodedFrame,
    GetRange,
    Pack,
    PackBuilder,
    check_frame,
    decode_frame,
    encode_frame,
    read_salt,
    read_trailer,
    scan_frames,
)
from holdfast.engine.repository.seal import RepositoryKeys, Sealer, sealer_of

both = pytest.mark.parametrize("sealer", [PLAIN, SEALED], ids=["plain", "sealed"])
FOOTER_BYTES = 44


def content_of(pack: Pack) -> bytes:
    return b"".join(pack.buffers)


def reading(content: bytes) -> GetRange:
    return lambda offset, length: content[offset : offset + length]


def read_all(content: bytes, name: str, sealer: Sealer) -> list[bytes]:
    """Everything in a pack, as a careful reader takes it: by its name, its trailer, its frames' hashes and the ids."""
    trailer = read_trailer(reading(content), len(content), name, KEYS.pack_name, sealer)
    found = []
    for frame in trailer.frames:
        stored = content[frame.offset : frame.offset + frame.length]
        check_frame(stored, frame)
        for claimed, chunk in decode_frame(stored, frame.offset, trailer.salt, sealer):
            assert chunk_id(bytes(chunk)) == claimed
            found.append(bytes(chunk))
    return found


def code_of(content: bytes, name: str, sealer: Sealer = PLAIN) -> str:
    with pytest.raises(Damaged) as caught:
        read_trailer(reading(content), len(content), name, KEYS.pack_name, sealer)
    assert caught.value.next_step
    return caught.value.code


# --- round trips ---------------------------------------------------------------------------------------------------


@both
@given(groups=st.lists(st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=5), max_size=5))
def test_what_goes_into_a_pack_comes_out_of_it(sealer: Sealer, groups: list[list[bytes]]) -> None:
    pack = pack_of(*groups, sealer=sealer)
    content = content_of(pack)
    assert len(content) == pack.size
    assert read_all(content, pack.name, sealer) == [chunk for group in groups for chunk in group]
    trailer = read_trailer(reading(content), pack.size, pack.name, KEYS.pack_name, sealer)
    assert trailer.frames == pack.frames
    scanned = list(scan_frames(reading(content), pack.size, sealer))
    assert [frame for frame, _ in scanned] == list(pack.frames)
    assert [[bytes(chunk) for _, chunk in chunks] for _, chunks in scanned] == groups


@both
def test_chunks_of_the_largest_size_and_of_one_byte_share_a_frame(sealer: Sealer) -> None:
    chunks = [bytes(MAX_CHUNK_BYTES), b"x", bytes(range(256)) * 4096]
    pack = pack_of(chunks, sealer=sealer)
    assert read_all(content_of(pack), pack.name, sealer) == chunks


@both
def test_a_trailer_of_any_length_is_read(sealer: Sealer) -> None:
    frames = [[b"%d of %d" % (number, frame) for number in range(3000)] for frame in range(3)]
    pack = pack_of(*frames, sealer=sealer)
    content = content_of(pack)
    assert len(pack.buffers[-2]) > 256 << 10
    assert read_all(content, pack.name, sealer) == [chunk for frame in frames for chunk in frame]


def test_the_size_of_a_pack_is_known_while_it_grows() -> None:
    builder = PackBuilder(KEYS.pack_name, PLAIN)
    assert not builder
    for text in (b"one", b"two"):
        builder.add_frame(encode_frame([(chunk_id(text), text)], zstandard.ZstdCompressor()))
    assert builder
    size = builder.size
    assert builder.finish().size == size


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [(bytes(32), b"")],
        [(bytes(31), b"x")],
        [(bytes(32), bytes(MAX_CHUNK_BYTES + 1))],
        [(bytes(32), bytes(MAX_CHUNK_BYTES))] * 3,
        [(bytes(32), b"x")] * (MAX_FRAME_CHUNKS + 1),
    ],
    ids=["none", "empty", "short id", "long chunk", "too much", "too many"],
)
def test_what_no_reader_would_take_is_not_written(chunks: Sequence[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match="frame"):
        encode_frame(chunks, zstandard.ZstdCompressor())


def test_a_pack_that_no_reader_would_take_is_not_made() -> None:
    builder = PackBuilder(KEYS.pack_name, PLAIN)
    large = EncodedFrame(bytes(60 << 20), ((bytes(32), 1),))
    for _ in range(4):
        builder.add_frame(large)
    with pytest.raises(ValueError, match="size"):
        builder.add_frame(large)


@both
def test_the_same_chunks_make_another_pack_each_time(sealer: Sealer) -> None:
    one, other = pack_of([b"same"], sealer=sealer), pack_of([b"same"], sealer=sealer)
    assert one.name != other.name


def test_a_sealed_pack_shows_neither_data_nor_ids() -> None:
    secret = b"the quick brown fox"
    content = content_of(pack_of([secret], sealer=SEALED))
    assert secret not in content
    assert chunk_id(secret) not in content
    assert chunk_id(secret) in content_of(pack_of([secret]))


# --- damage --------------------------------------------------------------------------------------------------------


@both
def test_every_changed_bit_is_noticed_by_whoever_knows_the_name(sealer: Sealer) -> None:
    pack = pack_of([b"one", b"two"], [b"three" * 9], sealer=sealer)
    content = content_of(pack)
    for position in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            with pytest.raises(Damaged):
                read_all(bytes(changed), pack.name, sealer)


@both
def test_a_changed_bit_in_a_frame_never_gives_a_chunk_that_is_not_what_its_id_says(sealer: Sealer) -> None:
    """A reader that knows only where a frame lies has no hash of it, so this is for the frame and the ids alone."""
    chunks = [b"one" * 20, b"two" * 30]
    pack = pack_of(chunks, sealer=sealer)
    (frame,) = pack.frames
    stored = content_of(pack)[frame.offset : frame.offset + frame.length]
    salt = read_salt(pack.buffers[0], sealer)
    for position in range(len(stored)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[position] ^= 1 << bit
            try:
                found = decode_frame(bytes(changed), frame.offset, salt, sealer)
            except Damaged:
                continue
            assert sealer is PLAIN
            believed = {bytes(chunk) for claimed, chunk in found if chunk_id(bytes(chunk)) == claimed}
            assert believed <= set(chunks)


@both
def test_a_pack_that_was_cut_off_is_noticed_at_every_length(sealer: Sealer) -> None:
    pack = pack_of([b"one", b"two"], [b"three" * 9], sealer=sealer)
    content = content_of(pack)
    for length in range(len(content)):
        assert code_of(content[:length], pack.name, sealer) in {"pack_incomplete", "pack_header_damaged"}
        with pytest.raises(Damaged) as caught:  # the store still tells the old length
            read_trailer(reading(content[:length]), len(content), pack.name, KEYS.pack_name, sealer)
        assert caught.value.code == "pack_incomplete"


@both
def test_what_was_appended_to_a_pack_is_noticed(sealer: Sealer) -> None:
    pack, other = pack_of([b"one"], sealer=sealer), pack_of([b"two"], sealer=sealer)
    content = content_of(pack)
    assert code_of(content + b"\0", pack.name, sealer) == "pack_incomplete"
    assert code_of(content + content_of(other), pack.name, sealer) == "pack_trailer_damaged"
    assert code_of(content + content, pack.name, sealer) == "pack_trailer_damaged"


@both
def test_a_pack_under_the_name_of_another_is_noticed(sealer: Sealer) -> None:
    pack, other = pack_of([b"one"], sealer=sealer), pack_of([b"one"], sealer=sealer)
    assert code_of(content_of(other), pack.name, sealer) == "pack_misnamed"


def test_a_pack_of_a_repository_with_another_key_is_noticed() -> None:
    keys = RepositoryKeys.derive(bytes(32))
    for encrypted in (False, True):
        sealer = sealer_of(keys, encrypted=encrypted)
        pack = pack_of([b"one"], sealer=sealer)
        content = content_of(pack)
        with pytest.raises(Damaged, match="hash"):
            read_trailer(reading(content), pack.size, pack.name, keys.pack_name, sealer)


def test_an_unsealed_pack_is_not_taken_into_a_sealed_repository_nor_the_other_way_round() -> None:
    plain, sealed = pack_of([b"one"]), pack_of([b"one"], sealer=SEALED)
    assert code_of(content_of(plain), plain.name, SEALED) == "pack_sealing_differs"
    assert code_of(content_of(sealed), sealed.name, PLAIN) == "pack_sealing_differs"


def test_a_pack_of_a_newer_format_is_told_from_a_damaged_one() -> None:
    content = bytearray(content_of(pack_of([b"one"])))
    content[8] = 2
    assert code_of(bytes(content), "") == "pack_version_unknown"


@pytest.mark.parametrize("position", [0, 7, 9, 10, 15])
def test_a_header_that_is_none_gives_no_salt(position: int) -> None:
    header = bytearray(pack_of([b"one"]).buffers[0])
    header[position] ^= 0x80
    with pytest.raises(Damaged) as caught:
        read_salt(bytes(header), PLAIN)
    assert caught.value.code == "pack_header_damaged"


@both
def test_frames_that_changed_places_are_noticed(sealer: Sealer) -> None:
    pack = pack_of([b"one"], [b"two"], sealer=sealer)
    content = content_of(pack)
    first, second = pack.frames
    assert first.length == second.length
    split = second.offset
    changed = content[:HEADER_BYTES] + content[split : split + second.length] + content[HEADER_BYTES:split]
    changed += content[split + second.length :]
    with pytest.raises(Damaged, match="hash"):
        read_all(changed, pack.name, sealer)
    moved = changed[first.offset : first.offset + first.length]
    if sealer is SEALED:
        with pytest.raises(Damaged, match="seal"):
            decode_frame(moved, first.offset, read_salt(content[:HEADER_BYTES], sealer), sealer)


@both
@given(data=st.data())
def test_garbage_is_damage_and_nothing_else(sealer: Sealer, data: st.DataObject) -> None:
    content = bytearray(content_of(pack_of([b"one", b"two" * 9], sealer=sealer)))
    position = data.draw(st.integers(0, len(content)))
    content[position : position + data.draw(st.integers(0, 60))] = data.draw(st.binary(max_size=60))
    frame = data.draw(st.binary(max_size=200))
    get_range = reading(bytes(content))
    for attempt in (
        lambda: read_trailer(get_range, len(content), "", KEYS.pack_name, sealer),
        lambda: decode_frame(frame, 0, bytes(32), sealer),
        lambda: list(scan_frames(get_range, len(content), sealer)),
    ):
        with suppress(Damaged):
            attempt()


# --- without a trailer ---------------------------------------------------------------------------------------------


@both
def test_frames_are_found_without_a_trailer_wherever_the_pack_was_cut_off(sealer: Sealer) -> None:
    pack = pack_of([b"one"], [b"two"], [b"three"], sealer=sealer)
    content = content_of(pack)
    for length in range(len(content)):
        get_range = reading(content[:length])
        if length < HEADER_BYTES:
            with pytest.raises(Damaged):
                list(scan_frames(get_range, length, sealer))
            continue
        found = [frame for frame, _ in scan_frames(get_range, length, sealer)]
        assert found == [frame for frame in pack.frames if frame.offset + frame.length <= length]


@both
def test_frames_behind_a_damaged_one_are_found(sealer: Sealer) -> None:
    pack = pack_of([b"one"], [b"two"], [b"three"], sealer=sealer)
    content = bytearray(content_of(pack))
    second = pack.frames[1]
    content[second.offset + 4] ^= 1
    found = list(scan_frames(reading(bytes(content)), len(content), sealer))
    assert [frame for frame, _ in found] == [pack.frames[0], pack.frames[2]]


def test_a_scan_reads_no_more_than_a_frame_can_have() -> None:
    def get_range(offset: int, length: int) -> bytes:
        assert length <= HEADER_BYTES
        return content[offset : offset + length]

    content = content_of(pack_of())[:HEADER_BYTES] + struct.pack("<I", 100 << 20)
    assert list(scan_frames(get_range, 200 << 20, PLAIN)) == []


# --- lengths that lie, under valid hashes ----------------------------------------------------------------------------


def forged(frames: bytes, trailer: bytes) -> tuple[bytes, str]:
    """A plain pack with a valid name, whatever it holds."""
    header = b"HOLDPACK" + bytes([1, 0]) + bytes(38)
    name = blake3(header + trailer, key=KEYS.pack_name).digest()
    return header + frames + trailer + struct.pack("<I", len(trailer)) + name + b"HOLDEND1", name.hex()


ONE_CHUNK = struct.pack("<I32sI", 1, bytes(32), 10)


@pytest.mark.parametrize(
    "trailer",
    [
        b"",
        struct.pack("<I", 2**32 - 1),
        struct.pack("<II32sI", 1, 10, bytes(32), 2**32 - 1),
        struct.pack("<II32sI", 1, 10, bytes(32), 0),
        struct.pack("<II32s", 1, 10, bytes(32)) + struct.pack("<I32sI", 1, bytes(32), 2**32 - 1),
        struct.pack("<II32s", 1, 10, bytes(32)) + struct.pack("<I32sI", 1, bytes(32), 0),
        struct.pack("<II32s", 1, 2**32 - 1, bytes(32)) + ONE_CHUNK,
        struct.pack("<II32s", 1, 9, bytes(32)) + ONE_CHUNK,
        struct.pack("<II32s", 2, 10, bytes(32)) + ONE_CHUNK,
        struct.pack("<II32s", 1, 10, bytes(32)) + ONE_CHUNK + b"\0",
    ],
    ids=[
        "no count",
        "many frames",
        "many chunks",
        "no chunks",
        "long chunk",
        "empty chunk",
        "long frame",
        "short frame",
        "a frame less",
        "more",
    ],
)
def test_a_trailer_with_lengths_that_lie_is_damage(trailer: bytes) -> None:
    content, name = forged(bytes(10), trailer)
    assert code_of(content, name) == "pack_trailer_damaged"


def test_a_frame_of_more_than_a_frame_may_have_is_damage() -> None:
    size = pack_module.MAX_FRAME_BYTES + (1 << 20) + 1
    content, name = forged(bytes(size), struct.pack("<II32s", 1, size, bytes(32)) + ONE_CHUNK)
    assert code_of(content, name) == "pack_trailer_damaged"


@pytest.mark.parametrize("length", [2**32 - 1, 1000], ids=["absurd", "into the header"])
def test_a_footer_with_a_length_that_lies_is_damage(length: int) -> None:
    content, name = forged(bytes(10), b"")
    changed = content[:-FOOTER_BYTES] + struct.pack("<I", length) + content[-FOOTER_BYTES + 4 :]
    assert code_of(changed, name) == "pack_incomplete"


def test_a_pack_of_an_absurd_size_is_not_read_at_all() -> None:
    def get_range(offset: int, length: int) -> bytes:
        raise AssertionError("it was read")

    with pytest.raises(Damaged) as caught:
        read_trailer(get_range, 1 << 50, "", KEYS.pack_name, PLAIN)
    assert caught.value.code == "pack_incomplete"


def frame_saying(lengths: Sequence[int], compressed: bytes) -> bytes:
    ids = b"".join(struct.pack("<32sI", bytes(32), length) for length in lengths)
    payload = struct.pack("<I", len(lengths)) + ids + compressed
    return struct.pack("<I", len(payload)) + payload


ZEROS = zstandard.ZstdCompressor().compress(bytes(1000))
UNSAID = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
HUGE = bytes.fromhex("28b52ffd e0 ffffffffffffff7f 010000")
"""Says that it has 2^63 bytes."""
BOMB = zstandard.ZstdCompressor().compress(bytes(64 << 20))


@pytest.mark.parametrize(
    "stored",
    [
        frame_saying([999], ZEROS),
        frame_saying([1001], ZEROS),
        frame_saying([500, 499], ZEROS),
        frame_saying([1000], UNSAID),
        frame_saying([1000], HUGE),
        frame_saying([1000], BOMB),
        frame_saying([MAX_CHUNK_BYTES] * 16, BOMB),
        frame_saying([1000], b""),
        frame_saying([1000], b"not zstd at all"),
        frame_saying([1000], ZEROS[:-1]),
        frame_saying([1000], ZEROS + b"\0"),
        frame_saying([2000], ZEROS + ZEROS),
        frame_saying([], ZEROS),
        frame_saying([0, 1000], ZEROS),
        struct.pack("<II", 4, 2**32 - 1),
        struct.pack("<I", 0),
        b"",
    ],
)
def test_a_frame_with_lengths_that_lie_is_damage_and_takes_no_memory(stored: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Damaged) as caught:
            decode_frame(stored, 48, bytes(32), PLAIN)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "pack_frame_damaged"
    assert peak < 4 << 20
