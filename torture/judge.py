"""The checker: what must be true after a round, decided from what was found. Pure; an empty list is a pass.

Both volumes are on the side that the operations tell: exactly the trees from before, with every record that was ever
written to them, or exactly the restored ones and what the workload wrote since; and of what was replaced by restored
data, every record that was ever written is in the safety snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Final

from torture.writer import SLOTS, VOLUMES, Line, parsed

SETTLED: Final = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


class Side(StrEnum):
    OLD = "old"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What one volume holds.

    Attributes:
        marker: names what the fixed part of the tree has to be.
        unlike: names in the fixed part that are not as the marker says.
        log: lines as they stand there.
        slots: name → content; ``None`` where they were not looked at.
    """

    marker: str
    log: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    slots: Mapping[str, str] | None = None


Data = tuple[Tree, Tree]
"""Both volumes, as of one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A snapshot that has to be there: a safety snapshot, one that was taken in the round, or one that was pinned.

    Attributes:
        whole: whether all of it could be read back.
        data: what it holds, where that is compared.
    """

    id: str
    pinned: bool
    must_be_pinned: bool
    whole: bool
    safety: bool = False
    data: Data | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How an operation ended, as it tells."""

    kind: str
    state: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that was looked at after a round.

    Attributes:
        before: the trees that were live before, with all that was ever written to their logs, however long ago they
            were displaced.
        seen: how many lines of each log an observer had seen before the round's operation was asked for.
        target: what the restored trees were made from; ``None`` where nothing was to be restored.
        told: the side on which the data is, as the operations tell it.
        containers: state and restart policy of each.
        waiting: what ``/readyz`` waits for.
        condition: of the workload, in a word, with all differences from what was deployed.
        left: what must not be there: journals, holds, wrappers, mounts, processes; in words.
        missing: snapshots that must be there and are not.
    """

    live: Data
    before: Data
    seen: tuple[int, int] = (0, 0)
    target: Data | None = None
    told: Side = Side.OLD
    operations: Sequence[Told] = ()
    snapshots: Sequence[Kept] = ()
    containers: Sequence[tuple[str, str]] = (("running", "always"),)
    waiting: Sequence[str] = ()
    condition: str = "running"
    left: Sequence[str] = ()
    missing: Sequence[str] = field(default_factory=tuple)


def violations(found: Found) -> list[str]:
    """All that is not as it must be, in words."""
    return [
        *_inside("the live data", found.live),
        *(_restored(found) if found.told is Side.RESTORED else _old(found)),
        *(trouble for snapshot in found.snapshots for trouble in _snapshot(found, snapshot)),
        *(f"the snapshot {name} is gone" for name in found.missing),
        *(f"an operation ({each.kind}) ended as {each.state}" for each in found.operations if _untold(each)),
        *_running(found),
        *(f"left over: {thing}" for thing in found.left),
    ]


def _untold(operation: Told) -> bool:
    return operation.state not in SETTLED or operation.code == "internal_error"


def _running(found: Found) -> Iterable[str]:
    if list(found.containers) != [("running", "always")]:
        yield f"one container has to run, with the restart policy always; there is {list(found.containers)}"
    if found.condition != "running":
        yield f"the workload is {found.condition}"
    if found.waiting:
        yield f"the server waits for {'; '.join(found.waiting)}"


def _old(found: Found) -> Iterable[str]:
    """The live trees are those from before, and every record that was ever written to them is there."""
    for target, live, before, seen in zip(VOLUMES, found.live, found.before, found.seen, strict=True):
        if live.marker != before.marker:
            yield f"{target} is not the tree from before (it is {live.marker}), although the operation tells so"
        elif live.log != before.log:
            yield f"{target} lost records: {_difference(before.log, live.log)}"
        elif len(before.log) < seen:
            yield f"{target} lost records: an observer saw {seen} lines, there are {len(before.log)}"


def _restored(found: Found) -> Iterable[str]:
    """The live trees began as the restored ones, and only a new generation wrote to them since."""
    if found.target is None:
        yield "something was restored, though nobody asked for that"
        return
    for target, live, wanted, before in zip(VOLUMES, found.live, found.target, found.before, strict=True):
        known = {line.generation for line in _lines(wanted.log) + _lines(before.log)}
        if live.marker != wanted.marker:
            yield f"{target} is not the restored tree (it is {live.marker}), although the operation tells so"
        elif live.log[: len(wanted.log)] != wanted.log:
            yield f"{target} does not begin as it was captured: {_difference(wanted.log, live.log)}"
        elif any(line.generation in known for line in _lines(live.log[len(wanted.log) :])):
            yield f"{target} was written to by what ran before the restore"
    if not any(snapshot.safety and snapshot.data is not None for snapshot in found.snapshots):
        yield "there is no safety snapshot of what was replaced"


