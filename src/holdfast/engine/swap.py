"""Wrappers beside live directories, and the exchange of what is in them with what is live.

A volume's wrapper is a private directory beside the live one; ``<wrapper>/staged`` holds the staged tree before the
exchange and the displaced tree after it. Where no exchange of whole directories is possible, what is here hands over to
:mod:`holdfast.engine.step_swap`. Invariants:

- I1: the exchange is one ``renameat2(RENAME_EXCHANGE)``; the live path is one complete tree or the other at any time.
- I2: what stands where is told by identity (file handle) below a parent of the journaled identity, never by path. An
  exchange happens only between the two trees that the journal names, looked at right before and right after.
- I7: every name is reached through its parent's descriptor; no symlink is followed, and nothing is exchanged or
  removed that something is mounted on, in, or below.
- A wrapper is removed only while the live path holds another directory than the one inside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.recovery import Observation
from holdfast.domain.restore import LiveBefore, SwapWay, TreeSide, VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.metadata import ACL_ATTRIBUTES
from holdfast.engine.os_errors import translate
from holdfast.engine.remove_tree import remove_tree
from holdfast.engine.step_swap import bring_volume, observe_children, observe_renames
from holdfast.engine.wrapper_place import (
    MADE,
    STAGED,
    Place,
    exchange_failed,
    home_if_there,
    mounted_at,
    opened_home,
    opened_parent,
    opened_wrapper,
    staged_path,
    unchanged_time,
    wrapper_path,
)

_REMOVING: Final = b"removing"
"""What ``staged`` is called from the moment its removal begins, so that no half of a tree can ever be exchanged."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_OTHER_SIDE: Final = {TreeSide.OLD: TreeSide.NEW, TreeSide.NEW: TreeSide.OLD}


# --- looking ---------------------------------------------------------------------------------------------------------


