"""A repository's key as a file that a passphrase opens, to be kept where the repository is not.

The file is a JSON object of one line. What it seals with its passphrase (:mod:`holdfast.engine.passphrases`) is the
repository's key; the associated data is the object, as canonical JSON, without ``sealed`` and ``checksum``. The
checksum (BLAKE3 of the object without it, cut to 16 bytes) tells a damaged file from a wrong passphrase; ``key_check``
tells which repository the key is of.

Invariants: without the passphrase nothing of the key can be learnt from the file; a file from anywhere costs bounded
memory and time.
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.errors import Damaged, InvalidInput, Problem, Refused
from holdfast.engine.keys import KEY_BYTES
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
from holdfast.engine.repository.seal import TAG_BYTES, RepositoryKeys
from holdfast.engine.signed_json import Malformed, canonical, parse_object

MAX_FILE_BYTES: Final = 64 * 1024
_WHAT: Final = "holdfast repository key"
_FORMAT: Final = 1
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, format 1; bytes are hexadecimal."""

    what: str = _WHAT
    format: int = _FORMAT
    key_check: str
    scrypt_n: ScryptN
    scrypt_r: ScryptR
    scrypt_p: ScryptP
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
        scrypt_r=SCRYPT_R,
        scrypt_p=1,
        salt=secrets.token_hex(_SALT_BYTES),
        nonce=secrets.token_hex(_NONCE_BYTES),
    )
    sealed = _cipher(file, passphrase).encrypt(bytes.fromhex(file.nonce), key, _associated(file))
    file = msgspec.structs.replace(file, sealed=sealed.hex())
    return canonical(msgspec.to_builtins(msgspec.structs.replace(file, checksum=_checksum(file)))) + b"\n"


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
    known = [_SALT_BYTES, _NONCE_BYTES, KEY_BYTES + TAG_BYTES]
    if sizes != known or file.format < 1 or not affordable(file.scrypt_n, file.scrypt_r):
        raise _damaged("a field of it makes no sense")
    return file


def _cipher(file: _File, passphrase: str) -> AESGCM:
    salt = bytes.fromhex(file.salt)
    return cipher_of(passphrase, salt=salt, n=file.scrypt_n, r=file.scrypt_r, p=file.scrypt_p)


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
