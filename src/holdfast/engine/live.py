"""Live directories: how the engine gets at the volumes of workloads, and what must be true of them.

Invariants:

- Roots (the volumes base, allowed roots, where the container engine keeps its volumes) are opened once and held as
  descriptors; everything below is reached from there through no symlink (I7).
- Nothing is created, and no owner changed, but by :meth:`LiveRoots.create` and :meth:`LiveRoots.create_parents`, and
  there only of what they made themselves; and by :meth:`LiveRoots.give` of what nobody has used.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from itertools import islice
from threading import Lock
from types import TracebackType
from typing import Final, Self

from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.domain.restore import Identity, RootRef
from holdfast.engine.fs import FLAG_APPEND, FLAG_IMMUTABLE, TEMPORARY_PREFIX, Fs
from holdfast.engine.live_problems import PROBLEMS, invalid_path, unknown_root, unusable
from holdfast.engine.mounts import mounts_at_or_below, read_own
from holdfast.engine.os_errors import translate
from holdfast.engine.root_names import NotOfVolume, not_of_volume
from holdfast.engine.volume_identity import volume_identity

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_STAYS: Final = frozenset({errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ENOTDIR})
"""Why a directory need not be removed: something is in it, or it is gone."""
_ENOUGH: Final = 64
"""Names after which a directory is not empty, whatever they are: far fewer are there of what is no volume's."""


