"""A backup of Holdfast's own state: one file that a passphrase opens.

The first line is a JSON object that anybody can read: what the file is, of which installation, when it was made, up to
where the audit log went. What follows is sealed, in frames: four bytes of length, big-endian, then up to a MiB under
AES-256-GCM. The key is scrypt of the passphrase (Unicode NFC, UTF-8) with the salt of the first line; the nonce is the
frame's number in 12 bytes; the associated data is the BLAKE3 hash of the first line and a byte that is 1 for the last
frame. The frames hold one zstd stream: a line of JSON that lists files with their sizes and SHA-256, then these files.

Invariants:

- Without the passphrase nothing of the content can be learnt, and nothing of the file be changed unnoticed, cut off or
  added to; the first line included.
- A file from anywhere costs bounded memory and time. Names of files are from a short list of forms.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec
import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.backup import BackupReason
from holdfast.domain.errors import Damaged, InvalidInput, Problem, Refused
from holdfast.engine.passphrases import (
    SCRYPT_N,
    SCRYPT_R,
    ScryptN,
    ScryptP,
    ScryptR,
    affordable,
    check_passphrase,
    cipher_of,
)
from holdfast.engine.signed_json import Malformed, canonical, parse_object

NAMES: Final = re.compile(r"state\.db|installation|admin-token|settings\.json|keys/[a-z0-9][a-zA-Z0-9._-]{0,199}")
"""Files that a backup holds."""

_WHAT: Final = "holdfast backup"
_FORMAT: Final = 1
_MAX_LINE: Final = 1 << 20
_FRAME: Final = 1 << 20
_PIECE: Final = 1 << 18
_TAG_BYTES: Final = 16
_SALT_BYTES: Final = 32


class BackupFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line. All of it can be read without the passphrase, and is only proved by it.

    Attributes:
        holdfast: the version that made it.
        schema: of the database in it.
        installation: the id of that Holdfast.
        audit_head: where the audit log ended, ``number:hash``.
        salt: hexadecimal.
    """

    what: str = _WHAT
    format: int = _FORMAT
    id: str
    created_at: str
    holdfast: str
    schema: str
    installation: str
    audit_head: str
    reason: BackupReason = BackupReason.MANUAL
    scrypt_n: ScryptN = SCRYPT_N
    scrypt_r: ScryptR = SCRYPT_R
    scrypt_p: ScryptP = 1
    salt: str = ""


class BackupEntry(NamedTuple):
    """A file in a backup; ``sha256`` is hexadecimal."""

    name: str
    size: int
    sha256: str


def _nobody(_count: int) -> None:
    """Nobody watches."""


def write_backup(
    out: BinaryIO,
    facts: BackupFacts,
    files: Mapping[str, Path],
    passphrase: str,
    done: Callable[[int], object] = _nobody,
) -> None:
    """Write a backup.

    Args:
        files: what it holds, by the names that it has there. None may change meanwhile.
        done: told how many bytes of them are in it, of each piece; what it raises ends the writing.

    Raises:
        InvalidInput: ``passphrase_too_short``.
    """
    check_passphrase(passphrase)
    facts = msgspec.structs.replace(facts, salt=secrets.token_hex(_SALT_BYTES))
    first = canonical(msgspec.to_builtins(facts)) + b"\n"
    entries = [_entry(name, path) for name, path in files.items()]
    out.write(first)
    sealed = _SealedWriter(out, _cipher(facts, passphrase), first)
    compressor = zstandard.ZstdCompressor(level=3)
    with compressor.stream_writer(sealed, closefd=False) as stream:  # type: ignore[arg-type] # it only writes
        stream.write(json.dumps([entry._asdict() for entry in entries]).encode() + b"\n")
        for path in files.values():
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    stream.write(piece)
                    done(len(piece))
    sealed.finish()


def read_facts(file: BinaryIO) -> BackupFacts:
    """What the first line tells.

    Raises:
        InvalidInput: ``backup_malformed``; it is another kind of file.
        Refused: ``backup_newer``.
    """
    return _read_first(file)[0]


def read_backup(
    file: BinaryIO,
    passphrase: str,
    put: Callable[[str, Iterator[bytes]], None] | None = None,
    done: Callable[[int], object] = _nobody,
) -> tuple[BackupFacts, tuple[BackupEntry, ...]]:
    """Read a backup to its end, and check all of it.

    Args:
        put: takes each file as its pieces come. Nothing of them counts before this returns.
        done: told how many bytes were read of what is in it, of each piece; what it raises ends the reading.

    Raises:
        InvalidInput: ``backup_malformed``; it is another kind of file.
        Refused: ``backup_newer``, ``backup_not_opened``.
        Damaged: ``backup_damaged``.
    """
    facts, first = _read_first(file)
    sealed = _SealedReader(file, _cipher(facts, passphrase), first)
    try:
        decompressor = zstandard.ZstdDecompressor()
        with decompressor.stream_reader(sealed) as stream:  # type: ignore[arg-type] # it only reads
            content = _Content(stream)
            entries = _entries(content.line())
            for entry in entries:
                digest = hashlib.sha256()
                pieces = _hashed(content.pieces(entry.size), digest.update, done)
                if put is not None:
                    put(entry.name, pieces)
                for _ in pieces:  # what was not taken is checked all the same
                    pass
                if digest.hexdigest() != entry.sha256:
                    raise _damaged(f"{entry.name} is another one than the one that it names")
            if content.some():
                raise _damaged("it holds more than it names")
    except zstandard.ZstdError as error:
        raise _damaged("it can't be decompressed") from error
    sealed.require_end()
    return facts, entries


