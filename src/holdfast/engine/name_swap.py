"""Two trees change places name by name: each name in steps of which every one can be told from the others afterwards.

What stands where is told by identity (file handle), never by name alone. Invariants:

- A pair is the old thing, the new thing, or both, at two known places; where two names can't be exchanged at once, one
  of them waits at a third place, ``aside``. Every state that a step leads to is understood, and has one way to each
  side; any other state is left as it is.
- Nothing that stands at a place is ever replaced.
- Steps are looked at right before and right after. Going on, or back, from any of them is the same code.

Only with everybody stopped who could get at these names (I4). Flushes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.domain.restore import Identity, TreeSide
from holdfast.engine.entries import display_path
from holdfast.engine.fs import Fs

ASIDE: Final = b"aside"
"""The name in a wrapper where a name waits while the other one takes its place."""

_MOST_STEPS: Final = 3


class NotUnderstood(Exception):
    """Something stands where nothing should, or something else than what should; ``str()`` says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What is live at one name, and what is to be, or was. ``None`` where there is nothing on that side.

    Attributes:
        live: its name among what is live.
        staged: its name in the wrapper.
    """

    live: bytes
    staged: bytes
    old: Identity | None
    new: Identity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The open directories in which names change places.

    Attributes:
        live, staged: those that hold the one and the other.
        wrapper: the one that has ``aside``.
        at_once: whether two names can be exchanged in one step.
    """

    live: int
    staged: int
    wrapper: int
    pairs: Sequence[Pair]
    at_once: bool


@dataclass(frozen=True, slots=True)
class _Found:
    live: Identity | None
    staged: Identity | None
    aside: Identity | None


def identity_at(fs: Fs, dirfd: int, name: bytes) -> Identity | None:
    """What stands at a name, of whatever kind; ``None`` for nothing.

    Raises:
        NotUnderstood: something is mounted there.
        OSError: it can't be looked at.
    """
    try:
        fd = fs.open_path(dirfd, name)
    except FileNotFoundError:
        return None
    try:
        if fs.mount_id(fd) != fs.mount_id(dirfd):
            raise NotUnderstood(f"something is mounted on {display_path(name)}")
        return fs.identity(fd)
    finally:
        fs.close(fd)


def side_of(fs: Fs, scene: Scene) -> TreeSide:
    """OLD or NEW where every pair is there, MIXED where each is on one side or on its way. OLD if there is no pair.

    Raises:
        NotUnderstood: a pair is in no state that a step leads to.
        OSError: likewise.
    """
    aside = identity_at(fs, scene.wrapper, ASIDE)
    sides = [_side(scene, pair, _look(fs, scene, pair, aside)) for pair in scene.pairs]
    if sides.count(None) != (1 if aside is not None else 0):
        raise NotUnderstood(f"what waits at {display_path(ASIDE)} fits to nothing")
    found = set(sides)
    if not found:
        return TreeSide.OLD
    side = found.pop()
    return TreeSide.MIXED if found or side is None else side


def bring(fs: Fs, scene: Scene, to: TreeSide) -> None:
    """Bring every pair to a side (OLD or NEW), from wherever it is.

    Raises:
        NotUnderstood: a pair is in no state that a step leads to; those before it are on the wanted side.
        OSError: a step failed; likewise.
    """
    for pair in sorted(scene.pairs, key=lambda each: not _on_its_way(fs, scene, each)):
        _bring_pair(fs, scene, pair, to)


def _bring_pair(fs: Fs, scene: Scene, pair: Pair, to: TreeSide) -> None:
    live, staged = (pair.old, pair.new) if to is TreeSide.OLD else (pair.new, pair.old)
    for _ in range(_MOST_STEPS + 1):
        found = _look(fs, scene, pair, identity_at(fs, scene.wrapper, ASIDE))
        _side(scene, pair, found)
        if (found.live, found.staged) == (live, staged):
            return
        _step(fs, scene, pair, found, live=live, staged=staged)
    raise NotUnderstood(f"{display_path(pair.live)} does not get to where it belongs")


def _step(fs: Fs, scene: Scene, pair: Pair, found: _Found, *, live: Identity | None, staged: Identity | None) -> None:
    """The next step on the way to ``live`` being live and ``staged`` being in the wrapper."""
    at_live, at_staged, at_aside = (scene.live, pair.live), (scene.staged, pair.staged), (scene.wrapper, ASIDE)
    if live is None:
        _move(fs, scene, at_live, at_staged)
    elif staged is None:
        _move(fs, scene, at_staged, at_live)
    elif scene.at_once:
        _exchange(fs, at_live, at_staged)
    elif found.live is None:
        _move(fs, scene, at_staged if found.staged == live else at_aside, at_live)
    elif found.live == live:
        _move(fs, scene, at_aside, at_staged)
    else:
        _move(fs, scene, at_live, at_staged if found.staged is None else at_aside)


def _look(fs: Fs, scene: Scene, pair: Pair, aside: Identity | None) -> _Found:
    live = identity_at(fs, scene.live, pair.live)
    staged = identity_at(fs, scene.staged, pair.staged)
    # Two names of one inode have one identity: whoever has all its own in place is not the one that waits.
    waits = aside in (pair.old, pair.new) and aside not in (live, staged)
    return _Found(live, staged, aside if waits else None)


def _side(scene: Scene, pair: Pair, found: _Found) -> TreeSide | None:
    """Where a pair is; ``None``: between two steps."""
    if found.aside is None:
        if (found.live, found.staged) == (pair.old, pair.new):
            return TreeSide.OLD
        if (found.live, found.staged) == (pair.new, pair.old):
            return TreeSide.NEW
    elif not scene.at_once:
        rest = [each for each in (found.live, found.staged) if each is not None]
        other = pair.new if found.aside == pair.old else pair.old
        if other is not None and rest == [other]:
            return None
    raise NotUnderstood(
        f"{display_path(pair.live)} is neither what it was nor what it is to be, or is in another place"
    )


def _on_its_way(fs: Fs, scene: Scene, pair: Pair) -> bool:
    aside = identity_at(fs, scene.wrapper, ASIDE)
    return aside is not None and _look(fs, scene, pair, aside).aside is not None


def _move(fs: Fs, scene: Scene, source: tuple[int, bytes], target: tuple[int, bytes]) -> None:
    time = fs.statat(*source).st_mtime_ns
    if scene.at_once:
        fs.rename_noreplace(*source, *target)
    else:
        # A filesystem without RENAME_EXCHANGE may know no RENAME_NOREPLACE either; nothing was there a moment ago.
        fs.rename(*source, *target)
    _keep_time(fs, target, time)


def _exchange(fs: Fs, one: tuple[int, bytes], other: tuple[int, bytes]) -> None:
    times = fs.statat(*one).st_mtime_ns, fs.statat(*other).st_mtime_ns
    fs.exchange(*one, *other)
    _keep_time(fs, other, times[0])
    _keep_time(fs, one, times[1])


def _keep_time(fs: Fs, at: tuple[int, bytes], mtime_ns: int) -> None:
    # XFS stamps a directory that moves to another parent, for the sake of backup programs.
    if fs.statat(*at).st_mtime_ns != mtime_ns:
        fs.utimeat_nofollow(*at, mtime_ns)
