"""Swaps in several steps, where a whole directory can't be exchanged at once: looking, listing, and bringing over.

In between the live path is missing, or holds a part of each tree; so only between COMMIT and SWAPPED, or BACKWARD and
REVERTED, with every container that mounts it stopped and disarmed (I4). Invariants:

- What is moved was written down, by identity, before the first step (I2); :mod:`holdfast.engine.name_swap` does each.
- A name that was not written down stops everything: somebody is at work there.
- The root of a mount point stays the directory that it is; what it has of its own (owner, mode, time, attributes, ACLs)
  is set to the side's, whichever side its names are found on. So is what the other tree waits in.
- All directories concerned are flushed before the swap is taken for done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, Problem, Refused
from holdfast.domain.recovery import Observation
from holdfast.domain.restore import Child, Children, RootRef, TreeSide, VolumeFacts
from holdfast.engine.entries import display_path
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.name_swap import NotUnderstood, Pair, Scene, bring, identity_at, side_of
from holdfast.engine.os_errors import translate
from holdfast.engine.root_look import dress_root, look_at_root
from holdfast.engine.root_names import LOST_AND_FOUND
from holdfast.engine.wrapper_place import (
    STAGED,
    exchange_failed,
    mounted_at,
    mounted_inside,
    opened_home,
    opened_parent,
    opened_wrapper,
    staged_path,
    wrapper_path,
)

MOST_CHILDREN: Final = 4096
"""Names in the root of a volume, of both sides together, up to which a restore by single names is begun."""
MOST_LISTED: Final = 4 * MOST_CHILDREN
"""Up to how many one that was begun goes on, and back: containers may have made some meanwhile."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_OTHER_SIDE: Final = {TreeSide.OLD: TreeSide.NEW, TreeSide.NEW: TreeSide.OLD}


# --- looking ---------------------------------------------------------------------------------------------------------


def observe_renames(fs: Fs, roots: LiveRoots, facts: VolumeFacts, seen: Observation) -> Observation:
    """What was seen of a volume, but MIXED where its directories are on their way from one place to the other."""
    if facts.staged_identity is None or (seen.live in _OTHER_SIDE and seen.staged is _OTHER_SIDE[seen.live]):
        return seen
    try:
        with _scene_of_directories(fs, roots, facts) as scene:
            side = side_of(fs, scene)
    except (NotUnderstood, OSError, HoldfastError):
        return seen
    return replace(seen, live=side, staged=side) if side is TreeSide.MIXED else seen


