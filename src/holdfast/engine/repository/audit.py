"""Reads packs back, all of them or a share, and tells which snapshots and files what is damaged touches.

Packs that were not read for longest come first, so that a share a day gets through all of them. What was seen, and
when, is noted in the index. Damage stops nothing: the rest is read, every snapshot that does not need what is damaged
can be used, and what is damaged is stored again by the next capture that meets it alive.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Final

from blake3 import blake3

from holdfast.domain import times
from holdfast.domain.errors import Damaged, NotFound, Refused
from holdfast.domain.operation import Progress
from holdfast.domain.told import Told, told
from holdfast.engine.job import Job
from holdfast.engine.repository.index import PackFacts
from holdfast.engine.repository.pack import FrameInfo, GetRange, decode_frame, read_trailer, scan_frames
from holdfast.engine.repository.pack_listing import range_of_pack
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.scratch import ChunkSet
from holdfast.engine.repository.verify import incomplete

NAMED: Final = 20
"""Files of one snapshot that are named; there may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedSnapshot:
    """A snapshot of which something can't be read: ``lacking`` names volumes and files, the first :data:`NAMED`."""

    id: str
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What was read back, and what was found. Sizes in bytes.

    Attributes:
        packs, bytes: read now.
        packs_in_all, bytes_in_all: what there is.
        since: the earliest time at which a pack was read last, RFC 3339; ``None`` if one never was.
        damaged_packs: of those that were read now.
        touched: every snapshot of which something can't be read, found now or before.
        whole: ids of the other snapshots.
        problems: what is wrong with packs and manifests.
    """

    packs: int
    bytes: int
    packs_in_all: int
    bytes_in_all: int
    since: str | None
    damaged_packs: int
    touched: tuple[TouchedSnapshot, ...]
    whole: tuple[str, ...]
    problems: tuple[Told, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One pack as it was found.

    Attributes:
        damaged: ids of the chunks that are not what they should be.
        good: ids of those that are, where the pack's own list of what it holds can't be used; ``None`` where it can.
        problem: what is wrong with it; ``None`` if nothing.
    """

    number: int
    damaged: frozenset[bytes] = frozenset()
    good: frozenset[bytes] | None = None
    problem: Told | None = None


def audit(
    repository: Repository, job: Job, *, share: float = 1.0, now_ns: Callable[[], int] = time.time_ns
) -> AuditResult:
    """Read packs back.

    Args:
        share: how much of all bytes, above 0, at most 1.

    Raises:
        Cancelled: what was read until then is noted.
        HoldfastError: the store, as a whole, does not answer.
    """
    with repository.lock.shared(job):
        repository.sync_index()
        facts = repository.index.pack_facts()
        chosen = _choose(facts, share)
        problems = [Told.of(problem) for problem in repository.unreadable]
        damaged = 0
        for read in _read_all(repository, facts, chosen, job):
            pack = facts[read.number]
            lost = read.damaged
            if read.good is not None:
                lost = frozenset(repository.index.ids_of(pack.name) - read.good)
                repository.index.note_salvaged(pack.name)
            repository.index.note_verified(pack.name, now_ns(), lost)
            if read.problem:
                damaged += 1
                problems.append(told("pack_damaged", "The pack {pack}…: {why}", pack=pack.name[:16], why=read.problem))
        touched, whole = _touched(repository, job)
        after = repository.index.pack_facts().values()
        return AuditResult(
            packs=len(chosen),
            bytes=sum(facts[number].size for number in chosen),
            packs_in_all=len(facts),
            bytes_in_all=sum(pack.size for pack in facts.values()),
            since=_since([pack.verified_ns for pack in after]),
            damaged_packs=damaged,
            touched=touched,
            whole=whole,
            problems=tuple(problems),
        )


def _choose(facts: dict[int, PackFacts], share: float) -> list[int]:
    """The packs to read: those that were not read for longest, until their sizes make up the share."""
    wanted = share * sum(pack.size for pack in facts.values())
    chosen: list[int] = []
    size = 0
    for number in sorted(facts, key=lambda number: (facts[number].verified_ns or 0, number)):
        if size >= wanted:
            break
        chosen.append(number)
        size += facts[number].size
    return chosen


