"""Packs: what goes in comes out, and nothing that was changed since passes."""

import zstandard
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.repository.pack import (
    Buffer,
    EncodedFrame,
    Pack,
    PackBuilder,
    check_frame,
    decode_frame,
    encode_frame,
    read_trailer,
    scan_frames,
)

NAME_KEY = bytes(range(32))


class Unsealed:
    """Leaves everything as it is."""

    sealed = False

    def seal(self, salt: bytes, number: int, what: bytes, data: Buffer) -> Buffer:
        return data

    def open(self, salt: bytes, number: int, what: bytes, data: Buffer) -> Buffer:
        return data


def frame_of(*chunks: bytes) -> EncodedFrame:
    compressor = zstandard.ZstdCompressor(level=2)
    return encode_frame([(blake3(chunk).digest(), memoryview(chunk)) for chunk in chunks], compressor)


def pack_of(*frames: EncodedFrame) -> Pack:
    builder = PackBuilder(NAME_KEY, Unsealed())
    for frame in frames:
        builder.add_frame(frame)
    assert builder.size == builder.finish().size
    return builder.finish()


@given(st.lists(st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=5), max_size=5))
def test_what_goes_into_a_pack_comes_out_of_it(groups: list[list[bytes]]) -> None:
    pack = pack_of(*(frame_of(*group) for group in groups))
    content = b"".join(pack.buffers)

    def get_range(offset: int, length: int) -> bytes:
        return content[offset : offset + length]

    trailer = read_trailer(get_range, len(content), pack.name, NAME_KEY, Unsealed())
    assert trailer.frames == pack.frames
    found = []
    for frame in trailer.frames:
        stored = get_range(frame.offset, frame.length)
        check_frame(stored, frame)
        chunks = decode_frame(stored, frame.offset, trailer.salt, Unsealed())
        assert [(chunk_id, len(chunk)) for chunk_id, chunk in chunks] == list(frame.chunks)
        found.append([bytes(chunk) for _, chunk in chunks])
    assert found == groups
    scanned = list(scan_frames(get_range, len(content), Unsealed()))
    assert [frame for frame, _ in scanned] == list(pack.frames)
    assert [[bytes(chunk) for _, chunk in chunks] for _, chunks in scanned] == groups