def _snapshot(found: Found, snapshot: Kept) -> Iterable[str]:
    name = f"the safety snapshot {snapshot.id}" if snapshot.safety else f"the snapshot {snapshot.id}"
    if snapshot.must_be_pinned and not snapshot.pinned:
        yield f"{name} is not pinned"
    if not snapshot.whole:
        yield f"{name} can't be read back"
    if snapshot.data is None:
        return
    yield from _inside(name, snapshot.data)
    for target, tree, before, seen in zip(VOLUMES, snapshot.data, found.before, found.seen, strict=True):
        complete = snapshot.safety and found.told is Side.RESTORED
        if tree.marker != before.marker:
            yield f"{name}: {target} is not the tree that was live"
        elif tree.log != before.log[: len(tree.log)]:
            yield f"{name}: {target} is not what was there: {_difference(before.log, tree.log)}"
        elif len(tree.log) < (len(before.log) if complete else seen):
            yield f"{name}: {target} lost records: {_difference(before.log, tree.log)}"


def _inside(where: str, data: Data) -> Iterable[str]:
    """What is wrong with two volumes in themselves, whatever side they are on."""
    first, second = data
    for target, tree in zip(VOLUMES, data, strict=True):
        for number, text in enumerate(tree.log, start=1):
            if parsed(text) is None:
                yield f"{where}: line {number} of the log of {target} is damaged: {text[:80]!r}"
        if tree.unlike:
            yield f"{where}: of {target}, not as {tree.marker} has to be: {', '.join(tree.unlike[:5])}"
        yield from _slots(f"{where}: {target}", tree, _lines(first.log))
    if first.marker != second.marker:
        yield f"{where}: the volumes are on two sides: {first.marker} and {second.marker}"
    yield from _gaps(where, _lines(first.log))
    yield from _apart(where, _lines(first.log), _lines(second.log))


def _gaps(where: str, log: Sequence[Line]) -> Iterable[str]:
    last = 0
    for line in log:
        if line.number != last + (line.kind == "record"):
            yield f"{where}: after {last} the log goes on with {line.kind} {line.number}"
        last = line.number


def _apart(where: str, first: Sequence[Line], second: Sequence[Line]) -> Iterable[str]:
    """The second log has what the first one has, but for the last line of each generation."""
    ours = {generation: list(part) for generation, part in groupby(first, lambda line: line.generation)}
    theirs = {generation: list(part) for generation, part in groupby(second, lambda line: line.generation)}
    for generation, written in ours.items():
        if theirs.pop(generation, []) not in (written, written[:-1]):
            yield f"{where}: the volumes don't agree on what generation {generation} wrote"
    for generation in theirs:
        yield f"{where}: only one volume knows of generation {generation}"


def _slots(where: str, tree: Tree, log: Sequence[Line]) -> Iterable[str]:
    """Each slot holds the last record of its number, or the one that was about to be logged."""
    if tree.slots is None:
        return
    last: dict[str, Line] = {str(line.number % SLOTS): line for line in log if line.kind == "record"}
    coming = log[-1].number + 1 if log else 1
    for slot in sorted(last.keys() | tree.slots.keys()):
        held = parsed(tree.slots.get(slot, ""))
        about_to_be = held is not None and held.kind == "record" and held.number == coming
        if held != last.get(slot) and not (about_to_be and slot == str(coming % SLOTS)):
            yield f"{where}: slot {slot} holds {tree.slots.get(slot)!r}, not {last.get(slot)}"


def _lines(log: Iterable[str]) -> list[Line]:
    return [line for text in log if (line := parsed(text)) is not None]


def _difference(wanted: Sequence[str], there: Sequence[str]) -> str:
    for number, (one, other) in enumerate(zip(wanted, there, strict=False), start=1):
        if one != other:
            return f"line {number} is {other!r} and not {one!r}"
    return f"{len(there)} lines and not {len(wanted)}"
