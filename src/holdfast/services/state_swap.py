"""Puts the state that is in a backup in the place of the state that is there: all of it, or nothing. All of it blocks.

What is asked for is staged and checked while the server runs, and carried out by its next start, under the data
directory's lock, before anything has the database open. In the directory ``state-restore`` lie

- ``new/``: what is to be put in its place, whole and durable;
- ``asked.json``: that it was asked for, and checked. Without it ``new/`` is nothing, and is removed;
- ``begun``: a start has begun to carry it out. One that finds it gives up: nothing is tried for ever;
- ``commit.json``: the safety backup is kept, and everything checked again. From here it only goes forward.

Invariants:

- Before ``commit.json`` is durable, nothing of the state that is there was touched; once it is, every start goes on
  with what is left of ``new/`` before it looks at anything else. Whatever dies when, the state is the old or the new.
- What is replaced is in a backup that was read back, made when nothing could change it any more.
- The key that the snapshots on this disk were made with is never replaced, and no key is lost.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from holdfast.config import Settings
from holdfast.domain.backup import BackupReason
from holdfast.domain.errors import Failed, HoldfastError, Problem, Refused
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.space import keep_reserve
from holdfast.services.backup_files import BackupFiles, Progress
from holdfast.services.backup_passphrase import FILE as PASSPHRASE_FILE
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.state_records import COMMIT, NEW, Asked, Committed, Settled, require_nothing_in_flight
from holdfast.store.database import upgrade_file

_DATABASE: Final = "state.db"
_LOGS: Final = ("state.db-wal", "state.db-shm")
_SEALING_KEY: Final = "keys/sealing.key"
_OF_THIS_DISK: Final = frozenset({"keys/repository.key", "keys/archive.key", f"keys/{PASSPHRASE_FILE}"})
"""What stays as it is where it is there: it opens what is on this disk, and seals what is backed up from now on."""
_SETTINGS: Final = "settings.json"
_FIRST_ADMIN: Final = "admin-token"
_STILL_GOOD: Final = """
SELECT id FROM tokens WHERE user_id IS NULL OR user_id IN (SELECT id FROM users WHERE NOT disabled) ORDER BY id
"""

_ASKED: Final = "asked.json"
_BEGUN: Final = "begun"

T = TypeVar("T")


class _Old(NamedTuple):
    pins: tuple[tuple[str, str, str | None], ...]
    tokens: tuple[str, ...]


class StateSwap:
    """Stages, and carries out."""

    def __init__(self, settings: Settings, fs: Fs, files: BackupFiles, passphrase: BackupPassphrase) -> None:
        self._settings = settings
        self._fs = fs
        self._files = files
        self._passphrase = passphrase
        self._directory = settings.state_restore_dir
        self._new = self._directory / NEW

    # --- while a server runs, or before one did ---------------------------------------------------------------------

    def stage(self, backup: Path, passphrase: str, progress: Progress) -> Asked:
        """Unpack a backup beside the state, and check all of it. Nothing is asked for yet.

        Raises:
            InvalidInput, Refused, Damaged: it is none that can be used.
            Failed, NoSpace: it can't be staged, or is of a newer version.
        """
        from holdfast.engine.backup_file import read_backup  # only here: it loads the library of ciphers
        from holdfast.services.state_backup import look_into  # likewise

        self.drop()
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            progress(done, max(done, size))

        with _doing(f"staging {backup}"):
            size = backup.stat().st_size
            self._directory.mkdir(mode=0o700)
            self._new.mkdir(mode=0o700)
            with backup.open("rb") as file:
                facts, entries = read_backup(file, passphrase, self._put, told)
            look_into(self._new / _DATABASE, facts.schema)
            for directory in (self._new / "keys", self._new, self._directory, self._directory.parent):
                if directory.is_dir():
                    _flush(directory)
        return Asked(
            operation_id="",
            actor="",
            created_at="",
            backup_id=facts.id,
            made_at=facts.created_at,
            schema=facts.schema,
            files={entry.name: entry.sha256 for entry in entries},
        )

    def check_keys(self) -> None:
        """Make sure that what was staged is of the repository that is on this disk.

        Raises:
            Refused: ``backup_of_another_repository``.
        """
        present, staged = self._settings.repository_key_file, self._new / "keys/repository.key"
        with _doing("comparing keys"):
            same = not present.is_file() or not staged.is_file() or present.read_bytes() == staged.read_bytes()
        if not same:
            raise Refused(
                [
                    Problem(
                        code="backup_of_another_repository",
                        message="The repository key in this backup is another one than that of the snapshots here.",
                        next_step="Nothing was changed. Bring it back into an empty data directory: "
                        "holdfast recover --backup.",
                    )
                ]
            )

    def ask(self, asked: Asked) -> None:
        """Have the next start carry out what was staged, durably.

        Raises:
            Failed, NoSpace: it can't be written.
        """
        self._write(_ASKED, msgspec.json.encode(asked))

    def fill(self, asked: Asked) -> None:
        """Put what was staged into a data directory that has no state, at once; the next start tells of it.

        Raises:
            Failed, NoSpace: it can't be written.
        """
        self._write(COMMIT, msgspec.json.encode(Committed(asked=asked)))
        self.finish()

    def drop(self) -> None:
        """Remove all of it, and with it what was asked for."""
        with _doing(f"tidying up {self._directory}"):
            if not self._directory.is_dir():
                return
            with self._opened(self._directory) as directory:
                names = sorted(os.fsdecode(name) for name in self._fs.listdir(directory))
                # What makes anything of the rest goes first; but a commit last, whose rest is in its place.
                for name in sorted(set(names) - {NEW}, key=lambda name: (name == COMMIT, name != _ASKED)):
                    if name == COMMIT:
                        shutil.rmtree(self._new, ignore_errors=True)
                    self._fs.unlinkat(directory, name.encode())
                    self._fs.fsync(directory)
            shutil.rmtree(self._directory)
            _flush(self._directory.parent)

    # --- under the data directory's lock, with nobody at work -------------------------------------------------------

    @property
    def torn(self) -> bool:
        """Whether a server died while it put a state in place: what is there may be partly of this one."""
        return (self._directory / COMMIT).exists() and self._new.exists()

    def settle(self) -> Settled | None:
        """Carry out what was asked for, or go on with it; ``None`` if nothing was.

        Raises:
            Failed, NoSpace: it can't be told whether it goes forward, or can't be gone on with. Nothing may be served.
        """
        committed = self.finish()
        if committed is not None:
            return Settled(committed.asked, committed, None)
        asked = self._read(_ASKED, Asked)
        if asked is None:
            self.drop()
            return None
        if (self._directory / _BEGUN).exists():
            return Settled(asked, None, _interrupted())
        try:
            self._write(_BEGUN, b"")
            committed = self._prepared(asked)
        except HoldfastError as error:
            return Settled(asked, None, error)
        self._write(COMMIT, msgspec.json.encode(committed))
        self.finish()
        return Settled(asked, committed, None)

    def finish(self) -> Committed | None:
        """Go on with what a commit says; ``None`` if there is none. Idempotent: it can die at any point, and run again.

        Raises:
            Failed, NoSpace: it can't be gone on with.
        """
        committed = self._read(COMMIT, Committed)
        if committed is None or not self._new.is_dir():
            return committed
        # Settings are the machine's own; and the file of a first token that ended would make it good again.
        left_out = {_SETTINGS} if committed.tokens is None else {_SETTINGS, _FIRST_ADMIN}
        with _doing("putting a state in its place"):
            for name in sorted(committed.asked.files, key=lambda name: name == _DATABASE):
                if name not in left_out:
                    self._put_in_place(name, committed.asked.backup_id)
            shutil.rmtree(self._new)
            _flush(self._directory)
        return committed

    # --- how --------------------------------------------------------------------------------------------------------

    def _prepared(self, asked: Asked) -> Committed:
        """All that comes before the commit: what is there is checked once more, and backed up."""
        from holdfast.services.state_backup import look_into  # only here: likewise

        require_nothing_in_flight(self._settings)
        with _doing(f"looking at {self._new}"):
            for name, digest in asked.files.items():
                with (self._new / name).open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                        raise _not_whole(name)
        look_into(self._new / _DATABASE, asked.schema)
        upgrade_file(self._new / _DATABASE)  # now, while there is a way back from what can't be upgraded
        safety = self._files.make(self._passphrase.get(), BackupReason.SAFETY, sealing=_nobody, verifying=_nobody)
        old = self._old()
        return Committed(
            asked=asked, safety_id=safety.id, audit_head=safety.audit_head, pins=old.pins, tokens=old.tokens
        )

    def _old(self) -> _Old:
        """What is taken over from the state that is there: what was pinned since, and which tokens are still good."""
        try:
            with closing(sqlite3.connect(self._settings.database_file)) as database:
                pins = database.execute("SELECT id, workload_id, safety_for FROM snapshots WHERE pinned ORDER BY id")
                tokens = database.execute(_STILL_GOOD)
                return _Old(tuple((str(i), str(w), s) for i, w, s in pins), tuple(str(i) for (i,) in tokens))
        except sqlite3.Error as error:
            raise Failed(
                "database_failed",
                f"The database can't be read: {error}.",
                next_step="Nothing was changed. Check the disk, and holdfast doctor.",
            ) from error

    def _put_in_place(self, name: str, backup_id: str) -> None:
        """Put one file in its place, durably. Nothing is done if it is there already."""
        staged, target = self._new / name, self._settings.data_dir / name
        if not staged.exists():
            return
        with self._opened(staged.parent) as source, self._opened(target.parent) as place:
            if name in _OF_THIS_DISK and target.exists():
                return
            if name == _SEALING_KEY and target.exists() and target.read_bytes() != staged.read_bytes():
                self._keep_beside(place, target, f"{target.name}.before-{backup_id}")
            if name == _DATABASE:  # what is written in these is of the database of before, and must not get into this
                for log in _LOGS:
                    if (self._settings.data_dir / log).exists():
                        self._fs.unlinkat(place, log.encode())
                self._fs.fsync(place)
            self._fs.rename(source, os.fsencode(staged.name), place, os.fsencode(target.name))
            self._fs.fsync(place)

    def _keep_beside(self, place: int, target: Path, name: str) -> None:
        """Keep a key of before: it opens what was sealed with it."""
        self._fs.write_file_durable(place, os.fsencode(name), target.read_bytes())

    def _put(self, name: str, pieces: Iterator[bytes]) -> None:
        path = self._new / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            for piece in pieces:
                keep_reserve(self._fs, fd, len(piece), self._settings.disk_reserve_bytes, "the state in the backup")
                file.write(piece)
            file.flush()
            self._fs.fsync(file.fileno())

    def _write(self, name: str, content: bytes) -> None:
        with _doing(f"writing {self._directory / name}"), self._opened(self._directory) as directory:
            self._fs.write_file_durable(directory, name.encode(), content)

    def _read(self, name: str, kind: type[T]) -> T | None:
        path = self._directory / name
        try:
            with _doing(f"reading {path}"):
                return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None
        except msgspec.DecodeError as error:
            raise Failed(
                "state_restore_unreadable",
                f"{path} can't be read: whether a backup takes the place of the state is not known.",
                next_step="Check the disk. Nothing is served until a person looked into it: see "
                "docs/how-to/back-up-holdfast.md.",
            ) from error

    @contextmanager
    def _opened(self, directory: Path) -> Iterator[int]:
        fd = self._fs.open_root(str(directory))
        try:
            yield fd
        finally:
            self._fs.close(fd)


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, what) from error


def _flush(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _nobody(_done: int, _total: int) -> None:
    """Nobody watches."""


def _not_whole(name: str) -> Failed:
    return Failed(
        "state_not_whole",
        f"What was staged of the backup is not what it was: {name}.",
        next_step="Nothing was changed. Check the disk, and try again.",
    )


def _interrupted() -> Failed:
    return Failed(
        "backup_restore_interrupted",
        "Holdfast stopped before the backup took the place of its state.",
        next_step="Nothing was changed. Try again.",
    )
