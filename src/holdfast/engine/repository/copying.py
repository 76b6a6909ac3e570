"""Copies a snapshot into another repository: what is missing there travels, and nothing else.

Invariants:

- The snapshot exists there with its manifest, which is written last, after every chunk that it needs is durable there.
- Every chunk is verified as it is read. One that is missing or damaged here ends the copy; nothing is made up.
- It can end at any moment. What it leaves then is packs that nothing names: the next copy finds them there and does not
  send them again, and a prune there removes them if none comes.
- What is known to be damaged there, or about to be deleted, is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from holdfast.domain.errors import Conflict, Damaged, NotFound
from holdfast.domain.operation import Progress
from holdfast.domain.repository import CopyResult
from holdfast.domain.units import format_size
from holdfast.engine.job import Job
from holdfast.engine.repository.chunk_reader import chunk_missing
from holdfast.engine.repository.chunk_writer import PACK_BYTES
from holdfast.engine.repository.needed import Needed
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.scratch import Scratch

_SCHEMA: Final = """
CREATE TABLE missing (
    pack TEXT, frame_offset INTEGER, start INTEGER, id BLOB, PRIMARY KEY (pack, frame_offset, start)
) WITHOUT ROWID;
"""
_AT_ONCE: Final = 500
_BEAT_ENTRIES: Final = 256
_PACK_SECONDS: Final = 4
_SMALLEST_PACK: Final = 512 << 10


def pack_bytes_for(rate: int | None) -> int:
    """What packs are filled to where no more than ``rate`` bytes a second are sent.

    A pack is sent in one go, and sent anew if that is cut off: on a narrow line they are smaller.
    """
    return PACK_BYTES if rate is None else max(_SMALLEST_PACK, min(PACK_BYTES, rate * _PACK_SECONDS))


def copy_snapshot(
    source: Repository, target: Repository, snapshot_id: str, job: Job, *, pack_bytes: int = PACK_BYTES
) -> CopyResult:
    """Copy one snapshot. One that is there already is made whole, where something of it is missing or damaged.

    Args:
        pack_bytes: what packs are filled to.

    Raises:
        NotFound: ``snapshot_unknown``.
        Damaged: something of it can't be read here.
        HoldfastError: what storing raises. What was sent stays, and is not sent again.
    """
    with source.lock.shared(job), target.lock.shared(job):
        stored = source.manifests.read(snapshot_id)
        source.sync_index()
        losses = target.sync_index()
        existed = _exists(target, snapshot_id)
        if existed and target.index.is_whole(snapshot_id):
            return CopyResult(existed=True, chunks=0, plain_bytes=0, sent_bytes=0)
        with (
            Scratch(_SCHEMA) as scratch,
            source.reader() as reader,
            target.writer(pack_bytes=pack_bytes) as writer,
        ):
            with Needed() as needed:
                needed.add(stored.trees, reader, _beat(job))
                total = _find_missing(scratch, needed.ids(), source, target)
            done = chunks = 0
            for chunk in reader.read_many(_in_order(scratch)):
                job.check()
                writer.put(chunk)
                done, chunks = done + len(chunk), chunks + 1
                note = f"{format_size(writer.stored_bytes)} sent"
                job.progress(Progress(done_bytes=done, total_bytes=total, note=note))
            writer.finish()
        job.check()
        if existed:
            target.index.set_whole(snapshot_id, since=losses)
        else:
            with suppress(Conflict):  # another copy of it was quicker
                target.commit(stored, since=losses)
    return CopyResult(existed=existed, chunks=chunks, plain_bytes=done, sent_bytes=writer.stored_bytes)


def _exists(target: Repository, snapshot_id: str) -> bool:
    """Whether the target has the snapshot's manifest. One that is damaged gives way."""
    try:
        target.manifests.read(snapshot_id)
    except NotFound:
        return False
    except Damaged:
        target.manifests.delete([snapshot_id])
        return False
    return True


def _find_missing(scratch: Scratch, ids: Iterator[bytes], source: Repository, target: Repository) -> int:
    """Note what the target lacks, with where it lies here. Returns its size in bytes, plain."""
    total = 0

    def rows() -> Iterator[tuple[str, int, int, bytes]]:
        nonlocal total
        while some := list(islice(ids, _AT_ONCE)):
            missing = target.index.missing(some)
            found = source.index.locate(missing)
            for chunk_id in missing:
                location = found.get(chunk_id)
                if location is None:
                    raise chunk_missing(chunk_id)
                total += location.length
                yield location.pack, location.frame_offset, location.start, chunk_id

    scratch.insert("INSERT INTO missing VALUES (?, ?, ?, ?)", rows())
    return total


def _in_order(scratch: Scratch) -> Iterator[bytes]:
    """The ids that are missing, as they lie in the packs: each frame is read once."""
    after: tuple[str, int, int] = ("", -1, -1)
    while rows := scratch.rows(
        "SELECT pack, frame_offset, start, id FROM missing WHERE (pack, frame_offset, start) > (?, ?, ?)"
        " ORDER BY pack, frame_offset, start LIMIT 1000",
        after,
    ):
        for pack, frame_offset, start, chunk_id in rows:
            yield chunk_id
            after = (pack, frame_offset, start)


def _beat(job: Job) -> Callable[[], None]:
    """Look now and then, while trees are read, whether somebody cancelled."""
    entries = 0

    def beat() -> None:
        nonlocal entries
        entries += 1
        if not entries % _BEAT_ENTRIES:
            job.check()

    return beat
