"""A repository's key as a file that a passphrase opens, to be kept where the repository is not.

The file is a JSON object of one line. Its key is scrypt of the passphrase (Unicode NFC, UTF-8); what it seals with
AES-256-GCM is the repository's key; the associated data is the object, as canonical JSON, without ``sealed`` and
``checksum``. The checksum (BLAKE3 of the object without it, cut to 16 bytes) tells a damaged file from a wrong
passphrase; ``key_check`` tells which repository the key is of.

Invariants: without the passphrase nothing of the key can be learnt from the file; a file from anywhere costs bounded
memory and time.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from typing import Annotated, Final

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.errors import Damaged, InvalidInput, Problem, Refused
from holdfast.engine.keys import KEY_BYTES
from holdfast.engine.repository.seal import TAG_BYTES, RepositoryKeys
from holdfast.engine.signed_json import Malformed, canonical, parse_object

MAX_FILE_BYTES: Final = 64 * 1024
MIN_PASSPHRASE: Final = 12
"""Characters."""

SCRYPT_N: Final = 1 << 17
"""With the other parameters: 128 MiB, and about a third of a second."""

_WHAT: Final = "holdfast repository key"
_FORMAT: Final = 1
_SCRYPT_R: Final = 8
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_MAX_MEMORY: Final = 1 << 30


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, format 1; bytes are hexadecimal."""

    what: str = _WHAT
    format: int = _FORMAT
    key_check: str
    scrypt_n: Annotated[int, msgspec.Meta(ge=2, le=1 << 22)]
    scrypt_r: Annotated[int, msgspec.Meta(ge=1, le=64)]
    scrypt_p: Annotated[int, msgspec.Meta(ge=1, le=4)]
    salt: str
    nonce: str
    sealed: str = ""
    checksum: str = ""


def export_key(key: bytes, passphrase: str, *, scrypt_n: int = SCRYPT_N) -> bytes:
    """The file for a repository's key.

    Args:
        scrypt_n: what each guess at the passphrase costs; a power of two.

    Raises:
        InvalidInput: ``passphrase_too_short``.
    """
    check_passphrase(passphrase)
    file = _File(
        key_check=RepositoryKeys.derive(key).check,
        scrypt_n=scrypt_n,
        scrypt_r=_SCRYPT_R,
        scrypt_p=1,
        salt=secrets.token_hex(_SALT_BYTES),
        nonce=secrets.token_hex(_NONCE_BYTES),
    )
    sealed = _cipher(file, passphrase).encrypt(bytes.fromhex(file.nonce), key, _associated(file))
    file = msgspec.structs.replace(file, sealed=sealed.hex())
    return canonical(msgspec.to_builtins(msgspec.structs.replace(file, checksum=_checksum(file)))) + b"\n"


def check_passphrase(passphrase: str) -> None:
    """Make sure that a passphrase is not one of those that are tried first.

    Raises:
        InvalidInput: ``passphrase_too_short``.
    """
    if len(unicodedata.normalize("NFC", passphrase)) < MIN_PASSPHRASE:
        raise InvalidInput(
            "passphrase_too_short",
            f"A passphrase has at least {MIN_PASSPHRASE} characters.",
            next_step="Nothing was written. Choose a longer one, of several words, and keep it apart from the file.",
        )


def import_key(data: bytes, passphrase: str) -> bytes:
    """The key in a file that :func:`export_key` made, 32 bytes.

    Raises:
        InvalidInput: ``key_file_malformed``, it is another kind of file.
        Refused: ``key_file_newer``, ``passphrase_wrong``.
        Damaged: ``key_file_damaged``.
    """
    file = _read(data)
    try:
        key = _cipher(file, passphrase).decrypt(
            bytes.fromhex(file.nonce), bytes.fromhex(file.sealed), _associated(file)
        )
    except InvalidTag as error:
        raise _refused(
            "passphrase_wrong",
            "The passphrase does not open this key.",
            next_step="Nothing was changed. Try again; capital letters and spaces count.",
        ) from error
    if RepositoryKeys.derive(key).check != file.key_check:
        raise _damaged("what it holds is not the key that it names")
    return key


def _read(data: bytes) -> _File:
    try:
        document = parse_object(data, MAX_FILE_BYTES)
    except Malformed as error:
        raise _malformed() from error
    version = document.get("format")
    if document.get("what") != _WHAT or not isinstance(version, int):
        raise _malformed()
    if version > _FORMAT:
        raise _refused(
            "key_file_newer",
            f"The file is of format {version}; this version of Holdfast reads up to {_FORMAT}.",
            next_step="Nothing was changed. Update Holdfast, then try again.",
        )
    try:
        file = msgspec.convert(document, _File, strict=True)
        sizes = [len(bytes.fromhex(text)) for text in (file.salt, file.nonce, file.sealed)]
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise _damaged("a field of it is missing or makes no sense") from error
    if file.checksum != _checksum(file):
        raise _damaged("its checksum is another")
    memory = 128 * file.scrypt_n * file.scrypt_r
    if sizes != [_SALT_BYTES, _NONCE_BYTES, KEY_BYTES + TAG_BYTES] or memory > _MAX_MEMORY or file.format < 1:
        raise _damaged("a field of it makes no sense")
    if file.scrypt_n & (file.scrypt_n - 1):
        raise _damaged("a field of it makes no sense")
    return file


def _cipher(file: _File, passphrase: str) -> AESGCM:
    memory = 128 * file.scrypt_n * file.scrypt_r
    return AESGCM(
        hashlib.scrypt(
            unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape"),
            salt=bytes.fromhex(file.salt),
            n=file.scrypt_n,
            r=file.scrypt_r,
            p=file.scrypt_p,
            maxmem=memory + (64 << 20),
            dklen=32,
        )
    )


def _associated(file: _File) -> bytes:
    document = msgspec.to_builtins(file)
    return canonical({name: value for name, value in document.items() if name not in ("sealed", "checksum")})


def _checksum(file: _File) -> str:
    document = msgspec.to_builtins(file)
    return blake3(canonical({name: value for name, value in document.items() if name != "checksum"})).hexdigest(16)


def _malformed() -> InvalidInput:
    return InvalidInput(
        "key_file_malformed",
        "This is no exported key of a repository.",
        next_step="Nothing was changed. Name the file that holdfast repository key export wrote.",
    )


def _damaged(why: str) -> Damaged:
    return Damaged(
        "key_file_damaged",
        f"The exported key is damaged: {why}.",
        next_step="Nothing was changed. Use another copy of the file, or export the key again where it still is.",
    )


def _refused(code: str, message: str, *, next_step: str) -> Refused:
    return Refused([Problem(code=code, message=message, next_step=next_step)])