def observe_children(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Observation:
    """Which side the names in a mount point are on. Changes nothing, and raises nothing for what it finds."""
    live = staged = TreeSide.MISSING
    noticed: list[str] = []
    children = facts.children
    try:
        with opened_home(fs, roots, facts) as root:
            live = TreeSide.OLD if children is None else children.settled or TreeSide.OTHER
            with opened_wrapper(fs, root, facts) as wrapper:
                staged = _staged(fs, wrapper, facts)
                if children is not None and children.settled is None:
                    with _scene_of_children(fs, roots, facts, root, wrapper, children) as scene:
                        live = side_of(fs, scene)
                    staged = _OTHER_SIDE.get(live, live)
    except FileNotFoundError:
        noticed.append("there is no wrapper directory")
    except OSError as error:
        noticed.append(f"the wrapper can't be looked at: {error.strerror}")
        staged = TreeSide.OTHER
    except NotUnderstood as why:
        noticed.append(str(why))
        staged = TreeSide.OTHER
    except HoldfastError as error:
        noticed.append(error.message)
        staged = TreeSide.OTHER
    return Observation(
        live=live,
        staged=staged,
        # A container can take the staged tree away before COMMIT: then nothing is lost that was live.
        staged_known=children is not None,
        target=facts.target,
        live_path=facts.live.path,
        staged_path=staged_path(facts),
        detail="; ".join(noticed),
    )


def _staged(fs: Fs, wrapper: int, facts: VolumeFacts) -> TreeSide:
    """What is in a wrapper, as long as no name is on its way."""
    identity = identity_at(fs, wrapper, STAGED)
    if identity is None:
        return TreeSide.MISSING
    if identity != facts.staged_identity:
        return TreeSide.OTHER
    settled = None if facts.children is None else facts.children.settled
    return TreeSide.OLD if settled is TreeSide.NEW else TreeSide.NEW


# --- listing ---------------------------------------------------------------------------------------------------------


def list_children(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Children:
    """What is to be swapped in a mount point, with everything stopped: before COMMIT, or, to go back, after it.

    Raises:
        Refused: ``too_many_children``, ``child_immutable``, ``mount_in_volume``, ``lost_and_found_in_snapshot``,
            ``staged_tree_changed``. Nothing was touched.
        Failed: it can't be looked at.
    """
    try:
        with (
            opened_home(fs, roots, facts) as root,
            opened_wrapper(fs, root, facts) as wrapper,
            _opened_staged(fs, wrapper, facts) as staged,
        ):
            live_names, staged_names = _names(fs, roots, root, staged, facts, MOST_LISTED)
            if problems := child_problems(fs, root, live_names):
                raise Refused([_located(problem, facts.live) for problem in problems])
            live = {name: identity_at(fs, root, name) for name in live_names}
            waiting = {name: identity_at(fs, staged, name) for name in staged_names}
            if set(live.values()) & set(waiting.values()):
                raise Refused([_staged_tree_changed(facts, "a file in it is linked to one that is live")])
            went_over = facts.children is not None
            old, new = (waiting, live) if went_over else (live, waiting)
            now = look_at_root(fs, root)
            children = Children(
                names=tuple(Child(name=n, old=old.get(n), new=new.get(n)) for n in sorted({*old, *new})),
                old_root=now if facts.children is None else facts.children.old_root,
                new_root=now if went_over else look_at_root(fs, staged),
            )
            # Looked at as the swap will: what would stop that must not be found out only after COMMIT.
            with _scene_of_children(fs, roots, facts, root, wrapper, children) as scene:
                side_of(fs, scene)
            return children
    except NotUnderstood as why:
        raise Failed(
            "children_not_listed",
            f"What is in {facts.live.path} can't be listed: {why}.",
            next_step="Unmount it, or move it away, then try again. Nothing was exchanged.",
            details={"path": facts.live.path},
        ) from why
    except OSError as error:
        raise translate(error, f"listing what is in {facts.live.path}") from error


def require_listable(fs: Fs, roots: LiveRoots, facts: VolumeFacts, staged: int) -> None:
    """See that what is staged can be swapped name by name, as far as that can be told while containers run.

    Raises:
        Refused: ``too_many_children``, ``lost_and_found_in_snapshot``.
        Failed: it can't be looked at.
    """
    try:
        with opened_home(fs, roots, facts) as root:
            _names(fs, roots, root, staged, facts, MOST_CHILDREN)
    except OSError as error:
        raise translate(error, f"listing what is in {facts.live.path}") from error


def _names(
    fs: Fs, roots: LiveRoots, root: int, staged: int, facts: VolumeFacts, most: int
) -> tuple[list[bytes], list[bytes]]:
    """The names to be swapped that are live, and those in the wrapper. Raises ``Refused``."""
    names = fs.listdir(root)
    left_out = _left_out(roots, root, names, facts)
    live_names = sorted(set(names) - left_out)
    staged_names = sorted(set(fs.listdir(staged)) - _left_in_wrapper(fs, staged, left_out, facts))
    if problems := list(_too_many(facts.live, len(live_names) + len(staged_names), most)):
        raise Refused(problems)
    return live_names, staged_names


def child_problems(fs: Fs, root: int, names: Sequence[bytes]) -> list[Problem]:
    """What keeps names in a volume's root from being moved: ``child_immutable``. Raises ``OSError``."""
    problems = []
    for name in names:
        try:
            fd = fs.open_path(root, name)
        except FileNotFoundError:
            continue
        try:
            if fs.attributes(fd):
                problems.append(
                    Problem(
                        code="child_immutable",
                        message=f"{display_path(name)} is immutable or append-only, in a volume that is a mount point: "
                        "what is in it is moved name by name.",
                        next_step="Take the flag away (chattr -ia), then try again.",
                        details={"name": display_path(name)},
                    )
                )
        finally:
            fs.close(fd)
    return problems


def look_at_children(fs: Fs, roots: LiveRoots, live: RootRef) -> tuple[int, list[Problem]]:
    """How many names there are in a mount point, and what would keep them from being swapped, while containers run.

    Raises:
        Refused, Failed: it can't be looked at.
    """
    fd = roots.open(live)
    try:
        names = fs.listdir(fd)
        own = sorted(set(names) - roots.not_of_volume(live)(fd, names))
        problems = [*_too_many(live, len(own), MOST_CHILDREN), *child_problems(fs, fd, own[:MOST_CHILDREN])]
        return len(own), [_located(problem, live) for problem in problems]
    except OSError as error:
        raise translate(error, f"listing what is in {live.path}") from error
    finally:
        fs.close(fd)


def _left_out(roots: LiveRoots, root: int, names: Sequence[bytes], facts: VolumeFacts) -> frozenset[bytes]:
    """The names in a mount point that stay where they are: this restore's wrapper, others', and lost+found."""
    return roots.not_of_volume(facts.live)(root, names) | {facts.wrapper.encode()}


def _left_in_wrapper(fs: Fs, staged: int, left_out: frozenset[bytes], facts: VolumeFacts) -> frozenset[bytes]:
    """What a snapshot has of the names that stay as they are: it waits in the wrapper, and goes with it.

    Raises:
        Refused: ``lost_and_found_in_snapshot``, if there is anything in it.
    """
    if LOST_AND_FOUND not in left_out:
        return frozenset()
    try:
        fd = fs.openat(staged, LOST_AND_FOUND, _DIRECTORY)
    except FileNotFoundError:
        return frozenset()
    except NotADirectoryError:
        fd = -1
    try:
        if fd >= 0 and next(fs.scan(fd), None) is None:
            return frozenset({LOST_AND_FOUND})
    finally:
        if fd >= 0:
            fs.close(fd)
    raise Refused(
        [
            Problem(
                code="lost_and_found_in_snapshot",
                message=f"The snapshot has something in lost+found, and {facts.live.path} is the root of a filesystem "
                "with a lost+found of its own, which is never replaced. Nothing was exchanged.",
                next_step="Restore onto a plain directory, or rename lost+found in an export and import that.",
                details={"path": facts.live.path, "target": facts.target},
            )
        ]
    )


def _too_many(live: RootRef, count: int, most: int) -> Iterator[Problem]:
    if count > most:
        yield Problem(
            code="too_many_children",
            message=f"There are {count} names in the root of {live.path} and of what would be restored to it. It is a "
            f"mount point, where each is moved by itself, and that is done for up to {most}.",
            next_step="Mount the disk one level higher and make the volume a directory on it.",
            details={"path": live.path, "names": count, "limit": most},
        )


def _staged_tree_changed(facts: VolumeFacts, how: str) -> Problem:
    return Problem(
        code="staged_tree_changed",
        message=f"What was staged in {wrapper_path(facts)} is not what it was: {how}. It lies in a volume that is a "
        "mount point, where containers can get at it. Nothing was exchanged.",
        next_step="Find out which container writes to .holdfast- directories, then restore again.",
        details={"path": wrapper_path(facts), "target": facts.target},
    )


def _located(problem: Problem, live: RootRef) -> Problem:
    return replace(problem, details={**problem.details, "path": live.path})


# --- bringing over ---------------------------------------------------------------------------------------------------


def bring_volume(fs: Fs, roots: LiveRoots, facts: VolumeFacts, to: TreeSide, *, done: Sequence[int] = ()) -> None:
    """Bring one volume to a side (OLD or NEW), durably, from wherever it is.

    Raises:
        Failed: ``exchange_failed``; what was reached stays. ``parent_replaced``, ``wrapper_replaced``.
        Refused: its directory can't be reached.
    """
    try:
        with _scene(fs, roots, facts) as scene:
            inside = facts.way.inside
            mounted = mounted_inside(fs, facts.live.path) if inside else mounted_at(fs, facts.live.path)
            if mounted is None:
                mounted = mounted_at(fs, wrapper_path(facts))
            if mounted is not None:
                raise exchange_failed(facts, f"something is mounted at {mounted}", done)
            side_of(fs, scene)  # all of it, before the first step
            bring(fs, scene, to)
            if facts.children is not None:
                old, new = facts.children.old_root, facts.children.new_root
                live, waiting = (old, new) if to is TreeSide.OLD else (new, old)
                dress_root(fs, scene.live, live)
                dress_root(fs, scene.staged, waiting)
            for fd in dict.fromkeys((scene.live, scene.staged, scene.wrapper)):
                fs.fsync(fd)
    except NotUnderstood as why:
        raise exchange_failed(facts, str(why), done) from why
    except OSError as error:
        raise exchange_failed(facts, error.strerror or str(error), done) from error


@contextmanager
def _scene(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Iterator[Scene]:
    if not facts.way.inside:
        with _scene_of_directories(fs, roots, facts) as scene:
            yield scene
        return
    if facts.children is None:
        raise NotUnderstood("what is in it was not written down")
    with (
        opened_home(fs, roots, facts) as root,
        opened_wrapper(fs, root, facts) as wrapper,
        _scene_of_children(fs, roots, facts, root, wrapper, facts.children) as scene,
    ):
        yield scene


@contextmanager
def _scene_of_directories(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Iterator[Scene]:
    with opened_parent(fs, roots, facts) as place, opened_wrapper(fs, place.fd, facts) as wrapper:
        pair = Pair(live=place.name, staged=STAGED, old=facts.live_identity, new=facts.staged_identity)
        yield Scene(live=place.fd, staged=wrapper, wrapper=wrapper, pairs=(pair,), at_once=facts.way.at_once)


@contextmanager
def _scene_of_children(
    fs: Fs, roots: LiveRoots, facts: VolumeFacts, root: int, wrapper: int, children: Children
) -> Iterator[Scene]:
    """Raises ``NotUnderstood`` if there is a name that was not written down."""
    with _opened_staged(fs, wrapper, facts) as staged:
        known = {child.name for child in children.names}
        names = fs.listdir(root)
        left_out = _left_out(roots, root, names, facts)
        for where, found in (("the volume", names), (staged_path(facts), fs.listdir(staged))):
            strange = sorted(set(found) - known - left_out)
            if strange:
                raise NotUnderstood(f"{display_path(strange[0])} is in {where}, which nobody put there")
        pairs = [Pair(live=c.name, staged=c.name, old=c.old, new=c.new) for c in children.names]
        yield Scene(live=root, staged=staged, wrapper=wrapper, pairs=pairs, at_once=facts.way.at_once)


@contextmanager
def _opened_staged(fs: Fs, wrapper: int, facts: VolumeFacts) -> Iterator[int]:
    fd = fs.open_beneath(wrapper, STAGED, _DIRECTORY, no_xdev=True)
    try:
        if fs.identity(fd) != facts.staged_identity:
            raise NotUnderstood(f"{staged_path(facts)} is not the directory that was staged")
        yield fd
    finally:
        fs.close(fd)