def observe(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Observation:
    """Which tree is live and which is in the wrapper. Changes nothing, and raises nothing for what it finds."""
    if facts.way.inside:
        return observe_children(fs, roots, facts)
    seen = _observe(fs, roots, facts)
    return seen if facts.way.at_once else observe_renames(fs, roots, facts, seen)


def _observe(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Observation:
    live = staged = TreeSide.MISSING
    noticed: list[str] = []
    try:
        with opened_parent(fs, roots, facts) as place:
            live = _side(fs, place.fd, place.name, facts, noticed)
            try:
                with opened_wrapper(fs, place.fd, facts) as wrapper:
                    staged = _side(fs, wrapper, STAGED, facts, noticed)
            except FileNotFoundError:
                noticed.append("there is no wrapper directory")
            except OSError as error:
                staged = TreeSide.OTHER
                noticed.append(f"the wrapper is no plain directory: {error.strerror}")
    except HoldfastError as error:
        noticed.append(error.message)
    return Observation(
        live=live,
        staged=staged,
        staged_known=facts.staged_identity is not None,
        was_missing=facts.before is LiveBefore.MISSING,
        target=facts.target,
        live_path=facts.live.path,
        staged_path=staged_path(facts),
        detail="; ".join(noticed),
    )


def _side(fs: Fs, dirfd: int, name: bytes, facts: VolumeFacts, noticed: list[str]) -> TreeSide:
    try:
        fd = fs.open_path(dirfd, name)
    except FileNotFoundError:
        return TreeSide.MISSING
    except OSError as error:
        noticed.append(f"{os.fsdecode(name)} can't be opened: {error.strerror}")
        return TreeSide.OTHER
    try:
        if not stat.S_ISDIR(fs.fstat(fd).st_mode):
            noticed.append(f"{os.fsdecode(name)} is no directory")
            return TreeSide.OTHER
        # Handles are unique within one filesystem only.
        if fs.mount_id(fd) != fs.mount_id(dirfd):
            noticed.append(f"something is mounted on {os.fsdecode(name)}")
            return TreeSide.OTHER
        identity = fs.identity(fd)
    except OSError as error:
        noticed.append(f"{os.fsdecode(name)} can't be looked at: {error.strerror}")
        return TreeSide.OTHER
    finally:
        fs.close(fd)
    if identity == facts.live_identity:  # none of an unknown identity is ever equal
        return TreeSide.OLD
    return TreeSide.NEW if identity == facts.staged_identity else TreeSide.OTHER


# --- exchanging ------------------------------------------------------------------------------------------------------


def exchange_all(fs: Fs, roots: LiveRoots, volumes: Sequence[VolumeFacts], to: TreeSide) -> None:
    """Bring ``to`` (OLD or NEW) live for all ``volumes``, durably, whichever of them are there already.

    Only with every container that mounts one of them confirmed stopped (I4). Looks at all volumes before it touches
    the first.

    Raises:
        Failed: ``exchange_failed``; what was reached stays, the rest is untouched. ``details``: ``exchanged``, the
            indices that are durably on the wanted side, and of the volume that failed ``index``, ``path``, ``reason``.
    """
    for facts in volumes:
        seen = observe(fs, roots, facts)
        if seen.staged is not _OTHER_SIDE.get(seen.live) and not seen.live is seen.staged is TreeSide.MIXED:
            raise exchange_failed(facts, f"live is {seen.live}, staged is {seen.staged}; {seen.detail}", done=())
    done: list[int] = []
    for facts in volumes:
        if facts.way is not SwapWay.EXCHANGE:
            bring_volume(fs, roots, facts, to, done=done)
        elif observe(fs, roots, facts).live is to:
            _flush(fs, roots, facts, done)
        else:
            exchange(fs, roots, facts, _OTHER_SIDE[to], done=done)
        done.append(facts.index)


def exchange(fs: Fs, roots: LiveRoots, facts: VolumeFacts, expect: TreeSide, *, done: Sequence[int] = ()) -> None:
    """Exchange one volume's live tree, which has to be ``expect`` (OLD or NEW), with the other one, durably.

    Args:
        done: indices of volumes exchanged before, for the error's details.

    Raises:
        Failed: ``exchange_failed``, as :func:`exchange_all`; ``parent_replaced``.
        Refused: the directory that holds it can't be reached.
    """
    other = _OTHER_SIDE[expect]
    try:
        with opened_parent(fs, roots, facts) as place, opened_wrapper(fs, place.fd, facts) as wrapper:
            mounted = mounted_at(fs, facts.live.path, wrapper_path(facts))
            if mounted is not None:
                raise exchange_failed(facts, f"something is mounted at {mounted}", done)
            _require(fs, place, wrapper, facts, expect, done)
            was_live = fs.statat(place.fd, place.name).st_mtime_ns
            was_staged = fs.statat(wrapper, STAGED).st_mtime_ns
            fs.exchange(place.fd, place.name, wrapper, STAGED)
            _require(fs, place, wrapper, facts, other, done)
            # XFS stamps a directory that moves to another parent, for the sake of backup programs.
            fs.utimeat_nofollow(place.fd, place.name, was_staged)
            fs.utimeat_nofollow(wrapper, STAGED, was_live)
            fs.fsync(place.fd)
            fs.fsync(wrapper)
    except OSError as error:
        raise exchange_failed(facts, error.strerror or str(error), done) from error


def _flush(fs: Fs, roots: LiveRoots, facts: VolumeFacts, done: Sequence[int]) -> None:
    """An exchange that a crash cut off may be visible without being durable."""
    try:
        with opened_parent(fs, roots, facts) as place, opened_wrapper(fs, place.fd, facts) as wrapper:
            fs.fsync(place.fd)
            fs.fsync(wrapper)
    except OSError as error:
        raise exchange_failed(facts, error.strerror or str(error), done) from error


def _require(fs: Fs, place: Place, wrapper: int, facts: VolumeFacts, live: TreeSide, done: Sequence[int]) -> None:
    noticed: list[str] = []
    found = (_side(fs, place.fd, place.name, facts, noticed), _side(fs, wrapper, STAGED, facts, noticed))
    if found != (live, _OTHER_SIDE[live]):
        words = "; ".join((f"live is {found[0]}, staged is {found[1]}", *noticed))
        raise exchange_failed(facts, words, done)


# --- wrappers --------------------------------------------------------------------------------------------------------


def make_wrapper(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> int:
    """Make the volume's wrapper and the empty directory in it, both private to Holdfast.

    Returns:
        A descriptor of ``<wrapper>/staged``, the caller's to close. Nothing is flushed.

    Raises:
        Failed: ``wrapper_exists``, ``parent_replaced``, or what the file system said; nothing is left.
        NoSpace: likewise.
    """
    # What is undone goes by descriptors, which therefore are closed after it.
    with opened_home(fs, roots, facts) as home, ExitStack() as opened, ExitStack() as undo:
        try:
            with unchanged_time(fs, home) if facts.way.inside else nullcontext():
                wrapper = _private(fs, home, facts.wrapper.encode(), undo, opened)
            staged = _private(fs, wrapper, STAGED, undo, opened)
            fd = fs.duplicate(staged)
        except FileExistsError as error:
            raise Failed(
                "wrapper_exists",
                f"{wrapper_path(facts)} is there already. Nothing was changed.",
                next_step="Find out what it is; remove it if no restore needs it, then try again.",
                details={"path": wrapper_path(facts)},
            ) from error
        except OSError as error:
            raise translate(error, f"making {wrapper_path(facts)}") from error
        undo.pop_all()
        return fd


def _private(fs: Fs, dirfd: int, name: bytes, undo: ExitStack, opened: ExitStack) -> int:
    fs.mkdirat(dirfd, name, 0o700)
    undo.callback(fs.rmdirat, dirfd, name)
    fd = fs.openat(dirfd, name, _DIRECTORY)
    opened.callback(fs.close, fd)
    # A parent may hand down its group (setgid) and access for others (a default ACL).
    for attribute in ACL_ATTRIBUTES:
        try:
            fs.removexattr(fd, attribute)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                raise
    fs.fchown(fd, os.geteuid(), os.getegid())
    fs.fchmod(fd, 0o700)
    return fd


def remove_wrapper(fs: Fs, roots: LiveRoots, facts: VolumeFacts, job: Job | None = None) -> None:
    """Remove the volume's wrapper with all that is in it, durably; fine if it is gone. Never what is live.

    Where nothing was live when the restore began, nothing need be live now: what is in the wrapper is no only copy.

    Only after the record that says that nothing in it is needed: the way back is lost with the first file.

    Raises:
        Failed: ``wrapper_kept`` if it isn't sure to be Holdfast's to remove, ``parent_replaced``, ``mount_in_tree``, or
            what the file system said. Calling again goes on.
        Cancelled: likewise.
    """
    job = QuietJob() if job is None else job
    try:
        with home_if_there(fs, roots, facts) as home:
            if home is None:
                return
            with suppress(FileNotFoundError), opened_wrapper(fs, home, facts) as wrapper:
                _require_removable(fs, home, wrapper, facts)
                _empty_wrapper(fs, wrapper, facts, job)
                with unchanged_time(fs, home) if facts.way.inside else nullcontext():
                    fs.rmdirat(home, facts.wrapper.encode())
            fs.fsync(home)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise _kept(facts, "there is something in it that Holdfast did not put there") from error
        raise translate(error, f"removing {wrapper_path(facts)}") from error


def _require_removable(fs: Fs, home: int, wrapper: int, facts: VolumeFacts) -> None:
    # Programs may give all that is in their volume to their user when they start; there the identity tells whose it is.
    if facts.wrapper_identity is None and fs.fstat(wrapper).st_uid != os.geteuid():
        raise _kept(facts, "it belongs to somebody else")
    mounted = mounted_at(fs, wrapper_path(facts))
    if mounted is not None:
        raise Failed(
            "mount_in_tree",
            f"Something is mounted at {mounted}; what is below a mount is never removed.",
            next_step="Unmount it; the rest is removed the next time.",
            details={"path": mounted},
        )
    if facts.way.inside:
        return  # what is live is the directory that the wrapper lies in, and stays
    try:
        live = fs.open_path(home, os.fsencode(facts.live.name))
    except FileNotFoundError as error:
        if facts.before is LiveBefore.MISSING:
            return
        raise _kept(facts, f"{facts.live.path} is missing, so that this may be the only copy") from error
    try:
        inside = {fs.identity(fd) for fd in _children(fs, wrapper)}
        if not stat.S_ISDIR(fs.fstat(live).st_mode) or fs.identity(live) in inside:
            raise _kept(facts, f"{facts.live.path} is the same directory, or none")
    finally:
        fs.close(live)


def _children(fs: Fs, wrapper: int) -> Iterator[int]:
    for name in (STAGED, _REMOVING):
        try:
            fd = fs.open_path(wrapper, name)
        except FileNotFoundError:
            continue
        try:
            yield fd
        finally:
            fs.close(fd)


def _empty_wrapper(fs: Fs, wrapper: int, facts: VolumeFacts, job: Job) -> None:
    where = wrapper_path(facts)
    remove_tree(fs, wrapper, _REMOVING, job, where=where)
    with suppress(FileNotFoundError):
        fs.rename_noreplace(wrapper, STAGED, wrapper, _REMOVING)
    with suppress(FileNotFoundError):
        fs.rmdirat(wrapper, MADE)
    fs.fsync(wrapper)
    remove_tree(fs, wrapper, _REMOVING, job, where=where)


def _kept(facts: VolumeFacts, why: str) -> Failed:
    return Failed(
        "wrapper_kept",
        f"{wrapper_path(facts)} was not removed: {why}.",
        next_step="Look at both directories. If the one named is not needed, remove it by hand.",
        details={"path": wrapper_path(facts), "live_path": facts.live.path},
    )
