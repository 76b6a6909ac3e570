"""Packs: what goes in comes out, and nothing that was changed since passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.repository.packs import KEYS, PLAIN, SEALED, pack_of

from holdfast.engine.repository.pack import check_frame, decode_frame, read_trailer, scan_frames
from holdfast.engine.repository.seal import Sealer


@pytest.mark.parametrize("sealer", [PLAIN, SEALED], ids=["plain", "sealed"])
@given(groups=st.lists(st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=5), max_size=5))
def test_what_goes_into_a_pack_comes_out_of_it(sealer: Sealer, groups: list[list[bytes]]) -> None:
    pack = pack_of(*groups, sealer=sealer)
    content = b"".join(pack.buffers)

    def get_range(offset: int, length: int) -> bytes:
        return content[offset : offset + length]

    assert len(content) == pack.size
    trailer = read_trailer(get_range, pack.size, pack.name, KEYS.pack_name, sealer)
    assert trailer.frames == pack.frames
    found = []
    for frame in trailer.frames:
        stored = get_range(frame.offset, frame.length)
        check_frame(stored, frame)
        chunks = decode_frame(stored, frame.offset, trailer.salt, sealer)
        assert [(chunk_id, len(chunk)) for chunk_id, chunk in chunks] == list(frame.chunks)
        found.append([bytes(chunk) for _, chunk in chunks])
    assert found == groups
    scanned = list(scan_frames(get_range, pack.size, sealer))
    assert [frame for frame, _ in scanned] == list(pack.frames)
    assert [[bytes(chunk) for _, chunk in chunks] for _, chunks in scanned] == groups