def _read_all(repository: Repository, facts: dict[int, PackFacts], chosen: list[int], job: Job) -> Iterator[_Read]:
    """Read packs on all cores, in order, a few ahead."""
    total = sum(facts[number].size for number in chosen)
    threads = max(2, os.cpu_count() or 1)
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="audit") as pool:
        left = iter(chosen)
        ahead: deque[tuple[int, Future[_Read | None]]] = deque()
        try:
            while True:
                for number in islice(left, 2 * threads - len(ahead)):
                    ahead.append((number, pool.submit(_read_pack, repository, number, facts[number])))
                if not ahead:
                    return
                number, future = ahead.popleft()
                read = future.result()
                job.check()
                done += facts[number].size
                job.progress(Progress(done_bytes=done, total_bytes=total))
                if read is not None:
                    yield read
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read_pack(repository: Repository, number: int, pack: PackFacts) -> _Read | None:
    """Read one pack back; ``None`` if it is gone."""
    get_range = partial(range_of_pack, repository.blobs, pack.name)
    keys, sealer = repository.keys, repository.sealer
    try:
        try:
            trailer = read_trailer(get_range, pack.size, pack.name, keys.pack_name, sealer)
        except Damaged as error:
            return _Read(number=number, good=_salvaged(repository, get_range, pack.size), problem=Told.of(error))
        damaged: set[bytes] = set()
        problem: Told | None = None
        for frame in trailer.frames:
            lost, why = _read_frame(repository, get_range, frame, trailer.salt)
            damaged |= lost
            problem = problem or why
    except NotFound:
        return None
    return _Read(number=number, damaged=frozenset(damaged), problem=problem)


def _read_frame(
    repository: Repository, get_range: GetRange, frame: FrameInfo, salt: bytes
) -> tuple[set[bytes], Told | None]:
    """The ids of the chunks that a frame lists and does not hold as it should, and why."""
    lost = {chunk_id for chunk_id, _ in frame.chunks}
    try:
        found = decode_frame(get_range(frame.offset, frame.length), frame.offset, salt, repository.sealer)
    except Damaged as error:
        return lost, Told.of(error)
    lost -= _intact(repository, found)
    return lost, told("pack_part_damaged", "A part of it is not what it should be.") if lost else None


def _salvaged(repository: Repository, get_range: GetRange, size: int) -> frozenset[bytes]:
    """The ids of the chunks that can be found in a pack without its trailer."""
    good: set[bytes] = set()
    with suppress(Damaged):
        for _, found in scan_frames(get_range, size, repository.sealer):
            good |= _intact(repository, found)
    return frozenset(good)


def _intact(repository: Repository, chunks: Iterable[tuple[bytes, memoryview]]) -> set[bytes]:
    key = repository.keys.chunk_id
    return {chunk_id for chunk_id, chunk in chunks if blake3(chunk, key=key).digest() == chunk_id}


def _touched(repository: Repository, job: Job) -> tuple[tuple[TouchedSnapshot, ...], tuple[str, ...]]:
    """The snapshots of which something can't be read, and the ids of the others. Every manifest is read anew."""
    touched: list[TouchedSnapshot] = []
    whole: list[str] = []
    index = repository.index
    losses = index.losses()
    with repository.reader() as reader, ChunkSet() as complete:
        for snapshot_id in repository.manifests.ids():
            job.check()
            lacking: tuple[str, ...] = ()
            try:
                stored = repository.manifests.read(snapshot_id)
                if not index.is_whole(snapshot_id):
                    lacking = tuple(islice(incomplete(stored, index, reader, complete), NAMED))
            except NotFound:
                continue  # deleted since
            except (Damaged, Refused) as error:
                lacking = (error.message,)
            if lacking:
                touched.append(TouchedSnapshot(id=snapshot_id, lacking=lacking))
            else:
                index.set_whole(snapshot_id, since=losses)
                whole.append(snapshot_id)
    return tuple(touched), tuple(whole)


def _since(verified: list[int | None]) -> str | None:
    """The earliest of these times; ``None`` if one is missing, or all are."""
    known = [at for at in verified if at is not None]
    if not known or len(known) < len(verified):
        return None
    return times.rfc3339(datetime.fromtimestamp(min(known) / 1e9, UTC))