class LiveRoots:
    """The trusted roots, held open.

    A root that is not there, or is reached through a symlink, stands in the way of nothing but the volumes below it.

    Args:
        roots: absolute, resolved paths from the operator's settings.
        journal_dir: where the journals of restores are, which tell what in a volume is not the volume's; empty where
            nobody restores.
        late: more roots, which others make, perhaps after this start: each is looked for when it is first needed, and
            again while it is not there, or once it was removed.

    Raises:
        Failed: a root is there but can't be opened.
    """

    def __init__(self, fs: Fs, roots: Sequence[str], journal_dir: str = "", *, late: Sequence[str] = ()) -> None:
        self._fs = fs
        self._journal_dir = journal_dir
        self._late = frozenset(late) - {*roots}
        self._looking = Lock()
        self._fds: dict[str, int] = {}
        self._removed: list[int] = []
        self._unusable: dict[str, Problem] = {}
        try:
            for root in dict.fromkeys(roots):
                self._hold(root)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the roots."""
        while self._fds:
            self._fs.close(self._fds.popitem()[1])
        while self._removed:
            self._fs.close(self._removed.pop())

    def open(self, ref: RootRef) -> int:
        """Open a live directory for reading. The caller closes it.

        Raises:
            Refused: ``root_unknown``, ``root_unusable``, ``volume_path_invalid``, ``volume_missing``,
                ``volume_is_symlink`` or ``volume_not_directory``.
            Failed: it can't be opened for another reason.
        """
        return self._open(ref, ref.relative)

    def open_parent(self, ref: RootRef) -> tuple[int, bytes]:
        """Open the directory that holds a live directory, there or not. The caller closes it.

        Returns:
            The descriptor, and the live directory's name in it.

        Raises:
            Refused, Failed: as :meth:`open`, for the parent.
        """
        return self._open(ref, ref.parent_relative), os.fsencode(ref.name)

    def identity(self, ref: RootRef) -> Identity:
        """The live directory's identity. Raises as :meth:`open`; ``Failed`` where the filesystem has no handles."""
        fd = self.open(ref)
        try:
            return volume_identity(self._fs, fd)
        except OSError as error:
            raise translate(error, f"asking for the identity of {ref.path}") from error
        finally:
            self._fs.close(fd)

    def not_of_volume(self, ref: RootRef) -> NotOfVolume:
        """What tells which names in the live directory are no part of the volume."""
        return not_of_volume(self._fs, self._journal_dir, ref)

    def is_mount_point(self, ref: RootRef) -> bool:
        """Whether the live directory is one. Raises as :meth:`open`."""
        live = self.open(ref)
        try:
            parent, _ = self.open_parent(ref)
            try:
                return self._fs.mount_id(live) != self._fs.mount_id(parent)
            finally:
                self._fs.close(parent)
        except OSError as error:
            raise translate(error, f"looking at {ref.path}") from error
        finally:
            self._fs.close(live)

    def is_empty(self, ref: RootRef) -> bool:
        """Whether the live directory has nothing of the volume's in it. Raises as :meth:`open`."""
        fd = self.open(ref)
        try:
            first = list(islice(self._fs.scan(fd), _ENOUGH))
            return len(first) < _ENOUGH and not set(first) - self.not_of_volume(ref)(fd, first)
        except OSError as error:
            raise translate(error, f"listing {ref.path}") from error
        finally:
            self._fs.close(fd)

    def check(self, ref: RootRef) -> list[Problem]:
        """Everything that forbids capturing or swapping a live directory; nothing is changed.

        Returns:
            Problems with the codes that :meth:`open` refuses with, ``mount_in_volume`` (below it) and
            ``volume_immutable`` (it is immutable or append-only; or its parent is, where it is no mount point).

        Raises:
            Failed: it can't be looked at.
        """
        try:
            live = self.open(ref)
        except Refused as refusal:
            return list(refusal.problems)
        try:
            parent, _ = self.open_parent(ref)
            try:
                return self._look(ref, live, parent)
            finally:
                self._fs.close(parent)
        except Refused as refusal:
            return list(refusal.problems)
        except OSError as error:
            raise translate(error, f"checking {ref.path}") from error
        finally:
            self._fs.close(live)

    def create(self, ref: RootRef, *, uid: int, gid: int, mode: int) -> bool:
        """Make a live directory and what is missing above it (mode 0755, owned by root), durably.

        The directory gets its owner and mode before it gets its name, so that a crash can't leave it half made. One
        that is there already keeps its owner and mode.

        Returns:
            Whether it was made.

        Raises:
            Refused: as :meth:`open`.
            NoSpace: the filesystem is full.
            Failed: it can't be made.
        """
        components = ref.relative.split("/")
        owners = [(0, 0, 0o755)] * (len(components) - 1) + [(uid, gid, mode)]
        return self._make(ref, list(zip(components, owners, strict=True)))

    def give(self, ref: RootRef, *, uid: int, gid: int, mode: int) -> bool:
        """Give a live directory that others made its first owner and mode, durably; only while nobody has used it.

        Returns:
            Whether it was root's and empty, so that it has them now.

        Raises:
            Refused, Failed: as :meth:`open`.
        """
        fd = self.open(ref)
        try:
            facts = self._fs.fstat(fd)
            if (facts.st_uid, facts.st_gid) != (0, 0) or next(iter(self._fs.scan(fd)), None) is not None:
                return False
            self._fs.fchown(fd, uid, gid)
            self._fs.fchmod(fd, mode)
            self._fs.fsync(fd)
        except OSError as error:
            raise translate(error, f"giving {ref.path} its owner") from error
        finally:
            self._fs.close(fd)
        return True

    def create_parents(self, ref: RootRef) -> None:
        """Make what is missing above a live directory, as :meth:`create` does. Raises likewise."""
        if ref.parent_relative:
            self._make(ref, [(component, (0, 0, 0o755)) for component in ref.parent_relative.split("/")])

    def remove_empty_parents(self, ref: RootRef) -> None:
        """Remove what :meth:`create_parents` made above a live directory that is gone, as far as nothing else is in it.

        Raises:
            Refused, Failed: as :meth:`open`, for a parent.
        """
        while ref.parent_relative:
            ref = RootRef(root=ref.root, relative=ref.parent_relative)
            parent, name = self.open_parent(ref)
            try:
                self._fs.rmdirat(parent, name)
                self._fs.fsync(parent)
            except OSError as error:
                if error.errno in _STAYS:
                    return
                raise translate(error, f"removing {ref.path}") from error
            finally:
                self._fs.close(parent)

    def first_missing(self, ref: RootRef) -> RootRef | None:
        """The topmost directory on the way to a live one that is not there; ``None`` if all of them are.

        Raises:
            Refused, Failed: as :meth:`open`, for another reason than that it is missing.
        """
        components = ref.relative.split("/")
        for depth in range(1, len(components) + 1):
            at = RootRef(root=ref.root, relative="/".join(components[:depth]))
            try:
                self._fs.close(self.open(at))
            except Refused as refusal:
                if [problem.code for problem in refusal.problems] == ["volume_missing"]:
                    return at
                raise
        return None

    def check_parent(self, ref: RootRef) -> list[Problem]:
        """What forbids making a directory at ``ref``, whose parent is there: ``volume_immutable``, or nothing.

        Raises:
            Refused, Failed: as :meth:`open`, for the parent.
        """
        parent, _ = self.open_parent(ref)
        try:
            return list(self._flagged(parent, ref.path.rpartition("/")[0]))
        except OSError as error:
            raise translate(error, f"checking the directory that holds {ref.path}") from error
        finally:
            self._fs.close(parent)

    def _make(self, ref: RootRef, components: Sequence[tuple[str, tuple[int, int, int]]]) -> bool:
        """Enter or make one directory after the other. Whether the last one was made."""
        root = self._root_of(ref)
        try:
            at = self._fs.duplicate(root)
        except OSError as error:
            raise translate(error, f"opening the root {ref.root}") from error
        made = False
        try:
            for component, owner in components:
                below, made = self._enter_or_make(at, os.fsencode(component), *owner)
                self._fs.close(at)
                at = below
        except OSError as error:
            raise self._explain(error, ref) from error
        finally:
            self._fs.close(at)
        return made

    def _hold(self, root: str) -> None:
        try:
            fd = self._fs.open_root(root)
        except OSError as error:
            if error.errno not in _MISSING:
                raise translate(error, f"opening the root {root}") from error
            self._unusable[root] = unusable(root, "is not there, or is no directory")
            return
        self._fds[root] = fd
        try:
            path = self._fs.path_of(fd)
        except OSError as error:
            raise translate(error, f"looking at the root {root}") from error
        if path != (root.rstrip("/") or "/"):
            self._unusable[root] = unusable(root, "is not a plain absolute path, or is reached through a symlink")

    def _look_for(self, root: str) -> None:
        with self._looking:
            if root in self._fds:
                try:
                    if self._fs.fstat(self._fds[root]).st_nlink:
                        return
                except OSError as error:
                    raise translate(error, f"looking at the root {root}") from error
                self._removed.append(self._fds.pop(root))  # somebody may be about to open what is below
            self._unusable.pop(root, None)
            self._hold(root)

    def _root_of(self, ref: RootRef) -> int:
        """The descriptor of the ref's root; ours until :meth:`close`."""
        if ref.root in self._late:
            self._look_for(ref.root)
        if ref.root in self._unusable:
            raise Refused([self._unusable[ref.root]])
        if ref.root not in self._fds:
            raise Refused([unknown_root(ref)])
        if any(component in ("", ".", "..") for component in ref.relative.split("/")) or "\0" in ref.relative:
            raise Refused([invalid_path(ref)])
        return self._fds[ref.root]

    def _open(self, ref: RootRef, relative: str) -> int:
        root = self._root_of(ref)
        try:
            return self._fs.open_beneath(root, relative or ".", _DIRECTORY)
        except OSError as error:
            raise self._explain(error, ref) from error

    def _look(self, ref: RootRef, live: int, parent: int) -> list[Problem]:
        problems = []
        mounts = mounts_at_or_below(ref.path, read_own(self._fs))
        below = next((mount.shown for mount in mounts if mount.mount_point != ref.path), None)
        if below is not None:
            problems.append(
                Problem(
                    code="mount_in_volume",
                    message=f"Something is mounted at {below}, in a volume. What is below a mount is not captured, and "
                    "can't be swapped.",
                    next_step="Unmount it, or mount it elsewhere and make that a volume of its own.",
                    details={"path": ref.path, "mount_point": below},
                )
            )
        problems += self._flagged(live, ref.path)
        if self._fs.mount_id(live) == self._fs.mount_id(parent):  # from a mount point nothing is moved in its parent
            problems += self._flagged(parent, ref.path.rpartition("/")[0])
        return problems

    def _flagged(self, fd: int, path: str) -> Iterator[Problem]:
        if self._fs.flags(fd) & (FLAG_IMMUTABLE | FLAG_APPEND):
            yield Problem(
                code="volume_immutable",
                message=f"{path} is immutable or append-only.",
                next_step=f"Take the flag away: chattr -ia {path}",
                details={"path": path},
            )

    def _enter_or_make(self, at: int, name: bytes, uid: int, gid: int, mode: int) -> tuple[int, bool]:
        try:
            return self._fs.openat(at, name, _DIRECTORY), False
        except FileNotFoundError:
            temporary = TEMPORARY_PREFIX + secrets.token_hex(8).encode()
        self._fs.mkdirat(at, temporary)
        try:
            fd = self._fs.openat(at, temporary, _DIRECTORY)
            try:
                self._fs.fchown(fd, uid, gid)
                self._fs.fchmod(fd, mode)
                self._fs.fsync(fd)
            finally:
                self._fs.close(fd)
            self._fs.rename_noreplace(at, temporary, at, name)
        except BaseException:
            self._fs.rmdirat(at, temporary)
            raise
        self._fs.fsync(at)
        return self._fs.openat(at, name, _DIRECTORY), True

    def _explain(self, error: OSError, ref: RootRef) -> HoldfastError:
        problem = PROBLEMS.get(error.errno or 0)
        if problem is None:
            return translate(error, f"opening {ref.path}")
        code, words, next_step = problem
        return Refused(
            [Problem(code=code, message=f"{ref.path} {words}.", next_step=next_step, details={"path": ref.path})]
        )
