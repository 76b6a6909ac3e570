"""The passphrase of the backups that the server makes by itself: sealed, in a file of its own among the keys."""

from __future__ import annotations

from typing import Final

from holdfast.config import Settings
from holdfast.domain.backup import PassphraseState
from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_secret, write_secret
from holdfast.engine.sealing import OVERHEAD, Sealing

MAX_PASSPHRASE: Final = 1024
"""Characters."""
FILE: Final = "backup.passphrase"
_WHAT: Final = "passphrase of backups"
_AGAIN: Final = "Set it: holdfast backup passphrase."


class BackupPassphrase:
    """Sets it and opens it. All of it blocks."""

    def __init__(self, settings: Settings, fs: Fs, sealing: Sealing) -> None:
        self._file = settings.keys_dir / FILE
        self._fs = fs
        self._sealing = sealing

    def set(self, passphrase: str) -> None:
        """Set it, durably. Backups that are there keep theirs.

        Raises:
            InvalidInput: ``passphrase_too_short``.
            Failed, NoSpace: see :meth:`Sealing.seal`.
        """
        from holdfast.engine.passphrases import check_passphrase  # only here: it loads the library of ciphers

        check_passphrase(passphrase)
        write_secret(self._fs, self._file, self._sealing.seal(_WHAT, passphrase.encode()))

    def get(self) -> str:
        """It.

        Raises:
            Refused: ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
        """
        try:
            sealed = load_secret(self._fs, self._file, 4 * MAX_PASSPHRASE + OVERHEAD)
            if sealed is not None:
                return self._sealing.open(_WHAT, sealed).decode()
        except HoldfastError as error:
            raise Refused(
                [
                    Problem(
                        code="backup_passphrase_unreadable",
                        message=f"The passphrase of backups can't be opened. {error.message}",
                        next_step=f"Put the key back from its copy (docs/how-to/secrets.md). If it is lost: {_AGAIN}",
                    )
                ]
            ) from error
        raise Refused(
            [
                Problem(
                    code="backup_passphrase_not_set",
                    message="No backup is made without a passphrase, and none was set.",
                    next_step=f"{_AGAIN} Keep it where the loss of this machine does not reach.",
                )
            ]
        )

    def state(self) -> PassphraseState:
        """Whether there is one that opens."""
        try:
            self.get()
        except Refused as error:
            unset = error.code == "backup_passphrase_not_set"
            return PassphraseState.NOT_SET if unset else PassphraseState.UNREADABLE
        return PassphraseState.SET
