"""The pack format: bytes ↔ frames of chunks. Pure: reads through a function that it is given, writes nothing.

::

    header   "HOLDPACK", u8 version = 1, u8 flags (1 = sealed), 6 zero bytes, 32 bytes salt
    frame    u32 length of what follows, and that: payload, sealed where the pack is
               payload: u32 count, count × (32 bytes id, u32 length), one zstd frame of the chunks, concatenated
    …
    trailer  payload, sealed where the pack is
               payload: u32 frames, then of each: u32 length with its own u32, 32 bytes BLAKE3 of all that,
                        u32 count, count × (32 bytes id, u32 length)
    footer   u32 length of the trailer, 32 bytes keyed BLAKE3 of header and trailer, "HOLDEND1"

Integers are little-endian. Frames lie one after the other from the end of the header to the trailer, so their offsets
need no saying. A frame or trailer is sealed under the pack's salt and its own offset in the pack.

Invariants:

- A pack's name is the hash in its footer. It vouches for header and trailer, and the trailer's hashes vouch for the
  frames: whoever knows the name notices every changed, missing, added or exchanged byte, and needs the trailer alone
  to know what a pack holds.
- Every count and length is checked against a bound and against what is there before anything is allocated for it;
  decompression gives as many bytes as were announced, or an error.
- What can't be read is ``Damaged``, never another exception and never wrong data without one. Whether a chunk is what
  its id says is for the reader to check: this module has no use for the key.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

import zstandard
from blake3 import blake3

from holdfast.domain.errors import Damaged
from holdfast.engine.repository.blobs import Piece
from holdfast.engine.repository.seal import Sealer

GetRange: TypeAlias = Callable[[int, int], Piece]
"""``get_range(offset, length)``: exactly these bytes of a pack, or ``HoldfastError``."""

ID_BYTES: Final = 32
MAX_CHUNK_BYTES: Final = 4 << 20
MAX_FRAME_BYTES: Final = 8 << 20
"""Plaintext of one frame."""
MAX_FRAME_CHUNKS: Final = 16_384
MAX_PACK_BYTES: Final = 256 << 20
HEADER_BYTES: Final = 48

_VERSION: Final = 1
_SEALED: Final = 1
_HEADER: Final = struct.Struct("<8sBB6s32s")
_FOOTER: Final = struct.Struct("<I32s8s")
_MAGIC: Final = b"HOLDPACK"
_END_MAGIC: Final = b"HOLDEND1"
_U32: Final = struct.Struct("<I")
_CHUNK: Final = struct.Struct("<32sI")
_FRAME: Final = struct.Struct("<I32s")
_MAX_STORED_FRAME: Final = MAX_FRAME_BYTES + (1 << 20)
"""Plaintext that does not compress, ids, and what zstd and the seal add, generously."""
_TAIL_BYTES: Final = 128 << 10
"""Read at once from the end of a pack: mostly the whole trailer."""

_FRAME_SEAL: Final = b"holdfast pack frame"
_TRAILER_SEAL: Final = b"holdfast pack trailer"
_AFFECTED: Final = (
    "Verify the repository: that names the snapshots and files that are affected. The others can be used."
)


class EncodedFrame(NamedTuple):
    """A frame on its way into a pack: compressed, not yet sealed.

    Attributes:
        chunks: id and plaintext length of each chunk.
    """

    payload: bytes
    chunks: tuple[tuple[bytes, int], ...]


class FrameInfo(NamedTuple):
    """A frame as a pack's trailer tells of it.

    Attributes:
        offset, length: the bytes of the pack that :func:`decode_frame` takes.
        digest: their BLAKE3.
        chunks: id and plaintext length of each chunk, in their order in the plaintext.
    """

    offset: int
    length: int
    digest: bytes
    chunks: tuple[tuple[bytes, int], ...]


class Pack(NamedTuple):
    """A finished pack; ``buffers``, one after the other, are its content."""

    name: str
    size: int
    buffers: Sequence[Piece]
    frames: Sequence[FrameInfo]


class Trailer(NamedTuple):
    """What a pack says of itself."""

    salt: bytes
    frames: Sequence[FrameInfo]


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_frame(chunks: Sequence[tuple[bytes, Piece]], compressor: zstandard.ZstdCompressor) -> EncodedFrame:
    """Compress chunks, given as id and plaintext and within this module's bounds, into one frame.

    Safe in several threads at once, each with a compressor of its own.
    """
    known = tuple((chunk_id, len(data)) for chunk_id, data in chunks)
    if not (
        0 < len(known) <= MAX_FRAME_CHUNKS
        and all(len(chunk_id) == ID_BYTES and 0 < length <= MAX_CHUNK_BYTES for chunk_id, length in known)
        and sum(length for _, length in known) <= MAX_FRAME_BYTES
    ):
        raise ValueError("these chunks don't make a frame")
    plain = chunks[0][1] if len(chunks) == 1 else b"".join(data for _, data in chunks)
    return EncodedFrame(_encode_chunks(known) + compressor.compress(plain), known)


class PackBuilder:
    """Gathers frames into a pack, in memory. Not for several threads at once.

    Args:
        name_key: the repository's key of pack names.

    Attributes:
        size: bytes of the pack if it were finished now, but for the trailer's own seal.
    """

    def __init__(self, name_key: bytes, sealer: Sealer) -> None:
        self._name_key, self._sealer = name_key, sealer
        self._salt = secrets.token_bytes(32)
        flags = _SEALED if sealer.sealed else 0
        self._header = _HEADER.pack(_MAGIC, _VERSION, flags, bytes(6), self._salt)
        self._buffers: list[Piece] = [self._header]
        self._offset = HEADER_BYTES
        self._frames: list[FrameInfo] = []
        self.size = HEADER_BYTES + _U32.size + _FOOTER.size

    def __bool__(self) -> bool:
        """Whether it holds anything."""
        return bool(self._frames)

    def add_frame(self, frame: EncodedFrame) -> None:
        """Seal a frame and append it."""
        sealed = self._sealer.seal(self._salt, self._offset, _FRAME_SEAL, frame.payload)
        length = _U32.pack(len(sealed))
        digest = blake3(length).update(sealed).digest()
        info = FrameInfo(self._offset, _U32.size + len(sealed), digest, frame.chunks)
        self._frames.append(info)
        self._buffers += (length, sealed)
        self._offset += info.length
        self.size += info.length + _FRAME.size + _U32.size + _CHUNK.size * len(info.chunks)
        if self.size > MAX_PACK_BYTES:
            raise ValueError("a pack of this size would not be read again")

    def finish(self) -> Pack:
        """The pack, to be stored under its name. The builder is of no further use."""
        trailer = self._sealer.seal(self._salt, self._offset, _TRAILER_SEAL, _encode_trailer(self._frames))
        name = blake3(self._header, key=self._name_key).update(trailer).digest()
        buffers = (*self._buffers, trailer, _FOOTER.pack(len(trailer), name, _END_MAGIC))
        return Pack(name.hex(), sum(len(buffer) for buffer in buffers), buffers, tuple(self._frames))


def _encode_chunks(chunks: Sequence[tuple[bytes, int]]) -> bytes:
    return b"".join((_U32.pack(len(chunks)), *(_CHUNK.pack(chunk_id, length) for chunk_id, length in chunks)))


def _encode_trailer(frames: Sequence[FrameInfo]) -> bytes:
    pieces = [_U32.pack(len(frames))]
    for frame in frames:
        pieces += (_FRAME.pack(frame.length, frame.digest), _encode_chunks(frame.chunks))
    return b"".join(pieces)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_salt(header: Piece, sealer: Sealer) -> bytes:
    """The salt out of the first ``HEADER_BYTES`` of a pack.

    Raises:
        Damaged: ``pack_header_damaged``; ``pack_version_unknown``; ``pack_sealing_differs``, the pack is sealed and the
            repository is not, or the other way round.
    """
    if len(header) != HEADER_BYTES:
        raise _header_damaged()
    magic, version, flags, zeros, salt = _HEADER.unpack(header)
    if magic != _MAGIC or zeros != bytes(6) or flags & ~_SEALED:
        raise _header_damaged()
    if version != _VERSION:
        raise Damaged(
            "pack_version_unknown",
            f"The pack says that it is of version {version} of the format; this is version {_VERSION}.",
            next_step="If a newer Holdfast wrote to this repository, use that one. Otherwise the pack is damaged.",
            details={"version": version},
        )
    if bool(flags & _SEALED) != sealer.sealed:
        raise Damaged(
            "pack_sealing_differs",
            "The pack is sealed, the repository is not." if flags else "The pack is not sealed, the repository is.",
            next_step="It does not belong to this repository, or it is damaged. " + _AFFECTED,
        )
    return bytes(salt)


def read_trailer(get_range: GetRange, size: int, name: str, name_key: bytes, sealer: Sealer) -> Trailer:
    """What the pack called ``name`` holds, proven by its name.

    Args:
        size: bytes of the pack.

    Raises:
        Damaged: what :func:`read_salt` raises; ``pack_incomplete``, its end is not an end; ``pack_trailer_damaged``;
            ``pack_misnamed``, it is another pack; ``blob_truncated``.
    """
    if not HEADER_BYTES + _FOOTER.size < size <= MAX_PACK_BYTES:
        raise _incomplete(size)
    tail_offset = max(HEADER_BYTES, size - _TAIL_BYTES)
    header, tail = get_range(0, HEADER_BYTES), memoryview(get_range(tail_offset, size - tail_offset))
    if len(header) != HEADER_BYTES or len(tail) != size - tail_offset:
        raise _incomplete(size)
    salt = read_salt(header, sealer)
    length, stated, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
    offset = size - _FOOTER.size - length
    if magic != _END_MAGIC or offset < HEADER_BYTES:
        raise _incomplete(size)
    trailer = tail[offset - tail_offset : -_FOOTER.size] if offset >= tail_offset else get_range(offset, length)
    if blake3(header, key=name_key).update(trailer).digest() != stated:
        raise _trailer_damaged("its hash is another")
    if stated.hex() != name:
        raise Damaged(
            "pack_misnamed",
            f"Under the name of the pack {name[:16]}… there is another pack.",
            next_step=_AFFECTED,
            details={"pack": name, "found": stated.hex()},
        )
    try:
        payload = memoryview(sealer.open(salt, offset, _TRAILER_SEAL, trailer))
    except Damaged as error:
        raise _trailer_damaged("its seal is broken") from error
    return Trailer(salt, _decode_trailer(payload, offset))


def check_frame(stored: Piece, frame: FrameInfo) -> None:
    """Compare the stored bytes of a frame with what the trailer says.

    Raises:
        Damaged: ``pack_frame_damaged``.
    """
    if blake3(stored).digest() != frame.digest:
        raise _frame_damaged(frame.offset, "its hash is another")


def decode_frame(stored: Piece, offset: int, salt: bytes, sealer: Sealer) -> list[tuple[bytes, memoryview]]:
    """The chunks of one frame, with the ids that they are said to have: the caller verifies them.

    Args:
        stored: the ``length`` bytes from ``offset`` on, as the index and the trailer give them.
        salt: of the pack, see :func:`read_salt`.

    Raises:
        Damaged: ``pack_frame_damaged``.
    """
    view = memoryview(stored)
    if len(view) < _U32.size or _U32.unpack_from(view)[0] != len(view) - _U32.size:
        raise _frame_damaged(offset, "its length is another")
    try:
        payload = memoryview(sealer.open(salt, offset, _FRAME_SEAL, view[_U32.size :]))
    except Damaged as error:
        raise _frame_damaged(offset, "its seal is broken") from error
    try:
        chunks, end = _decode_chunks(payload, 0)
        plain = _decompress(payload[end:], sum(length for _, length in chunks))
    except (_Malformed, zstandard.ZstdError) as error:
        raise _frame_damaged(offset, str(error)) from error
    found, position = [], 0
    for chunk_id, length in chunks:
        found.append((chunk_id, plain[position : position + length]))
        position += length
    return found


def scan_frames(
    get_range: GetRange, size: int, sealer: Sealer
) -> Iterator[tuple[FrameInfo, list[tuple[bytes, memoryview]]]]:
    """The readable frames of a pack whose trailer can't be used, with their chunks, which the caller verifies.

    A frame that can't be read is left out; the scan goes on where the frame says that it ends.

    Args:
        size: bytes of the pack, as far as it goes.

    Raises:
        Damaged: what :func:`read_salt` raises: without its header nothing in a pack can be read; what ``get_range``
            raises where a frame would begin.
    """
    if size < HEADER_BYTES:
        raise _incomplete(size)
    salt = read_salt(get_range(0, HEADER_BYTES), sealer)
    offset = HEADER_BYTES
    while offset + _U32.size <= size:
        length = _U32.size + _U32.unpack(get_range(offset, _U32.size))[0]
        if length > min(_MAX_STORED_FRAME, size - offset):
            return
        with suppress(Damaged):
            stored = get_range(offset, length)
            chunks = decode_frame(stored, offset, salt, sealer)
            known = tuple((chunk_id, len(data)) for chunk_id, data in chunks)
            yield FrameInfo(offset, length, blake3(stored).digest(), known), chunks
        offset += length


class _Malformed(Exception):
    """Why bytes are not what they should be."""


def _decode_chunks(payload: memoryview, at: int) -> tuple[tuple[tuple[bytes, int], ...], int]:
    """The list of chunks that begins at ``at``, and where it ends."""
    if len(payload) < at + _U32.size:
        raise _Malformed("it is cut off")
    (count,) = _U32.unpack_from(payload, at)
    start, end = at + _U32.size, at + _U32.size + count * _CHUNK.size
    if not 0 < count <= MAX_FRAME_CHUNKS or end > len(payload):
        raise _Malformed("its number of chunks is impossible")
    chunks = tuple(_CHUNK.iter_unpack(payload[start:end]))
    if not all(0 < length <= MAX_CHUNK_BYTES for _, length in chunks) or sum(c[1] for c in chunks) > MAX_FRAME_BYTES:
        raise _Malformed("the size of a chunk is impossible")
    return chunks, end


def _decode_trailer(payload: memoryview, end_of_frames: int) -> Sequence[FrameInfo]:
    frames: list[FrameInfo] = []
    offset, at = HEADER_BYTES, _U32.size
    try:
        (count,) = _U32.unpack_from(payload)
        for _ in range(count):
            length, digest = _FRAME.unpack_from(payload, at)
            chunks, at = _decode_chunks(payload, at + _FRAME.size)
            frames.append(FrameInfo(offset, length, digest, chunks))
            offset += length
    except (struct.error, _Malformed) as error:
        raise _trailer_damaged("it can't be decoded") from error
    if at != len(payload) or offset != end_of_frames or any(frame.length > _MAX_STORED_FRAME for frame in frames):
        raise _trailer_damaged("it does not fit the pack")
    return tuple(frames)


def _decompress(compressed: memoryview, size: int) -> memoryview:
    # The library allocates what the zstd frame announces, whatever is asked for: so that is compared first.
    if zstandard.get_frame_parameters(compressed).content_size != size:
        raise _Malformed("its size is another")
    plain = zstandard.ZstdDecompressor().decompress(compressed, max_output_size=size, allow_extra_data=False)
    if len(plain) != size:
        raise _Malformed("its size is another")
    return memoryview(plain)


def _header_damaged() -> Damaged:
    return Damaged("pack_header_damaged", "The pack does not begin as a pack does.", next_step=_AFFECTED)


def _incomplete(size: int) -> Damaged:
    return Damaged(
        "pack_incomplete",
        f"The pack, of {size} bytes, does not end as a pack does: it was cut off, or something was added.",
        next_step=_AFFECTED,
        details={"size": size},
    )


def _trailer_damaged(why: str) -> Damaged:
    return Damaged("pack_trailer_damaged", f"The list of what the pack holds is damaged: {why}.", next_step=_AFFECTED)


def _frame_damaged(offset: int, why: str) -> Damaged:
    return Damaged(
        "pack_frame_damaged",
        f"A part of the pack, at byte {offset}, is damaged: {why}.",
        next_step=_AFFECTED,
        details={"offset": offset},
    )
