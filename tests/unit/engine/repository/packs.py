"""Packs made of plain chunks, for tests."""

from collections.abc import Sequence

import zstandard
from blake3 import blake3

from holdfast.engine.repository.pack import Pack, PackBuilder, encode_frame
from holdfast.engine.repository.seal import RepositoryKeys, Sealer, sealer_of

KEYS = RepositoryKeys.derive(bytes(range(32)))
SEALED = sealer_of(KEYS, encrypted=True)
PLAIN = sealer_of(KEYS, encrypted=False)


def chunk_id(chunk: bytes) -> bytes:
    return blake3(chunk, key=KEYS.chunk_id).digest()


def pack_of(*frames: Sequence[bytes], sealer: Sealer = PLAIN) -> Pack:
    """A pack of frames of chunks."""
    builder = PackBuilder(KEYS.pack_name, sealer)
    compressor = zstandard.ZstdCompressor(level=2)
    for chunks in frames:
        builder.add_frame(encode_frame([(chunk_id(chunk), memoryview(chunk)) for chunk in chunks], compressor))
    return builder.finish()