class _SealedWriter:
    """Takes a stream and writes it in frames."""

    def __init__(self, out: BinaryIO, cipher: AESGCM, first: bytes) -> None:
        self._out, self._cipher, self._about = out, cipher, blake3(first).digest()
        self._held = bytearray()
        self._number = 0

    def write(self, data: bytes) -> int:
        self._held += data
        while len(self._held) > _FRAME:  # never the last one: that is known at the end only
            self._seal(bytes(self._held[:_FRAME]), last=False)
            del self._held[:_FRAME]
        return len(data)

    def finish(self) -> None:
        self._seal(bytes(self._held), last=True)

    def _seal(self, data: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(self._number.to_bytes(12, "big"), data, self._about + bytes([last]))
        self._number += 1
        self._out.write(len(sealed).to_bytes(4, "big") + sealed)


class _SealedReader:
    """Gives back the stream that :class:`_SealedWriter` took."""

    def __init__(self, file: BinaryIO, cipher: AESGCM, first: bytes) -> None:
        self._file, self._cipher, self._about = file, cipher, blake3(first).digest()
        self._held = b""
        self._number = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        while not self._held and not self._ended:
            self._held = self._open()
        taken = self._held if size < 0 else self._held[:size]
        self._held = self._held[len(taken) :]
        return taken

    def require_end(self) -> None:
        while not self._ended:
            self._open()
        if self._file.read(1):
            raise _damaged("something was added to it")

    def _open(self) -> bytes:
        length = int.from_bytes(self._file.read(4), "big")
        sealed = self._file.read(length) if _TAG_BYTES <= length <= _FRAME + _TAG_BYTES else b""
        nonce = self._number.to_bytes(12, "big")
        for last in (False, True):
            try:
                plain = self._cipher.decrypt(nonce, sealed, self._about + bytes([last]))
            except InvalidTag:
                continue
            self._number += 1
            self._ended = last
            return plain
        if self._number == 0 and len(sealed) == length:
            raise Refused(
                [
                    Problem(
                        code="backup_not_opened",
                        message="The passphrase does not open this backup, or its beginning was changed.",
                        next_step="Nothing was changed. Try again; capital letters and spaces count.",
                    )
                ]
            )
        raise _damaged("a part of it was changed or is missing")


class _Content:
    """The decompressed stream, read by lines and sizes."""

    def __init__(self, stream: zstandard.ZstdDecompressionReader) -> None:
        self._stream = stream
        self._held = b""

    def line(self) -> bytes:
        while b"\n" not in self._held:
            if len(self._held) > _MAX_LINE or not self.some():
                raise _damaged("it does not say what it holds")
        line, _, self._held = self._held.partition(b"\n")
        return line

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._held and not self.some():
                raise _damaged("it ends too early")
            piece, self._held = self._held[:size], self._held[size:]
            size -= len(piece)
            yield piece

    def some(self) -> bool:
        """Whether there is more; read some of it."""
        self._held += self._stream.read(_PIECE)
        return bool(self._held)


def _hashed(
    pieces: Iterator[bytes], update: Callable[[bytes], object], done: Callable[[int], object]
) -> Iterator[bytes]:
    for piece in pieces:
        update(piece)
        done(len(piece))
        yield piece


def _entry(name: str, path: Path) -> BackupEntry:
    if NAMES.fullmatch(name) is None:
        raise ValueError(f"no name of a file in a backup: {name}")
    with path.open("rb") as file:
        return BackupEntry(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _entries(line: bytes) -> tuple[BackupEntry, ...]:
    try:
        entries = tuple(BackupEntry(**told) for told in json.loads(line))
        known = all(NAMES.fullmatch(entry.name) and 0 <= entry.size < 1 << 60 for entry in entries)
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged("what it says of its files makes no sense") from error
    if not known or len({entry.name for entry in entries}) != len(entries):
        raise _damaged("it holds files that are not Holdfast's")
    return entries


def _read_first(file: BinaryIO) -> tuple[BackupFacts, bytes]:
    first = file.readline(_MAX_LINE)
    try:
        document = parse_object(first, _MAX_LINE)
    except Malformed as error:
        raise _malformed() from error
    version = document.get("format")
    if document.get("what") != _WHAT or not isinstance(version, int):
        raise _malformed()
    if version > _FORMAT:
        raise Refused(
            [
                Problem(
                    code="backup_newer",
                    message=f"The backup is of format {version}; this version of Holdfast reads up to {_FORMAT}.",
                    next_step="Nothing was changed. Update Holdfast, then try again.",
                )
            ]
        )
    try:
        facts = msgspec.convert(document, BackupFacts, strict=True)
        salt = bytes.fromhex(facts.salt)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise _damaged("its first line is missing something or makes no sense") from error
    if len(salt) != _SALT_BYTES or version < 1 or not affordable(facts.scrypt_n, facts.scrypt_r):
        raise _damaged("its first line makes no sense")
    return facts, first


def _cipher(facts: BackupFacts, passphrase: str) -> AESGCM:
    salt = bytes.fromhex(facts.salt)
    return cipher_of(passphrase, salt=salt, n=facts.scrypt_n, r=facts.scrypt_r, p=facts.scrypt_p)


def _malformed() -> InvalidInput:
    return InvalidInput(
        "backup_malformed",
        "This is no backup of Holdfast.",
        next_step="Nothing was changed. Name a file that holdfast backup create wrote.",
    )


def _damaged(why: str) -> Damaged:
    return Damaged(
        "backup_damaged",
        f"The backup is damaged: {why}.",
        next_step="Nothing was changed. Use another backup, or another copy of this one.",
    )
