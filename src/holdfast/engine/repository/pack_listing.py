"""What the packs of a repository say that they hold; and what can still be found in those that don't."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from blake3 import blake3

from holdfast.domain.errors import Damaged, Failed, NotFound, Problem
from holdfast.engine.repository.blobs import BlobStore, Piece
from holdfast.engine.repository.pack import FrameInfo, read_trailer, scan_frames
from holdfast.engine.repository.seal import RepositoryKeys, Sealer

FOLDER: Final = "packs"

_NAME: Final = re.compile(rf"{FOLDER}/([0-9a-f]{{64}})")
_AT_ONCE: Final = 8
"""Packs whose ends are read at once: of a remote store, each takes the time of two answers."""
_BATCH: Final = 32
_OF_ONE_PACK: Final = frozenset({"disk_error", "file_system_error", "permission_denied"})
"""Codes of failures that say something about one file, not about the whole store."""


class Listing(NamedTuple):
    """What one pack holds.

    Attributes:
        frames: ``None`` if nothing was found out.
        salvaged: whether the frames were found without the trailer, their chunks verified one by one.
        problem: why the pack is not as it should be.
    """

    name: str
    size: int
    frames: Sequence[FrameInfo] | None
    salvaged: bool = False
    problem: Problem | None = None


def listed_packs(blobs: BlobStore) -> dict[str, int]:
    """Size by name of all packs that are there."""
    found = ((_NAME.fullmatch(blob.name), blob.size) for blob in blobs.list_blobs(FOLDER))
    return {match[1]: size for match, size in found if match}


def read_listings(
    blobs: BlobStore, keys: RepositoryKeys, sealer: Sealer, packs: Mapping[str, int], unscanned: Collection[str]
) -> Iterator[Listing]:
    """Read what packs hold, several at a time.

    Args:
        packs: size by name.
        unscanned: those that are not scanned if their trailer can't be used.

    Raises:
        HoldfastError: the store, as a whole, does not answer.
    """
    items = sorted(packs.items())
    if not items:
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="listings") as pool:
        for at in range(0, len(items), _BATCH):
            yield from pool.map(
                lambda item: _read(blobs, keys, sealer, *item, scan=item[0] not in unscanned), items[at : at + _BATCH]
            )


def _read(blobs: BlobStore, keys: RepositoryKeys, sealer: Sealer, name: str, size: int, *, scan: bool) -> Listing:
    get_range = partial(range_of_pack, blobs, name)
    try:
        return Listing(name, size, read_trailer(get_range, size, name, keys.pack_name, sealer).frames)
    except NotFound:
        return Listing(name, size, None)  # deleted since it was listed
    except Damaged as error:
        problem = _problem(name, error)
    frames = _found(scan_frames(get_range, size, sealer), keys.chunk_id) if scan else None
    return Listing(name, size, frames, salvaged=True, problem=problem)


def _found(scanned: Iterator[tuple[FrameInfo, list[tuple[bytes, memoryview]]]], key: bytes) -> list[FrameInfo] | None:
    """The frames whose chunks are all what their ids say, as far as they can be read; ``None`` without any."""
    frames: list[FrameInfo] = []
    with suppress(Damaged):
        for frame, chunks in scanned:
            if all(blake3(chunk, key=key).digest() == chunk_id for chunk_id, chunk in chunks):
                frames.append(frame)
    return frames or None


def range_of_pack(blobs: BlobStore, pack: str, offset: int, length: int) -> Piece:
    """Exactly these bytes of a pack, as of the store; what can't be read of one pack is damage to that pack.

    Raises:
        NotFound, Damaged: the pack is gone, or can't be read there.
        HoldfastError: the store, as a whole, does not answer.
    """
    try:
        return blobs.get_range(f"{FOLDER}/{pack}", offset, length)
    except Failed as error:
        if error.code not in _OF_ONE_PACK:
            raise
        raise Damaged(error.code, error.message, next_step=error.next_step, details=error.details) from error


def _problem(name: str, error: Damaged) -> Problem:
    return Problem(
        code=error.code,
        message=f"The pack {name[:16]}… can't be used as it should: {error.message}",
        next_step=error.next_step,
        details={"pack": name, **error.details},
    )
