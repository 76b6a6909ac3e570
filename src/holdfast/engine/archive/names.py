"""Names in an archive: from a member's raw name to (volume, path), and what may stand where. No I/O.

Invariants: a path that leaves here has no empty, ``.`` or ``..`` component, no NUL, no leading or trailing slash; with
a :class:`NameRegister`, no path occurs twice, no parent is anything but a directory, and a hardlink's target is a
regular file that came earlier in the same volume.
"""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from typing import Final

from holdfast.domain.errors import Refused
from holdfast.engine.archive.problems import UNTRUSTED, printable, refused
from holdfast.engine.entries import EntryKind
from holdfast.engine.manifest_codec import MAX_VOLUMES

MANIFEST_NAME: Final = b"manifest.json"

_HERE: Final = re.compile(rb"(?:\./)*+")
_INDEX: Final = re.compile(rb"0|[1-9][0-9]{0,2}")
_DIGEST_BYTES: Final = 16


def _escapes(raw: bytes) -> Refused:
    return refused(
        "archive_path_escapes",
        f"The archive has an entry that would be written outside of its volume: {printable(raw)}",
        next_step=UNTRUSTED,
    )


def _invalid(raw: bytes, why: str) -> Refused:
    return refused("archive_name_refused", f"The archive has an entry with {why}: {printable(raw)}")


def normalise(raw: bytes, *, directory: bool) -> bytes:
    """A member's name without leading ``./`` and, for a directory, without its trailing slash; ``b""`` for ``./``.

    Raises:
        Refused: ``archive_path_escapes`` (absolute, ``..``), ``archive_name_refused`` (empty, NUL, ``.``, ``//``).
    """
    if not raw:
        raise _invalid(raw, "an empty name")
    if b"\0" in raw:
        raise _invalid(raw, "a NUL in its name")
    if raw.startswith(b"/"):
        raise _escapes(raw)
    name = _HERE.sub(b"", raw, count=1)
    if directory:
        name = name.removesuffix(b"/")
        if name in (b"", b"."):
            return b""
    framed = b"/%b/" % name
    if b"/../" in framed:
        raise _escapes(raw)
    if b"//" in framed or b"/./" in framed:
        raise _invalid(raw, "an empty or '.' component in its name")
    return name


def locate(name: bytes) -> tuple[int, bytes]:
    """The volume's index and the path in it of a normalised name.

    Raises:
        Refused: ``archive_entry_outside``, the name is below no volume's directory.
    """
    first, _, path = name.partition(b"/")
    if not _INDEX.fullmatch(first) or int(first) >= MAX_VOLUMES:
        raise refused(
            "archive_entry_outside",
            f"The archive has an entry that belongs to no volume: {printable(name)}",
            next_step="Nothing was changed. Each volume must stand in a directory named by its number: 0, 1, …",
        )
    return int(first), path


class NameRegister:
    """Remembers what stands at each path of an archive: 16 bytes of digest a path, whatever its length.

    Attributes:
        implied: how many directories of each volume have no entry of their own, the volume's root not counted.
    """

    def __init__(self) -> None:
        self._kinds: dict[bytes, EntryKind | None] = {}
        self._last_parent: tuple[int, bytes] | None = None
        self.implied: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many inodes the names need, implied directories included."""
        return len(self._kinds)

    @staticmethod
    def _key(index: int, path: bytes) -> bytes:
        return blake2b(b"%d/%s" % (index, path), digest_size=_DIGEST_BYTES).digest()

    def add(self, index: int, path: bytes, kind: EntryKind) -> None:
        """Take note of an entry.

        Raises:
            Refused: ``archive_duplicate_entry`` or ``archive_parent_not_directory`` (a parent that is no directory).
        """
        parent, slash, _ = path.rpartition(b"/")
        if path and (index, parent) != self._last_parent:
            self._imply(index, parent if slash else b"")
            self._last_parent = (index, parent)
        key = self._key(index, path)
        implied = key in self._kinds and self._kinds[key] is None
        if key in self._kinds and not (implied and kind is EntryKind.DIRECTORY):
            raise refused(
                "archive_duplicate_entry",
                f"The archive has two entries with the same name: {index}/{printable(path)}",
                next_step=UNTRUSTED,
            )
        if implied and path:
            self.implied[index] -= 1
        self._kinds[key] = kind

    def _imply(self, index: int, directory: bytes) -> None:
        """Note the directories above an entry that have no entry of their own (yet)."""
        while True:
            key = self._key(index, directory)
            known = self._kinds.get(key)
            if known is EntryKind.DIRECTORY or (known is None and key in self._kinds):
                return
            if known is not None:
                raise refused(
                    "archive_parent_not_directory",
                    f"The archive has an entry below something that is no directory: {index}/{printable(directory)}",
                    next_step=UNTRUSTED,
                )
            self._kinds[key] = None
            if not directory:
                return
            self.implied[index] += 1
            directory = directory.rpartition(b"/")[0]

    def require_file(self, index: int, target: bytes, link: bytes) -> None:
        """Check a hardlink's target.

        Raises:
            Refused: ``archive_link_target_refused``.
        """
        if self._kinds.get(self._key(index, target)) is not EntryKind.FILE:
            raise refused(
                "archive_link_target_refused",
                f"The archive has a hardlink to something that is no earlier file: {index}/{printable(link)}",
                next_step=UNTRUSTED,
            )
